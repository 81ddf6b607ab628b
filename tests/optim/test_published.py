"""The newer optimizers against their published updates, written out in float64 as their papers have them."""

from collections.abc import Callable

import pytest
import torch
from torch import nn

from runner import optim
from runner.engine.fused.graphed import can_be_captured
from runner.engine.optimizers import evaluating
from runner.optim.groups import all_of
from tests.support.stepped import Weights, assert_published, path_of, problem, start, stepped

B = [0.8, 0.9]
DECAYED = (True, False)
"""Of the problem's weights, which decay and layer-wise rates reach."""


def published_lion(lr: float, betas: list[float], decay: float) -> list[Weights]:
    """Chen et al. 2023, algorithm 2: c, θ ← θ - η(sign(c) + λθ), then m."""
    w, m, path = start(), [0.0, 0.0], []
    for gradients in problem():
        for i, g in enumerate(gradients(w)):
            c = betas[0] * m[i] + (1 - betas[0]) * g
            w[i] = w[i] - lr * (c.sign() + decay * DECAYED[i] * w[i])
            m[i] = betas[1] * m[i] + (1 - betas[1]) * g
        path.append([*w])
    return path


def published_adabelief(lr: float, betas: list[float], eps: float) -> list[Weights]:
    """Zhuang et al. 2020, algorithm 2."""
    w, m, s, path = start(), [0.0, 0.0], [0.0, 0.0], []
    for t, gradients in enumerate(problem(), 1):
        for i, g in enumerate(gradients(w)):
            m[i] = betas[0] * m[i] + (1 - betas[0]) * g
            s[i] = betas[1] * s[i] + (1 - betas[1]) * (g - m[i]) ** 2 + eps
            w[i] = w[i] - lr * (m[i] / (1 - betas[0] ** t)) / ((s[i] / (1 - betas[1] ** t)) ** 0.5 + eps)
        path.append([*w])
    return path


def published_adan(lr: float, betas: list[float], eps: float, decay: float) -> list[Weights]:
    """Xie et al. 2022, algorithm 1 with β = 1 - betas, and each mean divided by what it lacks of its weights."""
    (b1, b2, b3), w, path = (1 - b for b in betas), start(), []
    m, v, n, before = [0.0, 0.0], [0.0, 0.0], [0.0, 0.0], [None, None]
    for t, gradients in enumerate(problem(), 1):
        for i, g in enumerate(gradients(w)):
            d = 0.0 * g if before[i] is None else g - before[i]
            before[i] = g
            m[i] = (1 - b1) * m[i] + b1 * g
            v[i] = (1 - b2) * v[i] + b2 * d
            n[i] = (1 - b3) * n[i] + b3 * (g + (1 - b2) * d) ** 2
            m̂, v̂, n̂ = (x / (1 - (1 - b) ** t) for x, b in ((m[i], b1), (v[i], b2), (n[i], b3)))
            w[i] = (w[i] - lr / (n̂**0.5 + eps) * (m̂ + (1 - b2) * v̂)) / (1 + decay * DECAYED[i] * lr)
        path.append([*w])
    return path


def published_ademamix(lr: float, betas: list[float], eps: float, decay: float, alpha: float, warmup: int):
    """Pagliardini et al. 2024, algorithm 1 with the schedules of its §3."""
    log = lambda x: torch.tensor(x, dtype=torch.float64).log()  # noqa: E731
    w, m1, m2, v, path = start(), [0.0, 0.0], [0.0, 0.0], [0.0, 0.0], []
    for t, gradients in enumerate(problem(), 1):
        a, b3 = alpha, betas[2]
        if warmup:
            a = min(t * alpha / warmup, alpha)
            share = t / warmup
            among = log(betas[0]) * log(betas[2]) / ((1 - share) * log(betas[2]) + share * log(betas[0]))
            b3 = float(torch.minimum(among.exp(), torch.tensor(betas[2]))) if share < 1 else betas[2]
        for i, g in enumerate(gradients(w)):
            m1[i] = betas[0] * m1[i] + (1 - betas[0]) * g
            m2[i] = b3 * m2[i] + (1 - b3) * g
            v[i] = betas[1] * v[i] + (1 - betas[1]) * g**2
            u = (m1[i] / (1 - betas[0] ** t) + a * m2[i]) / ((v[i] / (1 - betas[1] ** t)) ** 0.5 + eps)
            w[i] = w[i] - lr * (u + decay * DECAYED[i] * w[i])
        path.append([*w])
    return path


def published_lars(lr: float, momentum: float, trust: float, decay: float) -> list[Weights]:
    """You et al. 2017, algorithm 1, on the matrix; plain momentum on the bias."""
    w, v, path = start(), [0.0, 0.0], []
    for gradients in problem():
        for i, g in enumerate(gradients(w)):
            rate = trust * w[i].norm() / (g.norm() + decay * w[i].norm()) if DECAYED[i] else 1.0
            v[i] = momentum * v[i] + lr * rate * (g + decay * DECAYED[i] * w[i])
            w[i] = w[i] - v[i]
        path.append([*w])
    return path


def published_lamb(lr: float, betas: list[float], eps: float, decay: float) -> list[Weights]:
    """You et al. 2020, algorithm 2 with φ(z) = z, on the matrix; Adam on the bias."""
    w, m, v, path = start(), [0.0, 0.0], [0.0, 0.0], []
    for t, gradients in enumerate(problem(), 1):
        for i, g in enumerate(gradients(w)):
            m[i], v[i] = betas[0] * m[i] + (1 - betas[0]) * g, betas[1] * v[i] + (1 - betas[1]) * g**2
            r = (m[i] / (1 - betas[0] ** t)) / ((v[i] / (1 - betas[1] ** t)) ** 0.5 + eps)
            r = r + decay * DECAYED[i] * w[i]
            w[i] = w[i] - lr * (w[i].norm() / r.norm() if DECAYED[i] else 1.0) * r
        path.append([*w])
    return path


def published_prodigy(lr: float, betas: list[float], eps: float, decay: float, d: float) -> list[Weights]:
    """Mishchenko & Defazio 2024, algorithm 4, all weights as one vector."""
    w, first, r, path = start(), start(), 0.0, []
    m, v, s = [0.0, 0.0], [0.0, 0.0], [0.0, 0.0]
    root = betas[1] ** 0.5
    for gradients in problem():
        gs = gradients(w)
        way = sum(float((g * (x0 - x)).sum()) for g, x0, x in zip(gs, first, w, strict=True))
        r = root * r + (1 - root) * lr * d**2 * way
        for i, g in enumerate(gs):
            m[i] = betas[0] * m[i] + (1 - betas[0]) * d * g
            v[i] = betas[1] * v[i] + (1 - betas[1]) * d**2 * g**2
            s[i] = root * s[i] + (1 - root) * lr * d**2 * g
            w[i] = w[i] - lr * d * decay * DECAYED[i] * w[i] - lr * d * m[i] / (v[i] ** 0.5 + d * eps)
        d = max(d, r / sum(float(x.abs().sum()) for x in s))
        path.append([*w])
    return path


def published_schedule_free(rates, beta: float, decay: float, beta2: float | None, eps: float = 0.0):
    """Defazio et al. 2024, algorithm 1, or without ``beta2`` SGD's equations: y at each step, and x at the end."""
    z, x, v, path = start(), start(), [0.0, 0.0], []
    squares = 0.0
    for t, gradients in enumerate(problem(), 1):
        y = [(1 - beta) * z[i] + beta * x[i] for i in range(2)]
        rate = rates(t - 1) * ((1 - beta2**t) ** 0.5 if beta2 is not None else 1.0)
        squares += rate**2
        c = rate**2 / squares
        for i, g in enumerate(gradients(y)):
            if beta2 is not None:
                v[i] = beta2 * v[i] + (1 - beta2) * g**2
                g = g / (v[i] ** 0.5 + eps)
            z[i] = z[i] - rate * g - rate * decay * DECAYED[i] * y[i]
            x[i] = (1 - c) * x[i] + c * z[i]
        path.append([(1 - beta) * z[i] + beta * x[i] for i in range(2)])
    return path, x


ADAMIXED = {"betas": [0.8, 0.9, 0.99], "eps": 1e-3, "weight_decay": 0.3, "alpha": 4.0}
CASES = {
    "lion": (optim.lion, {"lr": 0.03, "betas": B, "weight_decay": 0.4}, published_lion(0.03, B, 0.4)),
    "adabelief": (optim.adabelief, {"lr": 0.1, "betas": B, "eps": 1e-3}, published_adabelief(0.1, B, 1e-3)),
    **{
        f"adan, decay {decay}": (
            optim.adan,
            {"lr": 0.1, "betas": [0.9, 0.8, 0.95], "eps": 1e-3, "weight_decay": decay},
            published_adan(0.1, [0.9, 0.8, 0.95], 1e-3, decay),
        )
        for decay in (0.0, 0.3)
    },
    **{
        f"ademamix, warm-up {steps}": (
            optim.ademamix,
            {"lr": 0.05, **ADAMIXED, "alpha_warmup": steps},
            published_ademamix(0.05, ADAMIXED["betas"], 1e-3, 0.3, 4.0, steps),
        )
        for steps in (0, 13)
    },
    "lars": (
        optim.lars,
        {"lr": 0.4, "momentum": 0.8, "trust": 0.1, "weight_decay": 0.2},
        published_lars(0.4, 0.8, 0.1, 0.2),
    ),
    "lamb": (
        optim.lamb,
        {"lr": 0.1, "betas": B, "eps": 1e-3, "weight_decay": 0.2},
        published_lamb(0.1, B, 1e-3, 0.2),
    ),
    "prodigy": (
        optim.prodigy,
        {"lr": 0.9, "betas": B, "eps": 1e-4, "weight_decay": 0.2, "d0": 1e-2},
        published_prodigy(0.9, B, 1e-4, 0.2, 1e-2),
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_every_step_is_the_published_update(name: str) -> None:
    make, settings, published = CASES[name]
    assert_published(path_of(make, **settings), published)


@pytest.mark.parametrize("kind", ["sgd", "adamw"])
def test_schedule_free_steps_as_published_and_is_judged_by_its_average(kind: str) -> None:
    def rates(step: int) -> float:
        return 0.1 * min(1.0, (step + 1) / 5)  # warm-up

    make = optim.schedule_free if kind == "adamw" else optim.schedule_free_sgd
    of_kind = {"beta2": 0.9, "eps": 1e-3} if kind == "adamw" else {}
    optimizer, path = stepped(make, rates, lr=0.1, interpolation=0.7, weight_decay=0.3, **of_kind)
    published, average = published_schedule_free(rates, 0.7, 0.3, of_kind.get("beta2"), 1e-3)
    assert_published(path, published)
    weights = [weight.detach() for weight in all_of(optimizer.param_groups)]
    with evaluating(optimizer):
        assert_published([weights], [average])
    assert all(torch.equal(w, y) for w, y in zip(weights, path[-1], strict=True))  # no bit is lost by looking


@pytest.mark.parametrize("make", [optim.lamb, optim.lars], ids=["lamb", "lars"])
def test_a_layer_of_zeros_is_stepped_by_the_rate_alone(make: Callable) -> None:
    layer = nn.Linear(4, 3, dtype=torch.float64)
    nn.init.zeros_(layer.weight)
    own = {"betas": [0.0, 0.0], "eps": 1e-12} if make is optim.lamb else {"momentum": 0.0, "trust": 1e-3}
    optimizer = make(optim.parameter_groups(layer, False), lr=0.1, weight_decay=0.0, **own)
    layer.weight.grad, layer.bias.grad = torch.ones(3, 4).double(), torch.zeros(3).double()
    optimizer.step()
    torch.testing.assert_close(layer.weight.detach(), torch.full((3, 4), -0.1, dtype=torch.float64))


@pytest.mark.parametrize("make", [optim.lamb, optim.lars], ids=["lamb", "lars"])
def test_a_gradient_of_zeros_moves_no_layer(make: Callable) -> None:
    layer = nn.Linear(4, 3, dtype=torch.float64)
    before = layer.weight.detach().clone()
    own = {"betas": B, "eps": 1e-8} if make is optim.lamb else {"momentum": 0.9, "trust": 1e-3}
    optimizer = make(optim.parameter_groups(layer, False), lr=0.1, weight_decay=0.0, **own)
    layer.weight.grad, layer.bias.grad = torch.zeros(3, 4).double(), torch.zeros(3).double()
    optimizer.step()
    assert torch.equal(layer.weight.detach(), before)


@pytest.mark.parametrize("name", ["lion", "adabelief", "adan, decay 0.0", "ademamix, warm-up 0", "lamb"])
def test_steps_that_are_counted_on_the_device_are_the_same(name: str) -> None:
    """As a CUDA graph replays them: the count is a tensor, and no number leaves the device."""
    make, settings, published = CASES[name]

    def on_device(groups: list[dict[str, object]], **given: object) -> object:
        optimizer = make(groups, **given)
        for group in optimizer.param_groups:
            group["capturable"] = True
        return optimizer

    assert can_be_captured([on_device([{"params": [nn.Parameter(torch.ones(2))], "decayed": True}], **settings)])
    assert_published(path_of(on_device, **settings), published)
