"""Work on all cores, in processes that are forked."""

import os
import pickle
import signal
import traceback
from collections.abc import Callable, Iterator, Sequence
from multiprocessing import get_context
from multiprocessing.connection import Connection
from typing import Any, TypeVar

from runner.errors import ProcessError
from runner.run.process import can_fork, cores, end_with

T = TypeVar("T")
R = TypeVar("R")


def in_processes(function: Callable[[T], R], items: Sequence[T], at_a_time: int = 1) -> Iterator[R]:
    """Yield ``function(item)`` of each item, in order, from as many forked processes as there are processors.

    Forked processes have what this one has: neither function nor items need to be picklable. Where none can be forked,
    this process does it all. There is no thread, so that Ctrl-C, however often, leaves nothing to wait for.

    Args:
        function: what is done; what it returns is pickled.
        items: what it is done to.
        at_a_time: so many items are done before they are sent back together.

    Raises:
        ProcessError: if a process is killed or exits, or fails by an error that cannot be pickled.
    """
    if len(items) < 2 or cores() == 1 or not can_fork():
        yield from map(function, items)
        return
    parts = [items[at : at + at_a_time] for at in range(0, len(items), at_a_time)]
    fork, count = get_context("fork"), min(cores(), len(parts))
    workers, answers = [], []
    try:
        for first in range(count):
            answer, sender = fork.Pipe(duplex=False)
            worker = fork.Process(target=_work, args=(function, parts[first::count], sender, os.getpid()), daemon=True)
            worker.start()
            sender.close()  # the worker has its own: it is closed when the worker has gone
            workers.append(worker)
            answers.append(answer)
        for number in range(len(parts)):
            try:
                found = answers[number % count].recv()
            except EOFError:
                raise ProcessError("a process that worked for this one was killed: is there enough memory?") from None
            if isinstance(found, Exception):
                raise found
            yield from found
    finally:
        for worker, answer in zip(workers, answers, strict=True):
            worker.kill()
            worker.join()
            answer.close()


def _work(function: Callable[[Any], Any], parts: Sequence[Sequence[Any]], sender: Connection, parent: int) -> None:
    """Do parts of the work; a Ctrl-C is left to the process that asked, and this one ends with it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    end_with(parent)
    for part in parts:
        try:
            sender.send([function(item) for item in part])
        except (Exception, SystemExit) as error:  # a user's part may end in sys.exit
            sender.send(_as_sent(error))
            return


def _as_sent(error: BaseException) -> BaseException:
    """Return an error with where it was raised; in words, if it cannot be pickled or would end the process here."""
    raised = traceback.format_exc()
    error.add_note(raised)
    try:
        if isinstance(pickle.loads(pickle.dumps(error)), Exception):
            return error
    except Exception:
        pass
    said = ProcessError(f"a process that worked for this one ended: {type(error).__name__}: {error}")
    said.add_note(raised)
    return said
