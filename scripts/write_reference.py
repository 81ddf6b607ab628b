"""Write docs/reference/: every option, key, command and Python function, from the configs and the code's docstrings.

python scripts/write_reference.py            # write the pages
python scripts/write_reference.py --check    # exit 1 if a page is not what it would write
"""

import argparse
import inspect
import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
FOLDER = ROOT / "docs" / "reference"
WIDTH = 100  # of the help that argparse wraps


def main() -> int:
    """Write the pages, or hold them against what is there."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 if a page is out of date")
    arguments = parser.parse_args()
    wanted = pages()
    old = [name for name, text in wanted.items() if not _is(FOLDER / name, text)]
    if arguments.check:
        for name in old:
            print(f"docs/reference/{name} is not what scripts/write_reference.py writes", file=sys.stderr)
        return 1 if old else 0
    FOLDER.mkdir(exist_ok=True)
    for name, text in wanted.items():
        (FOLDER / name).write_text(text, encoding="utf-8")
    print(f"{FOLDER}: {len(wanted)} pages, {len(old)} of them changed")
    return 0


def _is(path: Path, text: str) -> bool:
    return path.is_file() and path.read_text(encoding="utf-8") == text


def pages() -> dict[str, str]:
    """Return each page by its file's name."""
    return {"options.md": options(), "keys.md": keys(), "commands.md": commands(), "python.md": python()}


def options() -> str:
    """Return every option of every group: its meaning, its settings with their defaults."""
    from runner.cli import keys as shown
    from runner.config.options import groups, options

    lines = ["# Options", "", "Written from `configs/`: `optbench list GROUP` shows the same. `???` must be given.", ""]
    for group in groups():
        lines += [f"## `{group}`", ""]
        for option in options(group):
            lines += [f"### `{group}={option.name}`", "", f"{_escaped(option.meaning)}.", ""]
            lines += _table("setting", [] if group == "experiment" else shown.of_option(option))
        if shared := shown.of_each_option(group):
            lines += [f"### With each `{group}`", "", *_table("setting", shared)]
    return "\n".join(lines)


def keys() -> str:
    """Return the keys that every run has."""
    from runner.cli import keys as shown

    head = [
        "# Keys of every run",
        "",
        "Written from `configs/config.yaml`: `optbench train --help` shows the same.",
        "",
    ]
    return "\n".join([*head, *_table("key", shown.of_every_run())])


class _Help(argparse.RawDescriptionHelpFormatter):
    """Help as Python 3.13 lays it out, whichever writes it: older ones repeat ``job`` in ``-c job, --cfg job``."""

    def _format_action_invocation(self, action: argparse.Action) -> str:
        if not action.option_strings or action.nargs == 0:
            return super()._format_action_invocation(action)
        value = self._format_args(action, self._get_default_metavar_for_optional(action))
        return f"{', '.join(action.option_strings)} {value}"


def commands() -> str:
    """Return what each command takes, as its help says."""
    from runner.cli.commands import TABLE, usage

    lines = ["# Commands", "", "Written from the commands' own help.", "", "```text", usage().rstrip(), "```", ""]
    for command in TABLE:
        parser = command.parser()
        parser.formatter_class = lambda prog: _Help(prog, width=WIDTH)
        lines += [f"## `optbench {command.name}`", "", "```text", parser.format_help().rstrip(), "```", ""]
    return "\n".join(lines)


def python() -> str:
    """Return each name of ``optbench`` with its signature and docstring."""
    import optbench

    lines = ["# Python", "", "Written from the docstrings of `optbench`.", ""]
    for name in sorted(optbench.__all__, key=str.lower):
        thing = getattr(optbench, name)
        lines += [f"## `{name}`", "", *_shown(name, thing)]
        if inspect.isclass(thing) and not issubclass(thing, Exception):
            for method, member in vars(thing).items():
                found = member.fget if isinstance(member, property) else getattr(member, "func", member)
                if not method.startswith("_") and inspect.isfunction(found):
                    call = f"{name}.{method}"
                    lines += [f"### `{call}`", "", *_shown(call, found, is_value=found is not member)]
    return "\n".join(lines)


def _shown(name: str, thing: object, is_value: bool = False) -> list[str]:
    signature = ""
    if callable(thing) and not is_value and not (inspect.isclass(thing) and issubclass(thing, Exception)):
        signature = re.sub(r"'(\w[^']*)'", r"\1", str(inspect.signature(thing)))
        signature = signature.replace("pathlib._local.", "pathlib.")  # Python 3.13's
    body = (inspect.getdoc(thing) or "").replace("``", "`")
    body = re.sub(r"(?m)^(Args|Raises|Returns|Yields):$", r"**\1**\n", body)
    body = re.sub(r"(?m)^    (\w[\w.]*): ", r"- `\1`: ", body)
    return ["```python", f"{name}{signature}", "```", "", body, ""]


def _table(name: str, rows: list[tuple[str, str]]) -> list[str]:
    """Return (``key: default``, meaning) as a table, empty if there are none."""
    if not rows:
        return []
    lines = [f"| {name} | default | is |", "| --- | --- | --- |"]
    for text, about in rows:
        key, _, default = text.partition(": ")
        lines.append(f"| `{key}` | `{default or ' '}` | {_escaped(about)} |".replace("`  `", "").replace("` `", ""))
    return [*lines, ""]


def _escaped(text: str) -> str:
    return text.replace("|", "\\|").replace("<", "&lt;").replace("*", "\\*").strip().removesuffix(".")


if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))
    raise SystemExit(main())
