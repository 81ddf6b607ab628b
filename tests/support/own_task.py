"""A training function of a user's own, as a user would write it, and its YAML."""

import sys
from pathlib import Path

import pytest

YAML = """\
# A walk towards 1
_option_: walk
_target_: walk.train
rate: 0.5                  # of the way left, at each step
rounds: 6
wait: 0.0                  # seconds a round
_spec_:
  settings:
    rate: {gt: 0, le: 1}
    rounds: {ge: 1}
    wait: {ge: 0, id: never}
"""
MODULE = """\
import time

import torch


def train(config, seed, run):
    settings = config["task"]
    state = run.resume() or {"round": 0, "place": torch.zeros(1, dtype=torch.float64), "order": [], "seed": seed}
    for number in range(state["round"] + 1, settings["rounds"] + 1):
        generator = torch.Generator().manual_seed(100 * seed + number)
        state["place"] += settings["rate"] * (1 - state["place"]) * torch.rand(1, generator=generator).item()
        state["round"] = number
        state["order"].append(number)
        time.sleep(settings["wait"])
        run.row(step=10 * number, val_accuracy=state["place"].item(), rate=settings["rate"])
        run.checkpoint(state)
    assert state["order"] == list(range(1, settings["rounds"] + 1))
    run.finish(test_accuracy=state["place"].item() / 2)
"""
WALK = ["--config-dir", "mine", "task=walk"]


def make_walk(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Write the function and its YAML into a folder, and let it be imported from there anew."""
    (folder / "mine" / "task").mkdir(parents=True)
    (folder / "mine" / "task" / "walk.yaml").write_text(YAML)
    (folder / "walk.py").write_text(MODULE)
    monkeypatch.syspath_prepend(str(folder))
    monkeypatch.delitem(sys.modules, "walk", raising=False)


def make_function(folder: Path, monkeypatch: pytest.MonkeyPatch, name: str, body: str) -> list[str]:
    """Write a function of the given lines; return what calls it."""
    lines = "\n".join(f"    {line}" for line in body.splitlines())
    (folder / f"{name}.py").write_text(f"import torch\n\n\ndef train(config, seed, run):\n{lines}\n")
    monkeypatch.syspath_prepend(str(folder))
    monkeypatch.delitem(sys.modules, name, raising=False)
    return ["task=custom", f"task.target={name}.train"]
