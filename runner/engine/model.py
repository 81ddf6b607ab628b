"""What an engine asks of a model. Never imports torch."""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Protocol, runtime_checkable

if TYPE_CHECKING:
    from torch import Tensor

Drop = Callable[["Tensor", int], "Tensor"]
"""Drops some of a model's hidden units at a numbered place."""


def keep(hidden: "Tensor", place: int) -> "Tensor":
    """Drop nothing."""
    return hidden


Weights = Mapping[str, "Tensor"]
"""Parameters and buffers of a stack of models by name, each ``[runs, …]``."""


class StackedPass(Protocol):
    """One pass through the models of a stack: forward, and where it was kept, back."""

    def forward(self, x: "Tensor", shared: bool, kept: bool) -> "Tensor":
        """Return the outputs ``[runs, n, …]``, outside of autograd's graph.

        Args:
            x: ``[n, …]`` where all runs see the same samples (``shared``), else ``[runs, n, …]``.
            shared: see x.
            kept: keep what ``backward`` needs.
        """

    def backward(self, slopes: "Tensor") -> None:
        """Leave in ``grad`` of every weight the gradient of a sum whose slopes by the outputs are given."""


@runtime_checkable
class WrittenOut(Protocol):
    """A model that can write out the pass of a stack of its kind, faster than ``vmap`` and autograd would make it."""

    def stacked_pass(self, weights: Weights, drop: Drop = keep) -> StackedPass | None:
        """Return a pass with the weights of all runs; None where this model's layers are not as they were built.

        It is as this model is, in training or not, whose own weights are not read.
        """
