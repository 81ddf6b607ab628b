"""Fixtures: an empty folder to work in, and the command line called in this process."""

import csv
import json
import math
import os
import random
import signal
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch

from runner.cli.main import main
from runner.run.job import Job, prepare

TINY = ["model.width=8", "model.depth=1", "epochs=2"]
QUADRATIC = [
    *("data=quadratic", "data.features=2", "data.condition=1", "model=linear", "model.bias=false", "loss=mse"),
    *("init=constant", "init.value=1", "optim=gd", "dtype=float64", "eval_every=1"),
]
"""Runs whose losses are known: both weights are 1 at first, the loss is their square, 1 - rate is left after a step."""
VALLEY = [*QUADRATIC, "optim.lr=4.4", "scheduler=constant", "scheduler.warmup=8", "max_steps=9"]
"""Its rate passes 2, where gradient descent begins to diverge: step t, from 1 on, has 0.55·t, the last as before it."""
VALLEY_WEIGHTS = [math.prod(1 - 0.55 * min(t, 8) for t in range(1, step + 1)) for step in range(10)]
LOWEST = 3
"""The step after which the loss is lowest; it is higher at the last than at the first."""
MNIST_ROOT = os.environ.get("OPTBENCH_DATA")

# A shell that starts the tests in the background has them ignore Ctrl-C, and what they start would inherit it.
signal.signal(signal.SIGINT, signal.default_int_handler)


def as_seeds_go(mean: float, deviation: float) -> Any:
    """Return what a run may reach where others come to a mean, with a deviation over their seeds.

    On another processor the same run is rounded otherwise and comes to what another seed would have given: within six
    deviations of the mean, but for one in 10⁸.
    """
    return pytest.approx(mean, abs=6 * deviation)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--shuffle", type=int, metavar="SEED", help="run files, and each one's tests, in a random order")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if (seed := config.getoption("--shuffle")) is not None:
        rng = random.Random(seed)
        places = {path: rng.random() for path in sorted({item.path for item in items})}
        items.sort(key=lambda item: (places[item.path], rng.random()))
    for item in items:
        if "cuda" in item.keywords and not torch.cuda.is_available():
            item.add_marker(pytest.mark.skip(reason="no CUDA device"))
        if "mnist" in item.keywords and not (MNIST_ROOT and (Path(MNIST_ROOT) / "MNIST" / "raw").is_dir()):
            item.add_marker(pytest.mark.skip(reason="no MNIST under $OPTBENCH_DATA"))


@dataclass
class Result:
    code: int
    out: str
    err: str


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty current folder."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def optbench(folder: Path, capfd: pytest.CaptureFixture[str]) -> Callable[..., Result]:
    """``optbench …`` in this process."""

    def call(*argv: str) -> Result:
        capfd.readouterr()
        code = main(argv)
        out, err = capfd.readouterr()
        return Result(code, out, err)

    return call


@pytest.fixture
def job(folder: Path) -> Callable[..., Job]:
    """A prepared job from overrides."""
    return lambda *overrides: compose_job(list(overrides))


def compose_job(overrides: list[str]) -> Job:
    from runner.config.compose import Composer, start_hydra

    return prepare(Composer(start_hydra().config_loader).compose(overrides))


def run_folder(folder: Path, name: str = "default") -> Path:
    """The one run of a sweep's folder."""
    (found,) = run_folders(folder, name)
    return found


def run_folders(folder: Path, name: str = "default") -> list[Path]:
    """Every run of a sweep's folder."""
    return [p for p in (folder / "outputs" / name).iterdir() if p.is_dir() and not p.name.startswith(".")]


def summary_of(path: Path) -> dict[str, object]:
    return json.loads((path / "summary.json").read_text())


def rows_of(path: Path) -> list[dict[str, str]]:
    with (path / "metrics.csv").open() as file:
        return list(csv.DictReader(file))


def without_timing(path: Path) -> list[dict[str, str]]:
    return [{k: v for k, v in row.items() if k != "train_seconds"} for row in rows_of(path)]
