"""Plans of packs beside very many runs: what one of them costs does not grow with all others."""

import json
import os
from pathlib import Path
from types import SimpleNamespace

import pytest

from runner.run import packs
from runner.run.outcome import begun_alone
from runner.run.packs import Plan


def _ended(folder: Path, run_id: str, status: str = "completed") -> None:
    (folder / f"he-sgd-{run_id}").mkdir(parents=True)
    (folder / f"he-sgd-{run_id}" / "summary.json").write_text(json.dumps({"status": status}))


def _keep(folder: Path, *members: str) -> Path:
    packs.keep(folder, [Plan({run_id: ["seed=0"] for run_id in members})])
    return packs.place_of(folder, members)


def test_plans_of_packs_that_have_ended_go(tmp_path: Path) -> None:
    ended, half, new = _keep(tmp_path, "a1", "a2"), _keep(tmp_path, "b1", "b2"), _keep(tmp_path, "c1", "c2")
    stopped = _keep(tmp_path, "d1", "d2")
    for run_id, status in (("a1", "completed"), ("a2", "failed"), ("b1", "diverged"), ("d1", "paused")):
        _ended(tmp_path, run_id, status)
    _ended(tmp_path, "d2", "paused")
    packs.forget_ended(tmp_path)
    assert [plan.exists() for plan in (ended, half, new, stopped)] == [False, True, True, True]
    packs.forget_ended(tmp_path, paused=True)
    assert [plan.exists() for plan in (half, new, stopped)] == [True, True, False]


def test_a_member_that_left_its_weights_and_has_not_ended_is_still_of_its_pack(tmp_path: Path) -> None:
    job = SimpleNamespace(run_id="a1", folder=tmp_path / "he-sgd-a1")
    plan = _keep(tmp_path, "a1", "a2")
    job.folder.mkdir()
    (job.folder / "checkpoint.pt").touch()
    assert begun_alone(job)  # no stack has left anything to go on from
    packs.checkpoint_of(plan).touch()
    assert not begun_alone(job)
    (job.folder / "checkpoint.pt.previous").touch()
    assert begun_alone(job)


def test_the_folder_is_listed_once_however_many_packs_wait(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for i in range(20):
        _keep(tmp_path, f"x{i}", f"y{i}")
    listed = []
    scandir = os.scandir
    monkeypatch.setattr(packs.os, "scandir", lambda path: listed.append(path) or scandir(path))
    packs.forget_ended(tmp_path)
    assert listed.count(tmp_path) == 1
