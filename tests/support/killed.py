"""Runs in processes of their own, which are killed."""

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from tests.support import forked
from tests.support.records import run_folder


def start_run(folder: Path, *overrides: str) -> subprocess.Popen[str]:
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


def killed_and_finished(optbench: Callable, folder: Path, asked: list[str], rows: int) -> tuple[Path, Path]:
    """Return the folders of a run that was killed after some rows and finished, and of one that was left alone."""
    (folder / "undisturbed").mkdir()
    os.chdir(folder / "undisturbed")
    assert optbench("train", *asked).code == 0
    expected = run_folder(folder / "undisturbed")
    pid = forked.start(folder, "train", *asked)
    run = wait_for_rows(folder, rows)
    time.sleep(0.2)
    forked.kill(pid)
    assert not (run / "summary.json").exists()
    os.chdir(folder)
    assert optbench("train", *asked).code == 0
    return run, expected
