"""``optbench demo``: a small grid on real data, and its report."""

import sys
from collections.abc import Sequence

from runner.cli import report, train
from runner.cli.arguments import Parser

ABOUT = (
    "Train 225 small networks on scikit-learn's digits (3 initializers, 3 optimizers, 5 learning rates, 5 seeds; "
    "about a minute), then answer which setting to use. Its runs lie in outputs/demo."
)
SWEEP = ("-m", "experiment=demo")
REPORT = ("outputs/demo", "--open")


def parser() -> Parser:
    """Return what the command takes."""
    return Parser("demo", ABOUT)


def run(argv: Sequence[str]) -> int:
    """Run the grid, then its report; each command is shown first, as it would be typed."""
    parser().parse_args(argv)
    _show("train", SWEEP)
    if code := train.run(SWEEP):
        return code
    _show("report", REPORT)
    return report.run(REPORT)


def _show(command: str, arguments: Sequence[str]) -> None:
    print(f"$ optbench {' '.join((command, *arguments))}", file=sys.stderr, flush=True)
