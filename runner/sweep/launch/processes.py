"""Worker processes: each trains one run or one stack at a time; what happens to one costs its runs only."""

import contextlib
import functools
import os
import signal
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from multiprocessing import get_context
from multiprocessing.connection import Connection, wait
from multiprocessing.context import ForkContext, SpawnContext
from multiprocessing.process import BaseProcess
from types import FrameType
from typing import Any

from runner.errors import OptbenchError
from runner.run import files
from runner.run.job import Job
from runner.run.outcome import Outcome
from runner.run.process import Interruption, can_fork, cores, end_with
from runner.run.progress import Told
from runner.sweep.launch import Report, spread
from runner.sweep.launch.board import Board
from runner.sweep.launch.devices import accelerator_is_there, devices, may_use_an_accelerator, pinned
from runner.sweep.pack import Pack
from runner.sweep.queue import Queue

POLL_SECONDS = 0.5


@dataclass
class Worker:
    """A process, the parent's end of its pipe, and the jobs that it is on."""

    process: BaseProcess
    pipe: Connection
    jobs: int
    """So many of the queue's it knows: those that were there when it was forked."""
    slot: int
    """Its place among the workers, by which it has a device."""
    pack: Pack = ()
    before: tuple[int | None, ...] = ()
    """When each of the jobs had a summary written, as they were handed out."""
    progress: float = 0.0
    """The share of a stack's steps that are made."""


def number_of_workers(jobs: Sequence[Job]) -> int:
    """Return how many runs are trained at a time: as asked, or the cores, or one on each accelerator.

    Raises:
        ConfigError: if a run takes more devices than there are workers.
    """
    asked: int | None = jobs[0].config["workers"]
    if asked is None:
        on_accelerators = may_use_an_accelerator(jobs) and accelerator_is_there()
        asked = max(1, len(devices(jobs))) if on_accelerators else max(cores(), spread.places(jobs))
    return spread.at_a_time(asked, jobs)


def launch(queue: Queue, report: Report, workers: int) -> None:
    """Run every job of a queue, several packs at a time. See ``runner.sweep.launch.Launch``.

    A worker that dies loses its runs, which are interrupted and go on when the sweep is run again. A second SIGINT
    ends the workers at once.
    """
    with _Pool(queue, workers) as pool, Board(queue) as board:

        def over(outcome: Outcome) -> None:
            board.ended(outcome)
            report(outcome)
            if outcome.trained and outcome.summary["status"] == "failed" and outcome.job.config["fail_fast"]:
                pool.stop()

        pool.work(over, board.under_way)


class _Pool:
    """The workers on a queue."""

    def __init__(self, queue: Queue, size: int) -> None:
        self._queue, self._size = queue, max(1, size)
        self._workers: list[Worker] = []
        self._before: dict[int, Any] = {}
        self._asked = False

    @functools.cached_property
    def _context(self) -> ForkContext | SpawnContext:
        """How workers start: forked ones share the data that planning has read, and cannot use CUDA."""
        accelerator = may_use_an_accelerator(self._queue.jobs) and accelerator_is_there()
        return get_context("spawn") if accelerator or not can_fork() else get_context("fork")

    @functools.cached_property
    def _devices(self) -> list[str]:
        return devices(self._queue.jobs)

    def __enter__(self) -> "_Pool":
        with contextlib.suppress(ValueError):  # not in the main thread
            self._before = {n: signal.signal(n, self._on_signal) for n in (signal.SIGINT, signal.SIGTERM)}
        return self

    def __exit__(self, *ignored: object) -> None:
        for worker in self._workers:
            with contextlib.suppress(OSError):
                worker.pipe.send(None)
        for worker in self._workers:
            worker.process.join(5)
            if worker.process.is_alive():
                worker.process.kill()
                worker.process.join()
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        if self._asked and number == signal.SIGINT:
            for worker in self._workers:
                worker.process.kill()
            raise KeyboardInterrupt
        self._asked = self._asked or number == signal.SIGINT
        self.stop()

    def stop(self) -> None:
        """Start nothing more, and let what runs checkpoint and end."""
        self._queue.close()
        for worker in self._workers:
            if worker.pack and worker.process.pid is not None:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(worker.process.pid, signal.SIGTERM)

    def work(self, over: Callable[[Outcome], None], under_way: Callable[[float], None]) -> None:
        """Hand out packs until none is left; ``under_way`` hears how many runs' worth of those that run is done."""
        looked = time.monotonic()
        while True:
            self._hand_out()
            busy = [worker for worker in self._workers if worker.pack]
            if not busy and (self._queue.closed or self._queue.is_empty):
                return
            if not busy:  # all that is left is being trained elsewhere
                time.sleep(POLL_SECONDS)
            ready = wait([worker.pipe for worker in busy], POLL_SECONDS)
            for worker in busy:
                if worker.pipe in ready:
                    for outcome in self._receive(worker):
                        over(outcome)
                    under_way(sum(len(w.pack) * w.progress for w in self._workers))
            if time.monotonic() - looked > POLL_SECONDS:  # once in a while, at what another process was training
                self._queue.look_again()
                looked = time.monotonic()

    def _hand_out(self) -> None:
        while True:
            idle = next((worker for worker in self._workers if not worker.pack), None)
            if idle is None and len(self._workers) >= self._size:
                return
            if (taken := self._queue.take()) is None:
                return
            worker = idle or self._start()
            worker.before = tuple(files.written_at(self._queue.jobs[i].folder) for i in taken)
            known = all(i < worker.jobs for i in taken)
            try:
                worker.pipe.send((taken, None if known else [self._queue.jobs[i] for i in taken]))
            except OSError:  # it died while it had nothing to do
                self._workers.remove(worker)
                worker.process.join()
                self._queue.put_back(taken)
                continue
            worker.pack = taken

    def _start(self) -> Worker:
        ours, theirs = self._context.Pipe()
        jobs = tuple(self._queue.jobs) if self._context.get_start_method() == "fork" else ()
        process = self._context.Process(target=_serve, args=(theirs, jobs, os.getpid()), daemon=True)
        slot = next(i for i in range(self._size) if i not in [worker.slot for worker in self._workers])
        with pinned(self._devices, slot, spread.places(self._queue.jobs)):
            process.start()
        theirs.close()
        worker = Worker(process, ours, len(jobs), slot)
        self._workers.append(worker)
        return worker

    def _receive(self, worker: Worker) -> list[Outcome]:
        """Return what became of a worker's jobs; those that another process trains wait for it."""
        taken, queue = worker.pack, self._queue
        try:
            answers = worker.pipe.recv()
        except (EOFError, OSError):
            worker.pack = ()
            self._workers.remove(worker)
            worker.process.join()
            code = worker.process.exitcode
            jobs = [(queue.jobs[i], before) for i, before in zip(taken, worker.before, strict=True)]
            lost = [Outcome(job, self._death(code, job, before), trained=True) for job, before in jobs]
            return queue.over(taken, lost)
        if isinstance(answers, float):
            worker.progress = answers
            return []
        worker.pack, worker.progress = (), 0.0
        answered = zip(taken, answers, strict=True)
        return queue.over(taken, [None if a is None else Outcome(queue.jobs[i], *a) for i, a in answered])

    def _death(self, code: int | None, job: Job, before: int | None) -> dict[str, Any]:
        how = f"by {signal.Signals(-code).name}" if code is not None and code < 0 else f"with exit code {code}"
        summary = files.read_summary(job.folder)
        its_own = summary is not None and files.written_at(job.folder) != before  # not that of an earlier start
        if summary is not None and its_own and summary["status"] in files.ENDED:  # it died after its work was done
            return summary
        reason = "interrupted" if self._queue.closed else f"its worker ended {how}; the same command goes on with it"
        return {"status": "interrupted", "stop_reason": reason, "run_id": job.run_id}


def _serve(pipe: Connection, jobs: Sequence[Job], parent: int) -> None:
    """Train what comes through the pipe until it closes: packs of the jobs at hand, or jobs that were added later."""
    end_with(parent)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_DFL)
    import torch

    with contextlib.suppress(EOFError, KeyboardInterrupt, BrokenPipeError):
        while True:
            given = pipe.recv()
            if given is None:
                break
            taken, sent = given
            chosen: Sequence[Job] = sent or [jobs[i] for i in taken]
            try:
                if chosen[0].config.get("threads") is None:
                    torch.set_num_threads(1)
                outcomes = spread.train(chosen, Interruption(), Told(pipe.send))
            except OptbenchError as error:  # what it is made of has changed
                outcomes = [*spread.failed(chosen, error)]
            pipe.send([None if outcome is None else (outcome.summary, outcome.trained) for outcome in outcomes])
    os._exit(0)  # not the parent's exit handlers
