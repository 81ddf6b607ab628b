"""Jobs one after another in this process: a breakpoint in a part of one's own opens, and its traceback is shown."""

import sys
from collections.abc import Sequence
from pathlib import Path

from tqdm import tqdm

from runner.run.claim import run_job
from runner.run.job import Job
from runner.run.life import Interruption, Outcome
from runner.run.stack import run_stack
from runner.sweep.launch import Report, not_started
from runner.sweep.stacking import tasks


def run_jobs(jobs: Sequence[Job], report: Report) -> list[Outcome]:
    """Run every job that is not finished; return what became of each. See ``runner.sweep.launch.Launch``."""
    import torch

    outcomes: dict[str, Outcome] = {}
    interruption, fail_fast = Interruption(), jobs[0].config["fail_fast"]
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # as in worker processes: the same rows
    for task in tasks(jobs, 1):
        chosen = [jobs[i] for i in task]
        found = (
            run_stack(chosen, "none", interruption, wait=True)
            if len(chosen) > 1
            else [run_job(chosen[0], save="none", interruption=interruption)]
        )
        for job, outcome in zip(chosen, found, strict=True):
            assert outcome is not None, "it waits where another process trains the run"
            outcomes[job.run_id] = outcome
            report(outcome)
            _show_traceback(outcome)
        failed = any(outcome is not None and outcome.summary["status"] == "failed" for outcome in found)
        if interruption.requested or (fail_fast and failed):
            break
    torch.set_num_threads(threads)
    return [outcomes.get(job.run_id) or not_started(job) for job in jobs]


def _show_traceback(outcome: Outcome) -> None:
    if outcome.trained and (place := outcome.summary.get("traceback")):
        tqdm.write(Path(place).read_text(encoding="utf-8").rstrip(), file=sys.stderr)
