"""``optbench auto TABLE|FOLDER|mymodel.Net``: data check, baselines, search, report and predictor by one command."""

import argparse
import sys
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

from runner import GOES_ON, INTERRUPTED
from runner.cli import data, following, tune
from runner.cli.arguments import Parser, whole_number
from runner.cli.one_run import find_parts_in_current_folder, prepared
from runner.cli.typed import FILES
from runner.config.check import LONGEST_NAME
from runner.errors import ConfigError, TableError
from runner.search.asked import SAMPLERS, SIZES, BudgetError, Limits, duration
from runner.shell import joined

if TYPE_CHECKING:
    from runner.config.compose import Composer
    from runner.search.tune import Search

ABOUT = """\
Find what to train on a table, on a folder of pictures, or with a network of your own. It checks the data, measures
simple models, searches the default space within the budget, prints the answer, writes the report, and trains a
predictor. After an interruption the same command continues.
"""
BUDGET = "10m"
PREDICTOR = "-predictor"
"""Behind the search's name: where the run lies whose weights are kept."""
MOST_REMEDIES = 3


def parser() -> Parser:
    """Return what the command takes."""
    parser = Parser("auto", ABOUT)
    about = "a table's file, a folder with a folder of pictures for each class, or a model's import path"
    parser.add_argument("thing", metavar="TABLE|FOLDER|mymodel.Net", help=about, words=FILES)
    parser.add_argument("--label", metavar="COLUMN", help="the column of the table to predict")
    about = f"time for baselines and search, default: {BUDGET}; the report and the predictor take a little more"
    parser.add_argument("--budget", metavar="TIME", default=BUDGET, help=about)
    parser.add_argument("--trials", type=whole_number, metavar="N", help="most settings to try")
    about = "what settings are judged by, such as val_loss; default: the headline measure"
    parser.add_argument("--metric", metavar="NAME", help=about)
    parser.add_argument("--watch", action="store_true", help=following.ABOUT)
    parser.add_config_dir()
    parser.add_overrides("as for optbench tune: what is given is not searched; name=… names the folder in outputs/")
    return parser


def run(argv: Sequence[str]) -> int:
    """Do all of it."""
    began = time.monotonic()
    arguments = parser().parse_intermixed_args(argv)
    if arguments.trials is not None and arguments.trials < 1:
        raise ConfigError(f"--trials must be a whole number ≥ 1, got {arguments.trials}")
    if odd := next((o for o in arguments.overrides if o.startswith(("dry_run=", "save="))), None):
        raise ConfigError(
            f"{odd} beside auto: it searches, and keeps the weights of its predictor; optbench tune takes it"
        )
    duration(arguments.budget)
    config_dir: str | None = arguments.config_dir
    overrides, doubts = _checked(arguments)
    front = ["--config-dir", config_dir] if config_dir else []
    from runner.search import automatic, conclusion

    size = automatic.begun_size(overrides) or max(SIZES)
    composer, search, left_out = _prepared(arguments, overrides, began, size)
    for said in (*doubts, *(f"not in the default space: {reason}" for reason in left_out)):
        print(f"optbench: {said}", file=sys.stderr)
    data.run([*front, *overrides])
    print(
        f"\noptbench: searching for {arguments.budget} at most: {joined(['optbench', 'tune', *front, *overrides])}",
        file=sys.stderr,
    )
    try:
        with following.followed(search.study.folder if arguments.watch else None, config_dir):
            while True:
                try:
                    conclusion.run(search)
                    break
                except BudgetError as error:
                    size, overrides = _within(error, size, overrides, arguments)
                    composer, search, _ = _prepared(arguments, overrides, began, size)
        return _concluded(composer, search, arguments)
    except KeyboardInterrupt:
        if not search.study.folder.exists():
            raise  # nothing was kept
        print(GOES_ON, file=sys.stderr)
        return INTERRUPTED


def _concluded(composer: "Composer", search: "Search", arguments: argparse.Namespace) -> int:
    """Print the answer and the report, keep a predictor, and return the exit code."""
    config_dir: str | None = arguments.config_dir
    code = tune.end(search, config_dir)
    from runner.report.write import Asked, report
    from runner.search.answer import recommended

    if search.interrupted or search.lost is not None or recommended(search) is None:
        return code

    drawn = report([search.study.folder], Asked(metric=arguments.metric, config_dir=config_dir))
    for warning in drawn.answers[0]["warnings"]:
        print(f"care    {warning}")
    print(drawn.write(), end="")
    return max(code, _predictor(composer, search, config_dir))


def _within(
    error: BudgetError, size: int, overrides: list[str], arguments: argparse.Namespace
) -> tuple[int, list[str]]:
    """Return a smaller generation, or where the smallest is too long, shorter runs; and say so.

    Raises:
        BudgetError: the same, if the budget holds neither.
    """
    from runner.search import automatic

    few, length = automatic.smaller(error, size), ""
    if few is None:
        few, job = min(SIZES), prepared(overrides, arguments.config_dir)
        overrides, epochs = automatic.shorter(error, job, overrides, arguments.overrides)
        length = f" of {epochs} epochs in place of {job.config['epochs']}"
    tried = f"{few} settings{length} are tried at a time in place of {max(SIZES)}"
    judged = f"{SIZES[few]} in place of {SIZES[max(SIZES)]} with new seeds"
    print(f"optbench: the budget is short: {tried}, and {judged}", file=sys.stderr)
    return few, overrides


def _checked(arguments: argparse.Namespace) -> tuple[list[str], list[str]]:
    """Return the overrides of the search, and what was done to the data so that they can be used.

    Raises:
        ConfigError: if they cannot be used.
    """
    find_parts_in_current_folder()
    from runner.search import automatic

    given = list(arguments.overrides)
    asked = automatic.meant(arguments.thing, arguments.label, given)
    name = [] if any(o.startswith("name=") for o in given) else [automatic.typed("name", asked.name)]
    overrides, doubts = [*asked.overrides, *name, *given], list(asked.doubts)
    for _ in range(MOST_REMEDIES):
        try:
            job = prepared(overrides, arguments.config_dir)
        except TableError as error:
            if (found := automatic.remedy(error, overrides)) is None:
                raise _refusal(error, arguments) from error
            changed = [o for o in found[0] if o not in overrides]
            overrides = found[0]
            doubts.append(f"{found[1]}: read with  {joined(changed)}")
            continue
        named = any(o.startswith(("data.exclude=", "data.columns=")) for o in overrides)
        if not named and (counting := automatic.counters(job)):
            overrides.append(automatic.typed("data.exclude", counting))
            doubts.append(f"{', '.join(counting)} counts the rows and is left out: {overrides[-1]}")
            continue
        if len((predictor := f"{job.config['name']}{PREDICTOR}").encode()) > LONGEST_NAME:
            raise ConfigError(f"name={job.config['name']} is too long: {predictor} is to have ≤ {LONGEST_NAME} bytes")
        chosen = automatic.completed(job, overrides)
        if chosen:
            doubts.append(f"chosen for these data: {joined(chosen)}")
        return [*overrides, *chosen], doubts
    raise ConfigError(f"{arguments.thing} cannot be used as it is: see optbench data {joined(overrides)}")


def _refusal(error: TableError, arguments: argparse.Namespace) -> ConfigError:
    if arguments.label is None and not any(o.startswith("data.label=") for o in arguments.overrides):
        columns = ", ".join(line[0] for line in error.overview[1:])
        return ConfigError(f"--label COLUMN says which column of {arguments.thing} to predict\nvalid: {columns}")
    return error


def _prepared(
    arguments: argparse.Namespace, overrides: Sequence[str], began: float, size: int
) -> "tuple[Composer, Search, tuple[str, ...]]":
    """Return the search over the default space, and what is left out of that."""
    from runner.config.compose import Composer
    from runner.search.prepare import Asked
    from runner.search.prepare import prepared as prepared_search

    composer = Composer.over(arguments.config_dir)
    limits = Limits(arguments.trials, duration(arguments.budget), SIZES[size])
    command = joined(["tune", *overrides])
    asked = Asked(overrides, SAMPLERS[0], 0, size, arguments.metric, limits, command, began)
    return composer, *prepared_search(composer, asked)


def _predictor(composer: "Composer", search: "Search", config_dir: str | None) -> int:
    """Train the setting that is to be used with its weights kept, say how to predict, and return the exit code."""
    from runner.run.claim import run_job
    from runner.run.job import prepare
    from runner.search import automatic
    from runner.search.answer import recommended

    best = recommended(search)
    if best is None:
        return 0
    name = automatic.typed("name", f"{search.study.folder.name}{PREDICTOR}")
    kept = [o for o in search.space.overrides(best.drawn) if o.partition("=")[0] not in ("name", "save", "seed")]
    outcome = run_job(prepare(composer.compose([*kept, name, "save=last"])))
    assert outcome is not None, "it waits where another process trains the run"
    if outcome.summary["status"] == "interrupted":
        print(GOES_ON, file=sys.stderr)
        return INTERRUPTED
    if outcome.summary["status"] in ("failed", "diverged"):
        print(f"optbench: the predictor {outcome.summary['status']}: {outcome.summary['stop_reason']}", file=sys.stderr)
        return 1
    allowed = [word for path in sorted(outcome.job.allow) for word in ("--allow", path)]
    own = ["--input", "FILE"] if outcome.job.source.reading is not None else []
    print(f"predict {joined(['optbench', 'predict', str(outcome.job.folder), *allowed, *own])}")
    return 0
