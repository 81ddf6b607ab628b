"""Runs of a sweep that several processes train."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from runner.cli.main import main
from runner.errors import ConfigError, ProcessError
from runner.run.devices import is_spread
from runner.run.launcher import STARTED_BY
from runner.sweep import plan
from runner.sweep.launch import inline, spread
from runner.sweep.queue import Queue
from tests.support.known import TINY
from tests.support.records import rows_of, run_folders, summary_of

DDP = ["parallel=ddp", "parallel.devices=2", "device=cpu"]


def test_a_run_takes_as_many_places_as_it_has_devices(job: Callable) -> None:
    on_two = [job(*DDP)]
    assert spread.places(on_two) == 2 and spread.places([job()]) == 1
    assert spread.at_a_time(5, on_two) == 2
    with pytest.raises(ConfigError, match=r"on 2 devices takes as many workers, and there are 1: workers=2"):
        spread.at_a_time(1, on_two)


def test_what_is_trained_is_what_was_typed_but_for_what_is_a_sweeps(job: Callable) -> None:
    told = spread._arguments(job(*DDP, "workers=4", "optim.lr=0.01", "pause_at=3", "save=best"))
    assert told == [*DDP, "workers=4", "optim.lr=0.01", "save=best", "baselines=false", "threads=1", "pause_at=3"]
    assert spread._arguments(job(*DDP))[-3:] == ["save=none", "baselines=false", "threads=1"]


def test_that_processes_have_to_start_is_estimated_too(job: Callable, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plan, "TRIAL_SECONDS", 0.01)
    on_two = [job(*TINY, *DDP, f"seed={seed}") for seed in range(3)]
    assert plan.estimate_seconds([job(*TINY)], 1) < plan.START_SECONDS
    assert plan.estimate_seconds(on_two, 1) > 3 * plan.START_SECONDS
    assert plan.estimate_seconds(on_two, 3) < 2 * plan.START_SECONDS


@pytest.mark.parametrize("of_sweep", [[], ["experiment=optimizers", "workers=4"]], ids=str)
def test_what_became_of_it_is_read_from_its_folder(
    of_sweep: list[str], job: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By what the launcher of one run returns: here it trains in this process."""
    called: list[int] = []

    def launched(arguments: Sequence[str], devices: int, said: Path, stopped: Callable[[], None]) -> int:
        called.append(devices)
        return main(["train", *(word for word in arguments if not word.startswith("parallel"))])

    monkeypatch.setattr(spread, "launched", launched)
    monkeypatch.setenv(STARTED_BY, "1")
    jobs = [job(*of_sweep, *TINY, *DDP, f"seed={seed}") for seed in (0, 1)]
    assert all(map(is_spread, jobs))
    found: list[str] = []
    queue = Queue(jobs)
    inline.launch(queue, lambda outcome: found.append(outcome.summary["status"]))
    assert found == ["completed", "completed"] and called == [2, 2]
    again = Queue(jobs)
    inline.launch(again, lambda outcome: None)
    assert [outcome.trained for outcome in again.results()] == [False, False] and called == [2, 2]


def test_a_summary_of_an_earlier_start_is_not_taken_for_this_ones(
    job: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    this = job(*TINY, *DDP)
    this.folder.mkdir(parents=True)
    (this.folder / "summary.json").write_text(json.dumps({"status": "interrupted", "run_id": this.run_id}))

    def launched(arguments: Sequence[str], devices: int, said: Path, stopped: Callable[[], None]) -> int:
        (said / "0").write_text("optbench: no room is left\n")
        return 1

    monkeypatch.setattr(spread, "launched", launched)
    queue = Queue([this])
    inline.launch(queue, lambda outcome: None)
    (outcome,) = queue.results()
    assert (outcome.summary["status"], outcome.summary["stop_reason"]) == ("failed", "no room is left")


@pytest.mark.parametrize(
    ("code", "status", "reason"),
    [
        (2, "failed", "no room"),
        (130, "interrupted", "interrupted"),
        (None, "interrupted", "process 1 of 2 ended by SIGKILL"),
    ],
)
def test_what_leaves_no_summary_is_said(
    code: int | None, status: str, reason: str, job: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    def launched(arguments: Sequence[str], devices: int, said: Path, stopped: Callable[[], None]) -> int:
        if code is None:
            raise ProcessError(reason)
        (said / "0").write_text(f"a warning\noptbench: {reason}\n")
        return code

    monkeypatch.setattr(spread, "launched", launched)
    queue = Queue([job(*TINY, *DDP)])
    inline.launch(queue, lambda outcome: None)
    (outcome,) = queue.results()
    assert (outcome.summary["status"], outcome.summary["stop_reason"]) == (status, reason)


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        (["parallel=ddp", "parallel.devices=4", "workers=2"], "takes as many workers, and there are 2: workers=4"),
        (["parallel=tensor", "parallel.devices=2", "model.width=15"], "cannot share a hidden layer of 15 evenly"),
        (["parallel.devices=2"], "needs parallel, the way to spread"),
        (["parallel=ddp", "parallel.devices=2", "hydra/launcher=basic"], "a hydra/launcher of another package"),
        (["fail_fast=true", "hydra/launcher=basic"], "fail_fast=true beside a hydra/launcher of another package"),
        (["workers=3", "hydra/launcher=basic"], "workers=3 beside a hydra/launcher of another package"),
        (["+", "init=he", "+", "parallel=ddp", "parallel.devices=2"], "parallel takes one value a sweep"),
    ],
    ids=str,
)
def test_what_cannot_be_is_refused_before_anything_is_written(
    asked: list[str], said: str, optbench: Callable, folder: Path
) -> None:
    found = optbench("train", "-m", "seed=0,1", "device=cpu", *asked)
    assert found.code == 2 and said in found.err and "Traceback" not in found.err, found.err
    assert list(folder.iterdir()) == []


GRID = ["train", "-m", "seed=0,1", "optim.lr=1e-3", "dtype=float64", "model.width=16", "workers=2"]


def losses(folder: Path, name: str) -> list[list[float]]:
    return [[float(row["val_loss"]) for row in rows_of(run)] for run in sorted(run_folders(folder, name))]


@pytest.mark.slow
@pytest.mark.parametrize("launcher", [[], ["hydra/launcher=inline"]], ids=str)
def test_a_grid_of_them_has_the_rows_of_one_process(launcher: list[str], optbench: Callable, folder: Path) -> None:
    for more in (["name=one", "device=cpu"], ["name=two", *DDP, *launcher]):
        ended = optbench(*GRID, "epochs=2", *more)
        assert ended.code == 0, ended.err
    one, two = losses(folder, "one"), losses(folder, "two")
    assert len(one) == len(two) == 2
    for expected, found in zip(one, two, strict=True):
        assert found == pytest.approx(expected, abs=1e-12)
    assert [summary_of(run)["devices"] for run in run_folders(folder, "two")] == [2, 2]


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_sweep_of_them_is_stopped_and_goes_on(number: int, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "runner", *GRID, *DDP, "epochs=60", "baselines=false"]
    started = subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE, text=True, start_new_session=True)
    ends = time.monotonic() + 300
    while not any((tmp_path / "outputs").glob("default/*/checkpoint.pt")):
        assert started.poll() is None and time.monotonic() < ends
        time.sleep(0.1)
    os.killpg(started.pid, number)
    said = started.communicate(timeout=120)[1]
    assert started.returncode == 130, said
    assert "the same command goes on from here" in said
    ended = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
    resumed = [json.loads(p.read_text())["resumed_from_step"] for p in (tmp_path / "outputs").glob("*/*/summary.json")]
    assert any(step is not None for step in resumed)
