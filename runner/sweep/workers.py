"""Worker processes: each trains one run or one stack at a time; what happens to one costs its runs only."""

import contextlib
import os
import signal
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from multiprocessing import get_context
from multiprocessing.connection import Connection, wait
from multiprocessing.context import ForkContext, SpawnContext
from multiprocessing.process import BaseProcess
from types import FrameType
from typing import Any

from tqdm import tqdm

from runner.errors import OptbenchError
from runner.measures import HIGHER_IS_BETTER, headlines
from runner.run import record
from runner.run.claim import run_job
from runner.run.job import Job
from runner.run.life import Interruption, Outcome
from runner.run.stack import run_stack
from runner.sweep.stacking import Task, tasks

POLL_SECONDS = 0.5
NOT_STARTED = "not started"


class RunFailed(Exception):
    """Tells another sweeper of Hydra's that a run it asked for has no result."""


@dataclass
class Worker:
    """A process, the parent's end of its pipe, and the jobs that it is on."""

    process: BaseProcess
    pipe: Connection
    task: Task = ()
    progress: float = 0.0
    """The share of a stack's steps that are made."""


def number_of_workers(jobs: Sequence[Job]) -> int:
    """Return how many runs are trained at a time: as asked, or the cores, or one on an accelerator."""
    asked: int | None = jobs[0].config["workers"]
    if asked is not None:
        return asked
    if any(job.config["device"] != "cpu" for job in jobs) and _accelerator_is_there():
        return 1
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def run_jobs(jobs: Sequence[Job], report: Callable[[Outcome], None]) -> list[Outcome]:
    """Run every job that is not finished, several at a time; return what became of each.

    A worker that dies loses its run, which is interrupted and goes on when the sweep is run again. SIGINT and SIGTERM
    let every run checkpoint and end; a second SIGINT ends the workers at once.
    """
    outcomes: dict[int, Outcome] = {}
    fail_fast = jobs[0].config["fail_fast"]
    with _Pool(jobs, number_of_workers(jobs)) as pool, _Board(len(jobs)) as board:

        def over(index: int, outcome: Outcome) -> None:
            outcomes[index] = outcome
            board.ended(outcome)
            report(outcome)
            if fail_fast and outcome.summary["status"] == "failed":
                pool.stop()

        pool.work(over, board.under_way)
    waiting = {"status": "interrupted", "stop_reason": NOT_STARTED}
    return [outcomes.get(index) or Outcome(job, waiting, trained=False) for index, job in enumerate(jobs)]


class _Pool:
    """The workers and what is left to do."""

    def __init__(self, jobs: Sequence[Job], size: int) -> None:
        self._jobs, self._size = jobs, max(1, min(size, len(jobs)))
        self._pending: deque[Task] = deque(tasks(jobs, self._size))
        self._held_elsewhere: deque[Task] = deque()
        self._workers: list[Worker] = []
        self._stopping = False
        self._before: dict[int, Any] = {}
        # Forked workers share the data that planning has read; CUDA cannot be used in a forked process.
        accelerator = any(job.config["device"] != "cpu" for job in jobs) and _accelerator_is_there()
        spawned = accelerator or sys.platform != "linux"
        self._context: ForkContext | SpawnContext = get_context("spawn") if spawned else get_context("fork")

    @property
    def running(self) -> int:
        """How many runs are being trained."""
        return sum(len(worker.task) for worker in self._workers)

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
        if self._stopping and number == signal.SIGINT:
            for worker in self._workers:
                worker.process.kill()
            raise KeyboardInterrupt
        self.stop()

    def stop(self) -> None:
        """Start nothing more, and let what runs checkpoint and end."""
        self._stopping = True
        for worker in self._workers:
            if worker.task and worker.process.pid is not None:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(worker.process.pid, signal.SIGTERM)

    def work(self, over: Callable[[int, Outcome], None], under_way: Callable[[int, float], None]) -> None:
        """Hand out jobs until none is left; ``under_way`` hears how many run and how many runs' worth is done."""
        while True:
            self._hand_out()
            busy = [worker for worker in self._workers if worker.task]
            if not busy and (self._stopping or not (self._pending or self._held_elsewhere)):
                return
            if not busy:  # all that is left is being trained elsewhere
                time.sleep(POLL_SECONDS)
            ready = wait([worker.pipe for worker in busy], POLL_SECONDS)
            for worker in busy:
                if worker.pipe in ready:
                    for index, outcome in self._receive(worker):
                        over(index, outcome)
                    under_way(self.running, sum(len(w.task) * w.progress for w in self._workers))
            if not self._pending:  # once in a while, look again at what another process was training
                self._pending, self._held_elsewhere = self._held_elsewhere, deque()

    def _hand_out(self) -> None:
        while self._pending and not self._stopping:
            idle = next((worker for worker in self._workers if not worker.task), None)
            if idle is None and len(self._workers) < self._size:
                idle = self._start()
            if idle is None:
                return
            idle.task = self._pending.popleft()
            forked = self._context.get_start_method() == "fork"
            idle.pipe.send((idle.task, None if forked else [self._jobs[i] for i in idle.task]))

    def _start(self) -> Worker:
        ours, theirs = self._context.Pipe()
        jobs = self._jobs if self._context.get_start_method() == "fork" else None
        process = self._context.Process(target=_serve, args=(theirs, jobs, os.getpid()), daemon=True)
        process.start()
        theirs.close()
        worker = Worker(process, ours)
        self._workers.append(worker)
        return worker

    def _receive(self, worker: Worker) -> list[tuple[int, Outcome]]:
        """Return what became of a worker's jobs; those that another process trains wait for it."""
        task = worker.task
        try:
            answers = worker.pipe.recv()
        except (EOFError, OSError):
            worker.task = ()
            self._workers.remove(worker)
            worker.process.join()
            code = worker.process.exitcode
            return [(i, Outcome(self._jobs[i], self._death(code, self._jobs[i]), trained=True)) for i in task]
        if isinstance(answers, float):
            worker.progress = answers
            return []
        worker.task, worker.progress = (), 0.0
        waiting = tuple(index for index, answer in zip(task, answers, strict=True) if answer is None)
        self._held_elsewhere.extend([waiting] if waiting else [])
        found = ((index, answer) for index, answer in zip(task, answers, strict=True) if answer is not None)
        return [(index, Outcome(self._jobs[index], *answer)) for index, answer in found]

    def _death(self, code: int | None, job: Job) -> dict[str, Any]:
        how = f"by {signal.Signals(-code).name}" if code is not None and code < 0 else f"with exit code {code}"
        summary = record.read_summary(job.folder)
        if summary is not None and summary["status"] in record.FINISHED:  # it died after its work was done
            return summary
        reason = "interrupted" if self._stopping else f"its worker ended {how}; the same command goes on with it"
        return {"status": "interrupted", "stop_reason": reason, "run_id": job.run_id}


def _serve(pipe: Connection, jobs: Sequence[Job] | None, parent: int) -> None:
    """Train what comes through the pipe until it closes."""
    threading.Thread(target=_end_with, args=(parent,), daemon=True).start()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_DFL)
    import torch

    with contextlib.suppress(EOFError, KeyboardInterrupt, BrokenPipeError):
        while True:
            given = pipe.recv()
            if given is None:
                break
            task, sent = given
            chosen: Sequence[Job] = sent if jobs is None else [jobs[i] for i in task]
            if chosen[0].config["threads"] is None:
                torch.set_num_threads(1)
            try:
                if len(chosen) > 1:
                    outcomes = run_stack(chosen, "none", Interruption(), pipe.send)
                else:
                    outcomes = [run_job(chosen[0], save="none", interruption=Interruption(), bar=False, wait=False)]
                answers = [None if outcome is None else (outcome.summary, outcome.trained) for outcome in outcomes]
            except OptbenchError as error:
                answers = [({"status": "failed", "stop_reason": str(error), "run_id": j.run_id}, True) for j in chosen]
            pipe.send(answers)
    os._exit(0)  # not the parent's exit handlers


def _end_with(parent: int) -> None:
    """End this process when its parent has gone, however that ended."""
    while os.getppid() == parent:
        time.sleep(POLL_SECONDS)
    os._exit(1)


def _accelerator_is_there() -> bool:
    import torch

    return torch.cuda.is_available() or torch.backends.mps.is_available()


class _Board:
    """One progress bar for the sweep: done, running, the best so far, diverged, failed, time left."""

    def __init__(self, jobs: int) -> None:
        tqdm.monitor_interval = 0  # no thread beside this one: workers are forked
        shown = sys.stderr.isatty()
        self._bar: tqdm[Any] = tqdm(total=jobs, unit="run", desc="sweep", disable=not shown, dynamic_ncols=True)
        self._counts = {"diverged": 0, "failed": 0}
        self._ended = 0
        self._best: float | None = None

    def __enter__(self) -> "_Board":
        return self

    def __exit__(self, *ignored: object) -> None:
        self._bar.close()

    def ended(self, outcome: Outcome) -> None:
        """Count one more run."""
        self._ended += 1
        status = outcome.summary["status"]
        if status in self._counts:
            self._counts[status] += 1
        if names := headlines(outcome.summary):
            value, measure = float(outcome.summary[names[0]]), names[0].removeprefix("final_val_")
            better = max if HIGHER_IS_BETTER[measure] else min
            self._best = value if self._best is None else better(self._best, value)

    def under_way(self, running: int, share: float) -> None:
        """Show how many runs are being trained, and how many runs' worth of that is done."""
        best = {} if self._best is None else {"best": f"{self._best:.4g}"}
        self._bar.set_postfix({"running": running, **best, **self._counts}, refresh=False)
        self._bar.update(round(self._ended + share, 1) - self._bar.n)
