"""The gradient of a batch that is taken apart."""

from collections.abc import Callable

import torch
from torch import Tensor

from runner.engine.hooks import Mixed, Targets, Weighted
from runner.engine.state import State

LossOfPart = Callable[[State, Tensor, Targets, int], Tensor]
"""The loss of a part of a batch, the mean over its samples; the last argument is the place of its first one."""


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
    state.optimizer.zero_grad()
    n, size = len(x), min(run.micro or len(x), len(x))
    for act in on.part_size if measure else ():
        size = act(state, n, size)
    if size == n:
        whole = loss(state, x, y, 0)
        _backward(state, whole)
        return whole
    total = torch.zeros((), dtype=run.dtype, device=run.device)
    for first in range(0, n, size):
        part = x[first : first + size]
        weighted = len(part) / n * loss(state, part, _part(y, first, size), first)
        _backward(state, weighted)
        total += weighted.detach()
        for note in on.after_part if measure else ():
            note(state, len(part), n, state.scaler.get_scale() if state.scaler else 1.0)
    return total


def _part(y: Targets, first: int, size: int) -> Targets:
    if isinstance(y, Weighted):
        return Weighted(y.y[first : first + size], y.weights[first : first + size])
    if isinstance(y, Mixed):
        return Mixed(y.y[first : first + size], y.other[first : first + size], y.share)
    return y[first : first + size]


def _backward(state: State, loss: Tensor) -> None:
    (state.scaler.scale(loss) if state.scaler else loss).backward()  # type: ignore[no-untyped-call]
