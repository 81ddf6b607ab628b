"""``hydra/launcher=inline``: a sweep in one process, for breakpoints and tracebacks."""

import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.known import TINY
from tests.support.records import rows_by_run

GRID = ["-m", *TINY, "init=he,xavier", "seed=0,1", "optim=sgd,adam"]


LOSS = """
import torch


def loss(outputs, y):
    if outputs.requires_grad and len(y) > 2:  # in training
        {here}
    return torch.nn.functional.cross_entropy(outputs, y)
"""


@pytest.mark.parametrize("engine", ["loop", "fused"])
def test_one_process_writes_what_worker_processes_write(engine: str, optbench: Callable, folder: Path) -> None:
    """The packs of a stack depend on the workers; one of them makes the same."""
    assert optbench("train", *GRID, f"engine={engine}", "workers=1", "name=processes").code == 0
    found = optbench("train", *GRID, f"engine={engine}", "name=inline", "hydra/launcher=inline")
    assert found.code == 0, found.err
    processes, inline = (rows_by_run(folder, name) for name in ("processes", "inline"))
    assert inline == processes
    assert len(inline) == 8


def test_the_traceback_of_a_part_of_ones_own_is_shown(optbench: Callable, folder: Path) -> None:
    (folder / "raising_loss.py").write_text(LOSS.format(here="raise RuntimeError('here it is')"))
    found = optbench("train", "-m", *TINY, "seed=0,1", "loss=raising_loss.loss", "hydra/launcher=inline")
    assert found.code == 1
    assert found.err.count("RuntimeError: here it is\n") >= 2
    assert "raising_loss.py" in found.err


@pytest.mark.parametrize("launcher", ["inline", "optbench", "basic"])
def test_a_run_that_cannot_be_recorded_costs_itself_alone(launcher: str, optbench: Callable, folder: Path) -> None:
    asked = ["-m", *TINY, "seed=0,1", "engine=loop", f"hydra/launcher={launcher}"]
    assert optbench("train", *asked, "name=first").code == 0
    first = next(path for path in (folder / "outputs" / "first").iterdir() if "-s0-" in path.name)
    blocked = folder / "outputs" / "default" / first.name
    blocked.parent.mkdir()
    blocked.write_text("a file of the user's")
    found = optbench("train", *asked)
    assert found.code == 1 and "cannot write" in found.err and "Traceback" not in found.err, found.err
    assert blocked.read_text() == "a file of the user's"
    assert len(rows_by_run(folder)) == 1 and "failed" in found.out + found.err


def test_a_breakpoint_opens_in_the_process_of_the_command(
    optbench: Callable, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "stopping_loss.py").write_text(LOSS.format(here="breakpoint()"))
    at: list[tuple[int, object]] = []
    monkeypatch.setattr(sys, "breakpointhook", lambda: at.append((os.getpid(), sys.stdin)))
    asked = ["model.width=8", "max_steps=1", "seed=0,1", "loss=stopping_loss.loss", "hydra/launcher=inline"]
    found = optbench("train", "-m", *asked)
    assert found.code == 0, found.err
    assert at == [(os.getpid(), sys.stdin)] * 2
