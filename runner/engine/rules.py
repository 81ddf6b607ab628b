"""Rules that a run's course follows. Never imports torch."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

Schedule = Callable[[int], float]
"""Learning rate of step 0, 1, …"""
Strategy = Callable[[int], int]
"""Samples of the step that begins in an epoch (0, 1, …)."""


def whole_steps(length: float, steps: int) -> int:
    """Return a length in whole steps, at least 1: from 1 on it counts them, below 1 it is a share of the run's."""
    return max(1, int(length) if length >= 1 else round(length * steps))


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
