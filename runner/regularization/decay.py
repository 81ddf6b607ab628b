"""Decoupled weight decay."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Self

import torch
from torch import Tensor

from runner.engine.hooks import AtStep, Hook, Tried, shrink
from runner.errors import ConfigError


@dataclass
class Decay(Hook):
    """Each step multiplies the weights by 1 - lr·rate, before the optimizer's update."""

    place: ClassVar[int] = -1
    """Before what takes note of the weights that the optimizer steps."""
    rate: float

    def check(self, tried: Tried) -> None:
        """Refuse an optimizer that decays by itself."""
        if self.rate and any(group.get("weight_decay") for group in tried.optimizer.param_groups):
            raise ConfigError(
                f"regularization=weight_decay beside {type(tried.optimizer).__name__}, which decays by itself: "
                "set optim.args.weight_decay instead"
            )

    def before_update(self, at: AtStep, lr: float | Tensor) -> None:
        """Shrink the weights."""
        torch._foreach_mul_(list(at.decayed), float(1 - lr * self.rate))

    @classmethod
    def stacked(cls, members: Sequence[Self | None], like: Tensor) -> Hook:
        """Return the decay of all members."""
        return Decays(like.new_tensor([m.rate if m else 0.0 for m in members], dtype=torch.float64))


@dataclass
class Decays(Hook):
    """The members' rates ``[runs]``."""

    place: ClassVar[int] = Decay.place
    rates: Tensor

    def before_update(self, at: AtStep, lr: float | Tensor) -> None:
        """Shrink each run's weights by its own rate."""
        assert isinstance(lr, Tensor), "a stack has a rate for each run"
        shrink(at.decayed, lr, self.rates)


def weight_decay(*, rate: float) -> Hook:
    """w ← (1 - lr·rate)·w (Loshchilov & Hutter 2019, algorithm 1)."""
    return Decay(rate)
