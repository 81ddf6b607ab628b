"""Rules that a run's course follows. Never imports torch."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

Schedule = Callable[[int], float]
"""Learning rate of step 0, 1, …"""
Strategy = Callable[[int], int]
"""Samples of the step that begins in an epoch (0, 1, …)."""


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
