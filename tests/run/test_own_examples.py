"""The examples of training functions, copied into an empty folder, as their page says."""

import os
import re
import shlex
import shutil
import signal
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.killed import PATIENCE_SECONDS, wait_until
from tests.support.records import Result, rows_of, run_folders, summary_of, without_timing

EXAMPLES = Path(__file__).parents[2] / "examples"
Optbench = Callable[..., Result]


def commands(example: str) -> list[list[str]]:
    """What the page says is typed for an example, after ``optbench``."""
    part = (EXAMPLES / "README.md").read_text(encoding="utf-8").partition(f"`{example}/`")[2]
    block = re.search(r"```sh\n(.*?)```", part, re.DOTALL)
    return [shlex.split(line)[1:] for line in block[1].splitlines()]


@pytest.fixture(params=["scikit_learn", "pytorch"])
def example(request: pytest.FixtureRequest, folder: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    copied(request.param, folder, monkeypatch)
    return str(request.param)


def copied(name: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copytree(EXAMPLES / name, folder, dirs_exist_ok=True)
    monkeypatch.syspath_prepend(str(folder))
    for module in ("forest", "by_hand"):
        monkeypatch.delitem(sys.modules, module, raising=False)


def test_the_first_command_trains_well(example: str, folder: Path, optbench: Optbench) -> None:
    result = optbench(*commands(example)[0])
    assert result.code == 0, result.err
    (run,) = run_folders(folder)
    assert summary_of(run)["test_accuracy"] > 0.9


@pytest.mark.slow
def test_a_sweep_of_60_fits_is_killed_finished_and_reported(
    folder: Path, optbench: Optbench, monkeypatch: pytest.MonkeyPatch, python_m: Callable
) -> None:
    copied("scikit_learn", folder, monkeypatch)
    _, sweep, report = commands("scikit_learn")
    small = ["data=wine"]
    process = python_m("runner", *sweep, *small)
    wait_until(lambda: len(list(folder.glob("outputs/default/*/summary.json"))) >= 10, process)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait(PATIENCE_SECONDS)
    before = {run.name: rows_of(run) for run in run_folders(folder) if (run / "summary.json").exists()}
    assert 10 <= len(before) < 60
    assert optbench(*sweep, *small).code == 0
    runs = {run.name: run for run in run_folders(folder)}
    assert len(runs) == 60 and all(summary_of(run)["status"] == "completed" for run in runs.values())
    assert {name: rows_of(runs[name]) for name in before} == before
    answer = optbench(*report)
    assert answer.code == 0 and "60 runs" in answer.out and "task=forest" in answer.out


def test_a_loop_by_hand_goes_on_to_the_same_rows(
    folder: Path, optbench: Optbench, monkeypatch: pytest.MonkeyPatch
) -> None:
    copied("pytorch", folder, monkeypatch)
    asked = [*commands("pytorch")[0], "data=wine"]
    assert optbench(*asked, "name=whole").code == 0
    assert optbench(*asked, "name=paused", "pause_at=7").code == 0
    assert optbench(*asked, "name=paused").code == 0
    (whole,), (paused,) = run_folders(folder, "whole"), run_folders(folder, "paused")
    assert summary_of(paused)["resumed_from_step"] == 7
    assert without_timing(paused) == without_timing(whole)
    assert (paused / "model.pt").exists()
