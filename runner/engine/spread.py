"""What an engine asks of a run that several processes train, each with a part of it."""

from collections.abc import Callable, Sequence
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from runner.engine.model import Drop


class Spread(Protocol):
    """How a run is spread over processes: every one of them makes every call here, in the same order."""

    size: int
    """How many processes there are."""

    @property
    def said(self) -> str:
        """Who has what, in words."""

    def model(self, model: nn.Module) -> nn.Module:
        """Return a model, which each process has built whole, with this process's part of its weights."""

    def gradient(self, state: Any, x: Tensor, y: Any, loss: Callable[[Any, Tensor, Any, int], Tensor]) -> Tensor:
        """Put a batch's whole gradient in place, on every process of its own weights; return the batch's loss."""

    def agreed(self, asked: bool) -> bool:
        """Say whether any process asks."""

    def of_first(self, value: float) -> float:
        """Return what the first process says."""

    def norm(self, tensors: Sequence[Tensor]) -> Tensor:
        """Return the Euclidean norm of tensors with all of their parts, an ordinary tensor."""

    def whole(self, content: dict[str, Any]) -> dict[str, Any]:
        """Return what a state holds as one process would hold it, on the first process; elsewhere, nothing of use."""

    def part(self, saved: dict[str, Any], state: Any) -> dict[str, Any]:
        """Return of a saved state what this process holds."""

    def total(self, number: int) -> int:
        """Return the sum over processes of what each of them counts for itself alone."""

    def dropping(self, drop: Drop) -> Drop:
        """Return a dropping of hidden units, of which each process may have a part, as of all of them."""


def norm_of(spread: Spread | None, tensors: Sequence[Tensor]) -> Tensor:
    """Return the Euclidean norm of tensors, of a spread run with all of their parts."""
    return torch.nn.utils.get_total_norm(tensors) if spread is None else spread.norm(tensors)
