"""Weights of least magnitude that are set to 0 while a run trains, and stay there."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Self

import torch
from torch import Tensor, nn

from runner.engine.hooks import AtStep, Going, Hook, Tried
from runner.engine.rules import whole_steps
from runner.errors import ConfigError
from runner.init import filled_modules

Masks = dict[str, Tensor]
"""By the weight's name: True where it is kept; of a stack ``[runs, …]``."""


@dataclass(frozen=True)
class Plan:
    """Which share of the weights is 0 after which step."""

    sparsity: float
    start: float
    """A step, or below 1 a share of the run."""
    end: float
    every: int
    """Steps between two cuts."""
    across: str
    """``layer``: each layer has the share; ``model``: the least of all layers go."""

    def share(self, step: int, steps: int) -> float:
        """Return the share after a step: s·(1 - (1 - (t - start)/(end - start))³) at each cut (eq. 1, from 0)."""
        first, last = (whole_steps(value, steps) for value in (self.start, self.end))
        if step < first:
            return 0.0
        if step >= last:
            return self.sparsity
        at = first + (step - first) // self.every * self.every
        return self.sparsity * (1 - (1 - (at - first) / (last - first)) ** 3)


def cut(weights: Mapping[str, Tensor], masks: Masks, share: float, across: str) -> Masks:
    """Return masks that leave out so many weights of each run, exactly: those of least magnitude, pruned ones first.

    Args:
        weights: ``[runs, …]``.
        masks: as they were.
        share: of the weights, rounded to whole ones.
        across: see ``Plan``.
    """
    sizes = {name: torch.where(masks[name], weights[name].detach().abs(), -1.0).flatten(1) for name in masks}
    groups = [list(masks)] if across == "model" else [[name] for name in masks]
    found: Masks = {}
    for names in groups:
        joined = torch.cat([sizes[name] for name in names], 1)
        count = round(share * joined.shape[1])
        least = joined.argsort(dim=1, stable=True)[:, :count]
        kept = torch.ones_like(joined, dtype=torch.bool).scatter_(1, least, False)
        parts = torch.split(kept, [sizes[name].shape[1] for name in names], 1)
        for name, part in zip(names, parts, strict=True):
            found[name] = part.view_as(weights[name])
    return found


@dataclass
class Pruning(Hook):
    """The weights of linear and convolution layers that are kept."""

    plan: Plan
    key: str
    masks: Masks = field(default_factory=dict)
    share: float = 0.0
    """Of the last cut."""
    state: ClassVar[tuple[str, ...]] = ("masks", "share")
    place: ClassVar[int] = 1
    """After what changes the weights by itself."""
    steps: int = 0
    _going: Going | None = field(default=None, repr=False)

    def check(self, tried: Tried) -> None:
        """Refuse an optimizer that judges other weights than those that are cut, and a cut that would never come."""
        refuse_averages(tried, self.key)
        first, last = (whole_steps(value, tried.steps) for value in (self.plan.start, self.plan.end))
        if last > tried.steps or first > last:
            raise ConfigError(
                f"compress.{self.key}: its cuts lie between steps {first} and {last}, and the run has {tried.steps}"
            )

    def begin(self, at: Going) -> Self:
        """Keep all at first."""
        begun = super().begin(at)
        trained = prunable(at.model, at.weights)
        begun.masks = {n: torch.ones_like(at.weights[n], dtype=torch.bool) for n in trained}
        begun.steps, begun._going = at.steps, at
        return begun

    def after_backward(self, at: AtStep) -> None:
        """Leave pruned weights without a gradient, so that norms of it are of those that are kept."""
        drop_gradients(at, self.masks)

    def after_update(self, at: AtStep) -> None:
        """Cut where it is due, and put pruned weights back to 0."""
        share = self.plan.share(at.step + 1, self.steps)
        if share != self.share:
            one = {name: at.weights[name].unsqueeze(0) for name in self.masks}
            held = {name: mask.unsqueeze(0) for name, mask in self.masks.items()}
            self.masks = {name: mask[0] for name, mask in cut(one, held, share, self.plan.across).items()}
            self.share = share
        zero(at, self.masks)

    def summary(self) -> dict[str, Any]:
        """Return how many weights there are that may be pruned, and how many are 0."""
        assert self._going is not None, "it has begun"
        return counted(self._going, self.masks)

    @classmethod
    def stacked(cls, members: Sequence[Self | None], like: Tensor) -> Hook:
        """Return the pruning of all members, whose plans are one."""
        first = next(member for member in members if member is not None)
        held = [member.masks for member in members if member is not None]
        masks = {name: torch.stack([of_one[name] for of_one in held]) for name in first.masks}
        return Prunings(first.plan, first.steps, masks)


@dataclass
class Prunings(Hook):
    """The weights that each run keeps, ``[runs, …]``."""

    plan: Plan
    steps: int
    masks: Masks
    state: ClassVar[tuple[str, ...]] = ("masks",)
    place: ClassVar[int] = 1
    replayed: ClassVar[bool] = False

    def after_backward(self, at: AtStep) -> None:
        """See ``Pruning``."""
        drop_gradients(at, self.masks)

    def after_update(self, at: AtStep) -> None:
        """See ``Pruning``; no step of a stack is skipped."""
        share = self.plan.share(at.step + 1, self.steps)
        if share != self.plan.share(at.step, self.steps):
            self.masks = cut(at.weights, self.masks, share, self.plan.across)
        zero(at, self.masks)


def prunable(model: nn.Module, weights: Collection[str]) -> list[str]:
    """Return the names of the weights that may be pruned: of linear and convolution layers, not biases and norms."""
    return [f"{name}.weight" for name, _ in filled_modules(model) if f"{name}.weight" in weights]


def refuse_averages(tried: Tried, key: str) -> None:
    """Refuse an optimizer that judges other weights than those that are pruned."""
    if callable(getattr(tried.optimizer, "eval", None)):
        name = type(tried.optimizer).__name__
        raise ConfigError(f"compress={key} beside {name}, which is judged by an average of its steps: choose one")


def counted(at: Going, masks: Masks) -> dict[str, Any]:
    """Return how many weights there are that may be pruned, and how many are 0."""
    weights = [at.weights[name] for name in masks]
    zeros, all_of_them = sum(int((w == 0).sum()) for w in weights), sum(w.numel() for w in weights)
    return {"pruned_weights": zeros, "prunable_weights": all_of_them, "sparsity": zeros / max(1, all_of_them)}


def drop_gradients(at: AtStep, masks: Masks) -> None:
    """Set the gradients of pruned weights to 0."""
    for name, mask in masks.items():
        if (gradient := at.weights[name].grad) is not None:
            gradient.mul_(mask)


def zero(at: AtStep, masks: Masks) -> None:
    """Set pruned weights to 0."""
    for name, mask in masks.items():
        at.weights[name].detach().mul_(mask)


def prune_once(*, sparsity: float, start: float, across: str) -> Hook:
    """All cuts at once: the weights of least magnitude go, the others train on (Han et al. 2015)."""
    return Pruning(Plan(sparsity, start, start, 1, across), "prune_once")


def prune(*, sparsity: float, start: float, end: float, every: int, across: str) -> Hook:
    """A share that grows as s·(1 - (1 - t)³) (Zhu & Gupta 2017, eq. 1).

    Raises:
        ConfigError: if it ends before it starts.
    """
    if (start < 1) == (end < 1) and end < start:
        raise ConfigError(f"compress.prune.end must be ≥ compress.prune.start={start:g}, got {end:g}")
    return Pruning(Plan(sparsity, start, end, every, across), "prune")
