"""Launchers: each places the jobs of a sweep and says what became of them. Identity and locks are the runs' own.

``processes`` trains several at a time in worker processes, ``inline`` one after another in this process.
"""

from collections.abc import Callable, Sequence

from runner.run.job import Job
from runner.run.life import Outcome

Report = Callable[[Outcome], None]
"""Told of each job as it ends."""
Launch = Callable[[Sequence[Job], Report], list[Outcome]]
"""Runs every job that is not finished; returns what became of each, in their order.

SIGINT and SIGTERM let what runs checkpoint and end, and nothing more starts.
"""

NOT_STARTED = "not started"
"""The ``stop_reason`` of a job that an interrupted sweep did not come to."""


def not_started(job: Job) -> Outcome:
    """Return what became of a job that the sweep did not come to."""
    return Outcome(job, {"status": "interrupted", "stop_reason": NOT_STARTED}, trained=False)


class RunFailed(Exception):
    """Tells another sweeper of Hydra's that a run it asked for has no result."""
