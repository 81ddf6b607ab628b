"""Batch sizes that follow the gradient noise scale, which the parts of a batch tell of."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar

import torch
from torch import Tensor

from runner.engine.hooks import AtStep, Going, Hook


@dataclass
class Adaptive(Hook):
    """A size that follows tr(Σ)/|G|²; called, as a ``Strategy``, it gives the first one."""

    samples: int
    """In the training set."""
    size: int
    """The first."""
    smallest: int
    most: int
    every: int | None
    """Steps between changes of the size; None is once an epoch."""
    parts: int
    """Of each batch, whose gradients are held against the whole batch's."""
    decay: float
    """Of the averages of tr(Σ) and |G|², a step."""
    in_steps: bool
    """The run's length is given in steps, which its schedule counts; else in epochs, and the schedule in samples."""
    present: int | None = None
    """The size; None before its first change."""
    noise: float = 0.0
    """Average of estimates of tr(Σ), of each sample's gradient, from 0 on as Adam's moments."""
    signal: float = 0.0
    """Average of estimates of |G|², of the mean gradient, alike: their ratio needs no correction."""
    state: ClassVar[tuple[str, ...]] = ("present", "noise", "signal")
    _seen: "_Norms | None" = field(default=None, repr=False)

    def __call__(self, epoch: int) -> int:
        """Return the first size."""
        return self.size

    @property
    def alone(self) -> str:
        """Why a stack has none."""
        return "batch=adaptive measures the gradients of one run, whose batches then have sizes of their own"

    @property
    def noise_scale(self) -> float | None:
        """The gradient noise scale tr(Σ)/|G|², infinite where no signal stands out; None before any estimate."""
        if self.noise == 0 and self.signal == 0:
            return None
        return max(0.0, self.noise / self.signal) if self.signal > 0 else math.inf

    def batch_size(self, at: Going, size: int) -> int:
        """Return the present size."""
        return self.present or size

    def planned_step(self, step: int, epoch: int, offset: int) -> int:
        """Return the step at which the run would be at its first size; in a run of epochs, samples tell."""
        return step if self.in_steps else epoch * -(-self.samples // self.size) + offset // self.size

    def part_size(self, at: Going, samples: int, size: int) -> int:
        """Take a batch apart."""
        self._seen = _Norms() if samples > 1 else None
        return min(size, -(-samples // self.parts))

    def after_part(self, at: Going, samples: int, of: int, scale: float) -> None:
        """Hold the parts' gradients against the batch's, once that is whole."""
        assert self._seen is not None, "a batch of one sample has no parts"
        weights = [weight for weight in at.weights.values() if weight.requires_grad]
        self._seen.note(weights, samples, of)
        if sum(self._seen.samples) == of and (estimates := self._seen.conclude(scale)) is not None:
            noise, signal = estimates
            self.noise = self.decay * self.noise + (1 - self.decay) * noise
            self.signal = self.decay * self.signal + (1 - self.decay) * signal

    def after_step(self, at: AtStep, epoch_ends: bool) -> None:
        """Change the size, where a change is due and the noise scale is known."""
        due = epoch_ends if self.every is None else at.step % self.every == 0
        if due and self.noise_scale is not None:
            self.present = self.fit(self.noise_scale)

    def fit(self, noise_scale: float) -> int:
        """Return the size for a noise scale."""
        return round(min(max(noise_scale, self.smallest), self.most))

    def columns(self, at: Going, alive: bool) -> dict[str, float | None]:
        """Return the noise scale."""
        return {"noise_scale": self.noise_scale}

    def summary(self) -> dict[str, float | None]:
        """Return the noise scale that the run ends with."""
        return {"noise_scale": self.noise_scale}


class _Norms:
    """Squared norms of the gradients of a batch's parts, seen while they are added up."""

    def __init__(self) -> None:
        self.samples: list[int] = []
        self._before: list[Tensor] = []
        self._squares: list[float] = []

    def note(self, weights: Sequence[Tensor], samples: int, of: int) -> None:
        """Take up the part just added to the weights' gradients, so many samples of the batch's."""
        sums = [torch.zeros_like(w) if w.grad is None else w.grad.clone() for w in weights]
        added = list(torch._foreach_sub(sums, self._before)) if self._before else sums
        self._squares.append(_square(added) * (of / samples) ** 2)
        self.samples.append(samples)
        self._before = sums

    def conclude(self, scale: float) -> tuple[float, float] | None:
        """Return the batch's estimates of tr(Σ) and |G|², None where the loss or its scaling overflowed."""
        squares = [square / scale**2 for square in (_square(self._before), *self._squares)]
        if not all(map(math.isfinite, squares)):
            return None
        return noise_and_signal(squares[0], squares[1:], self.samples)


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
