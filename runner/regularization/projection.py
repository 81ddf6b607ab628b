"""Weights kept in a set."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

from torch import Tensor

from runner.engine.hooks import AtStep, Hook, along


@dataclass
class Box(Hook):
    """Each step ends with the projection onto [-bound, bound]."""

    bound: float

    def after_update(self, at: AtStep) -> None:
        """Project the weights that decay reaches."""
        for weight in at.decayed:
            weight.clamp_(-self.bound, self.bound)

    @classmethod
    def stacked(cls, members: Sequence[Self | None], like: Tensor) -> Hook:
        """Return the boxes of all members; without one, a run's is as wide as numbers go."""
        return Boxes(like.new_tensor([m.bound if m else math.inf for m in members]))


@dataclass
class Boxes(Hook):
    """The members' bounds ``[runs]``."""

    bounds: Tensor

    def after_update(self, at: AtStep) -> None:
        """Project each run's weights onto its own box."""
        for weight in at.decayed:
            most = along(self.bounds, weight)
            weight.clamp_(-most, most)


def box(*, bound: float) -> Hook:
    """w ← min(max(w, -bound), bound) after each step: projected gradient descent (Goldstein 1964)."""
    return Box(bound)
