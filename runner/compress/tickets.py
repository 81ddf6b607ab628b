"""The weights that a pruned run ended without are 0 here too, from the first step on."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Self

import torch
from torch import Tensor, nn

from runner.compress.pruning import Masks, counted, drop_gradients, prunable, refuse_averages, zero
from runner.engine import checkpoint, weights
from runner.engine.hooks import AtStep, Going, Hook, Tried
from runner.errors import ConfigError, RecordError


@dataclass
class Ticket(Hook):
    """The weights of linear and convolution layers that are kept: those that the run kept."""

    run: str
    """Its folder."""
    masks: Masks = field(default_factory=dict)
    """They follow from the run's weights alone, so that no checkpoint holds them."""
    place: ClassVar[int] = 1
    """After what changes the weights by itself."""
    _going: Going | None = field(default=None, repr=False)

    def check(self, tried: Tried) -> None:
        """Refuse a run whose weights are not there, are of another network or are none of them 0."""
        refuse_averages(tried, "ticket")
        masks_of(self.run, tried.model)

    def begin(self, at: Going) -> Self:
        """Set the weights to 0 that the run ended without, whatever their initial values are."""
        begun = super().begin(at)
        device = next(iter(at.weights.values())).device
        begun.masks = {name: mask.to(device) for name, mask in masks_of(self.run, at.model).items()}
        begun._going = at
        zero(at, begun.masks)
        return begun

    def after_backward(self, at: AtStep) -> None:
        """Leave pruned weights without a gradient, so that norms of it are of those that are kept."""
        drop_gradients(at, self.masks)

    def after_update(self, at: AtStep) -> None:
        """Put pruned weights back to 0, where an optimizer's momentum or a projection moved them."""
        zero(at, self.masks)

    def summary(self) -> dict[str, Any]:
        """Return how many weights there are that may be pruned, and how many are 0."""
        assert self._going is not None, "it has begun"
        return counted(self._going, self.masks)

    @classmethod
    def stacked(cls, members: Sequence[Self | None], like: Tensor) -> Hook:
        """Return the tickets of all members, each its own."""
        held = [member.masks for member in members if member is not None]
        return Tickets({name: torch.stack([of_one[name] for of_one in held]) for name in held[0]})


@dataclass
class Tickets(Hook):
    """The weights that each run keeps, ``[runs, …]``."""

    masks: Masks
    place: ClassVar[int] = 1

    def after_backward(self, at: AtStep) -> None:
        """See ``Ticket``."""
        drop_gradients(at, self.masks)

    def after_update(self, at: AtStep) -> None:
        """See ``Ticket``."""
        zero(at, self.masks)


def masks_of(run: str, model: nn.Module) -> Masks:
    """Return what a run's final weights leave of a model's: True where they are not 0.

    Args:
        run: its folder.
        model: the one that is to be trained; its weights are not read.

    Raises:
        ConfigError: if the run has not ended, its weights are of another network, or none of them is 0.
    """
    said = f"compress.ticket.run={run}"
    try:
        saved: weights.State = checkpoint.load_weights(Path(run).expanduser() / "checkpoint.pt")["model"]
    except RecordError as error:
        raise ConfigError(f"{said}: {error}") from error
    own = model.state_dict()
    if odd := weights.differences(own, saved):
        raise ConfigError(f"{said} does not fit this model: {weights.named(odd)}")
    masks = {name: saved[name] != 0 for name in prunable(model, own)}
    if all(bool(mask.all()) for mask in masks.values()):
        raise ConfigError(
            f"{said} has no weight of a linear or convolution layer that is 0: give a run that was pruned "
            "(compress=prune_once or prune)"
        )
    return masks


def ticket(*, run: str) -> Hook:
    """m ⊙ w, the mask m of a pruned run's final weights, from the first step on (Frankle & Carbin 2019, §1)."""
    return Ticket(run)
