"""Convolutional networks."""

import math
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from runner.engine.model import Drop, keep
from runner.model.activations import ACTIVATIONS, Shape


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


class CNN(nn.Module):
    """Convolution blocks and a linear readout; ``x`` is ``[n, channels, height, width]`` or of one length."""

    multiplies_in_layers = True

    def __init__(self, shape: Shape, outputs: int, width: int, depth: int, activation: str) -> None:
        super().__init__()
        channels = [shape[0], *(width * 2**i for i in range(depth))]
        flat = len(shape) == 3
        convolution: type[nn.Conv1d | nn.Conv2d] = nn.Conv2d if flat else nn.Conv1d
        self._pool = nn.functional.max_pool2d if flat else nn.functional.max_pool1d
        self.blocks = nn.ModuleList(convolution(a, b, 3, padding=1) for a, b in pairwise(channels))
        self.readout = nn.Linear(channels[-1] * math.prod(tuple(s >> depth for s in shape[1:])), outputs)
        self._activation = ACTIVATIONS[activation]

    def forward(self, x: Tensor, drop: Drop = keep) -> Tensor:
        """Return the logits or predicted numbers; the flattened features are what dropout drops."""
        for convolution in self.blocks:
            x = convolution(x)
            # ReLU and the largest of a window may change places, to the bit, and so it has a quarter of the numbers.
            x = torch.relu(self._pool(x, 2)) if self._activation is torch.relu else self._pool(self._activation(x), 2)
        return self.readout(drop(x.flatten(1), 0))  # type: ignore[no-any-return]


def resnet(shape: Shape, outputs: int, *, depth: int, width: int, activation: str, shortcut: str) -> nn.Module:
    """Return the residual network of ``depth`` = 6n + 2 layers for small images (He et al. 2016, §4.2).

    A convolution of 3 by 3, three stages of n blocks with ``width``, 2·width and 4·width channels, the later two at
    half the height and width of the one before, the mean over all places, and a linear readout.

    Raises:
        ValueError: if the input is no image or smaller than 8 by 8, or the depth is not of that form.
    """
    if len(shape) != 3:
        raise ValueError(f"model=resnet needs images, the data has inputs of shape {list(shape)}")
    if min(shape[1:]) < 8:
        raise ValueError(f"model=resnet needs images of 8×8 at least, the data has {shape[1]}×{shape[2]}")
    if depth < 8 or depth % 6 != 2:
        valid = "8, 14, 20, 26, 32, 38, 44, 50, 56, … 110 (the paper has 20, 32, 44, 56 and 110)"
        raise ValueError(f"model.depth must be 6n + 2 for model=resnet, got {depth}\nvalid: {valid}")
    return ResNet(shape[0], outputs, (depth - 2) // 6, width, activation, shortcut)


class ResidualBlock(nn.Module):
    """Two convolutions of 3 by 3, each before batch norm, added to the input and then activated (fig. 2, eq. 1)."""

    multiplies_in_layers = True

    def __init__(self, channels: int, width: int, stride: int, activation: str, shortcut: str) -> None:
        super().__init__()
        self.convolutions = nn.ModuleList(
            nn.Conv2d(a, width, 3, s, padding=1, bias=False) for a, s in ((channels, stride), (width, 1))
        )
        self.norms = nn.ModuleList(nn.BatchNorm2d(width) for _ in range(2))
        self.projection: nn.Module | None = None
        if shortcut == "projection" and channels != width:
            convolution = nn.Conv2d(channels, width, 1, stride, bias=False)
            self.projection = nn.Sequential(convolution, nn.BatchNorm2d(width))
        self._stride, self._added = stride, width - channels
        self._activation = ACTIVATIONS[activation]

    def forward(self, x: Tensor) -> Tensor:
        """Return ``[n, width, height/stride, width/stride]``."""
        hidden = self._activation(self.norms[0](self.convolutions[0](x)))
        return self._activation(self.norms[1](self.convolutions[1](hidden)) + self._shortcut(x))

    def _shortcut(self, x: Tensor) -> Tensor:
        if self.projection is not None:
            return self.projection(x)  # type: ignore[no-any-return]
        return F.pad(x[:, :, :: self._stride, :: self._stride], (0, 0, 0, 0, 0, self._added))


class ResNet(nn.Module):
    """Residual network; ``x`` is ``[n, channels, height, width]``.

    It takes no ``drop``: its paper has batch norm and no dropout. Its branches carry no ``residual_branches`` either:
    batch norm, and not the depth, sets their scale.
    """

    multiplies_in_layers = True

    def __init__(self, channels: int, outputs: int, blocks: int, width: int, activation: str, shortcut: str) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(channels, width, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(width)
        widths = [width, *(width * 2**stage for stage in range(3) for _ in range(blocks))]
        self.blocks = nn.Sequential(*(ResidualBlock(a, b, b // a, activation, shortcut) for a, b in pairwise(widths)))
        self.readout = nn.Linear(widths[-1], outputs)
        self._activation = ACTIVATIONS[activation]

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits or predicted numbers."""
        hidden = self.blocks(self._activation(self.norm(self.convolution(x))))
        return self.readout(hidden.mean((2, 3)))  # type: ignore[no-any-return]
