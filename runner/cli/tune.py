"""``optbench tune``: a search over a space, which can be repeated, interrupted and gone on with."""

import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from runner import GOES_ON, INTERRUPTED
from runner.cli import following
from runner.cli.arguments import Parser, check_file, whole_number
from runner.cli.one_run import find_parts_in_current_folder
from runner.cli.typed import FILES
from runner.search.asked import FINALISTS, GENERATION, HALVINGS, SAMPLERS, Limits, duration, refuse_numbers
from runner.shell import joined

if TYPE_CHECKING:
    from runner.search.tune import Search

ABOUT = """\
Search a space for its best setting. Values with commas are alternatives; interval(0.1,0.9) and
tag(log,interval(1e-4,1)) are ranges to draw from. Without any of these, the default space is searched. Trials are
ordinary runs, and the same command continues the search.
"""


def parser() -> Parser:
    """Return what the command takes."""
    parser = Parser("tune", ABOUT)
    parser.add_argument("--trials", type=whole_number, metavar="N", help="number of settings to try")
    about = "time for the whole search, earlier calls included, such as 90s, 10m or 2h"
    parser.add_argument("--budget", metavar="TIME", help=about)
    about = f"{', '.join(SAMPLERS)}; default: {SAMPLERS[0]}"
    parser.add_word("--sampler", words=SAMPLERS, metavar="NAME", default=SAMPLERS[0], help=about)
    about = "seed of the proposals, default: 0 (seed=… is that of the runs)"
    parser.add_argument("--seed", type=whole_number, default=0, metavar="N", help=about)
    about = f"number of settings proposed at a time, default: {GENERATION}"
    parser.add_argument("--generation", type=whole_number, default=GENERATION, metavar="N", help=about)
    about = f"stop bad settings early: at each rung one in N continues, to N times the steps ({', '.join(HALVINGS)})"
    parser.add_word("--halving", words=HALVINGS, metavar="N", default=HALVINGS[0], help=about)
    about = f"how many of the best settings are run with new seeds at the end, default: {FINALISTS}; 0: none"
    parser.add_argument("--finalists", type=whole_number, default=FINALISTS, metavar="N", help=about)
    about = "what settings are judged by, such as val_loss; default: the headline measure"
    parser.add_argument("--metric", metavar="NAME", help=about)
    about = "write the trials as a journal of Optuna's too, for optuna-dashboard FILE"
    parser.add_argument("--journal", metavar="FILE", help=about, words=FILES)
    parser.add_argument("--watch", action="store_true", help=following.ABOUT)
    parser.add_config_dir()
    parser.add_overrides("as for optbench train; seeds=3 judges each setting by the mean of three runs")
    return parser


def run(argv: Sequence[str]) -> int:
    """Search, and say what was found."""
    began = time.monotonic()
    given = parser().parse_intermixed_args(argv)
    refuse_numbers(given.trials, given.budget, given.generation, given.seed, given.finalists)
    check_file("--journal", given.journal)
    seconds = None if given.budget is None else duration(given.budget)
    find_parts_in_current_folder()
    from runner.config.compose import Composer
    from runner.search import conclusion
    from runner.search.prepare import Asked, prepared

    asked = Asked(
        given.overrides,
        given.sampler,
        given.seed,
        given.generation,
        given.metric,
        Limits(given.trials, seconds, given.finalists),
        joined(["tune", *given.overrides]),
        began,
        given.halving,
    )
    composer = Composer.over(given.config_dir)
    search, left_out = prepared(composer, asked)
    for said in left_out:
        print(f"optbench: not in the default space: {said}", file=sys.stderr)
    searched = search.space.described()
    if "optim" in searched and not any("optim.lr" in key for key in (*searched, *search.space.fixed)):
        said = "each optimizer keeps one rate; 'optim.lr=tag(log,interval(1e-4,1e-1))' searches it"
        print(f"optbench: optim.lr is not searched: {said}", file=sys.stderr)
    if search.probe[0].config["dry_run"]:
        print(_described(search), end="")
        return 0
    from runner.sweep.terminal import report_doubts

    report_doubts(search.probe)
    if search.limits.trials != given.trials:
        said = f"--trials {given.trials} is {search.limits.trials}: with --halving, generations are tried whole"
        print(f"optbench: {said}", file=sys.stderr)
    if given.journal is not None:
        search.journal = Path(given.journal)
    with following.followed(search.study.folder if given.watch else None, given.config_dir):
        conclusion.run(search)
    return end(search, given.config_dir)


def _described(search: "Search") -> str:
    """Return what would be searched."""
    lines = ["the space:", *(f"  {name}: {what}" for name, what in search.space.described().items())]
    if search.space.fixed:
        lines.append(f"the same for all: {joined(search.space.fixed)}")
    if len(search.space.replicates) > 1:
        lines.append(f"each setting is judged by the mean of {len(search.space.replicates)} runs")
    if search.halving is not None:
        counts = search.halving.sizes(search.study.said["generation"])
        goes_on = ", then ".join(map(str, counts[1:]))
        lines.append(f"--halving {search.halving.described}: of {counts[0]} settings {goes_on} go on")
    known = len(search.study.trials)
    lines.append(f"{known or 'no'} settings were proposed so far in {search.study.folder}")
    return "\n".join(lines) + "\n"


def end(search: "Search", config_dir: str | None) -> int:
    """Print the answer, say why there are no more trials, and return the exit code."""
    from runner.search.answer import answer

    print(answer(search, config_dir), end="")
    for said, reason in list(search.refused.items())[:1]:
        more = f"{len(search.refused)} settings that were drawn cannot be run; the first"
        print(f"optbench: {more}, {said}: {reason.splitlines()[0]}", file=sys.stderr)
    if search.lost is not None:
        print(f"optbench: ended by a run that cannot be trained: {search.lost}", file=sys.stderr)
        return 1
    failed = search.failed()
    if search.interrupted and not (failed and search.probe[0].config["fail_fast"]):
        print(GOES_ON, file=sys.stderr)
        return INTERRUPTED
    if search.ended is not None:
        print(f"optbench: ended: {search.ended}", file=sys.stderr)
    if failed:
        where = f", see {failed[0]['traceback']}" if "traceback" in failed[0] else ""
        print(f"optbench: {len(failed)} runs failed; the first: {failed[0].get('stop_reason')}{where}", file=sys.stderr)
        return 1
    return 0
