"""Work on all cores, in processes that are forked."""

import multiprocessing
import os
import signal
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from typing import Any, TypeVar

from runner.run.process import can_fork, cores, end_with

T = TypeVar("T")
R = TypeVar("R")


def in_processes(function: Callable[[T], R], items: Sequence[T], at_a_time: int = 1) -> Iterator[R]:
    """Yield ``function(item)`` of each item, in order, from as many forked processes as there are processors.

    Forked processes have what this one has: neither function nor items need to be picklable. Where none can be forked,
    this process does it all.

    Args:
        function: what is done; what it returns is pickled.
        items: what it is done to.
        at_a_time: so many items are given to a process at once.
    """
    if len(items) < 2 or cores() == 1 or not can_fork():
        yield from map(function, items)
        return
    global _work
    _work, before = (function, items), multiprocessing.active_children()
    processes = ProcessPoolExecutor(
        min(cores(), len(items)), multiprocessing.get_context("fork"), _begin, (os.getpid(),)
    )
    try:
        yield from processes.map(_done, range(len(items)), chunksize=at_a_time)
    except BaseException:  # nobody waits for what they are at, and a second Ctrl-C finds nothing to wait for
        for process in multiprocessing.active_children():
            if process not in before:
                process.kill()
        raise
    finally:
        processes.shutdown()


_work: tuple[Callable[[Any], Any], Sequence[Any]]
"""What forked processes do, and to what."""


def _done(number: int) -> Any:
    function, items = _work
    return function(items[number])


def _begin(parent: int) -> None:
    """Leave a Ctrl-C to the process that asked, and end with it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    end_with(parent)
