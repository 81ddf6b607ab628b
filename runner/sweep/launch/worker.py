"""A worker of a sweep: ``python -m runner.sweep.launch.worker FOLDER NUMBER`` trains what is posted in a folder.

It has as many processes as the sweep says, each with one pack at a time. It ends when nothing is left to train, or, on
SIGTERM or SIGINT, when what runs is checkpointed; a lost process costs its pack alone.
"""

import contextlib
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from multiprocessing import get_context
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

from runner import INTERRUPTED
from runner.errors import OptbenchError
from runner.run.job import Job
from runner.run.outcome import Outcome
from runner.run.process import Interruption, can_fork, end_with
from runner.sweep.launch import spread
from runner.sweep.launch.devices import accelerator_is_there, devices, may_use_an_accelerator, pinned
from runner.sweep.shared import MOST_DEATHS, Shared, Watch

WITH_PARENT = "--with-parent"
"""Has a worker end when whoever started it does."""
STOPS = (signal.SIGINT, signal.SIGTERM)
"""What has a worker checkpoint and end."""
POLL_SECONDS = 0.5
"""How often is looked for more packs, and for a cancellation."""
LOOK_AGAIN_SECONDS = 3.0
"""How often is looked at packs that others hold."""
OVER_SECONDS = 1.0
"""A process whose worker is ended with it is not spoken for: so long is waited to see."""


def work(folder: Path, number: int) -> int:
    """Train until nothing is left; return the exit code.

    Args:
        folder: of the queue.
        number: of the worker, which tells where in the queue it begins.

    Raises:
        OSError: if this host does not see the folder.
    """
    shared = Shared(folder)
    settings = shared.settings()
    os.chdir(settings["folder"])
    sys.path.insert(0, settings["folder"])  # parts of one's own
    shared.look()
    supervisor = _Supervisor(shared, number, settings["processes"])
    for signalled in STOPS:
        signal.signal(signalled, supervisor.on_signal)
    return supervisor.run()


class _Supervisor:
    """Keeps the processes of a worker, and speaks for those that die."""

    def __init__(self, shared: Shared, number: int, size: int) -> None:
        jobs = [job for pack in shared.packs[:1] for job in pack]
        self._places = spread.places(jobs)
        self._shared, self._number, self._size = shared, number, max(1, size // self._places)
        self._processes: list[BaseProcess | None] = [None] * self._size
        self._stopping = False
        self._broken = 0
        self._spawns = not can_fork() or (may_use_an_accelerator(jobs) and accelerator_is_there())
        self._devices = devices(jobs)
        self._context = get_context("spawn" if self._spawns else "fork")

    def on_signal(self, *ignored: object) -> None:
        """Let what runs checkpoint and end."""
        self._stopping = True

    def run(self) -> int:
        if not self._spawns:
            import torch  # noqa: F401  # once, for all of them

        over = [False] * self._size
        told = False
        while not all(over):
            for slot, process in enumerate(self._processes):
                if over[slot]:
                    continue
                if process is None:
                    over[slot] = self._stopping
                    if not self._stopping:
                        self._start(slot)
                elif not process.is_alive():
                    over[slot] = self._ended(process, slot)
                    self._processes[slot] = None
            if self._stopping and not told:
                told = True
                self._tell()
            time.sleep(POLL_SECONDS / 5)
        return 1 if self._broken else INTERRUPTED if self._stopping or self._shared.is_cancelled else 0

    def _start(self, slot: int) -> None:
        asked = (self._shared.folder, self._number, slot, self._size, os.getpid())
        process: BaseProcess = self._context.Process(target=_serve, args=asked)  # type: ignore[attr-defined]
        with pinned(self._devices, slot, self._places), _signals_wait():
            process.start()
        self._processes[slot] = process
        if self._stopping:  # the signal came while it was started
            self._tell()

    def _tell(self) -> None:
        for process in self._processes:
            if process is not None and process.pid is not None and process.is_alive():
                os.kill(process.pid, signal.SIGTERM)

    def _ended(self, process: BaseProcess, slot: int) -> bool:
        """Say whether nothing takes a process's place; speak for one that died."""
        code = process.exitcode
        if code in (0, INTERRUPTED):
            return True
        number = self._shared.was_on(_called(self._number, slot))
        if number is None:  # it died of something else than a run
            time.sleep(OVER_SECONDS)
            self._broken += 1
            return True
        how = f"by {signal.Signals(-code).name}" if code is not None and code < 0 else f"with exit code {code}"
        self._shared.look()
        with self._shared.claim(number) as ours:  # at once, before another process dies of it too
            time.sleep(OVER_SECONDS)
            if ours:
                self._shared.join({"number": self._number})
                _give_up(self._shared, number, f"its worker ended {how}")
        return self._stopping


def _called(number: int, slot: int) -> str:
    return f"{number}.{slot}"


def _give_up(shared: Shared, number: int, why: str) -> None:
    known, jobs = shared.answers[number], shared.packs[number]
    left = {place: job for place, job in enumerate(jobs) if place not in known}
    shared.found(number, {place: Outcome(job, lost(job, why), trained=True) for place, job in left.items()})


def lost(job: Job, why: str) -> dict[str, Any]:
    """Return what is said of a run that whoever trained it lost."""
    reason = f"{why}; the same command goes on with it"
    return {"status": "interrupted", "stop_reason": reason, "run_id": job.run_id}


@contextlib.contextmanager
def _signals_wait() -> Iterator[None]:
    """Keep signals back: a process that the block starts has them wait too, until it listens, so that none is lost."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, STOPS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _serve(folder: Path, number: int, slot: int, slots: int, parent: int) -> None:
    """Train one pack after the other; ends the process."""
    end_with(parent)
    interruption = Interruption()
    code = 1
    with interruption.listening():
        signal.pthread_sigmask(signal.SIG_UNBLOCK, STOPS)
        import torch

        shared = Shared(folder)
        shared.join({"number": number, "slot": slot})
        threading.Thread(target=_end_when_cancelled, args=(shared,), daemon=True).start()
        threads = torch.get_num_threads()
        shared.look()
        first = shared.packs[0][0].config if shared.packs else {}
        torch.set_num_threads(1 if first.get("threads") is None else threads)
        try:
            _take(shared, number * slots + slot, _called(number, slot), interruption)
        except FileNotFoundError:
            if shared.folder.is_dir():
                raise
            interruption.requested = True  # the queue was removed: the sweep is over
        code = INTERRUPTED if interruption.requested else 0
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)  # not the parent's exit handlers


def _end_when_cancelled(shared: Shared) -> None:
    while not shared.is_cancelled:
        time.sleep(POLL_SECONDS)
    os.kill(os.getpid(), signal.SIGTERM)


def _take(shared: Shared, place: int, who: str, interruption: Interruption) -> None:
    """Take packs until none is left, beginning at another place than others do."""
    watch = Watch()
    begin = int(len(shared.packs) * ((place * 0.6180339887) % 1))  # spread, however many there are
    looked = 0.0
    while not interruption.requested and shared.folder.is_dir():
        shared.look()
        left = [n for n in range(len(shared.packs)) if not shared.is_over(n)]
        if not left and shared.takes_no_more(watch):
            return
        posted = len(shared.packs)
        if left and (posted > begin or time.monotonic() - looked > LOOK_AGAIN_SECONDS):
            _go_through([*(n for n in left if n >= begin), *(n for n in left if n < begin)], shared, who, interruption)
            looked = time.monotonic()
        begin = posted  # what is posted later is looked at first
        time.sleep(POLL_SECONDS if not interruption.requested else 0)


def _go_through(numbers: Sequence[int], shared: Shared, who: str, interruption: Interruption) -> None:
    for number in numbers:
        if interruption.requested:
            return
        with shared.claim(number) as ours:
            if ours:
                with shared.on(number, who):
                    _train(shared, number, interruption)


def _train(shared: Shared, number: int, interruption: Interruption) -> None:
    """Train what is left of a pack that is held."""
    with shared.trying(number) as deaths:
        if deaths >= MOST_DEATHS:
            _give_up(shared, number, f"{deaths} processes that trained it died")
            return
        left = [place for place in range(len(shared.packs[number])) if place not in shared.answers[number]]
        jobs = [shared.packs[number][place] for place in left]
        outcomes = spread.train(jobs, interruption)
        known = {place: outcome for place, outcome in zip(left, outcomes, strict=True) if outcome is not None}
        ended = {p: o for p, o in known.items() if not _was_stopped(o, interruption)}
        shared.found(number, ended)
    if any(outcome.trained and outcome.summary["status"] == "failed" for outcome in ended.values()):
        with contextlib.suppress(OptbenchError):  # a run that cannot be composed any more
            if jobs[0].config["fail_fast"]:
                shared.cancel()


def _was_stopped(outcome: Outcome, interruption: Interruption) -> bool:
    """Say whether a run is left for another worker to go on with."""
    return outcome.summary["status"] == "interrupted" and interruption.requested


def main(argv: Sequence[str]) -> int:
    """Work; say what is wrong with the folder, if anything is."""
    folder, number = Path(argv[0]), int(argv[1])
    if WITH_PARENT in argv:
        end_with(os.getppid())
    try:
        return work(folder, number)
    except (OSError, ValueError) as error:
        sys.stderr.write(f"optbench: {folder} cannot be read here ({os.uname().nodename}): {error}\n")
        return 2


if __name__ == "__main__":
    with contextlib.suppress(BrokenPipeError):
        sys.exit(main(sys.argv[1:]))
