"""What the weights cost: functions of those that decay reaches, added to the loss."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor

from runner.engine.hooks import AtStep, Hook

Cost = Callable[[Sequence[Tensor]], Tensor]


@dataclass
class Penalty(Hook):
    """``strength`` times a function of the weights."""

    strength: float
    of: Cost

    def penalty(self, at: AtStep) -> Tensor:
        """Return it."""
        return self.strength * self.of(at.decayed)

    @classmethod
    def stacked(cls, members: Sequence[Self | None], like: Tensor) -> Hook:
        """Return the penalties of all members; functions are told apart, as one's own may come with its settings."""
        kinds = dict.fromkeys(member.of for member in members if member)
        strengths = [[m.strength if m and m.of is kind else 0.0 for m in members] for kind in kinds]
        return Penalties([(kind, like.new_tensor(s)) for kind, s in zip(kinds, strengths, strict=True)])


@dataclass
class Penalties(Hook):
    """Functions of the weights, and how strong each run takes them, ``[runs]``."""

    kinds: list[tuple[Cost, Tensor]]

    def penalty(self, at: AtStep) -> Tensor:
        """Return what each run's weights cost."""
        costs = [strengths * torch.vmap(of)(at.decayed) for of, strengths in self.kinds]
        return costs[0] if len(costs) == 1 else torch.stack(costs).sum(0)


def l1(*, strength: float) -> Hook:
    """strength · Σ|w| (Tibshirani 1996)."""
    return Penalty(strength, sum_of_magnitudes)


def sum_of_magnitudes(weights: Sequence[Tensor]) -> Tensor:
    """Return Σ|w|."""
    return torch.stack([w.abs().sum() for w in weights]).sum()


def l2(*, strength: float) -> Hook:
    """strength/2 · Σw² (Tikhonov; coupled: its gradient goes through the optimizer)."""
    return Penalty(strength, half_sum_of_squares)


def half_sum_of_squares(weights: Sequence[Tensor]) -> Tensor:
    """Return Σw²/2."""
    return 0.5 * torch.stack([w.square().sum() for w in weights]).sum()
