"""Sentences as bags of words, which models of numbers read."""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from runner.data.vocabulary import PADDING, Vocabulary
from runner.model.activations import Shape

PLAIN = "tfidf"
"""What a bag holds unless it is asked for something else."""


class Bag(nn.Module):
    """How often each known token occurs, whatever their order: ``[n, length]`` becomes ``[n, size - 1]``.

    ``counts``: how often; ``presence``: 1 where it does; ``tfidf``: how often times how rare it is in training, each
    sample's divided by their Euclidean norm (Salton & Buckley 1988). Padding is not counted; tokens that are not known
    are counted as one, where training has any.
    """

    weights: Tensor

    def __init__(self, vocabulary: Vocabulary, kind: str) -> None:
        super().__init__()
        weights = torch.tensor(vocabulary.weights(kind)[PADDING + 1 :], dtype=torch.get_default_dtype())
        self.register_buffer("weights", weights)
        self._kind = kind

    def forward(self, x: Tensor) -> Tensor:
        """Return the bags."""
        counts = torch.zeros(x.shape[0], self.weights.shape[0] + 1, dtype=self.weights.dtype, device=x.device)
        counts = counts.scatter_add(1, x, torch.ones_like(x, dtype=counts.dtype))[:, PADDING + 1 :]
        if self._kind == "presence":
            counts = counts.clamp(max=1)
        weighed = counts * self.weights
        return F.normalize(weighed, dim=1) if self._kind == PLAIN else weighed


def features_of(shape: Shape, vocabulary: Vocabulary | None, kind: str) -> tuple[int, nn.Module | None]:
    """Return how many numbers a fully connected network reads, and what makes them of sentences.

    Raises:
        ValueError: if the data are numbers, and something is asked of a bag.
    """
    if vocabulary is not None:
        return vocabulary.size - 1, Bag(vocabulary, kind)
    if kind != PLAIN:
        raise ValueError(f"model.bag={kind} counts the words of data=text_csv, and the data are numbers: leave it out")
    return math.prod(shape), None
