"""Losses, and what is measured of a model's outputs."""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

Loss = Callable[[Tensor, Tensor], Tensor]
"""Mean loss of outputs ``[n, outputs]`` against targets."""
Metric = Callable[[Tensor, Tensor], Tensor]

CLASS_LOSSES = ("cross_entropy", "mse", "bce")
NUMBER_LOSSES = ("mse", "l1", "huber")


def loss(name: str, classes: int | None) -> Loss:
    """Return a loss by name; on classes, ``mse`` and ``bce`` take one-hot targets.

    Raises:
        ValueError: if the loss does not fit the targets.
    """
    valid = CLASS_LOSSES if classes is not None else NUMBER_LOSSES
    if name == "auto":
        name = valid[0]
    if name not in valid:
        kind = "classes" if classes is not None else "numbers"
        raise ValueError(f"loss must be one of auto, {', '.join(valid)} where the targets are {kind}, got {name!r}")
    if name == "cross_entropy":
        return F.cross_entropy
    functions: dict[str, Loss] = {
        "mse": F.mse_loss,
        "l1": F.l1_loss,
        "huber": F.huber_loss,
        "bce": F.binary_cross_entropy_with_logits,
    }
    function = functions[name]
    if classes is None:
        return function
    return lambda outputs, y: function(outputs, F.one_hot(y, classes).to(outputs.dtype))


def accuracy(outputs: Tensor, y: Tensor) -> Tensor:
    """Share of samples whose largest output is their class."""
    return (outputs.argmax(1) == y).double().mean()


def mse(outputs: Tensor, y: Tensor) -> Tensor:
    """Mean squared error."""
    return (outputs - y).double().square().mean()


def mae(outputs: Tensor, y: Tensor) -> Tensor:
    """Mean absolute error."""
    return (outputs - y).double().abs().mean()


def r2(outputs: Tensor, y: Tensor) -> Tensor:
    """Share of the targets' variance explained, 1 - Σ(ŷ - y)²/Σ(y - ȳ)², the mean over outputs."""
    residual = (outputs - y).double().square().sum(0)
    total = (y - y.mean(0)).double().square().sum(0)
    return torch.where(total > 0, 1 - residual / total, torch.zeros_like(total)).mean()


def metrics(classes: int | None) -> dict[str, Metric]:
    """Return what is recorded for classes, or for numbers."""
    return {"accuracy": accuracy} if classes is not None else {"mse": mse, "mae": mae, "r2": r2}
