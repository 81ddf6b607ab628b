"""Models: functions of the input's shape and the number of outputs, one an option.

A model is called as ``model(x, drop)``: ``drop(hidden, place)`` is handed in and applied to the hidden units at each
numbered place, so that models keep no random state. In evaluation nothing is dropped.
"""

import math
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
    return MLP(_size(shape), outputs, [], "identity", bias, "none", residual=False)


def mlp(
    shape: Shape,
    outputs: int,
    *,
    width: int,
    depth: int,
    widths: list[int],
    activation: str,
    bias: bool,
    normalization: str,
    residual: bool,
) -> nn.Module:
    """Return hidden layers of ``widths`` (none given: ``depth`` times ``width``) and a linear readout.

    Raises:
        ValueError: if residual layers have several widths.
    """
    sizes = widths or [width] * depth
    if residual and len(set(sizes)) > 1:
        raise ValueError(f"model.residual=true needs hidden layers of one width, got model.widths={sizes}")
    return MLP(_size(shape), outputs, sizes, activation, bias, normalization, residual)


NORMALIZATIONS: dict[str, Callable[[int], nn.Module]] = {
    "none": lambda width: nn.Identity(),
    "batch": nn.BatchNorm1d,
    "layer": nn.LayerNorm,
    "group": lambda width: nn.GroupNorm(math.gcd(width, 8), width),
}
"""Of a hidden layer's sums, before its activation; ``group`` has 8 groups, or as many as divide the width."""


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
    """Hidden layers and a linear readout; ``x`` is ``[n, …]``, the result ``[n, outputs]``.

    A hidden layer is linear, normalized, activated; with ``residual`` each but the first is added to its input.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        widths: list[int],
        activation: str,
        bias: bool,
        normalization: str,
        residual: bool,
    ) -> None:
        super().__init__()
        sizes = [inputs, *widths]
        own_bias = bias and normalization != "batch"  # which takes each unit's mean away
        self.hidden = nn.ModuleList(nn.Linear(a, b, own_bias) for a, b in pairwise(sizes))
        self.norms = nn.ModuleList(NORMALIZATIONS[normalization](width) for width in widths)
        self.readout = nn.Linear(sizes[-1], outputs, bias)
        self.activation = ACTIVATIONS[activation]
        self.residual = residual
        if residual:
            for layer in self.hidden[1:]:
                layer.residual_branches = len(widths) - 1  # type: ignore[assignment]  # runner.init reads it

    def forward(self, x: Tensor, drop: Drop = keep) -> Tensor:
        """Return the logits or predicted numbers."""
        x = x.flatten(1)
        for place, (layer, norm) in enumerate(zip(self.hidden, self.norms, strict=True)):
            hidden = drop(self.activation(norm(layer(x))), place)
            x = x + hidden if self.residual and place > 0 else hidden
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


def gpt(
    shape: Shape, outputs: int, *, alphabet: str | None, width: int, depth: int, heads: int, activation: str
) -> nn.Module:
    """Return ``depth`` blocks of causal attention and MLP over a text's characters, and a linear readout.

    Raises:
        ValueError: if the input is no text, or the heads do not share the width evenly.
    """
    if alphabet is None:
        raise ValueError("model=gpt reads characters: use data=text, or model=rnn, which reads numbers too")
    if width % heads:
        raise ValueError(f"model.heads must divide model.width={width}, got {heads}")
    return GPT(shape[0], len(alphabet), outputs, width, depth, heads, activation)


class Attention(nn.Module):
    """Causal attention of several heads, from and to ``[n, length, width]`` (Vaswani et al. 2017, §3.2)."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.query, self.key, self.value = (nn.Linear(width, width) for _ in range(3))
        self.out = nn.Linear(width, width)
        self._heads = heads

    def forward(self, x: Tensor) -> Tensor:
        """Return what each place gathers from itself and those before it."""
        query, key, value = (
            layer(x).unflatten(-1, (self._heads, -1)).transpose(1, 2) for layer in (self.query, self.key, self.value)
        )
        gathered = nn.functional.scaled_dot_product_attention(query, key, value, is_causal=True)
        return self.out(gathered.transpose(1, 2).flatten(-2))  # type: ignore[no-any-return]


class Block(nn.Module):
    """Attention and an MLP of four times the width, each added to its input behind a layer norm."""

    def __init__(self, width: int, heads: int, activation: str, branches: int) -> None:
        super().__init__()
        self.attention_norm, self.mlp_norm = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attention = Attention(width, heads)
        self.rise, self.fall = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)
        for end in (self.attention.out, self.fall):
            end.residual_branches = branches  # type: ignore[assignment]  # runner.init reads it
        self._activation = ACTIVATIONS[activation]

    def forward(self, x: Tensor, drop: Drop, place: int) -> Tensor:
        """Return ``[n, length, width]``; dropout drops what each of the two adds."""
        x = x + drop(self.attention(self.attention_norm(x)), place)
        return x + drop(self.fall(self._activation(self.rise(self.mlp_norm(x)))), place + 1)


class GPT(nn.Module):
    """Transformer over characters; ``x`` is ``[n, length ≤ context]``, the result ``[n, length, outputs]``."""

    def __init__(
        self, context: int, characters: int, outputs: int, width: int, depth: int, heads: int, activation: str
    ) -> None:
        super().__init__()
        self.characters, self.places = nn.Embedding(characters, width), nn.Embedding(context, width)
        self.blocks = nn.ModuleList(Block(width, heads, activation, 2 * depth) for _ in range(depth))
        self.norm = nn.LayerNorm(width)
        self.readout = nn.Linear(width, outputs)

    def forward(self, x: Tensor, drop: Drop = keep) -> Tensor:
        """Return the logits of the character after each."""
        hidden = drop(self.characters(x) + self.places.weight[: x.shape[1]], 0)
        for place, block in enumerate(self.blocks):
            hidden = block(hidden, drop, 1 + 2 * place)
        return self.readout(self.norm(hidden))  # type: ignore[no-any-return]


RECURRENT: dict[str, type[nn.RNN | nn.LSTM | nn.GRU]] = {"rnn": nn.RNN, "lstm": nn.LSTM, "gru": nn.GRU}


def rnn(shape: Shape, outputs: int, *, alphabet: str | None, kind: str, width: int, depth: int) -> nn.Module:
    """Return ``depth`` recurrent layers and a linear readout: of every place of a text, of the end of anything else."""
    return RNN(shape, outputs, alphabet, kind, width, depth)


class RNN(nn.Module):
    """Recurrent layers; ``x`` is ``[n, length]`` of characters, or ``[n, …]`` whose rows or points are read in turn."""

    def __init__(self, shape: Shape, outputs: int, alphabet: str | None, kind: str, width: int, depth: int) -> None:
        super().__init__()
        # An image's rows [channels, height, width] have channels·width features, a signal's points [channels, length].
        features = width if alphabet is not None else _size(shape) // shape[min(1, len(shape) - 1)]
        self.characters = nn.Embedding(len(alphabet), width) if alphabet is not None else None
        self.layers = nn.ModuleList(
            RECURRENT[kind](features if i == 0 else width, width, batch_first=True) for i in range(depth)
        )
        self.readout = nn.Linear(width, outputs)

    def forward(self, x: Tensor, drop: Drop = keep) -> Tensor:
        """Return ``[n, length, outputs]`` of characters, ``[n, outputs]`` of numbers."""
        if self.characters is not None:
            hidden = self.characters(x)
        else:
            hidden = x.unsqueeze(-1) if x.ndim == 2 else x.transpose(1, 2).flatten(2)
        for place, layer in enumerate(self.layers):
            hidden = drop(layer(hidden)[0], place)
        return self.readout(hidden if self.characters is not None else hidden[:, -1])  # type: ignore[no-any-return]


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
