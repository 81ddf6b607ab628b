"""The one table of commands: dispatch, usage and completion read it. A command's module is imported when it is used.

A module has ``parser()``, its arguments, and ``run(argv)``, which returns the exit code. Neither its top nor
``parser()`` imports anything heavy: help and completion ask for them.
"""

from collections.abc import Sequence
from importlib import import_module
from typing import TYPE_CHECKING, NamedTuple, cast

if TYPE_CHECKING:
    from runner.cli.arguments import Parser


class Command(NamedTuple):
    """One command of ``optbench``."""

    name: str
    module: str
    forms: tuple[tuple[str, str], ...]
    """(arguments, what it does then) of each way to call it."""

    def parser(self) -> "Parser":
        """Return what the command takes."""
        return cast("Parser", import_module(self.module).parser())

    def run(self, argv: Sequence[str]) -> int:
        """Run the command and return its exit code."""
        try:
            return cast(int, import_module(self.module).run(argv))
        except SystemExit as ended:
            if ended.code:
                raise
            return 0  # argparse has shown the command's help


TABLE = (
    Command(
        "demo",
        "runner.cli.demo",
        (("", "a grid of 225 small runs on real data and its report, in about a minute"),),
    ),
    Command(
        "train",
        "runner.cli.train",
        (
            ("[overrides]", "one run, such as  optbench train init=he optim=adamw"),
            (
                "-m [overrides]",
                "the grid, such as  optbench train -m init=he,xavier optim=sgd,adamw optim.lr=1e-3,1e-2",
            ),
        ),
    ),
    Command(
        "tune",
        "runner.cli.tune",
        (("[overrides]", "search a space for its best setting, such as  optbench tune --budget 10m"),),
    ),
    Command(
        "auto",
        "runner.cli.auto",
        (
            (
                "TABLE|FOLDER",
                "data check, baselines, search, report, predictor in one; of a table with --label COLUMN",
            ),
            ("mymodel.Net data=…", "the same for a network of your own"),
        ),
    ),
    Command(
        "data",
        "runner.cli.data",
        (("[overrides]", "what a data set holds and what becomes of each column, without training"),),
    ),
    Command(
        "list",
        "runner.cli.list_options",
        (("[group]", "every option of every group, or of one, and what it means"),),
    ),
    Command(
        "report",
        "runner.cli.report",
        (
            ("DIR", "the answer: what to use, how sure, tables and plots, DIR/report.html"),
            ("DIR --watch", "the same as a page on this machine that follows the runs"),
        ),
    ),
    Command(
        "study",
        "runner.cli.study",
        (("[NAME…|all]", "reproduce published findings, and say whether they hold; without a name, list them"),),
    ),
    Command(
        "lr-range",
        "runner.cli.lr_range",
        (("[overrides]", "Smith's range test: learning rates worth a sweep, as a command"),),
    ),
    Command(
        "schedule",
        "runner.cli.schedule",
        (("[overrides]", "the learning rate of every step, as CSV, without training"),),
    ),
    Command(
        "runs",
        "runner.cli.runs",
        (("DIR", "write DIR/runs.csv anew from the folders of its runs"),),
    ),
    Command(
        "predict",
        "runner.cli.predict",
        (("RUN", "what a trained run predicts, as CSV; --export FILE writes it as a program"),),
    ),
    Command(
        "ensemble",
        "runner.cli.ensemble",
        (("DIR|RUN…", "combine trained runs: averages, votes, selection, stacking; what that gains and costs"),),
    ),
    Command(
        "boost",
        "runner.cli.boost",
        (("ROUNDS [overrides]", "boosting of small networks, such as  optbench boost 10 model.width=8 epochs=3"),),
    ),
    Command(
        "compress",
        "runner.cli.compress",
        (("RUN|DIR [CHAIN…]", "make trained networks smaller: accuracy, bytes and time beside the dense ones"),),
    ),
    Command(
        "doctor",
        "runner.cli.doctor",
        (("", "what this machine offers, and what is wrong with it"),),
    ),
    Command(
        "completion",
        "runner.cli.completion",
        (("SHELL", "a script for tab completion: bash, zsh or fish"),),
    ),
)
COMMANDS = {command.name: command for command in TABLE}

FIRST = """\
Which settings should I use for this model on this data, and how sure can I be? Begin with one of:

  optbench demo                         a grid of small runs on real data and its report, in about a minute
  optbench train init=he optim=adamw    one run
  optbench auto TABLE --label COLUMN    a table of yours: check, search, answer, report, predictor

All commands: optbench --help
"""
"""What ``optbench`` alone says."""

USAGE = """\
usage: optbench COMMAND …

Which initializer, optimizer, learning rate, schedule, regularization and batch size should I use
for this model on this data, and how sure can I be?

commands:
{commands}

options:
  -h, --help            this text; after a command, that command's
  --version             the version

exit codes: 0 fine (a diverged run is a result), 1 some run failed, 2 bad input, 130 interrupted
"""


def usage() -> str:
    """Return what ``optbench --help`` says."""
    lines = [(f"{c.name} {arguments}".strip(), summary) for c in TABLE for arguments, summary in c.forms]
    width = max(len(form) for form, _ in lines)
    return USAGE.format(commands="\n".join(f"  {form:<{width}}  {summary}" for form, summary in lines))
