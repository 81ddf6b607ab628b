"""Models: functions of the input's shape and the number of outputs, one an option.

A model is called as ``model(x, drop)``: ``drop(hidden, place)`` is handed in and applied to the hidden units at each
numbered place, so that models keep no random state. In evaluation nothing is dropped.
"""

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn

from runner.targets import accepts

Shape = tuple[int, ...]
Drop = Callable[[Tensor, int], Tensor]

ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "relu": torch.relu,
    "tanh": torch.tanh,
    "sigmoid": torch.sigmoid,
    "gelu": nn.functional.gelu,
    "silu": nn.functional.silu,
    "identity": lambda x: x,
}


def keep(hidden: Tensor, place: int) -> Tensor:
    """Drop nothing."""
    return hidden


def linear(shape: Shape, outputs: int, *, bias: bool) -> nn.Module:
    """Return one linear layer over the flattened input."""
    return MLP(_size(shape), outputs, 0, 0, "identity", bias)


def mlp(shape: Shape, outputs: int, *, width: int, depth: int, activation: str, bias: bool) -> nn.Module:
    """Return ``depth`` hidden layers of ``width`` units over the flattened input, and a linear readout."""
    return MLP(_size(shape), outputs, width, depth, activation, bias)


def cnn(shape: Shape, outputs: int, *, width: int, depth: int, activation: str) -> nn.Module:
    """Return ``depth`` blocks of convolution of 3 (by 3), activation and max-pooling by 2, and a linear readout.

    Raises:
        ValueError: if the input is no image or signal, or too small for so many poolings.
    """
    if len(shape) not in (2, 3):
        raise ValueError(f"model=cnn needs images or signals, the data has inputs of shape {list(shape)}")
    if min(shape[1:]) < 2**depth:
        largest = min(shape[1:]).bit_length() - 1
        extent = "×".join(map(str, shape[1:]))
        raise ValueError(f"model.depth must be ≤ {largest} for inputs of {extent}, got {depth}")
    return CNN(shape, outputs, width, depth, activation)


class MLP(nn.Module):
    """Hidden layers of one width and a linear readout; ``x`` is ``[n, …]``, the result ``[n, outputs]``."""

    def __init__(self, inputs: int, outputs: int, width: int, depth: int, activation: str, bias: bool) -> None:
        super().__init__()
        sizes = [inputs, *[width] * depth]
        self.hidden = nn.ModuleList(nn.Linear(a, b, bias) for a, b in pairwise(sizes))
        self.readout = nn.Linear(sizes[-1], outputs, bias)
        self._activation = ACTIVATIONS[activation]

    def forward(self, x: Tensor, drop: Drop = keep) -> Tensor:
        """Return the logits or predicted numbers."""
        x = x.flatten(1)
        for place, layer in enumerate(self.hidden):
            x = drop(self._activation(layer(x)), place)
        return self.readout(x)  # type: ignore[no-any-return]


class CNN(nn.Module):
    """Convolution blocks and a linear readout; ``x`` is ``[n, channels, height, width]`` or of one length."""

    def __init__(self, shape: Shape, outputs: int, width: int, depth: int, activation: str) -> None:
        super().__init__()
        channels = [shape[0], *(width * 2**i for i in range(depth))]
        flat = len(shape) == 3
        convolution: type[nn.Conv1d | nn.Conv2d] = nn.Conv2d if flat else nn.Conv1d
        self._pool = nn.functional.max_pool2d if flat else nn.functional.max_pool1d
        self.blocks = nn.ModuleList(convolution(a, b, 3, padding=1) for a, b in pairwise(channels))
        self.readout = nn.Linear(channels[-1] * _size(tuple(s >> depth for s in shape[1:])), outputs)
        self._activation = ACTIVATIONS[activation]

    def forward(self, x: Tensor, drop: Drop = keep) -> Tensor:
        """Return the logits or predicted numbers; the flattened features are what dropout drops."""
        for convolution in self.blocks:
            x = self._pool(self._activation(convolution(x)), 2)
        return self.readout(drop(x.flatten(1), 0))  # type: ignore[no-any-return]


def _size(shape: Shape) -> int:
    size = 1
    for extent in shape:
        size *= extent
    return size


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
