"""Inputs moved to raise the loss."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import ClassVar, Self, cast

import torch
from torch import Tensor

from runner.engine.hooks import AtStep, Going, Hook, along
from runner.noise import uniform

NOISE = 1_000_003
"""The place of the random start, apart from the places of hidden units."""


@dataclass
class Adversary(Hook):
    """How far inputs are moved, in how many steps, and the share of the loss that is theirs."""

    epsilon: float
    steps: int
    share: float
    draws: ClassVar[bool] = True

    def input_loss(self, at: AtStep, loss: Tensor, of: Callable[[Tensor], Tensor], x: Tensor, first: int) -> Tensor:
        """Return the loss with its share at the inputs that were moved."""
        going = cast(Going, at)  # of one run: of a stack there are Adversaries
        moved = self.moved(x, lambda inputs: going.scaled(of(inputs)), at.key, first)
        return (1 - self.share) * loss + self.share * of(moved)

    def moved(self, x: Tensor, loss: Callable[[Tensor], Tensor], key: Tensor, first: int = 0) -> Tensor:
        """Return inputs within epsilon of ``x`` at which ``loss`` is higher; the weights' gradients stay untouched.

        ``x`` are the samples of a batch from its ``first`` on.
        """
        reach = self.epsilon if self.steps == 1 else 2.5 * self.epsilon / self.steps
        found = x.detach()
        if self.steps > 1:
            drawn = uniform(key, NOISE, x.shape, x[:1].numel() * first)
            found = found + self.epsilon * (2 * drawn.to(x.dtype) - 1)
        for _ in range(self.steps):
            found.requires_grad_(True)
            (slope,) = torch.autograd.grad(loss(found), found)
            # Where a scaled slope is no number, nothing is moved: the scaler skips the step, and the loss stays known.
            found = found.detach() + reach * slope.sign().nan_to_num(0.0)
            found = torch.minimum(torch.maximum(found, x - self.epsilon), x + self.epsilon)
        return found

    @classmethod
    def stacked(cls, members: Sequence[Self | None], like: Tensor) -> Hook:
        """Return the adversary of all members, who have as many steps; how far and how much may differ."""
        there = [member for member in members if member]
        assert len(there) == len(members) and len({member.steps for member in there}) == 1, "they have as many steps"
        epsilons, shares = (like.new_tensor([getattr(m, k) for m in there]) for k in ("epsilon", "share"))
        return Adversaries(epsilons, there[0].steps, shares)


@dataclass
class Adversaries(Hook):
    """The members' bounds and shares ``[runs]``, and their steps."""

    epsilon: Tensor
    steps: int
    share: Tensor
    draws: ClassVar[bool] = True

    def input_loss(self, at: AtStep, loss: Tensor, of: Callable[[Tensor], Tensor], x: Tensor, first: int) -> Tensor:
        """Return the losses ``[runs]`` with each run's share at its inputs that were moved."""
        return (1 - self.share) * loss + self.share * of(self._moved(x, of, at.key, first))

    def _moved(self, x: Tensor, losses: Callable[[Tensor], Tensor], key: Tensor, first: int) -> Tensor:
        """Return inputs ``[runs, n, …]``, each run's as ``Adversary.moved`` moves them."""
        epsilon = along(self.epsilon, x)
        reach = epsilon if self.steps == 1 else 2.5 * epsilon / self.steps
        found = x.detach()
        if self.steps > 1:
            shape, skipped = x.shape[1:], x[0, :1].numel() * first
            drawn = torch.vmap(lambda key: uniform(key, NOISE, shape, skipped))(key)
            found = found + epsilon * (2 * drawn.to(x.dtype) - 1)
        for _ in range(self.steps):
            found.requires_grad_(True)
            (slope,) = torch.autograd.grad(losses(found).sum(), found)
            found = found.detach() + reach * slope.sign()
            found = torch.minimum(torch.maximum(found, x - epsilon), x + epsilon)
        return found


def adversarial(*, epsilon: float, steps: int, share: float) -> Hook:
    """(1 - share)·loss(x) + share·loss(x′), x′ = x + epsilon·sign(∇ₓ loss) (Goodfellow et al. 2015, §6), or PGD's."""
    return Adversary(epsilon, steps, share)
