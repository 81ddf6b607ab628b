"""``optbench list [group]``: an option a line, its name first; of one group, its settings below."""

from collections.abc import Sequence

from runner.cli import keys
from runner.cli.arguments import Parser, own_folders
from runner.config import instead
from runner.config.options import groups, options
from runner.errors import ConfigError


def parser() -> Parser:
    """Return what the command takes."""
    parser = Parser("list", "Every option of every group, or of one group with its settings.")
    parser.add_argument("group", nargs="?", help=", ".join(groups()), words=tuple(groups()))
    parser.add_config_dir()
    return parser


def run(argv: Sequence[str]) -> int:
    """Print the options."""
    arguments = parser().parse_args(argv)
    group, folders = arguments.group, own_folders(arguments.config_dir)
    if group is not None and group not in groups():
        raise ConfigError(f"{group!r} is not a group{instead.of_group(group, groups())}\nvalid: {', '.join(groups())}")
    for name in [group] if group else groups():
        if not group:
            print(f"{name}:")
        for option in options(name, *folders):
            print(f"{'' if group else '  '}{option.name:<18} {option.meaning}")
            if group:
                for text, about in keys.of_option(option):
                    print(f"    {text:<22} {about}")
        if group and (shared := keys.of_each_option(group)):
            print("  each of them:")
            for text, about in shared:
                print(f"    {text:<22} {about}")
    return 0
