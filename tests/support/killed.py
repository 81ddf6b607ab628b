"""Commands that a signal stops at an evaluation of theirs, whatever the machine's speed, and runs to be stopped."""

import contextlib
import math
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from itertools import count
from pathlib import Path

import pytest

from runner.engine import checkpoint
from runner.run import life
from tests.support import forked
from tests.support.records import run_folder


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


def start_run(folder: Path, *overrides: str) -> subprocess.Popen[str]:
    """``python -m runner.train …`` in a process that imports everything itself, and heads a group of its own."""
    return subprocess.Popen(
        [sys.executable, "-m", "runner.train", *overrides, "baselines=false"],
        cwd=folder,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )


def wait_for_rows(folder: Path, rows: int) -> Path:
    for _ in range(600):
        found = list(folder.glob("outputs/default/*/metrics.csv"))
        if found and len(found[0].read_text().splitlines()) > rows:
            return found[0].parent
        time.sleep(0.05)
    raise AssertionError("the run wrote no rows")


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
