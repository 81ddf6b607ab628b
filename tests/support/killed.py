"""Commands that a signal stops at an evaluation of theirs, whatever the machine's speed, and runs to be stopped."""

import contextlib
import math
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path

import pytest

from runner.engine import checkpoint
from runner.run import life
from tests.support import forked
from tests.support.records import run_folder

PATIENCE_SECONDS = 300.0
"""How long a process may take to do what it will do at last, however slow the machine."""


def start(folder: Path, *argv: str, evaluations: int, number: signal.Signals = signal.SIGKILL) -> int:
    """``optbench …`` in a folder, whose processes are sent a signal once one has recorded so many evaluations.

    It is sent once, whoever of them is first. There is a checkpoint of each evaluation but the last, and an evaluation
    of a stack counts as one.
    """

    def prepare() -> None:
        patch, seen, record = pytest.MonkeyPatch(), count(1), life.Life._record

        def recorded(self: life.Life, found: object) -> None:
            record(self, found)  # type: ignore[arg-type]
            if next(seen) == evaluations:
                with contextlib.suppress(FileExistsError):  # another worker was first: a second Ctrl-C ends all at once
                    (folder / "signalled").touch(exist_ok=False)
                    os.killpg(0, number)

        patch.setattr(life.Life, "_record", recorded)
        patch.setattr(checkpoint, "SECONDS_BETWEEN", 0.0)
        patch.setattr(checkpoint, "SHARE_OF_TIME", math.inf)

    (folder / "signalled").unlink(missing_ok=True)
    return forked.start(folder, *argv, prepare=prepare)


def stop(folder: Path, *argv: str, evaluations: int, number: signal.Signals = signal.SIGKILL) -> str:
    """Start a command, and wait until the signal has ended it; return what it said."""
    code = forked.code_of(start(folder, *argv, evaluations=evaluations, number=number))
    said = (folder / "said.txt").read_text()
    assert code == (-number if number == signal.SIGKILL else 130), said
    return said


@contextlib.contextmanager
def ending_with_the_test() -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Give what starts ``python -m …`` in the current folder; at the end, what still runs of any of them is killed.

    Such a process imports everything itself, and heads a group of its own.
    """
    started: list[subprocess.Popen[str]] = []

    def python_m(*argv: str) -> subprocess.Popen[str]:
        started.append(
            subprocess.Popen(
                [sys.executable, "-m", *argv],
                text=True,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                start_new_session=True,
            )
        )
        return started[-1]

    try:
        yield python_m
    finally:
        for process in started:
            with process, contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)


def wait_until(there: Callable[[], bool], process: subprocess.Popen[str]) -> None:
    """Wait for something that a process does, as long as it runs."""
    until = time.monotonic() + PATIENCE_SECONDS
    while not there():
        assert process.poll() is None, f"it ended before: {process.communicate(timeout=PATIENCE_SECONDS)}"
        assert time.monotonic() < until, "it did nothing of the kind"
        time.sleep(0.02)


def wait_for_rows(folder: Path, rows: int, process: subprocess.Popen[str]) -> Path:
    """Wait until a run of a process has written so many rows; return its folder."""

    def long_enough() -> list[Path]:
        paths = folder.glob("outputs/default/*/metrics.csv")
        return [path.parent for path in paths if len(path.read_text().splitlines()) > rows]

    wait_until(lambda: bool(long_enough()), process)
    return long_enough()[0]


def killed_and_finished(optbench: Callable, folder: Path, asked: list[str]) -> tuple[Path, Path]:
    """Return the folders of a run that was killed at its fifth row and finished, and of one that was left alone."""
    (folder / "undisturbed").mkdir()
    os.chdir(folder / "undisturbed")
    assert optbench("train", *asked).code == 0
    expected = run_folder(folder / "undisturbed")
    stop(folder, "train", *asked, evaluations=5)
    run = run_folder(folder)
    assert not (run / "summary.json").exists()
    os.chdir(folder)
    assert optbench("train", *asked).code == 0
    return run, expected
