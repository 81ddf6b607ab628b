"""The gradient of a batch that is taken apart."""

from collections.abc import Callable

import torch
from torch import Tensor

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
    (state.scaler.scale(loss) if state.scaler else loss).backward()  # type: ignore[no-untyped-call]
