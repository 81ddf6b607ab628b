"""Workers that are started anew, as beside an accelerator: a forked process cannot use one that its parent has."""

import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

from runner.run.process import can_fork
from runner.sweep.launch import processes
from tests.support.known import TINY
from tests.support.records import rows_by_run, run_folders, summary_of

GRID = [*TINY, "init=he,xavier", "seed=0,1", "workers=2", "engine=loop"]


def test_spawned_workers_write_what_forked_ones_do(
    optbench: Callable, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert optbench("train", "-m", *GRID, "name=forked", "device=cpu").code == 0
    monkeypatch.setattr(processes, "accelerator_is_there", lambda: True)
    monkeypatch.setattr(processes, "may_use_an_accelerator", lambda jobs: True)
    assert optbench("train", "-m", *GRID, "name=spawned", "device=cpu").code == 0
    assert rows_by_run(folder, "spawned") == rows_by_run(folder, "forked")


def test_nothing_is_forked_beside_ray_or_cuda(monkeypatch: pytest.MonkeyPatch) -> None:
    assert can_fork() == (sys.platform == "linux")
    monkeypatch.setitem(sys.modules, "ray", SimpleNamespace(is_initialized=lambda: True))
    assert not can_fork()
    monkeypatch.setitem(sys.modules, "ray", SimpleNamespace(is_initialized=lambda: False))
    monkeypatch.setattr("torch.cuda.is_initialized", lambda: True)
    assert not can_fork()


@pytest.mark.cuda
@pytest.mark.parametrize("engine", ["loop", "auto"])
def test_workers_share_a_device(engine: str, optbench: Callable, folder: Path) -> None:
    asked = [*TINY, "init=he,xavier", "seed=0,1", f"engine={engine}", "device=cuda", "dtype=float64"]
    for workers in (1, 2):
        swept = optbench("train", "-m", *asked, f"workers={workers}", f"name=with{workers}")
        assert swept.code == 0, swept.err
    assert len(run_folders(folder, "with2")) == 4
    for run in run_folders(folder, "with2"):
        ours, of_one = (summary_of(folder / "outputs" / name / run.name) for name in ("with2", "with1"))
        assert ours["status"] == "completed"
        assert ours["test_loss"] == pytest.approx(of_one["test_loss"], rel=1e-6)
