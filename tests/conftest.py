"""Fixtures: an empty folder to work in, and the command line called in this process."""

import random
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, settings
from matplotlib.figure import Figure

from runner.after.plain_form import settle_autograd
from runner.cli.main import main
from runner.config import hydra_door
from runner.run import baselines
from runner.run.job import Job, forget_data
from tests.support import killed
from tests.support.composed import compose_job, composed_once
from tests.support.known import MNIST_ROOT
from tests.support.records import Result

# A shell that starts the tests in the background has them ignore Ctrl-C, and what they start would inherit it.
signal.signal(signal.SIGINT, signal.default_int_handler)
settle_autograd()
# The same examples everywhere, and none fails because the machine is slow.
settings.register_profile(
    "tests", deadline=None, derandomize=True, database=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("tests")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--shuffle", type=int, metavar="SEED", help="run files, and each one's tests, in a random order")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if (seed := config.getoption("--shuffle")) is not None:
        rng = random.Random(seed)
        places = {path: rng.random() for path in sorted({item.path for item in items})}
        items.sort(key=lambda item: (places[item.path], rng.random()))
    for item in items:
        if item.get_closest_marker("cuda") and not torch.cuda.is_available():
            item.add_marker(pytest.mark.skip(reason="no CUDA device"))
        if item.get_closest_marker("mnist") and not (MNIST_ROOT and (Path(MNIST_ROOT) / "MNIST" / "raw").is_dir()):
            item.add_marker(pytest.mark.skip(reason="no MNIST under $OPTBENCH_DATA"))


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty current folder, of which no data have been read."""
    monkeypatch.chdir(tmp_path)
    forget_data()
    return tmp_path


hydra_door.compose = composed_once


MEASURED = baselines.beside
"""The function that measures baselines; it would take longer than most tests train."""
baselines.beside = lambda jobs: None


@pytest.fixture(autouse=True)
def _with_baselines(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Baselines are measured in tests that are marked ``baselines``."""
    if request.node.get_closest_marker("baselines"):
        monkeypatch.setattr(baselines, "beside", MEASURED)


@pytest.fixture(autouse=True)
def _without_files_of_pictures(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the mark ``pictures``, plots are neither laid out nor written: nine tenths of a report's time."""
    if not request.node.get_closest_marker("pictures"):
        monkeypatch.setattr(Figure, "draw_without_rendering", lambda self: None)
        monkeypatch.setattr(Figure, "savefig", lambda self, file, **said: None)
        monkeypatch.setattr("runner.report.write.in_processes", lambda function, items: map(function, items))


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
def python_m(folder: Path) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """``python -m …`` in a process of its own, which does not outlive the test."""
    with killed.ending_with_the_test() as start:
        yield start


@pytest.fixture
def job(folder: Path) -> Callable[..., Job]:
    """A prepared job from overrides."""
    return lambda *overrides: compose_job(list(overrides))
