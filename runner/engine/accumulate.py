"""The gradient of a batch that is taken apart."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.backends import cudnn
from torch.nn.attention import SDPBackend, sdpa_kernel

from runner.engine.state import State
from runner.engine.targets import Mixed, Targets, Weighted

LossOfPart = Callable[[State, Tensor, Targets, int], Tensor]
"""The loss of a part of a batch, the mean over its samples, without what the weights themselves cost.

The last argument is the place of its first sample.
"""


def gradient(state: State, x: Tensor, y: Targets, loss: LossOfPart, measure: bool = False) -> Tensor:
    """Put a batch's gradient in place of the last one, the mean of its parts' weighted by samples; return the loss.

    Dropout, augmentation and the adversary draw for the whole batch, so that parts change its gradient by rounding
    alone; batch norm takes the statistics of each part.

    Args:
        state: where the run is.
        x: the batch's samples.
        y: their targets.
        loss: of a part of them.
        measure: let hooks look at the parts' gradients.
    """
    run, on = state.run, state.on
    if run.spread is not None:
        return run.spread.gradient(state, x, y, loss)
    state.optimizer.zero_grad()
    n, size = len(x), min(run.micro or len(x), len(x))
    for act in on.part_size if measure else ():
        size = act(state, n, size)
    if size == n:
        whole = with_penalties(state, loss(state, x, y, 0))
        backward(state, whole)
        return whole
    total = torch.zeros((), dtype=run.dtype, device=run.device)
    for first in range(0, n, size):
        part = x[first : first + size]
        found = with_penalties(state, loss(state, part, part_of(y, first, first + size), first))
        weighted = len(part) / n * found
        backward(state, weighted)
        total += weighted.detach()
        for note in on.after_part if measure else ():
            note(state, len(part), n, state.scaler.get_scale() if state.scaler else 1.0)
    return total


@torch.enable_grad()
def hessian_times(state: State, x: Tensor, y: Targets, loss: LossOfPart, vectors: Sequence[Tensor]) -> list[Tensor]:
    """Return the Hessian of a batch's loss, the mean of its parts', times vectors.

    Args:
        state: where the run is.
        x: the batch's samples.
        y: their targets.
        loss: of a part of them.
        vectors: one for each weight that is trained, of its shape.
    """
    weights, n = [*state.trained], len(x)
    size = min(state.run.micro or n, n)
    found = [torch.zeros_like(weight) for weight in weights]
    moving = [i for i, weight in enumerate(weights) if weight.requires_grad]  # the others are not trained yet
    total, by, along = ([of_all[i] for i in moving] for of_all in (found, weights, vectors))
    with sdpa_kernel(SDPBackend.MATH), cudnn.flags(enabled=False):  # the others have one derivative
        for first in range(0, n, size):
            part = x[first : first + size]
            whole = with_penalties(state, loss(state, part, part_of(y, first, first + size), first)) * (len(part) / n)
            add_hessian_times(total, whole, by, along)
    return found


def add_hessian_times(total: list[Tensor], loss: Tensor, weights: Sequence[Tensor], vectors: Sequence[Tensor]) -> None:
    """Add to ``total`` the Hessian of a loss by the weights, times a vector of each one's shape (Pearlmutter 1994)."""
    gradients = torch.autograd.grad(loss, weights, create_graph=True, materialize_grads=True)
    slope = torch.stack([(g * v).sum() for g, v in zip(gradients, vectors, strict=True)]).sum()
    if slope.requires_grad:  # otherwise the loss is linear in every weight
        torch._foreach_add_(total, torch.autograd.grad(slope, weights, materialize_grads=True))


def with_penalties(state: State, loss: Tensor) -> Tensor:
    """Return a loss with what the weights themselves cost."""
    for cost in state.on.penalty:
        loss = loss + cost(state)
    return loss


def part_of(y: Targets, first: int, end: int) -> Targets:
    """Return the targets from a place of a batch to another."""
    if isinstance(y, Weighted):
        return Weighted(y.y[first:end], y.weights[first:end])
    if isinstance(y, Mixed):
        return Mixed(y.y[first:end], y.other[first:end], y.share)
    return y[first:end]


def backward(state: State, loss: Tensor) -> None:
    """Add a loss's gradient to the weights', at the loss scaler's scale."""
    state.scaled(loss).backward()  # type: ignore[no-untyped-call]
