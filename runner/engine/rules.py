"""Rules that a run's course follows: planned by the step, or decided by what is measured. Never imports torch."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

Schedule = Callable[[int], float]
"""Learning rate of step 0, 1, …"""
Strategy = Callable[[int], int]
"""Samples of the step that begins in an epoch (0, 1, …)."""


@dataclass(frozen=True)
class Plateau:
    """A factor of the learning rate that falls at evaluations, in place of a shape over steps."""

    patience: int
    factor: float
    min_delta: float
    end_factor: float

    def after(self, factor: float) -> float:
        """Return the factor after another drop."""
        return max(factor * self.factor, self.end_factor)


@dataclass(frozen=True)
class Adaptive:
    """A size that follows the gradient noise scale, which the run measures; as a ``Strategy``, the first one."""

    size: int
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

    def __call__(self, epoch: int) -> int:
        """Return the first size."""
        return self.size

    def at(self, noise_scale: float) -> int:
        """Return the size for a noise scale."""
        return round(min(max(noise_scale, self.smallest), self.most))


@dataclass(frozen=True)
class EarlyStopping:
    """When to end a run whose validation loss no longer falls."""

    patience: int
    min_delta: float
    restore_best: bool


@dataclass(frozen=True)
class Target:
    """A value of a validation measure that is good enough."""

    measure: str
    """As an evaluation names it, such as ``accuracy``."""
    value: float
    higher: bool
    """Whether more is better."""

    def reached(self, val: Mapping[str, float]) -> bool:
        """Say whether an evaluation is at least as good; one that is not a number is not."""
        return val[self.measure] >= self.value if self.higher else val[self.measure] <= self.value


@dataclass(frozen=True)
class Patience:
    """So many evaluations without a fall of more than ``min_delta``."""

    patience: int
    min_delta: float


@dataclass(frozen=True)
class Stop:
    """The limits of a run; None, or False, for those that it has not."""

    target: bool = False
    plateau: Patience | None = None
    """Of the training loss."""
    grad_norm: float | None = None
    """The run ends below it."""
    steps: int | None = None
    seconds: float | None = None
    """Of training."""
