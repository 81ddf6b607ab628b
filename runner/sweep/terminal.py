"""What a sweep says on stderr: doubts before it starts, and a line for each run that ended, above the progress bar."""

import sys
from collections.abc import Sequence

from tqdm import tqdm

from runner.config.check import doubts
from runner.measures import headlines
from runner.run.job import Job
from runner.run.outcome import Outcome
from runner.sweep.launch import Report

LINES_FOR_RUNS = 50
"""From so many runs on, a sweep does not print a line for each."""


def report_doubts(jobs: Sequence[Job]) -> None:
    """Say, each once, what of some jobs is seldom meant, and what was done to their data."""
    for said in dict.fromkeys(said for job in jobs for said in job.remembered(doubts_of)):
        tqdm.write(f"optbench: {said}", file=sys.stderr)


def doubts_of(job: Job) -> tuple[str, ...]:
    """Return what of a job is seldom meant, and what was done to its data."""
    return (*job.source.notes, *doubts(job.config, job.known))


def report_left_out(said: str) -> None:
    """Say which jobs of a sweep are left out, and why."""
    tqdm.write(f"optbench: {said}", file=sys.stderr)


def reporter(jobs: int) -> Report:
    """Return what is told of each job of a sweep as it ends: a line each, where they are few."""
    return report_outcome if jobs < LINES_FOR_RUNS else lambda outcome: None


def report_outcome(outcome: Outcome) -> None:
    """Say what became of one job of a sweep; of one that was interrupted the end of the sweep speaks."""
    summary = outcome.summary
    if summary.get("stop_reason") == "interrupted":
        return
    said = [summary["status"] if outcome.trained else f"{summary['status']} before"]
    said += [f"{name} {summary[name]:.4g}" for name in headlines(summary) if "test" in name]
    said += [str(summary["stop_reason"])] if summary["status"] == "failed" else []
    tqdm.write(f"{outcome.job.folder.name}: {', '.join(said)}", file=sys.stderr)
