"""A small problem of two layers of weights, on which optimizers are held against their published updates."""

from collections.abc import Callable, Iterator

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


def path_of(make: Callable[..., Optimizer], rates: Callable[[int], float] | None = None, **settings) -> list[Weights]:
    """Return the weights after each step of an optimizer of ours, at ``rates(step)`` where those are given."""
    layer = nn.Linear(4, 3, dtype=torch.float64)
    with torch.no_grad():
        for parameter, value in zip(layer.parameters(), start(), strict=True):
            parameter.copy_(value)
    optimizer = make(parameter_groups(layer, decay_bias_and_norm=False), **settings)
    path = []
    for step, gradients in enumerate(problem()):
        for group in optimizer.param_groups if rates else ():
            group["lr"] = rates(step)
        for parameter, gradient in zip(layer.parameters(), gradients([*layer.parameters()]), strict=True):
            parameter.grad = gradient.detach().clone()
        optimizer.step()
        path.append([parameter.detach().clone() for parameter in layer.parameters()])
    return path


def furthest(path: list[Weights], published: list[Weights]) -> float:
    """Return the largest difference of any weight at any step."""
    assert len(path) == len(published) == STEPS
    pairs = zip((w for weights in path for w in weights), (w for weights in published for w in weights), strict=True)
    return max(float((ours - theirs).abs().max()) for ours, theirs in pairs)
