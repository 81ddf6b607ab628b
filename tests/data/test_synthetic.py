"""Made data: they have the truth that they say."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from optbench import train
from runner.data import synthetic
from tests.support.known import as_seeds_go


def test_linear_regression_has_the_noise_it_says() -> None:
    source = synthetic.linear_regression(samples=20000, features=5, noise=0.5, sample_seed=3, test_fraction=0.2)
    x, y = source.samples.x, source.samples.y
    residual = y - x @ np.linalg.lstsq(x, y, rcond=None)[0]
    assert residual.std() == pytest.approx(0.5, rel=0.03)


def test_quadratic_has_the_eigenvalues_it_says(job: Callable) -> None:
    source = synthetic.quadratic(features=7, condition=50.0)
    x = source.samples.x
    assert np.allclose(np.linalg.eigvalsh(2 / len(x) * x.T @ x), np.geomspace(1 / 50, 1, 7))
    config = job("data=quadratic", "model=linear", "batch.size=1").config
    assert config["data"]["normalize"] == "none"


def test_mnist1d_is_the_published_recipe() -> None:
    source = synthetic.mnist1d(samples=500, sample_seed=42, test_fraction=0.2)
    x, y = source.samples.x, source.samples.y
    assert x.shape == (500, 1, 40) and np.bincount(y).tolist() == [50] * 10
    assert abs(x.mean()) < 1e-9 and x.std() == pytest.approx(1)
    again = synthetic.mnist1d(samples=500, sample_seed=42, test_fraction=0.2)
    assert source.fingerprint == again.fingerprint
    assert synthetic.mnist1d(samples=500, sample_seed=1, test_fraction=0.2).fingerprint != source.fingerprint


@pytest.mark.slow
@pytest.mark.parametrize(
    ("model", "published", "deviation"),
    [
        (["model=linear"], 0.32, 0.009),
        (["model=mlp", "model.width=100"], 0.68, 0.014),
        (["model=custom", "model.target=tests.own_parts.Strided"], 0.94, 0.009),
    ],
)
def test_mnist1d_gives_the_published_accuracies(
    model: list[str], published: float, deviation: float, folder: Path
) -> None:
    steps = ["max_steps=6000", "eval_every=2000", "batch.size=100", "scheduler=constant"]
    found = train("data=mnist1d", "data.val_fraction=0.02", "optim=adam", "optim.lr=0.01", *steps, *model)
    assert found.summary["test_accuracy"] == as_seeds_go(published, deviation)
