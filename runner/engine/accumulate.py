"""The gradient of a batch that is taken apart, and the gradient noise scale that its parts tell of."""

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from runner.engine.hooks import Mixed
from runner.engine.rules import Adaptive
from runner.engine.run import Run
from runner.engine.state import State

LossOfPart = Callable[[Run, State, Tensor, Tensor | Mixed, int], Tensor]
"""The loss of a part of a batch, the mean over its samples; the last argument is the place of its first one."""


def gradient(run: Run, state: State, x: Tensor, y: Tensor | Mixed, loss: LossOfPart, measure: bool = False) -> Tensor:
    """Put a batch's gradient in place of the last one, the mean of its parts' weighted by samples; return the loss.

    Dropout, augmentation and the adversary draw for the whole batch, so that parts change its gradient by rounding
    alone; batch norm takes the statistics of each part.

    Args:
        run: the run.
        state: where it is.
        x: the batch's samples.
        y: their targets.
        loss: of a part of them.
        measure: learn from the parts how noisy their gradients are, where the run's sizes adapt.
    """
    state.optimizer.zero_grad()
    n, size = len(x), min(run.micro or len(x), len(x))
    measure = measure and run.adaptive is not None and n > 1
    if measure and run.adaptive:
        size = min(size, -(-n // run.adaptive.parts))
    if size == n:
        whole = loss(run, state, x, y, 0)
        _backward(state, whole)
        return whole
    norms = _Norms(state) if measure else None
    total = torch.zeros((), dtype=run.dtype, device=run.device)
    for first in range(0, n, size):
        part = x[first : first + size]
        weighted = len(part) / n * loss(run, state, part, _part(y, first, size), first)
        _backward(state, weighted)
        total += weighted.detach()
        if norms:
            norms.note(len(part), n)
    if norms and run.adaptive:
        norms.conclude(run.adaptive.decay)
    return total


def _part(y: Tensor | Mixed, first: int, size: int) -> Tensor | Mixed:
    if isinstance(y, Mixed):
        return Mixed(y.y[first : first + size], y.other[first : first + size], y.share)
    return y[first : first + size]


def _backward(state: State, loss: Tensor) -> None:
    (state.scaler.scale(loss) if state.scaler else loss).backward()  # type: ignore[no-untyped-call]


class _Norms:
    """Squared norms of the gradients of a batch's parts, seen while they are added up."""

    def __init__(self, state: State) -> None:
        self._state = state
        self._weights = [p for p in state.model.parameters() if p.requires_grad]
        self._before: list[Tensor] = []
        self._squares: list[float] = []
        self._samples: list[int] = []

    def note(self, samples: int, of: int) -> None:
        """Take up the part just added, so many samples of the batch's."""
        sums = [torch.zeros_like(w) if w.grad is None else w.grad.clone() for w in self._weights]
        added = list(torch._foreach_sub(sums, self._before)) if self._before else sums
        self._squares.append(_square(added) * (of / samples) ** 2)
        self._samples.append(samples)
        self._before = sums

    def conclude(self, decay: float) -> None:
        """Take the batch's estimates into the averages, unless the loss or its scaling overflowed."""
        scale = self._state.scaler.get_scale() ** 2 if self._state.scaler else 1.0
        squares = [square / scale for square in (_square(self._before), *self._squares)]
        if not all(map(math.isfinite, squares)):
            return
        noise, signal = noise_and_signal(squares[0], squares[1:], self._samples)
        state = self._state
        state.gradient_noise = decay * state.gradient_noise + (1 - decay) * noise
        state.gradient_signal = decay * state.gradient_signal + (1 - decay) * signal


def noise_and_signal(whole: float, parts: Sequence[float], samples: Sequence[int]) -> tuple[float, float]:
    """Return unbiased estimates of tr(Σ) and |G|² from one batch (McCandlish et al. 2018, app. A.1).

    A mean gradient of b samples has a squared norm of |G|² + tr(Σ)/b in the mean. Samples drawn without putting them
    back give the tr(Σ) and |G|² of what the training set was drawn from; of parts of one size they are the paper's.

    Args:
        whole: squared norm of the mean gradient of a batch.
        parts: of each of its parts.
        samples: in each part.
    """
    n = sum(samples)
    reciprocal = sum(1 / b for b in samples) / len(samples)
    noise = (sum(parts) / len(parts) - whole) / (reciprocal - 1 / n)
    return noise, whole - noise / n


def _square(tensors: list[Tensor]) -> float:
    return torch.nn.utils.get_total_norm(tensors).item() ** 2


def adapt(adaptive: Adaptive, state: State, epoch_ends: bool) -> None:
    """Change the size after a step, where one is due and the noise scale is known."""
    due = epoch_ends if adaptive.every is None else state.step % adaptive.every == 0
    if due and state.noise_scale is not None:
        state.batch_size = adaptive.at(state.noise_scale)
