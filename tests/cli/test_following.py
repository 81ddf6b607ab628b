"""``--watch`` beside what trains: a page while it lasts, and no process left behind."""

import multiprocessing
import os
import re
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path

import pytest

from runner.cli.following import followed
from tests.support.made_sweep import made_run, make_sweep

SCRIPT = """
import sys, time
from pathlib import Path
from runner.cli.following import followed
if __name__ == "__main__":
    with followed(Path("sweep")):
        print("began", flush=True)
        sys.stdin.read()
"""


def test_without_a_folder_nothing_is_served() -> None:
    with followed(None):
        assert multiprocessing.active_children() == []


def test_a_single_run_is_not_watched(optbench: Callable, folder: Path) -> None:
    refused = optbench("train", "--watch", "max_steps=1")
    assert refused.code == 2 and "--watch is for sweeps: add -m" in refused.err and list(folder.iterdir()) == []


@pytest.mark.slow
@pytest.mark.parametrize("killed", [False, True])
def test_the_page_is_there_while_it_trains_and_ends_with_it(killed: bool, tmp_path: Path) -> None:
    (tmp_path / "script.py").write_text(SCRIPT)
    process = subprocess.Popen(
        [sys.executable, "script.py"], cwd=tmp_path, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )  # fmt: skip
    assert process.stdout is not None and process.stderr is not None
    process.stdout.readline()
    runs = [made_run(0.9 + seed / 100, optim=optim, seed=seed) for optim in ("adam", "sgd") for seed in range(2)]
    make_sweep(tmp_path / "made", runs).rename(tmp_path / "sweep")  # whose page has plots, drawn on all cores
    url = re.findall(r"(http://127\.0\.0\.1:\d+/) shows the report of sweep", process.stderr.readline())[0]
    with urllib.request.urlopen(url, timeout=60) as page:
        assert b"<h2>Use</h2>" in page.read()
    if killed:
        os.kill(process.pid, 9)
    _, errors = process.communicate("")
    assert killed or errors == ""
    until = time.monotonic() + 60
    while True:
        try:
            urllib.request.urlopen(url, timeout=5)
        except OSError:
            break
        assert time.monotonic() < until
        time.sleep(0.2)
