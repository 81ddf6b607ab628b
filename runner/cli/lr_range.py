"""``optbench lr-range [overrides]``: the loss while the learning rate rises, and the axis that it suggests."""

import sys
from collections.abc import Sequence
from pathlib import Path

from runner.cli.arguments import Parser, check_file, finite_number, whole_number
from runner.cli.one_run import prepared
from runner.cli.pictures import PICTURES, plot
from runner.cli.typed import FILES
from runner.errors import ConfigError
from runner.shell import joined

ABOUT = "Smith's range test: the loss while the learning rate rises; ends with the command of a sweep."


def parser() -> Parser:
    """Return what the command takes."""
    parser = Parser("lr-range", ABOUT)
    parser.add_argument("--lowest", type=finite_number, default=1e-6, metavar="LR", help="first rate, default: 1e-6")
    parser.add_argument("--highest", type=finite_number, default=10.0, metavar="LR", help="last rate, default: 10")
    about = "steps from one to the other, default: 300"
    parser.add_argument("--steps", type=whole_number, default=300, metavar="N", help=about)
    about = "write the loss over the learning rate as .png or .svg"
    parser.add_argument("--plot", metavar="FILE", help=about, words=FILES)
    about = "write every step's learning rate and loss"
    parser.add_argument("--csv", metavar="FILE", help=about, words=FILES)
    parser.add_config_dir()
    parser.add_overrides("as for optbench train, without optim.lr")
    return parser


def run(argv: Sequence[str]) -> int:
    """Run the test, write what is asked for, and print the command of the sweep."""
    arguments = parser().parse_intermixed_args(argv)
    if not 0 < arguments.lowest < arguments.highest or arguments.steps < 20:
        raise ConfigError(
            f"lr-range needs 0 < --lowest < --highest and --steps ≥ 20, got {arguments.lowest:g}, "
            f"{arguments.highest:g} and {arguments.steps}"
        )
    check_file("--plot", arguments.plot, *PICTURES)
    check_file("--csv", arguments.csv)
    if any(o.lstrip("+~").partition("=")[0] == "optim.lr" for o in arguments.overrides):
        raise ConfigError("optim.lr is what lr-range looks for: leave it out; --lowest and --highest bound it")
    job = prepared(arguments.overrides, arguments.config_dir)
    from runner.search.lr_range import lr_range

    found = lr_range(job, arguments.lowest, arguments.highest, arguments.steps)
    if arguments.csv:
        from runner.run.record import write_whole

        rows = ["lr,loss,smoothed_loss", *(",".join(f"{v:.6g}" for v in row) for row in found.steps)]
        write_whole(Path(arguments.csv), "\n".join(rows) + "\n")
        print(f"optbench: {arguments.csv} written", file=sys.stderr)
    if arguments.plot:
        lr, loss, smoothed = zip(*found.steps, strict=True)
        plot(arguments.plot, ("learning rate", "loss"), lr, {"loss": loss, "smoothed": smoothed}, log=True)
    if not found.diverged:
        print(f"optbench: the loss had not risen at {arguments.highest:g} yet: try --highest", file=sys.stderr)
    folder = ["--config-dir", arguments.config_dir] if arguments.config_dir else []
    axis = f"optim.lr={','.join(f'{v:g}' for v in found.axis)}"
    print(joined(["optbench", "train", "-m", *folder, *arguments.overrides, axis]))
    return 0
