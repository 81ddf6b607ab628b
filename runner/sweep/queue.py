"""The live queue of a sweep: checked jobs, handed out in packs. More may be added while workers run."""

from collections import deque
from collections.abc import Callable, Sequence

from runner.run.job import Job
from runner.run.outcome import Outcome
from runner.sweep import pack
from runner.sweep.pack import Pack

Source = Callable[["Queue"], None]
"""Asked where nothing waits and a worker is idle: adds jobs, or none where it waits for outcomes or has no more."""

NOT_STARTED = "not started"
"""The ``stop_reason`` of a job that an interrupted sweep did not come to."""


class Queue:
    """What is to be run, who is on it, and what became of it; a launcher empties it."""

    def __init__(self, jobs: Sequence[Job] = (), count: int = 1, source: Source | None = None) -> None:
        """Begin with jobs that are checked.

        Args:
            jobs: of a grid; none where a source gives them all.
            count: how many packs runs of a kind are divided into at least: a grid states its workers, a search a
                constant, so that what is trained together does not depend on who trains it.
            source: gives more.
        """
        self.jobs: list[Job] = []
        """Every job, in the order in which it was added; packs name them by their place."""
        self.outcomes: dict[int, Outcome] = {}
        self._count, self._source = count, source
        self._waiting: deque[Pack] = deque()
        self._elsewhere: deque[Pack] = deque()
        self._under_way: set[Pack] = set()
        self.closed = False
        """Nothing more is handed out."""
        self.title = "sweep"
        """What a progress bar calls it."""
        self.expected = 0
        """How many jobs there will be in all, as far as a source knows."""
        self.measure: str | None = None
        """The column of the summaries by which the best is told; None: the headline measure."""
        self.add(jobs)

    def add(self, jobs: Sequence[Job]) -> None:
        """Add jobs that are checked; those of one call are packed together.

        Which they are trained with is written at once, so that who joins later, or goes on, trains the same packs.
        """
        first = len(self.jobs)
        self.jobs += jobs
        chosen = pack.packed(jobs, self._count)
        if jobs:
            pack.keep(jobs, chosen)
        self._waiting.extend(tuple(first + i for i in members) for members in chosen)

    def take(self) -> Pack | None:
        """Return what to run next; None where there is nothing now, or the queue was closed."""
        if self.closed:
            return None
        if not self._waiting and self._source is not None:
            self._source(self)
        if not self._waiting:
            return None
        taken = self._waiting.popleft()
        self._under_way.add(taken)
        return taken

    def put_back(self, taken: Pack) -> None:
        """Let a pack that nobody began be taken again."""
        self._under_way.discard(taken)
        self._waiting.appendleft(taken)

    def over(self, taken: Pack, found: Sequence[Outcome | None]) -> list[Outcome]:
        """Take what became of a pack; jobs without an outcome are trained by another process, and looked at again.

        Returns:
            The outcomes that are known.
        """
        self._under_way.discard(taken)
        known = {i: outcome for i, outcome in zip(taken, found, strict=True) if outcome is not None}
        self.outcomes |= known
        if left := tuple(i for i in taken if i not in known):
            self._elsewhere.append(left)
        return list(known.values())

    def look_again(self) -> None:
        """Put what other processes were training back, if nothing else waits."""
        if not self._waiting:
            self._waiting, self._elsewhere = self._elsewhere, deque()

    def close(self) -> None:
        """Hand nothing more out."""
        self.closed = True

    @property
    def is_live(self) -> bool:
        """Whether a source may add more."""
        return self._source is not None

    @property
    def total(self) -> int:
        """How many jobs there will be, as far as is known."""
        return max(len(self.jobs), self.expected)

    @property
    def running(self) -> int:
        """How many jobs are under way."""
        return sum(map(len, self._under_way))

    @property
    def is_empty(self) -> bool:
        """Whether nothing waits here or is under way; a source may have more."""
        return not (self._waiting or self._elsewhere or self._under_way)

    def results(self) -> list[Outcome]:
        """Return what became of every job, in the order in which they were added."""
        return [self.outcomes.get(i) or _not_started(job) for i, job in enumerate(self.jobs)]


def _not_started(job: Job) -> Outcome:
    return Outcome(job, {"status": "interrupted", "stop_reason": NOT_STARTED}, trained=False)
