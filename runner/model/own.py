"""A user's own model."""

from collections.abc import Callable
from typing import Any

from torch import nn

from runner.config.imports import accepts
from runner.model.activations import Shape


def custom(shape: Shape, outputs: int, *, target: Callable[..., nn.Module], args: dict[str, Any]) -> nn.Module:
    """Return what the user's class or function gives; it gets ``shape`` and ``outputs`` where it names them.

    Raises:
        ValueError: if that is no module.
    """
    offered = {"shape": shape, "outputs": outputs}
    model = target(**args, **{k: v for k, v in offered.items() if k not in args and accepts(target, k)})
    if not isinstance(model, nn.Module):
        raise ValueError(f"model.target must give a torch.nn.Module, got {type(model).__name__}")
    return model
