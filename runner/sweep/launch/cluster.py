"""A sweep on workers elsewhere: a cluster places them, they train what this process posts in the sweep's folder.

This process posts packs, hears what became of them, has lost workers replaced and shows the bar. It trains nothing;
where it leaves, the workers finish what is posted.
"""

import contextlib
import shutil
import signal
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Protocol

from tqdm import tqdm

from runner.errors import ConfigError, OptbenchError
from runner.run import launches
from runner.run.job import BASELINES, Job
from runner.run.outcome import Outcome, finished
from runner.sweep.held import Held
from runner.sweep.launch import Launch, Report
from runner.sweep.launch.board import Board
from runner.sweep.launch.worker import lost
from runner.sweep.pack import Pack
from runner.sweep.queue import Queue
from runner.sweep.shared import Shared

POLL_SECONDS = 0.5
ASK_SECONDS = 2.0
"""How often the cluster is asked for its workers."""
END_SECONDS = 15.0
"""So long workers are given to end by themselves."""
STOP_SECONDS = 120.0
"""So long they are given to checkpoint."""
BROKEN = 3
"""So many workers in a row that end before they take anything are not replaced any more, where none ever did."""
BROKEN_LATER = 12
"""The same where others took something: these may have been preempted, or killed with their node."""
WAITING_SECONDS = 10.0
"""From when on is said what workers wait for."""


@dataclass(frozen=True)
class Gone:
    """A worker that ended."""

    number: int
    cancelled: bool
    """By hand: it is not replaced."""
    how: str


class Cluster(Protocol):
    """Places workers, each ``python -m runner.sweep.launch.worker FOLDER NUMBER`` in a folder that it sees."""

    name: str
    workers: int
    processes: int
    """How many each worker has."""

    def check(self) -> None:
        """Refuse what cannot be placed; nothing is written.

        Raises:
            ConfigError: saying what to do.
        """

    def start(self, folder: Path, numbers: Sequence[int]) -> None:
        """Have workers of these numbers on the queue of a folder.

        Raises:
            OptbenchError: if they are refused.
        """

    def alive(self) -> set[int]:
        """Return the numbers of those that wait, run, or are on their way to be started again."""

    def gone(self, number: int) -> Gone:
        """Say how a worker ended."""

    def waiting(self) -> str | None:
        """Say what workers that do not run yet wait for; None where all run."""

    def cancel(self) -> None:
        """End all workers, those that run by a signal on which they checkpoint."""

    def cancel_command(self, folder: Path) -> str:
        """Return what a user types for that."""


def launch_on(cluster: Cluster) -> Launch:
    """Return the launcher that has a queue emptied by a cluster's workers. See ``runner.sweep.launch.Launch``."""

    def launch(queue: Queue, report: Report, workers: int) -> None:
        with Board(queue) as board:

            def over(outcome: Outcome) -> None:
                board.ended(outcome)
                report(outcome)

            _Sweep(cluster, queue, over, board).run()

    return launch


@dataclass
class _Sweep:
    cluster: Cluster
    queue: Queue
    over: Report
    board: Board
    shared: Shared | None = None
    posted: dict[int, Pack] = field(default_factory=dict)
    """What is not over, by its number in the folder."""
    started: set[int] = field(default_factory=set)
    broken: int = 0
    asked: int = 0
    """The signal that asked to end."""
    _numbered: int = 0
    """So many workers were asked for so far."""
    _said: str = ""
    _spoken: float = 0.0

    def run(self) -> None:
        """Empty the queue; leave it as it is where the user wishes to."""
        with self._listening():
            looked = time.monotonic()
            while self._post() or self.posted:
                if self.shared is None:  # what was handed out was finished before
                    continue
                self._hear()
                if self.asked:
                    self._asked()
                    return
                if self.shared.is_cancelled:  # by a run that failed, with fail_fast, or by hand
                    self._stop()
                    return
                if self.posted and time.monotonic() - looked > ASK_SECONDS:
                    self.shared.beat()
                    if not self._has_workers():
                        return
                    looked = time.monotonic()
                if self.posted:
                    time.sleep(POLL_SECONDS)
            if self.shared is not None:
                self._end(self.shared)

    # ---- packs

    def _post(self) -> bool:
        """Post all that the queue holds; say whether anything was handed out."""
        handed, packs = False, []
        while (taken := self.queue.take()) is not None:
            handed = True
            jobs = [self.queue.jobs[i] for i in taken]
            found = [finished(job) for job in jobs]
            if all(found):
                self._tell(taken, [Outcome(j, s, trained=False) for j, s in zip(jobs, found, strict=True) if s])
            else:
                packs.append((taken, jobs))
        if packs:
            self.shared = self.shared or _begun(packs[0][1], self.cluster)
            numbers = self.shared.post([jobs for _, jobs in packs])
            self.posted |= {number: taken for number, (taken, _) in zip(numbers, packs, strict=True)}
        if handed and self.shared is not None and not self._numbered:
            enough = -(-len(self.posted) // self.cluster.processes)  # of a grid, which is posted whole
            self._start(self.cluster.workers if self.queue.is_live else min(self.cluster.workers, enough))
        return handed

    def _hear(self) -> None:
        assert self.shared is not None
        self.shared.look()
        for number in [n for n in self.posted if self.shared.is_over(n)]:
            taken, answers = self.posted.pop(number), self.shared.answers[number]
            jobs = [self.queue.jobs[i] for i in taken]
            self._tell(taken, [Outcome(job, *answers[place]) for place, job in enumerate(jobs)])
        self.board.under_way(0.0, self.shared.held())

    def _tell(self, taken: Pack, outcomes: Sequence[Outcome]) -> None:
        for outcome in self.queue.over(taken, outcomes):
            self.over(outcome)

    # ---- workers

    def _start(self, count: int) -> None:
        """Have so many more workers placed."""
        assert self.shared is not None
        first = self._numbered == 0
        numbers = range(self._numbered, self._numbered + count)
        try:
            self.cluster.start(self.shared.folder, numbers)
        except BaseException:
            if first:
                _clear(self.shared)
            raise
        self.started |= set(numbers)
        self._numbered += count
        if first:
            self._spoken = time.monotonic()
            where = f"{count} worker{'s' * (count > 1)} asked of {self.cluster.name}"
            tqdm.write(f"optbench: {where}; {self.cluster.cancel_command(self.shared.folder)} ends them", sys.stderr)

    def _has_workers(self) -> bool:
        """Have lost workers replaced; say whether there are any, otherwise what is left is given up."""
        assert self.shared is not None
        alive = self.cluster.alive()
        gone = [self.cluster.gone(number) for number in sorted(self.started - alive)]
        self.started &= alive
        if gone:
            self._hear()
        if not gone or not self.posted:
            self._say_what_is_waited_for()
            return True
        joined = {said["number"] for said in self.shared.joined.values()}
        for one in gone:
            self.broken = 0 if one.number in joined else self.broken + 1
            if one.number not in joined and not one.cancelled:
                tqdm.write(f"optbench: worker {one.number} ended before it took anything: {one.how}", file=sys.stderr)
        able = self.broken < (BROKEN_LATER if joined else BROKEN)
        again = [one for one in gone if able and not one.cancelled]
        if again:
            try:
                self._start(len(again))
            except OptbenchError as error:  # with those that are left it may go on
                tqdm.write(f"optbench: lost workers are not replaced: {error}", file=sys.stderr)
        if not self.started:
            self._give_up(gone[-1], bool(joined))
        return bool(self.started)

    def _say_what_is_waited_for(self) -> None:
        assert self.shared is not None
        if self.shared.joined or time.monotonic() - self._spoken < WAITING_SECONDS:
            return
        said = self.cluster.waiting()
        if said and said != self._said:
            tqdm.write(f"optbench: the workers wait for {self.cluster.name}: {said}", file=sys.stderr)
            self._said, self._spoken = said, time.monotonic()

    # ---- ends

    def _end(self, shared: Shared) -> None:
        """Let the workers end: all is done."""
        shared.complete()
        self._wait(END_SECONDS)
        if self.cluster.alive():
            self.cluster.cancel()
        shared.remove()

    def _asked(self) -> None:
        """Cancel the workers, if the user says so, or leave them to what is posted."""
        assert self.shared is not None
        if self.asked == signal.SIGINT and sys.stdin.isatty() and sys.stderr.isatty() and self._says_yes():
            self.shared.cancel()
            self.cluster.cancel()
            self._stop()
            return
        self.shared.complete()
        command = self.cluster.cancel_command(self.shared.folder)
        tqdm.write(f"optbench: the workers go on without this command; to end them: {command}", file=sys.stderr)
        self._leave("interrupted")

    def _says_yes(self) -> bool:
        with contextlib.suppress(KeyboardInterrupt, EOFError):
            signal.signal(signal.SIGINT, signal.default_int_handler)
            tqdm.write(f"optbench: end the {len(self.started)} workers too? [y/N] ", file=sys.stderr, end="")
            return sys.stdin.readline().strip().lower() in ("y", "yes")
        return False

    def _stop(self) -> None:
        """Wait until workers that were told to stop have checkpointed."""
        assert self.shared is not None
        self._wait(STOP_SECONDS)
        self.cluster.cancel()
        self._hear()
        self._leave("interrupted")
        self.shared.remove()

    def _wait(self, seconds: float) -> None:
        until = time.monotonic() + seconds
        while self.cluster.alive() and time.monotonic() < until:
            time.sleep(POLL_SECONDS)

    def _give_up(self, last: Gone, joined: bool) -> None:
        """End a sweep without workers.

        Raises:
            ConfigError: if none ever took anything.
        """
        assert self.shared is not None
        if last.cancelled:
            self.shared.complete()
            tqdm.write(f"optbench: the workers were cancelled: {last.how}", file=sys.stderr)
            self._leave("interrupted")
            self.shared.remove()
            return
        if not joined:
            folder = self.shared.folder
            _clear(self.shared)
            raise ConfigError(
                f"{self.cluster.name} started {self.broken} workers, and none could begin: {last.how}\n"
                f"each must see {folder.parent.parent}, on a file system that all hosts share, and have this Python "
                f"({sys.executable}) with optbench at the same place"
            )
        self._leave(f"no worker is left ({last.how}); the same command goes on with it")

    def _leave(self, reason: str) -> None:
        """Say of all that is not over that it is interrupted."""
        self.queue.close()
        for number, taken in list(self.posted.items()):
            known = {} if self.shared is None else self.shared.answers[number]
            jobs = [self.queue.jobs[i] for i in taken]
            left = [Outcome(j, {**lost(j, ""), "stop_reason": reason}, trained=True) for j in jobs]
            self._tell(taken, [Outcome(j, *known[p]) if p in known else left[p] for p, j in enumerate(jobs)])
        self.posted.clear()

    @contextlib.contextmanager
    def _listening(self) -> Iterator[None]:
        def note(number: int, frame: FrameType | None) -> None:
            self.asked = self.asked or number

        before = {}
        with contextlib.suppress(ValueError):  # not in the main thread
            before = {n: signal.signal(n, note) for n in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


def _begun(jobs: Sequence[Job], cluster: Cluster) -> Shared:
    first = jobs[0]
    assert isinstance(first, Held), "sweeps and searches hold jobs as overrides"
    return Shared.begin(first.folder.parent, first.make.config_dir, cluster.processes)


LEFT = {".stacks", ".locks", launches.FILE, BASELINES}
"""What a command writes into a folder before a run begins; with anything else there, others need it."""


def _clear(shared: Shared) -> None:
    """Remove what was written for a sweep of which nothing could begin."""
    shared.remove()
    runs = shared.folder.parent.parent
    if {path.name for path in runs.iterdir()} <= LEFT:
        shutil.rmtree(runs, ignore_errors=True)
        with contextlib.suppress(OSError):
            runs.parent.rmdir()
