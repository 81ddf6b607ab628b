"""``optbench ensemble DIR|RUN…``: trained runs combined, and what that gains and costs."""

import sys
from argparse import Namespace
from collections.abc import Sequence
from typing import TYPE_CHECKING

from runner import GOES_ON, INTERRUPTED
from runner.cli.arguments import Parser
from runner.cli.one_run import find_parts_in_current_folder
from runner.cli.typed import FOLDERS
from runner.shell import joined

if TYPE_CHECKING:
    from runner.after.ensemble import Made
    from runner.after.members import Member

METHODS = ("mean", "vote", "weighted", "greedy", "stack", "soup")
ABOUT = """\
Combine trained runs of one data set. Whatever is chosen is chosen on validation data; the test set is read once, at the
end. The result, outputs/ensembles/…, is a predictor: optbench predict takes it.
"""
METHODS_HELP = (
    "mean of probabilities or numbers (default); vote; weighted (votes by validation); greedy (a mean of the members "
    "that validation chooses); stack (a linear model of out-of-fold or validation predictions); soup (the mean of "
    "weights)"
)


def parser() -> Parser:
    """Return what the command takes."""
    parser = Parser("ensemble", ABOUT)
    about = "runs, or folders such as outputs/default, whose finished runs are all taken"
    parser.add_argument("runs", nargs="+", metavar="DIR|RUN", help=about, words=FOLDERS)
    parser.add_word("--method", words=METHODS, metavar="NAME", default="mean", help=METHODS_HELP)
    about = "take each of the weights that runs with snapshots=… kept as a member"
    parser.add_argument("--snapshots", action="store_true", help=about)
    about = "train runs that kept no weights again, with save=last"
    parser.add_argument("--train", action="store_true", help=about)
    about = "also train the best member's setting for as long as all members together, and compare"
    parser.add_argument("--equal", action="store_true", help=about)
    parser.add_config_dir()
    parser.add_allow()
    return parser


def run(argv: Sequence[str]) -> int:
    """Combine, and say what it is worth."""
    arguments = parser().parse_args(argv)
    find_parts_in_current_folder()
    from runner.after import ensemble, said
    from runner.after.members import Team, find, snapshots_of

    members, left_out = find(arguments.runs)
    for reason in left_out:
        print(f"optbench: left out: {reason}", file=sys.stderr)
    command = joined(["optbench", "ensemble", *argv])
    try:
        members = _with_weights(members, arguments, command)
        if arguments.snapshots:
            members = snapshots_of(members)
        team = Team(members, arguments.allow)
        made = ensemble.make(team, arguments.method)
        extra = _equal(made, arguments.config_dir, command) if arguments.equal else {}
    except KeyboardInterrupt:
        print(GOES_ON, file=sys.stderr)
        return INTERRUPTED
    ensemble.write(made, extra)
    print(said.text(made), end="")
    return 0


def _with_weights(members: "list[Member]", asked: Namespace, command: str) -> "list[Member]":
    """Return the members with their weights, those that kept none trained again where that is asked for."""
    from runner.after import trained_again
    from runner.after.members import find

    missing = trained_again.lacking(members) if len(members) > 1 else []
    if not missing:
        return members
    if not asked.train:
        raise trained_again.refuse(missing, members)
    from runner.config.compose import Composer
    from runner.sweep.terminal import reporter

    jobs = trained_again.jobs_again(missing, Composer.over(asked.config_dir), asked.allow)
    trained_again.train(jobs, command, reporter(len(jobs)))
    return find([str(member.folder) for member in members])[0]


def _equal(made: "Made", config_dir: str | None, command: str) -> dict[str, object]:
    """Train a single run for as long as the members together, compare, and return what is kept of that."""
    from runner.after.equal import compare, single
    from runner.after.trained_again import train
    from runner.config.compose import Composer
    from runner.sweep.terminal import reporter

    job = single(made, Composer.over(config_dir))
    train([job], command, reporter(1))
    return compare(made, job)
