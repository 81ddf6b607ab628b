"""Measures that are counted for a whole stack at once, against those of each run by itself."""

import math

import pytest
import torch

from runner.engine.fused.called import COUNTED, Called
from tests.support.stacks import alone, runs_of, together


def outputs(kind: str, runs: int = 5, n: int = 60, classes: int = 4) -> tuple[torch.Tensor, torch.Tensor]:
    g = torch.Generator().manual_seed(0)
    found, y = torch.randn(runs, n, classes, generator=g), torch.randint(classes, (n,), generator=g)
    if kind == "ties":
        found = found.round()
    if kind == "nothing finite":
        found[1, 3], found[2, :, 1] = math.nan, math.inf
    if kind == "an absent class":
        y[y == 1] = 0
    if kind == "one class for all":
        found[:, :, 2] = 100.0
    return found, y


@pytest.mark.parametrize("kind", ["plain", "ties", "nothing finite", "an absent class", "one class for all"])
@pytest.mark.parametrize("measure", list(COUNTED), ids=lambda measure: measure.__name__)
def test_what_is_counted_at_once_is_what_each_run_has(kind: str, measure) -> None:
    found, y = outputs(kind)
    each = torch.stack([measure(one, y) for one in found])
    torch.testing.assert_close(COUNTED[measure](Called(found, y)), each, rtol=1e-14, atol=0)


def test_a_stack_records_balanced_accuracy_and_f1_as_the_loop_does(job) -> None:
    asked = ["data=wine", "model.width=8", "model.depth=1", "epochs=3", "batch.size=32"]
    runs = runs_of(job, [[f"optim.lr={lr}"] for lr in (0.001, 0.01, 0.1)], *asked)
    for run, (_, rows) in zip(runs, together(runs), strict=True):
        _, expected = alone(run)
        assert len(rows) == len(expected) == 4
        for one, other in zip(rows, expected, strict=True):
            for name in (f"{part}_{measure}" for part in ("train", "val") for measure in ("balanced_accuracy", "f1")):
                assert one[name] == pytest.approx(other[name], abs=1e-12), name
