"""``optbench train``: one run, or with ``-m`` every run of a grid."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from runner import GOES_ON, INTERRUPTED
from runner.cli import devices, following, keys, one_run
from runner.cli.arguments import Parser, own_folders
from runner.config.options import groups, options
from runner.errors import ConfigError, OptbenchError

if TYPE_CHECKING:
    from runner.config.hydra_door import Hydra
    from runner.run.outcome import Outcome

TROUBLE = ("failed", "interrupted", "diverged")
PAUSED = "the same command without pause_at, or with a later one, goes on from here"

EXAMPLES = """\
examples:
  optbench train init=he optim=adamw
  optbench train data=mnist data.root=FOLDER model=cnn optim=nesterov optim.lr=0.03 scheduler=cosine epochs=5
  optbench train 'regularization=[dropout,early_stopping]' regularization.dropout.p=0.2
  optbench train -m init=he,xavier optim=sgd,adamw optim.lr=1e-3,1e-2 seed=0,1,2
  optbench train experiment=smoke
"""


def parser() -> Parser:
    """Return what the command takes."""
    raw = argparse.RawDescriptionHelpFormatter
    parser = Parser("train", "One run, or every run of a grid.", add_help=False, formatter_class=raw)
    parser.add_argument("-h", "--help", action="store_true", help="this text; with --config-dir, your options too")
    about = "run every combination of values with commas"
    parser.add_argument("-m", "--multirun", action="store_true", help=about)
    parser.add_argument("--watch", action="store_true", help=f"with -m: {following.ABOUT}")
    parser.add_config_dir()
    parser.add_word("-c", "--cfg", words=("job",), metavar="job", help="print the config that would be run, and stop")
    parser.add_overrides("group=option and key=value")
    return parser


def run(argv: Sequence[str]) -> int:
    """Train, and say what became of it."""
    parsed = parser()
    arguments = parsed.parse_intermixed_args(argv)
    if arguments.help:
        parsed.epilog = _groups_and_keys(own_folders(arguments.config_dir))
        print(parsed.format_help(), end="")
        return 0
    one_run.find_parts_in_current_folder()
    from runner.config.compose import Composer, start_hydra

    hydra = start_hydra(arguments.config_dir)
    if arguments.cfg and arguments.multirun:
        raise ConfigError("--cfg job is of one run: leave -m out, and give one value each")
    if arguments.cfg:
        import yaml

        composed = Composer.of(hydra.config_loader).compose(arguments.overrides)
        print(yaml.safe_dump(composed.config, sort_keys=False, allow_unicode=True), end="")
        return 0
    if arguments.multirun:
        with following.followed(_folder(hydra, arguments.overrides) if arguments.watch else None, arguments.config_dir):
            return _grid(hydra, arguments.overrides, arguments.config_dir)
    if arguments.watch:
        raise ConfigError("--watch is for sweeps: add -m, or leave it out")
    return _single(hydra, arguments.overrides, arguments.config_dir, list(argv))


def _folder(hydra: "Hydra", overrides: Sequence[str]) -> Path:
    """Return the folder of a sweep's runs."""
    from runner.config.compose import Composer
    from runner.run.job import OUTPUTS

    composer = Composer.of(hydra.config_loader)
    named, experiment = ([o for o in overrides if o.partition("=")[0] == key] for key in ("name", "experiment"))
    config = composer.compose(named).config if named else composer.chosen_by(experiment)[1]
    return OUTPUTS / str(config["name"])


def _groups_and_keys(folders: Sequence[Path]) -> str:
    lines = ["groups and their options:"]
    for group in groups():
        lines.append(f"  {group:<15} {', '.join(option.name for option in options(group, *folders))}")
    lines += ["", "keys of every run, with their defaults (those of an option: optbench list GROUP):"]
    lines += [f"  {text:<22} {about}" for text, about in keys.of_every_run()]
    return "\n".join(lines) + f"\n\n{EXAMPLES}"


def _single(hydra: "Hydra", overrides: list[str], config_dir: str | None, argv: list[str]) -> int:
    def told(outcome: "Outcome") -> int:
        from runner.cli import present

        print(present.result(outcome, config_dir), end="")
        return _end_of_run(outcome)

    at = devices.place()
    if at is not None and at.size > 1:
        return devices.trained(at, lambda: one_run.single(hydra, overrides), told)
    job = one_run.single(hydra, overrides)
    from runner.run.claim import run_job
    from runner.run.devices import is_spread
    from runner.sweep.plan import describe
    from runner.sweep.terminal import report_doubts

    report_doubts([job])
    if job.config["dry_run"]:
        print(describe([job], 1), end="")
        return 0
    if is_spread(job):
        return devices.started(job, argv)
    outcome = run_job(job)
    assert outcome is not None, "it waits where another process trains the run"
    return told(outcome)


def _advise(outcomes: "Sequence[Outcome]") -> None:
    """Say on stderr what may help where targets are of a large scale, and runs diverged or none learned anything."""
    from runner.cli import present

    if ends := present.too_large(outcomes):
        print(
            f"optbench: the targets go from {ends[0]:g} to {ends[1]:g}, where training takes far longer and diverges "
            "more easily: data.normalize_target=standard trains on their standard scores",
            file=sys.stderr,
        )


def _end_of_run(outcome: "Outcome") -> int:
    """Return the exit code, and say on stderr what went wrong."""
    summary = outcome.summary
    _advise([outcome])
    if summary["status"] == "failed":
        said = "" if outcome.trained else " before (retry=failed tries again)"
        where = f", see {summary['traceback']}" if "traceback" in summary else ""
        print(f"optbench: the run failed{said}: {summary['stop_reason']}{where}", file=sys.stderr)
        return 1
    if summary["status"] == "interrupted":
        print(GOES_ON, file=sys.stderr)
        return INTERRUPTED
    if summary["status"] == "paused":
        print(f"optbench: paused at step {summary['steps']}; {PAUSED}", file=sys.stderr)
    return 0


def _grid(hydra: "Hydra", overrides: list[str], config_dir: str | None) -> int:
    outcomes = _outcomes_of_grid(hydra, overrides)
    if isinstance(outcomes, str):
        print(outcomes, end="")
        return 0
    from runner.cli import present
    from runner.run.outcome import Outcome

    if not isinstance(outcomes, list) or not all(isinstance(outcome, Outcome) for outcome in outcomes):
        return 0  # another sweeper, which reports by itself
    print(present.sweep(outcomes, config_dir), end="")
    return _end_of_grid(outcomes)


def _outcomes_of_grid(hydra: "Hydra", overrides: list[str]) -> Any:
    """Return what became of each run, what ``dry_run`` says, or what another sweeper returns."""
    from runner.sweep.launch import RunFailed
    from runner.sweep.plan import launch

    try:
        return launch(hydra, overrides)
    except RunFailed as error:
        raise OptbenchError(str(error)) from error


def _end_of_grid(outcomes: "Sequence[Outcome]") -> int:
    """Return the exit code, and say on stderr what went wrong in which run."""
    from runner.sweep.queue import NOT_STARTED

    waiting = [o for o in outcomes if o.summary.get("stop_reason") == NOT_STARTED]
    if waiting:
        print(f"optbench: {len(waiting)} of {len(outcomes)} runs were not started", file=sys.stderr)
    if paused := sum(o.summary["status"] == "paused" for o in outcomes):
        print(f"optbench: {paused} of {len(outcomes)} runs are paused; {PAUSED}", file=sys.stderr)
    troubled = [o for o in outcomes if o.summary["status"] in TROUBLE and o.summary.get("stop_reason") != NOT_STARTED]
    _advise(outcomes)
    for outcome in troubled:
        summary = outcome.summary
        if summary.get("stop_reason") == "interrupted":  # said once, below
            continue
        where = f", see {summary['traceback']}" if "traceback" in summary else ""
        print(f"optbench: {summary['status']}: {outcome.job}: {summary.get('stop_reason')}{where}", file=sys.stderr)
    statuses = {o.summary["status"] for o in troubled if o.summary.get("stop_reason") != "interrupted"}
    failed = any(o.trained and o.summary["status"] == "failed" for o in troubled)
    if failed and outcomes[0].job.config["fail_fast"]:  # which interrupts the others
        return 1
    stopped = any(o.summary.get("stop_reason") == "interrupted" for o in troubled)
    if stopped or (waiting and not statuses & {"failed", "interrupted"}):
        print(GOES_ON, file=sys.stderr)
        return INTERRUPTED
    return 1 if statuses & {"failed", "interrupted"} else 0
