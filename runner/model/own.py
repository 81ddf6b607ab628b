"""A user's own model."""

import contextlib
from collections.abc import Callable
from itertools import chain
from typing import Any

import torch
from torch import nn

from runner.config.imports import accepts
from runner.config.own_parts import call
from runner.errors import PartError
from runner.model.activations import Shape


def custom(
    shape: Shape,
    outputs: int,
    *,
    target: Callable[..., nn.Module],
    args: dict[str, Any],
    vocabulary: int | None = None,
) -> nn.Module:
    """Return what the user's class or function gives; it gets ``shape`` and ``outputs`` where it names them.

    Of sentences also ``vocabulary``: how many numbers there are, 0 for padding and 1 for words that are not known.

    What it may look like stands in ``configs/model/custom.yaml``.

    Raises:
        PartError: if that is no module.
    """
    offered = {"shape": shape, "outputs": outputs, **({} if vocabulary is None else {"vocabulary": vocabulary})}
    offered = {k: v for k, v in offered.items() if k not in args and accepts(target, k)}
    model = call("model.target", target, args=args, **offered)
    if not isinstance(model, nn.Module):
        raise PartError("model.target", f"model.target must give a torch.nn.Module, got {type(model).__name__}")
    if any(nn.parameter.is_lazy(tensor) for tensor in chain(model.parameters(), model.buffers())):
        _sized(model, shape)
    return model


def _sized(model: nn.Module, shape: Shape) -> None:
    """Give lazy layers their sizes here, where initial weights are drawn, so that these follow the seed.

    A model that cannot be called is left as it is: it is tried on real samples next, which says what is wrong with it.
    """
    reads_numbers = any(isinstance(module, nn.Embedding) for module in model.modules())
    x = torch.zeros(2, *shape, dtype=torch.long if reads_numbers else torch.get_default_dtype())
    trains = model.training
    model.eval()
    with torch.no_grad(), contextlib.suppress(Exception):
        model(x)
    model.train(trains)
