"""Launchers: each runs what a queue holds until it is empty. Identity and locks are the runs' own.

``processes`` trains several packs at a time in worker processes, ``inline`` one after another in this process;
``slurm`` and ``ray`` place workers elsewhere, which ``cluster`` posts packs to.
"""

from collections.abc import Callable, Sequence
from typing import Protocol

from runner.run import record
from runner.run.job import Job
from runner.run.outcome import Outcome
from runner.sweep.queue import Queue

Report = Callable[[Outcome], None]
"""Told of each job as it ends."""


class Launch(Protocol):
    """Runs every job of a queue that is not finished, those that are added meanwhile too.

    SIGINT and SIGTERM let what runs checkpoint and end, and nothing more starts.
    """

    def __call__(self, queue: Queue, report: Report, workers: int) -> None:
        """Empty the queue, with so many packs at a time where the launcher can."""


def run_all(jobs: Sequence[Job], launch: Launch, workers: int, report: Report) -> list[Outcome]:
    """Run the jobs of a grid; return what became of each, in their order."""
    queue = Queue(jobs, workers)
    launch(queue, report, workers)
    record.settle_runs_csv(jobs[0].folder.parent)
    return queue.results()


class RunFailed(Exception):
    """Tells another sweeper of Hydra's that a run it asked for has no result."""
