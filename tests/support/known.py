"""Runs of which it is known what they come to."""

import math
import os
from typing import Any

import pytest

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


def as_seeds_go(mean: float, deviation: float) -> Any:
    """Return what a run may reach where others come to a mean, with a deviation over their seeds.

    On another processor the same run is rounded otherwise and comes to what another seed would have given: within six
    deviations of the mean, but for one in 10⁸.
    """
    return pytest.approx(mean, abs=6 * deviation)
