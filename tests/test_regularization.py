"""Regularization against its definitions."""

import math
from collections.abc import Callable

import pytest
import torch

from runner import regularization
from runner.noise import key


@pytest.mark.parametrize("p", [0.1, 0.5, 0.9])
def test_dropout_keeps_the_mean_and_drops_its_share(p: float) -> None:
    dropped = regularization.dropout(p=p).at(key(0, 0))(torch.ones(1000, 100), 0)
    share = (dropped == 0).double().mean().item()
    assert share == pytest.approx(p, abs=5 * math.sqrt(p * (1 - p) / dropped.numel()))
    kept = dropped[dropped > 0]
    torch.testing.assert_close(kept, torch.full_like(kept, 1 / (1 - p)))
    assert dropped.var().item() == pytest.approx(p / (1 - p), rel=0.05)


def test_l2_gradient_is_strength_times_weight() -> None:
    w = torch.randn(4, 3, requires_grad=True)
    penalty = regularization.l2(strength=0.3)
    (penalty.strength * penalty.of([w])).backward()
    torch.testing.assert_close(w.grad, 0.3 * w.detach())


def test_clip_leaves_the_norm_at_most_at_its_bound() -> None:
    w = torch.zeros(5, requires_grad=True)
    for scale, expected in ((10.0, 2.0), (0.1, 0.1)):
        w.grad = torch.ones(5) * scale / math.sqrt(5)
        regularization.grad_clip(max_norm=2.0).apply([w])
        assert w.grad.norm().item() == pytest.approx(expected, rel=1e-5)


def test_clip_bounds_the_step_of_plain_sgd(job: Callable) -> None:
    from tests.test_loop import final_weights

    common = ["optim=sgd", "optim.lr=1", "max_steps=1", "scheduler=constant", "init=he"]
    before = final_weights(job(*common), steps=0)
    clipped = ["regularization=grad_clip", "regularization.grad_clip.max_norm=0.01"]
    after = final_weights(job(*common, *clipped))
    moved = math.sqrt(sum((a - b).square().sum().item() for a, b in zip(after, before, strict=True)))
    assert moved == pytest.approx(0.01, rel=1e-4)


def test_dropout_trains_with_noise_and_evaluates_without(job: Callable) -> None:
    from runner.build import build
    from runner.engine import loop
    from runner.engine.state import start

    run = build(job("regularization=dropout", "init=he"))
    state = start(run)
    assert loop.evaluate(run, state, run.val) == loop.evaluate(run, state, run.val)
    x, y = run.val.x, run.val.y
    assert loop._loss(run, state, x, y) != loop.evaluate(run, state, run.val)["loss"]


def test_early_stopping_ends_after_its_patience_and_restores_the_best_weights(job: Callable) -> None:
    from tests.test_loop import trained

    state, rows = trained(
        job(
            "regularization=early_stopping",
            "regularization.early_stopping.patience=3",
            "optim.lr=0.03",
            "epochs=60",
            "data.fraction=0.1",
            "data.normalize=none",
        )
    )
    losses = [row["val_loss"] for row in rows]
    best = losses.index(min(losses))
    assert state.stop_reason.startswith("early_stopping")
    assert len(losses) - 1 == best + 3
    from runner.build import build
    from runner.engine import loop

    run = build(job("data.fraction=0.1", "data.normalize=none"))
    assert loop.evaluate(run, state, run.val)["loss"] == pytest.approx(losses[best], rel=1e-6)
