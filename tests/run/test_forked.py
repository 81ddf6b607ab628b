"""Work on all cores: in order, errors as they are, and no process is left."""

import os
import signal
import sys
import time
from collections.abc import Iterator
from multiprocessing import active_children

import pytest

from runner.errors import ProcessError
from runner.run import forked
from runner.run.forked import in_processes


@pytest.fixture(autouse=True)
def _no_process_is_left(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(forked, "cores", lambda: 2)
    yield
    began = time.monotonic()
    while active_children():
        assert time.monotonic() - began < 30
        time.sleep(0.01)


@pytest.mark.parametrize("at_a_time", [1, 2, 9])
def test_results_come_in_order_from_other_processes(at_a_time: int) -> None:
    found = list(in_processes(lambda n: (n * n, os.getpid()), range(7), at_a_time))
    assert [square for square, _ in found] == [n * n for n in range(7)]
    assert os.getpid() not in {pid for _, pid in found}


def test_one_item_is_done_here() -> None:
    assert list(in_processes(lambda n: os.getpid(), [1])) == [os.getpid()]


def test_an_error_is_raised_as_it_is() -> None:
    with pytest.raises(ZeroDivisionError):
        list(in_processes(lambda n: 1 // n, [1, 0, 2]))


def test_a_process_that_is_killed_is_named() -> None:
    with pytest.raises(ProcessError, match="was killed"):
        list(in_processes(lambda n: os.kill(os.getpid(), signal.SIGKILL) if n else n, range(3)))


class OfTwo(Exception):
    """Cannot be made again of its message alone, as unpickling does."""

    def __init__(self, one: str, other: str) -> None:
        super().__init__(f"{one} and {other}")


def leave(how: str) -> None:
    if how == "exits":
        sys.exit("no licence")
    if how == "holds what cannot be pickled":
        raise ValueError("a lambda", lambda: None)
    raise OfTwo("one", "other")


@pytest.mark.parametrize(
    ("how", "said"),
    [
        ("exits", "SystemExit: no licence"),
        ("holds what cannot be pickled", "ValueError: .*a lambda"),
        ("cannot be made again", "OfTwo: one and other"),
    ],
)
def test_what_cannot_be_sent_is_said(how: str, said: str) -> None:
    with pytest.raises(ProcessError, match=said):
        list(in_processes(lambda n: leave(how) if n else n, range(3)))


@pytest.mark.parametrize("error", [KeyboardInterrupt, GeneratorExit])
def test_whoever_stops_waits_for_nothing(error: type[BaseException]) -> None:
    found = in_processes(lambda n: time.sleep(0 if n == 0 else 60), range(3))
    next(found)
    began = time.monotonic()
    with pytest.raises(error):
        found.throw(error)
    assert time.monotonic() - began < 30
