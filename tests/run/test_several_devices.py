"""A run on several devices from the command line: the same rows, one voice, and an end whatever happens."""

import csv
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from runner.errors import ProcessError
from runner.run import launcher

RUN = ["device=cpu", "dtype=float64", "epochs=2", "model.width=16", "baselines=false", "threads=1"]
PATIENCE = 600


def command(*overrides: str) -> list[str]:
    return [sys.executable, "-m", "runner", "train", *RUN, *overrides]


def run(folder: Path, *overrides: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        command(*overrides), cwd=folder, capture_output=True, text=True, timeout=PATIENCE, check=False
    )


def losses(folder: Path, name: str) -> list[float]:
    [path] = (folder / "outputs" / name).glob("*/metrics.csv")
    return [float(row["val_loss"]) for row in csv.DictReader(path.read_text(encoding="utf-8").splitlines())]


@pytest.mark.slow
def test_it_is_paused_and_goes_on_in_another_way_to_the_rows_of_one_process(tmp_path: Path) -> None:
    assert run(tmp_path, "name=one").returncode == 0
    paused = run(tmp_path, "name=two", "parallel=ddp", "parallel.devices=2", "pause_at=21")
    assert (paused.returncode, paused.stderr.count("optbench: ")) == (0, 1), paused.stderr
    ended = run(tmp_path, "name=two", "parallel=pipeline", "parallel.devices=2")
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.count("completed") == 1
    assert losses(tmp_path, "two") == pytest.approx(losses(tmp_path, "one"), abs=1e-12)
    [path] = (tmp_path / "outputs" / "two").glob("*/summary.json")
    summary = json.loads(path.read_text())
    assert (summary["devices"], summary["spread"], summary["resumed_from_step"]) == (2, "pipeline 2", 21)
    again = run(tmp_path, "name=two")
    assert "completed before, not trained again" in again.stdout


@pytest.mark.slow
def test_torchrun_starts_it_too(tmp_path: Path) -> None:
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    arguments = [*torchrun, "-m", "runner.train", *RUN, "parallel=fsdp"]
    ended = subprocess.run(arguments, cwd=tmp_path, capture_output=True, text=True, timeout=PATIENCE, check=False)
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.count("completed") == 1


@pytest.mark.slow
@pytest.mark.parametrize("victim", [0, 1])
def test_a_killed_process_ends_all_with_one_message(victim: int, tmp_path: Path) -> None:
    overrides = ["epochs=2000", "parallel=ddp", "parallel.devices=2"]
    arguments = [o for o in command() if o != "epochs=2"]
    started = subprocess.Popen([*arguments, *overrides], cwd=tmp_path, stderr=subprocess.PIPE, text=True)
    try:
        until(lambda: any((tmp_path / "outputs").glob("default/*/checkpoint.pt")), started)
        children = [int(pid) for pid in Path(f"/proc/{started.pid}/task/{started.pid}/children").read_text().split()]
        os.kill(children[victim], signal.SIGKILL)
        said = started.communicate(timeout=60)[1]
    finally:
        started.kill()
    lines = [line for line in said.splitlines() if line.startswith("optbench: ")]
    assert started.returncode == 1
    assert lines == [
        f"optbench: process {victim} of 2 ended by SIGKILL; the same command goes on from the last checkpoint"
    ]
    assert not [pid for pid in children if Path(f"/proc/{pid}").exists()]


@pytest.mark.parametrize("victim", [0, 1])
def test_the_others_are_stopped_whichever_process_has_gone(victim: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(launcher, "ENDS_ITSELF_SECONDS", 0.2)
    started = [subprocess.Popen(["sh", "-c", "exit 3" if n == victim else "exec sleep 30"]) for n in range(2)]
    assert launcher._until_over(started) == (victim, 3)
    assert started[1 - victim].returncode == -signal.SIGTERM


@pytest.mark.parametrize("told", [True, False])
def test_processes_that_know_no_better_than_to_end_are_interrupted_if_they_were_told_to_stop(
    told: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As those are that have not come to listening."""

    def signalled(started: "list[subprocess.Popen[bytes]]") -> tuple[int, int] | None:
        if told:
            os.kill(os.getpid(), signal.SIGTERM)
        else:
            started[0].terminate()
        return until_over(started)

    until_over = launcher._until_over
    monkeypatch.setattr(launcher, "_until_over", signalled)
    monkeypatch.setattr(launcher, "ENDS_ITSELF_SECONDS", 0.2)
    monkeypatch.setattr(launcher, "_started", lambda *_: subprocess.Popen(["sleep", "30"]))
    if told:
        assert launcher.launched([], 2) == 130
        return
    with pytest.raises(ProcessError, match="process 0 of 2 ended by SIGTERM"):
        launcher.launched([], 2)


@pytest.mark.slow
def test_sigterm_stops_all_of_them_checkpointed(tmp_path: Path) -> None:
    arguments = [o for o in command("parallel=tensor", "parallel.devices=2", "epochs=2000") if o != "epochs=2"]
    started = subprocess.Popen(arguments, cwd=tmp_path, stderr=subprocess.PIPE, text=True)
    try:
        until(lambda: any((tmp_path / "outputs").glob("default/*/metrics.csv")), started)
        started.send_signal(signal.SIGTERM)
        said = started.communicate(timeout=120)[1]
    finally:
        started.kill()
    assert "interrupted; the same command goes on from here" in said
    assert any((tmp_path / "outputs").glob("default/*/checkpoint.pt"))


@pytest.mark.slow
def test_what_cannot_be_is_said_once_and_nothing_is_written(tmp_path: Path) -> None:
    refused = run(tmp_path, "parallel=tensor", "parallel.devices=3")
    assert (refused.returncode, refused.stderr.count("optbench: ")) == (2, 1)
    assert not (tmp_path / "outputs").exists()


def until(there: "object", started: "subprocess.Popen[str]") -> None:
    ends = time.monotonic() + PATIENCE
    while not there():  # type: ignore[operator]
        assert started.poll() is None, started.communicate()[1]
        assert time.monotonic() < ends
        time.sleep(0.1)
