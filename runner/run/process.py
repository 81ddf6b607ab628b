"""What this process does while it trains: it takes signals well, and PyTorch is set as a job asks."""

import ctypes
import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # of what a job needs, which `optbench doctor` can do without
    from runner.run.job import Job

POLL_SECONDS = 0.5
SMALL_STEP_FLOPS = 5e7
"""Of a step that is over in a millisecond or two on one core: there a second one saves a third of the time at most."""
GLIBC_KEEPS = ((-3, 2**25), (-1, 2**28))
"""Its ``M_MMAP_THRESHOLD``, the most it takes, and ``M_TRIM_THRESHOLD`` (malloc.h), in bytes."""


class Interruption:
    """Set by the first Ctrl-C or SIGTERM; the second Ctrl-C ends the process at once."""

    def __init__(self) -> None:
        self.requested = False

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Take the signals while the block runs."""

        def note(number: int, frame: FrameType | None) -> None:
            if self.requested and number == signal.SIGINT:
                raise KeyboardInterrupt
            self.requested = True

        try:
            before = {number: signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM)}
        except ValueError:  # not in the main thread: whoever runs the threads takes the signals
            yield
            return
        outermost = not _outside
        if outermost:
            _outside.update(before)
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
            if outermost:
                _outside.clear()


_outside: dict[signal.Signals, Any] = {}
"""How this process takes signals outside of ``Interruption.listening``, while it listens."""


def _hold_signals() -> None:
    """Keep signals back while the process forks: Python forgets those that reach a child before it is set up."""
    if _outside:
        signal.pthread_sigmask(signal.SIG_BLOCK, _outside)


def _let_signals_in() -> None:
    if _outside:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _outside)


def _take_signals_as_outside() -> None:
    """Have a forked child, such as one of a pool that training started, end by signals as any process does."""
    for number, handler in _outside.items():
        signal.signal(number, handler)
    _let_signals_in()
    _outside.clear()


os.register_at_fork(before=_hold_signals, after_in_parent=_let_signals_in, after_in_child=_take_signals_as_outside)


@contextmanager
def children_end() -> Iterator[None]:
    """End a child that the block forked where the block ends: what follows is its parent's."""
    owner = os.getpid()
    try:
        yield
    except BaseException as error:
        if os.getpid() == owner:
            raise
        if not isinstance(error, SystemExit):
            traceback.print_exc()
        os._exit(int(not isinstance(error, SystemExit) or bool(error.code)))
    if os.getpid() != owner:
        os._exit(0)


def cores() -> int:
    """Return how many processors this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def end_with(parent: int) -> None:
    """Have this process end when its parent has gone, however that ended."""

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(POLL_SECONDS)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def threads_for(job: "Job", step_flops: float) -> int:
    """Return the CPU threads that a run trains with: as asked, or one where its steps are small.

    Threads that wait for one another cost little on an idle machine, and 50 times the step on a busy one.
    """
    import torch

    asked: int | None = job.config["threads"]
    return asked or (1 if step_flops < SMALL_STEP_FLOPS else torch.get_num_threads())


def can_fork() -> bool:
    """Say whether workers may be forked: not beside CUDA or Ray, of whose threads a child would have only the locks."""
    torch, ray = sys.modules.get("torch"), sys.modules.get("ray")
    on_cuda = torch is not None and torch.cuda.is_initialized()
    return sys.platform == "linux" and not on_cuda and not (ray is not None and ray.is_initialized())


@contextmanager
def torch_settings(job: "Job") -> Iterator[None]:
    """Set PyTorch's threads, determinism and smallest numbers for the block alone."""
    import torch

    of_job = {key: job.config.get(key) for key in ("threads", "deterministic")}  # which not every task uses
    if of_job["deterministic"]:
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # without it cuBLAS refuses to be deterministic
    threads, deterministic = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()
    torch.set_num_threads(of_job["threads"] or threads)
    _set_deterministic(bool(of_job["deterministic"]))
    torch.set_flush_denormal(True)  # moments of weights without a gradient fade into numbers 100 times as slow
    _keep_freed_memory()
    try:
        yield
    finally:
        torch.set_flush_denormal(False)
        torch.set_num_threads(threads)
        _set_deterministic(deterministic)


def _set_deterministic(wanted: bool) -> None:
    """Set what is not set already: PyTorch tells its compiler too, whose import takes as long as its own."""
    import torch

    if torch.are_deterministic_algorithms_enabled() != wanted:
        torch.use_deterministic_algorithms(wanted)


def _keep_freed_memory() -> None:
    """Let the C library keep what a step frees for the next one, where it is glibc.

    It would give tensors above 128 KiB back to the system, and every page of the next ones would cost a fault.
    """
    with suppress(AttributeError, OSError, TypeError):
        for parameter, value in GLIBC_KEEPS:
            ctypes.CDLL(None).mallopt(parameter, value)
