"""Recurrent networks."""

import math

import torch
from torch import Tensor, nn

from runner.data.vocabulary import PADDING, Vocabulary
from runner.engine.model import Drop, keep
from runner.model.activations import Shape

RECURRENT: dict[str, type[nn.RNN | nn.LSTM | nn.GRU]] = {"rnn": nn.RNN, "lstm": nn.LSTM, "gru": nn.GRU}


def rnn(
    shape: Shape,
    outputs: int,
    *,
    alphabet: str | None,
    kind: str,
    width: int,
    depth: int,
    vocabulary: Vocabulary | None = None,
) -> nn.Module:
    """Return ``depth`` recurrent layers and a linear readout: of every place of a text, of the end of anything else."""
    if vocabulary is not None:
        return SentenceRNN(vocabulary.size, outputs, kind, width, depth)
    return RNN(shape, outputs, alphabet, kind, width, depth)


class SentenceRNN(nn.Module):
    """Recurrent layers; ``x`` is ``[n, length]`` of tokens, padded at the end, the result ``[n, outputs]``.

    The readout sees the last layer at a sample's last token: what comes after it has no part in the result.
    """

    def __init__(self, tokens: int, outputs: int, kind: str, width: int, depth: int) -> None:
        super().__init__()
        self.tokens = nn.Embedding(tokens, width)
        self.layers = nn.ModuleList(RECURRENT[kind](width, width, batch_first=True) for _ in range(depth))
        self.readout = nn.Linear(width, outputs)

    def forward(self, x: Tensor, drop: Drop = keep) -> Tensor:
        """Return the logits or predicted numbers."""
        there = x != PADDING
        if drop is keep and not torch.compiler.is_compiling():  # no longer than the batch's longest sample
            x = x[:, : max(1, int(there.any(0).sum()))]
        hidden = self.tokens(x)
        for place, layer in enumerate(self.layers):
            hidden = drop(layer(hidden)[0], place)
        last = (there.sum(1) - 1).clamp(min=0)
        return self.readout(hidden[torch.arange(x.shape[0], device=x.device), last])  # type: ignore[no-any-return]


class RNN(nn.Module):
    """Recurrent layers; ``x`` is ``[n, length]`` of characters, or ``[n, …]`` whose rows or points are read in turn."""

    def __init__(self, shape: Shape, outputs: int, alphabet: str | None, kind: str, width: int, depth: int) -> None:
        super().__init__()
        # An image's rows [channels, height, width] have channels·width features, a signal's points [channels, length].
        features = width if alphabet is not None else math.prod(shape) // shape[min(1, len(shape) - 1)]
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
