"""``hydra/launcher=inline``: a sweep in one process, for breakpoints and tracebacks."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.known import TINY
from tests.support.records import rows_of

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
    processes, inline = (untimed_of(folder, name) for name in ("processes", "inline"))
    assert inline == processes
    assert len(inline) == 8


def untimed_of(folder: Path, name: str) -> dict[str, list[dict[str, str]]]:
    rows = {run.name: rows_of(run) for run in sorted((folder / "outputs" / name).glob("*-*"))}
    return {run: [{k: v for k, v in row.items() if k != "train_seconds"} for row in of] for run, of in rows.items()}


def test_the_traceback_of_a_part_of_ones_own_is_shown(optbench: Callable, folder: Path) -> None:
    (folder / "inline_loss.py").write_text(LOSS.format(here="raise RuntimeError('here it is')"))
    found = optbench("train", "-m", *TINY, "seed=0,1", "loss=inline_loss.loss", "hydra/launcher=inline")
    assert found.code == 1
    assert found.err.count("RuntimeError: here it is\n") >= 2
    assert "inline_loss.py" in found.err


def test_a_breakpoint_opens(folder: Path) -> None:
    """The process that trains has the terminal's own stdin."""
    (folder / "inline_loss.py").write_text(LOSS.format(here="breakpoint()"))
    asked = ["model.width=8", "max_steps=1", "seed=0,1", "loss=inline_loss.loss", "hydra/launcher=inline"]
    found = subprocess.run(
        [sys.executable, "-m", "runner", "train", "-m", *asked],
        input="p 'samples', len(y)\nc\nc\n",
        capture_output=True,
        text=True,
        check=False,
    )
    assert "(Pdb)" in found.stdout
    assert "'samples'" in found.stdout
    assert found.returncode == 0, found.stderr
