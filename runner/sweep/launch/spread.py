"""A run of a sweep that several processes train: who takes it starts them, and it takes as many workers' places."""

import tempfile
from collections.abc import Sequence
from pathlib import Path

from runner import INTERRUPTED
from runner.errors import ConfigError, OptbenchError, ProcessError
from runner.run import files
from runner.run.claim import run_pack
from runner.run.devices import is_spread, layout_of
from runner.run.job import Job
from runner.run.launcher import last_words, launched
from runner.run.outcome import Outcome, finished
from runner.run.process import Interruption
from runner.run.progress import Progress
from runner.shell import key_of
from runner.sweep.held import Held

MEANT_OTHERWISE = ("dry_run", "pause_at", "save", "baselines", "threads")
"""Keys that are not handed on as they were typed: what they mean for one run of a sweep is."""


def places(jobs: Sequence[Job]) -> int:
    """Return how many workers' places a run takes, of jobs that are all spread alike."""
    return layout_of(jobs[0], None).devices if jobs and is_spread(jobs[0]) else 1


def at_a_time(workers: int, jobs: Sequence[Job]) -> int:
    """Return how many runs are trained at a time on so many places.

    Raises:
        ConfigError: if there are too few for one.
    """
    each = places(jobs)
    if each > workers:
        raise ConfigError(
            f"a run on {each} devices takes as many workers, and there are {workers}: workers={each}, or a smaller "
            "parallel.devices"
        )
    return workers // each


def train(
    jobs: Sequence[Job], interruption: Interruption, progress: Progress | None = None, wait: bool = False
) -> list[Outcome | None]:
    """Train a pack of a sweep, as ``runner.run.claim.run_pack`` does; on several processes where it is to be spread.

    What cannot be run or recorded has failed, and costs the sweep no more.
    """
    try:
        if is_spread(jobs[0]):
            return [_spread(job, interruption) for job in jobs]
        return run_pack(jobs, "none", interruption, progress, wait)
    except OptbenchError as error:
        return [*failed(jobs, error)]


def failed(jobs: Sequence[Job], error: OptbenchError) -> list[Outcome]:
    """Return that jobs have failed, and why."""
    said = {"status": "failed", "stop_reason": str(error)}
    return [Outcome(job, {**said, "run_id": job.run_id}, trained=True) for job in jobs]


def _spread(job: Job, interruption: Interruption) -> Outcome:
    if (summary := finished(job)) is not None:
        return Outcome(job, summary, trained=False)

    def stop() -> None:
        interruption.requested = True

    with tempfile.TemporaryDirectory() as place:
        try:
            code = launched(_arguments(job), places([job]), Path(place), stop)
        except ProcessError as error:
            lost = {"status": "interrupted", "stop_reason": str(error), "run_id": job.run_id}
            return Outcome(job, lost, trained=True)
        said = last_words(Path(place))
    summary = files.read_summary(job.folder)
    if code == INTERRUPTED:  # perhaps before it had one of this start
        summary = {"status": "interrupted", "stop_reason": "interrupted", "run_id": job.run_id}
    elif summary is None or (code != 0 and summary["status"] != "failed"):  # it is of an earlier start
        summary = {"status": "failed", "stop_reason": said or "it left no summary", "run_id": job.run_id}
    return Outcome(job, summary, trained=True)


def _arguments(job: Job) -> list[str]:
    """Return what ``optbench train`` is told to train a run of a sweep by itself."""
    config = job.config
    own = {"save": config["save"] or "none", "baselines": "false", "threads": config["threads"] or 1}
    if config["pause_at"] is not None:
        own["pause_at"] = config["pause_at"]
    typed = [override for override in job.overrides if key_of(override) not in MEANT_OTHERWISE]
    folder = job.make.config_dir if isinstance(job, Held) else None
    return [*([] if folder is None else ["--config-dir", folder]), *typed, *(f"{k}={v}" for k, v in own.items())]
