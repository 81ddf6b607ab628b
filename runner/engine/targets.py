"""The targets of a batch in training: as they are, mixed, or weighted. Never imports torch."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Union

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class Mixed:
    """Classes of a batch of which each sample is ``share`` of class ``y`` and 1 - ``share`` of class ``other``."""

    y: "Tensor"
    other: "Tensor"
    share: "float | Tensor"
    """In a stack a tensor, ``[]`` where all runs see the same samples, else ``[runs]``."""

    def __len__(self) -> int:
        return len(self.y)


@dataclass(frozen=True)
class Weighted:
    """Targets of a batch of which each sample counts so much: the loss is the mean of weight·loss over samples."""

    y: "Tensor"
    weights: "Tensor"

    def __len__(self) -> int:
        return len(self.y)


Unweighted = Union["Tensor", Mixed]
"""Targets of a batch in a stack's training."""
Targets = Union["Tensor", Mixed, Weighted]
"""Of a batch in training."""
