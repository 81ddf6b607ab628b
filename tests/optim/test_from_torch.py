"""Optimizers against their published updates, written out in float64."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from runner import optim
from runner.engine.optimizers import evaluating
from runner.optim.groups import all_of
from runner.run.build import build
from tests.support.loops import final_weights, trained
from tests.support.stepped import stepped

STEPS = 10


def gradients() -> list[Tensor]:
    g = torch.Generator().manual_seed(0)
    return [torch.randn(3, 4, dtype=torch.float64, generator=g) for _ in range(STEPS)]


def start() -> Tensor:
    return torch.linspace(-1, 1, 12, dtype=torch.float64).reshape(3, 4)


def zeros() -> Tensor:
    return torch.zeros(3, 4, dtype=torch.float64)


def ours(make: Callable, **settings: Any) -> list[Tensor]:
    """Return a matrix after each step of an optimizer of ours."""
    layer = nn.Linear(4, 3, dtype=torch.float64)
    with torch.no_grad():
        layer.weight.copy_(start())
    optimizer = make(optim.parameter_groups(layer, decay_bias_and_norm=False), **settings)
    path = []
    for gradient in gradients():
        layer.weight.grad = gradient.clone()
        layer.bias.grad = torch.zeros(3, dtype=torch.float64)
        optimizer.step()
        path.append(layer.weight.detach().clone())
    return path


def published_sgd(lr: float, momentum: float, nesterov: bool) -> list[Tensor]:
    w, v, path = start(), zeros(), []
    for g in gradients():
        v = momentum * v + g
        w = w - lr * (g + momentum * v if nesterov else v)
        path.append(w)
    return path


def published_adam(lr: float, b1: float, b2: float, eps: float, decay: float) -> list[Tensor]:
    w, m, v, path = start(), 0.0, 0.0, []
    for t, g in enumerate(gradients(), 1):
        m, v = b1 * m + (1 - b1) * g, b2 * v + (1 - b2) * g**2
        w = w - lr * decay * w
        w = w - lr * (m / (1 - b1**t)) / ((v / (1 - b2**t)) ** 0.5 + eps)
        path.append(w)
    return path


def published_adagrad(lr: float, eps: float) -> list[Tensor]:
    w, total, path = start(), zeros(), []
    for g in gradients():
        total = total + g**2
        w = w - lr * g / (total**0.5 + eps)
        path.append(w)
    return path


def published_adadelta(lr: float, rho: float, eps: float) -> list[Tensor]:
    w, squares, steps, path = start(), zeros(), zeros(), []
    for g in gradients():
        squares = rho * squares + (1 - rho) * g**2
        step = (steps + eps) ** 0.5 / (squares + eps) ** 0.5 * g
        steps = rho * steps + (1 - rho) * step**2
        w = w - lr * step
        path.append(w)
    return path


def published_rmsprop(lr: float, alpha: float, eps: float, momentum: float, centered: bool) -> list[Tensor]:
    w, squares, mean, v, path = start(), zeros(), zeros(), zeros(), []
    for g in gradients():
        squares, mean = alpha * squares + (1 - alpha) * g**2, alpha * mean + (1 - alpha) * g
        v = momentum * v + g / ((squares - mean**2 if centered else squares) ** 0.5 + eps)
        w = w - lr * v
        path.append(w)
    return path


def published_rprop(lr: float, shrink: float, grow: float, least: float, most: float) -> list[Tensor]:
    w, size, before, path = start(), torch.full((3, 4), lr, dtype=torch.float64), zeros(), []
    for given in gradients():
        sign = (given * before).sign()
        size = torch.where(sign > 0, size * grow, torch.where(sign < 0, size * shrink, size)).clamp(least, most)
        g = torch.where(sign < 0, 0.0, given)  # after a change of sign, no step and no memory (Rprop-)
        w = w - g.sign() * size
        before = g
        path.append(w)
    return path


def published_amsgrad(lr: float, b1: float, b2: float, eps: float) -> list[Tensor]:
    w, m, v, largest, path = start(), zeros(), zeros(), zeros(), []
    for t, g in enumerate(gradients(), 1):
        m, v = b1 * m + (1 - b1) * g, b2 * v + (1 - b2) * g**2
        largest = torch.maximum(largest, v)
        w = w - lr * (m / (1 - b1**t)) / ((largest / (1 - b2**t)) ** 0.5 + eps)
        path.append(w)
    return path


def published_adamax(lr: float, b1: float, b2: float, eps: float) -> list[Tensor]:
    w, m, u, path = start(), zeros(), zeros(), []
    for t, g in enumerate(gradients(), 1):
        m, u = b1 * m + (1 - b1) * g, torch.maximum(b2 * u, g.abs() + eps)
        w = w - lr / (1 - b1**t) * m / u
        path.append(w)
    return path


def published_nadam(lr: float, b1: float, b2: float, eps: float, decay: float) -> list[Tensor]:
    w, m, v, product, path = start(), zeros(), zeros(), 1.0, []
    for t, g in enumerate(gradients(), 1):
        now, following = (b1 * (1 - 0.5 * 0.96 ** (s * decay)) for s in (t, t + 1))
        product *= now
        m, v = b1 * m + (1 - b1) * g, b2 * v + (1 - b2) * g**2
        ahead = following * m / (1 - product * following) + (1 - now) * g / (1 - product)
        w = w - lr * ahead / ((v / (1 - b2**t)) ** 0.5 + eps)
        path.append(w)
    return path


def published_radam(lr: float, b1: float, b2: float, eps: float) -> list[Tensor]:
    w, m, v, path = start(), zeros(), zeros(), []
    longest = 2 / (1 - b2) - 1
    for t, g in enumerate(gradients(), 1):
        m, v = b1 * m + (1 - b1) * g, b2 * v + (1 - b2) * g**2
        length = longest - 2 * t * b2**t / (1 - b2**t)
        step = m / (1 - b1**t)
        if length > 5:
            r = ((length - 4) * (length - 2) * longest / ((longest - 4) * (longest - 2) * length)) ** 0.5
            step = step * r * (1 - b2**t) ** 0.5 / (v**0.5 + eps)
        w = w - lr * step
        path.append(w)
    return path


def published_adafactor(lr: float, decay: float, eps: float, threshold: float) -> list[Tensor]:
    w, rows, columns, path = start(), 0.0, 0.0, []
    for t, g in enumerate(gradients(), 1):
        keep = 1 - t**decay
        rows = keep * rows + (1 - keep) * (g**2).mean(1, keepdim=True)
        columns = keep * columns + (1 - keep) * (g**2).mean(0, keepdim=True)
        update = g / (rows * columns / rows.mean()) ** 0.5
        update = update / max(1.0, float((update**2).mean() ** 0.5) / threshold)
        relative = max(eps, float((w**2).mean() ** 0.5)) * min(lr, t**-0.5)
        w = w - relative * update
        path.append(w)
    return path


def published_asgd(lr: float, lambd: float, alpha: float) -> list[Tensor]:
    w, path = start(), []
    for t, g in enumerate(gradients()):
        rate = lr / (1 + lambd * lr * t) ** alpha
        w = w - rate * (g + lambd * w)
        path.append(w)
    return path


def published_muon(lr: float, momentum: float, decay: float) -> list[Tensor]:
    """In bfloat16, rounded where its authors round: after each B = bA + cA² and X = aX + BX, and not between."""
    w, v, path = start(), zeros(), []
    for g in gradients():
        v = momentum * v + (1 - momentum) * g
        x = ((1 - momentum) * g + momentum * v).bfloat16()
        x = x / x.norm()
        for _ in range(5):
            gram = x @ x.T
            x = torch.addmm(x, torch.addmm(gram, gram, gram, beta=-4.7750, alpha=2.0315), x, beta=3.4445)
        w = w - lr * decay * w - lr * x.double()  # 3 rows, 4 columns: √max(1, 3/4) = 1
        path.append(w)
    return path


B = [0.8, 0.9]
ADAM = {"lr": 0.1, "betas": B, "eps": 1e-3}
CASES = {
    "gd": (optim.gd, {"lr": 0.1}, published_sgd(0.1, 0, False)),
    "sgd": (optim.sgd, {"lr": 0.1, "momentum": 0, "nesterov": False}, published_sgd(0.1, 0, False)),
    "momentum": (optim.sgd, {"lr": 0.1, "momentum": 0.8, "nesterov": False}, published_sgd(0.1, 0.8, False)),
    "nesterov": (optim.sgd, {"lr": 0.1, "momentum": 0.8, "nesterov": True}, published_sgd(0.1, 0.8, True)),
    "adagrad": (optim.adagrad, {"lr": 0.1, "eps": 1e-3}, published_adagrad(0.1, 1e-3)),
    "adadelta": (optim.adadelta, {"lr": 0.5, "rho": 0.8, "eps": 1e-3}, published_adadelta(0.5, 0.8, 1e-3)),
    **{
        f"rmsprop, momentum {momentum}, centered {centered}": (
            optim.rmsprop,
            {"lr": 0.1, "alpha": 0.8, "eps": 1e-3, "momentum": momentum, "centered": centered},
            published_rmsprop(0.1, 0.8, 1e-3, momentum, centered),
        )
        for momentum, centered in ((0.0, False), (0.7, True))
    },
    "rprop": (
        optim.rprop,
        {"lr": 0.1, "etas": [0.5, 1.2], "step_sizes": [0.03, 0.2]},
        published_rprop(0.1, 0.5, 1.2, 0.03, 0.2),
    ),
    "adam": (optim.adam, ADAM, published_adam(0.1, *B, 1e-3, 0)),
    "adamw": (optim.adamw, {**ADAM, "weight_decay": 0.3}, published_adam(0.1, *B, 1e-3, 0.3)),
    "amsgrad": (optim.amsgrad, ADAM, published_amsgrad(0.1, *B, 1e-3)),
    "adamax": (optim.adamax, ADAM, published_adamax(0.1, *B, 1e-3)),
    "nadam": (optim.nadam, {**ADAM, "momentum_decay": 0.1}, published_nadam(0.1, *B, 1e-3, 0.1)),
    "radam": (optim.radam, {**ADAM, "betas": [0.8, 0.99]}, published_radam(0.1, 0.8, 0.99, 1e-3)),
    "adafactor": (
        optim.adafactor,
        {"lr": 0.1, "beta2_decay": -0.8, "eps": 1e-3, "clip_threshold": 1.0},
        published_adafactor(0.1, -0.8, 1e-3, 1.0),
    ),
    "asgd": (optim.asgd, {"lr": 0.1, "lambd": 0.3, "alpha": 0.75, "t0": 0.0}, published_asgd(0.1, 0.3, 0.75)),
}
IN_FLOAT32 = ("nadam", "asgd")
"""torch keeps a product of momenta (NAdam) and the learning rate (ASGD) in float32."""


@pytest.mark.parametrize("name", CASES)
def test_every_step_is_the_published_update(name: str) -> None:
    make, settings, published = CASES[name]
    precision = 1e-6 if name in IN_FLOAT32 else 1e-12
    torch.testing.assert_close(ours(make, **settings), published, rtol=precision, atol=precision)


@pytest.mark.parametrize("reached", [False, True])
def test_decay_reaches_biases_only_where_asked(reached: bool) -> None:
    layer = nn.Linear(4, 3)
    optimizer = optim.adamw(
        optim.parameter_groups(layer, reached), lr=0.1, betas=[0.9, 0.99], eps=1e-8, weight_decay=0.5
    )
    before = layer.bias.detach().clone()
    layer.weight.grad, layer.bias.grad = torch.zeros(3, 4), torch.zeros(3)
    optimizer.step()
    torch.testing.assert_close(layer.bias.detach(), before * (0.95 if reached else 1.0))


def test_decoupled_decay_on_adam_is_adamw(job: Callable) -> None:
    common = ["optim.lr=0.01", "max_steps=30", "dtype=float64"]
    decoupled = ["regularization=weight_decay", "regularization.weight_decay.rate=0.1"]
    adamw = final_weights(job("optim=adamw", "optim.weight_decay=0.1", *common))
    adam = final_weights(job("optim=adam", *decoupled, *common))
    torch.testing.assert_close(adamw, adam, rtol=1e-10, atol=1e-12)


def test_muon_is_the_published_update_on_hidden_matrices() -> None:
    model = nn.Sequential(nn.Linear(4, 3, dtype=torch.float64), nn.Linear(3, 2, dtype=torch.float64))
    with torch.no_grad():
        model[0].weight.copy_(start())
    before = model[1].weight.detach().clone()
    settings = {"lr": 0.1, "momentum": 0.9, "nesterov": True, "ns_steps": 5, "weight_decay": 0.2}
    optimizer = optim.muon(optim.parameter_groups(model, False), **settings, adamw_lr=0.01, adamw_betas=[0.9, 0.99])
    for gradient, expected in zip(gradients(), published_muon(0.1, 0.9, 0.2), strict=True):
        for parameter in model.parameters():
            parameter.grad = torch.ones_like(parameter)
        model[0].weight.grad = gradient.clone()
        optimizer.step()
        torch.testing.assert_close(model[0].weight.detach(), expected, rtol=1e-12, atol=1e-12)
    # the readout is AdamW's: ten steps of its learning rate, shrunk by 1 - 0.01·0.2 each
    expected = before
    for _ in range(STEPS):
        expected = expected * (1 - 0.01 * 0.2) - 0.01
    torch.testing.assert_close(model[1].weight.detach(), expected, rtol=1e-6, atol=1e-6)


def test_muon_without_a_hidden_matrix_is_refused(optbench: Callable) -> None:
    refused = optbench("train", "optim=muon", "model=linear")
    assert refused.code == 2 and "hidden" in refused.err


def test_asgd_is_judged_by_the_mean_of_its_iterates() -> None:
    optimizer, path = stepped(optim.asgd, lr=0.1, lambd=0.0, alpha=0.75, t0=0.0)
    weights = [weight.detach() for weight in all_of(optimizer.param_groups)]
    with evaluating(optimizer):
        torch.testing.assert_close(weights, [torch.stack(iterates).mean(0) for iterates in zip(*path, strict=True)])
    torch.testing.assert_close(weights, path[-1])


def test_lbfgs_solves_a_least_squares_problem_in_few_steps(job: Callable) -> None:
    problem = ["data=linear_regression", "data.noise=0", "model=linear", "dtype=float64", "batch.size=720"]
    _, rows = trained(job(*problem, "optim=lbfgs", "scheduler=constant", "max_steps=5"))
    assert rows[0]["train_loss"] > 0.1 and rows[-1]["train_loss"] < 1e-8


def test_a_tolerance_ends_the_iterations_of_lbfgs(job: Callable) -> None:
    def evaluations(*settings: str) -> int:
        run = build(job("optim=lbfgs", "model=linear", "init=zeros", "max_steps=1", "batch.size=all", *settings))
        weight = nn.Parameter(torch.tensor([3.0, -1.0], dtype=torch.float64))
        optimizer = run.optim.optimizer([{"params": [weight]}])
        calls = []

        def closure() -> Tensor:
            calls.append(1)
            optimizer.zero_grad()
            loss = (weight**4).sum() + (weight**2).sum()
            loss.backward()
            return loss

        optimizer.step(closure)
        return len(calls)

    assert evaluations("optim.tolerance_grad=1000") == 1  # the gradient at the start is 114 at most
    assert evaluations("optim.tolerance_change=1000") < evaluations("optim.tolerance_change=1e-3") <= evaluations()
