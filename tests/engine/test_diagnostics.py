"""Diagnostics: layers.csv says what the signals do, and sick layers are named."""

import csv
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.records import run_folder, summary_of


def layers_of(run: Path) -> list[dict[str, str]]:
    with (run / "layers.csv").open() as file:
        return list(csv.DictReader(file))


def test_layers_are_measured_at_step_0_and_every_evaluation(optbench: Callable, folder: Path) -> None:
    assert optbench("train", "diagnostics=true", "epochs=2", "init=he").code == 0
    rows = layers_of(run_folder(folder))
    assert list(rows[0]) == [
        *("step", "layer", "activation_second_moment", "output_variance", "gradient_second_moment"),
        *("dead_fraction", "weight_norm", "update_ratio"),
    ]
    assert [(r["step"], r["layer"]) for r in rows] == [
        (step, layer) for step in ("0", "21", "42") for layer in ("hidden.0", "hidden.1", "readout")
    ]
    assert all(r["update_ratio"] == "" for r in rows[:3])
    assert all(0 < float(r["update_ratio"]) < 1 for r in rows[3:])


@pytest.mark.parametrize(("init", "slope"), [("he_normal", 1.0), ("xavier_normal", 0.5)])
def test_second_moments_follow_he_et_al(init: str, slope: float, optbench: Callable, folder: Path) -> None:
    optbench("train", "diagnostics=true", "max_steps=1", f"init={init}", "model.width=512", "model.depth=10")
    first = [r for r in layers_of(run_folder(folder)) if r["step"] == "0"]
    moments = [float(r["activation_second_moment"]) for r in first[1:-1]]
    assert (moments[-1] / moments[0]) ** (1 / (len(moments) - 1)) == pytest.approx(slope, rel=0.15)
    gradients = [float(r["gradient_second_moment"]) for r in first[:-1]]
    assert (gradients[0] / gradients[-1]) ** (1 / (len(gradients) - 1)) == pytest.approx(slope, rel=0.15)


@pytest.mark.parametrize(
    ("overrides", "named"),
    [
        (["init=default", "model.depth=20", "model.width=32"], {"vanishing"}),
        (["init=he", "init.gain=4", "model.depth=12", "model.width=64"], {"exploding"}),
        (["init=he", "init.bias=-30"], {"dead", "vanishing"}),
        (["init=he"], set()),
    ],
    ids=["vanishing", "exploding", "dead", "healthy"],
)
def test_sick_layers_are_named_in_the_end_table(
    overrides: list[str], named: set[str], optbench: Callable, folder: Path
) -> None:
    out = optbench("train", "diagnostics=true", "max_steps=1", "optim=sgd", "optim.lr=1e-9", *overrides).out
    for trouble in ("vanishing", "exploding", "dead"):
        assert (f"{trouble} layers: hidden.0" in out) == (trouble in named)


@pytest.mark.parametrize("finetune", ["head", "gradual", "bitfit"])
def test_layers_that_are_not_trained_are_measured_as_if_they_were(
    finetune: str, optbench: Callable, folder: Path
) -> None:
    asked = ["diagnostics=true", "epochs=2", "init=he", "model.normalization=batch"]
    assert optbench("train", *asked, "name=all").code == 0
    assert optbench("train", *asked, "name=some", f"finetune={finetune}").code == 0
    whole, some = (layers_of(run_folder(folder, name)) for name in ("all", "some"))
    assert len(whole) == len(some)
    for one, other in zip(whole[:3], some[:3], strict=True):  # at step 0 they are the same network
        assert float(one["gradient_second_moment"]) == pytest.approx(float(other["gradient_second_moment"]), rel=1e-4)


def test_measuring_does_not_change_the_run(optbench: Callable, folder: Path) -> None:
    optbench("train", "name=a", "epochs=2", "regularization=dropout", "diagnostics=true")
    optbench("train", "name=b", "epochs=2", "regularization=dropout")
    a, b = summary_of(run_folder(folder, "a")), summary_of(run_folder(folder, "b"))
    assert a["run_id"] == b["run_id"]
    assert a["test_loss"] == b["test_loss"]


def test_a_run_without_them_is_trained_again_for_them(optbench: Callable, folder: Path) -> None:
    optbench("train", "epochs=2")
    assert "not trained again" not in optbench("train", "epochs=2", "diagnostics=true").out
    assert "not trained again" in optbench("train", "epochs=2").out
    assert len(list((folder / "outputs/default/.old").iterdir())) == 1


@pytest.mark.parametrize(("held", "asked", "again"), [(7, 14, False), (14, 7, True), (None, 7, True), (7, None, False)])
def test_rows_that_a_finished_run_lacks_are_trained_for(
    held: int | None, asked: int | None, again: bool, optbench: Callable, folder: Path
) -> None:
    def every(steps: int | None) -> str:
        return f"eval_every={'null' if steps is None else steps}"

    optbench("train", "epochs=2", every(held))
    assert ("not trained again" not in optbench("train", "epochs=2", every(asked)).out) == again


def test_convolutions_are_measured_too(optbench: Callable, folder: Path) -> None:
    assert optbench("train", "diagnostics=true", "max_steps=2", "model=cnn").code == 0
    rows = layers_of(run_folder(folder))
    assert {r["layer"] for r in rows} == {"blocks.0", "blocks.1", "readout"}
    assert all(0 <= float(r["dead_fraction"]) <= 1 for r in rows)
