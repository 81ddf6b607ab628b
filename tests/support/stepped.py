"""A small problem of two layers of weights, on which optimizers are held against their published updates."""

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from runner.optim import parameter_groups

STEPS = 24
Weights = list[Tensor]


def start() -> Weights:
    """A matrix that decay reaches, and a bias that it does not."""
    return [torch.linspace(-1, 1, 12, dtype=torch.float64).reshape(3, 4), torch.linspace(0.5, -0.3, 3).double()]


def problem() -> Iterator[Callable[[Weights], Weights]]:
    """Yield, step by step, the gradients of a noisy least-squares loss as a function of the weights."""
    drawing = torch.Generator().manual_seed(0)
    for _ in range(STEPS):
        x = torch.randn(6, 4, dtype=torch.float64, generator=drawing)
        y = torch.randn(6, 3, dtype=torch.float64, generator=drawing)

        def gradients(weights: Weights, x: Tensor = x, y: Tensor = y) -> Weights:
            off = (x @ weights[0].T + weights[1] - y) / 6
            return [off.T @ x, off.sum(0)]

        yield gradients


def stepped(
    make: Callable[..., Optimizer],
    rates: Callable[[int], float] | None = None,
    closure: Callable[[int, Callable[[Weights], Weights], Weights], Any] | None = None,
    **settings: Any,
) -> tuple[Optimizer, list[Weights]]:
    """Return an optimizer of ours and the weights after each of its steps.

    Args:
        make: gives the optimizer, from parameter groups and settings.
        rates: the learning rate of each step; None leaves it at the optimizer's.
        closure: gives what ``step`` is called with, from the step, its gradients and the weights.
        settings: of the optimizer.
    """
    layer = nn.Linear(4, 3, dtype=torch.float64)
    weights = [*layer.parameters()]
    with torch.no_grad():
        for weight, value in zip(weights, start(), strict=True):
            weight.copy_(value)
    optimizer = make(parameter_groups(layer, decay_bias_and_norm=False), **settings)
    path = []
    for step, gradients in enumerate(problem()):
        for group in optimizer.param_groups if rates else ():
            group["lr"] = rates(step)
        for weight, gradient in zip(weights, gradients(weights), strict=True):
            weight.grad = gradient.detach().clone()
        optimizer.step(*([closure(step, gradients, weights)] if closure else []))
        path.append([weight.detach().clone() for weight in weights])
    return optimizer, path


def path_of(make: Callable[..., Optimizer], **given: Any) -> list[Weights]:
    """Return the weights after each step, as ``stepped``."""
    return stepped(make, **given)[1]


def assert_published(path: list[Weights], published: list[Weights]) -> None:
    """Every weight is the published one after every step, to 1e-10."""
    torch.testing.assert_close(path, published, rtol=0, atol=1e-10)
