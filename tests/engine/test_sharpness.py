"""Sharpness: the largest eigenvalue of the training loss's Hessian, beside the run and not in its way."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch.autograd.functional import hessian
from torch.func import functional_call

from runner.engine.sharpness import MOST_ITERATIONS, Sharpness, largest_eigenvalue
from runner.engine.state import State, start
from runner.run.build import build
from runner.run.job import Job
from tests.support.records import rows_of, run_folder, run_folders, summary_of, without_timing

Make = Callable[..., Job]
SMALL = ["data=wine", "batch.size=30", "model.width=6", "model.depth=1", "model.activation=tanh"]


def sharpness(state: State) -> float:
    return Sharpness(state.run.train, state.run.loss).of(state)


def exact(run, state) -> float:
    """The largest eigenvalue of the whole Hessian, written out."""
    weights = {name: p.detach() for name, p in state.model.named_parameters()}
    sizes = [p.numel() for p in weights.values()]

    def loss(flat: torch.Tensor) -> torch.Tensor:
        named = {n: v.view_as(p) for (n, p), v in zip(weights.items(), flat.split(sizes), strict=True)}
        return run.loss(functional_call(state.model, named, (run.train.x,)), run.train.y)

    state.model.eval()
    whole = hessian(loss, torch.cat([p.flatten() for p in weights.values()]))
    state.model.train()
    return torch.linalg.eigvalsh(whole.double())[-1].item()


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(
    "settings",
    [["loss=mse"], ["loss=cross_entropy"], ["model.normalization=batch"], ["init=he", "model.residual=true"]],
    ids=" ".join,
)
def test_it_is_the_largest_eigenvalue_of_the_exact_hessian(settings: list[str], dtype: str, job: Make) -> None:
    run = build(job(*SMALL, f"dtype={dtype}", *settings))
    state = start(run)
    assert sharpness(state) == pytest.approx(exact(run, state), rel=1e-3)


def test_samples_beyond_one_batch_count_as_the_others(job: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    run = build(job(*SMALL, "dtype=float64"))
    state = start(run)
    whole = sharpness(state)
    monkeypatch.setattr("runner.engine.sharpness.BATCH", 50)
    assert sharpness(state) == pytest.approx(whole, rel=1e-6)


@pytest.mark.parametrize("condition", [1.0, 100.0])
def test_on_the_quadratic_it_is_its_largest_curvature(condition: float, job: Make) -> None:
    """Gradient descent diverges there above 2/L with L = 1, as the study divergence-threshold finds."""
    overrides = ["data=quadratic", f"data.condition={condition}", "model=linear", "model.bias=false", "loss=mse"]
    run = build(job(*overrides, "optim=gd"))
    assert sharpness(start(run)) == pytest.approx(1.0, rel=1e-4)


def test_a_loss_that_is_linear_in_the_weights_has_none(job: Make) -> None:
    run = build(job("model=linear", "loss=runner.study.parts.output_itself"))
    assert sharpness(start(run)) == 0.0


@pytest.mark.parametrize("spectrum", [[-9.0, 1.0, 2.0], [5.0, 5.0, 5.0], [0.0, 0.0, 0.0], [-3.0, -2.0, -1.0]])
def test_the_largest_is_found_not_the_farthest_from_0(spectrum: list[float]) -> None:
    found = largest_eigenvalue(lambda v: torch.tensor(spectrum) * v, torch.ones(3))
    assert found == pytest.approx(max(spectrum), abs=1e-5)


def test_a_wide_spectrum_is_resolved_within_the_iterations() -> None:
    spectrum = torch.cat([torch.linspace(0, 1, 999), torch.tensor([1.05])])
    products = 0

    def times(v: torch.Tensor) -> torch.Tensor:
        nonlocal products
        products += 1
        return spectrum * v

    start = torch.randn(1000, generator=torch.Generator().manual_seed(0))
    assert largest_eigenvalue(times, start) == pytest.approx(1.05, rel=1e-3)
    assert products <= MOST_ITERATIONS


def test_a_hessian_that_is_not_finite_has_none() -> None:
    assert str(largest_eigenvalue(lambda v: v * float("inf"), torch.ones(3))) == "nan"


def test_every_row_has_it_and_the_rest_is_the_same_run(optbench: Callable, folder: Path) -> None:
    settings = ["epochs=2", "regularization=[dropout,ema]", "model.width=16"]
    assert optbench("train", "name=with", *settings, "sharpness=true").code == 0
    assert optbench("train", "name=without", *settings).code == 0
    measured, plain = run_folder(folder, "with"), run_folder(folder, "without")
    rows = without_timing(measured)
    assert list(rows[0])[-2:] == ["sharpness", "status"]
    assert all(float(row.pop("sharpness")) > 0 for row in rows)
    assert rows == without_timing(plain)
    a, b = summary_of(measured), summary_of(plain)
    assert a["run_id"] == b["run_id"] and a["test_loss"] == b["test_loss"]
    assert a["final_sharpness"] == float(rows_of(measured)[-1]["sharpness"]) and "final_sharpness" not in b


def test_a_run_without_it_is_trained_again_for_it(optbench: Callable, folder: Path) -> None:
    optbench("train", "max_steps=2")
    assert "not trained again" not in optbench("train", "max_steps=2", "sharpness=true").out
    assert "not trained again" in optbench("train", "max_steps=2").out


def test_a_run_that_diverges_has_none_in_its_last_row(optbench: Callable, folder: Path) -> None:
    asked = ["train", "model=linear", "loss=mse", "optim=sgd", "optim.lr=1e20", "epochs=1", "sharpness=true"]
    assert optbench(*asked).code == 0
    last = rows_of(run_folder(folder))[-1]
    assert (last["status"], last["sharpness"]) == ("diverged", "")
    assert "not trained again" in optbench(*asked).out


@pytest.mark.parametrize(
    "model",
    [
        ["model=cnn"],
        ["model=vit", "model.width=8", "model.depth=1"],
        ["data=text", "model=gpt", "data.characters=2000", "data.context=8", "model.width=8", "model.depth=1"],
        ["data=text", "model=rnn", "model.kind=lstm", "data.characters=2000", "data.context=8", "model.width=8"],
    ],
    ids=lambda overrides: "-".join(overrides[:2]),
)
def test_every_kind_of_model_can_be_differentiated_twice(model: list[str], optbench: Callable, folder: Path) -> None:
    assert optbench("train", *model, "max_steps=1", "sharpness=true").code == 0
    assert all(float(row["sharpness"]) > 0 for row in rows_of(run_folder(folder)))


def test_a_sweep_with_it_is_trained_by_the_loop(optbench: Callable, folder: Path) -> None:
    settings = ["model.width=8", "max_steps=2", "seeds=4", "sharpness=true", "workers=1"]
    refused = optbench("train", "-m", *settings, "engine=fused")
    assert refused.code == 2 and "sharpness=true" in refused.err and not (folder / "outputs").exists()
    assert optbench("train", "-m", *settings).code == 0
    assert {summary_of(run)["engine"] for run in run_folders(folder)} == {"loop"}
