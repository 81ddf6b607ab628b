"""Dropout of hidden units."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import ClassVar, Self

import torch
from torch import Tensor

from runner.config.imports import accepts
from runner.engine.hooks import AtStep, Dropping, Hook, Tried
from runner.engine.model import Drop
from runner.errors import PartError
from runner.noise import uniform


@dataclass
class Dropout(Hook):
    """The share of hidden units that is dropped."""

    p: float
    draws: ClassVar[bool] = True

    def check(self, tried: Tried) -> None:
        """Refuse a model that has no places at which to drop."""
        if self.p > 0 and not accepts(tried.model.forward, "drop"):
            raise PartError(
                "model.target",
                "regularization=dropout needs a model whose forward takes drop, as in forward(self, x, drop)",
            )

    def drop(self, at: AtStep, first: int, samples: int) -> Drop | None:
        """Return what drops in one step; of part of a batch it drops what it drops of that part in the whole."""
        return dropping(self.p, at.key, first, samples) if self.p > 0 else None

    @classmethod
    def stacked(cls, members: Sequence[Self | None], like: Tensor) -> Hook:
        """Return the dropout of all members."""
        shares = [m.p if m else 0.0 for m in members]
        return Dropouts(like.new_tensor(shares, dtype=torch.float64)) if any(shares) else Hook()


@dataclass
class Dropouts(Hook):
    """The members' shares ``[runs]``."""

    p: Tensor
    draws: ClassVar[bool] = True

    def dropping(self, at: AtStep, first: int, samples: int) -> Dropping:
        """Return what drops in one step, each run by its own share and key."""
        return Dropping(partial(dropping, first=first, samples=samples), (self.p, at.key))


def dropping(p: float | Tensor, key: Tensor, first: int = 0, samples: int = 1) -> Drop:
    """Return the dropping of the step that a key belongs to: kept units are scaled by 1/(1 - p).

    Args:
        p: the share dropped; in a stack, of one run.
        key: of the seed and the step.
        first: the place in a batch of the samples that are passed through the model.
        samples: how many these are.
    """

    def drop(hidden: Tensor, place: int) -> Tensor:
        kept = uniform(key, place, hidden.shape, hidden.numel() * first // samples) >= (
            p.float() if isinstance(p, Tensor) else p
        )
        scale = (1 - p).to(hidden.dtype) if isinstance(p, Tensor) else 1 - p
        return hidden * kept.to(hidden.dtype) / scale

    return drop


def dropout(*, p: float) -> Hook:
    """Inverted dropout of hidden units (Srivastava 2014, §10)."""
    return Dropout(p)
