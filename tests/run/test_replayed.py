"""A run by itself that is trained as a stack of one: on CUDA its step is replayed as a graph."""

from collections.abc import Callable
from pathlib import Path

import pytest

from runner.run import stackable
from runner.run.build import build
from tests.support.known import TINY
from tests.support.records import rows_of, run_folder, summary_of

ASKED = [*TINY, "dtype=float64", "regularization=[ema,dropout]", "optim=adamw"]


def test_a_stack_of_one_leaves_what_the_loop_does(
    optbench: Callable, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert optbench("train", *ASKED, "name=loop").code == 0
    monkeypatch.setattr("runner.run.claim.is_replayed", lambda job, run: True)
    assert optbench("train", *ASKED, "name=one").code == 0
    loop, one = run_folder(folder, "loop"), run_folder(folder, "one")
    assert summary_of(loop)["engine"] == "loop"
    assert (summary_of(one)["engine"], summary_of(one)["stack_size"]) == ("fused", 1)
    assert loop.name.rpartition("-")[2] == one.name.rpartition("-")[2]
    for expected, row in zip(rows_of(loop), rows_of(one), strict=True):
        for key, value in expected.items():
            if key != "train_seconds":
                assert row[key] == value or float(row[key]) == pytest.approx(float(value), rel=1e-9), key
    assert {p.name for p in loop.iterdir()} == {p.name for p in one.iterdir()}


def test_a_cpu_replays_nothing(job: Callable) -> None:
    this = job(*ASKED)
    assert not stackable.is_replayed(this, build(this))


@pytest.mark.cuda
@pytest.mark.parametrize(
    ("asked", "replayed"),
    [
        (["optim=adamw"], True),
        (["model=cnn", "amp=bf16"], True),
        (["optim=nadam"], False),
        (["diagnostics=true"], False),
        (["deterministic=true"], False),
        (["engine=loop"], False),
        (["model.width=8192", "batch.size=1024"], False),
    ],
    ids=str,
)
def test_on_cuda_a_small_step_is_replayed(asked: list[str], replayed: bool, optbench: Callable, folder: Path) -> None:
    found = optbench("train", "max_steps=40", "device=cuda", *asked)
    assert found.code == 0, found.err
    assert summary_of(run_folder(folder))["engine"] == ("fused" if replayed else "loop")


@pytest.mark.cuda
@pytest.mark.parametrize("optim", ["adamw", "momentum", "radam"])
def test_a_replayed_run_is_the_loop_s(optim: str, optbench: Callable, folder: Path) -> None:
    asked = ["max_steps=80", "eval_every=20", "device=cuda", "dtype=float64", f"optim={optim}", "model.width=32"]
    for engine in ("auto", "loop"):
        assert optbench("train", *asked, f"engine={engine}", f"name={engine}").code == 0
    auto, loop = run_folder(folder, "auto"), run_folder(folder, "loop")
    assert summary_of(auto)["engine"] == "fused"
    for row, expected in zip(rows_of(auto), rows_of(loop), strict=True):
        for key in ("train_loss", "val_loss", "grad_norm"):
            assert not expected[key] or float(row[key]) == pytest.approx(float(expected[key]), rel=1e-7), key
