"""Data sets, read once into memory as arrays. Never imports torch.

An option's function, in one of the files beside this one, returns a ``Source``; what its YAML sets arrives as keyword
arguments.
"""

import functools
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from runner.data.vocabulary import Corpus, Vocabulary

Array = NDArray[np.generic]


@dataclass(frozen=True, eq=False)
class Samples:
    """Inputs ``[n, …]`` and targets: class indices ``[n]`` (of text ``[n, context]``), or numbers ``[n, outputs]``."""

    x: Array
    y: Array
    at: Array | None = None
    """Where each was read, ``[n]``: its row of a table, or its file; None: samples are counted."""

    def __len__(self) -> int:
        return len(self.x)

    def __getitem__(self, index: NDArray[np.int64]) -> "Samples":
        return Samples(self.x[index], self.y[index], None if self.at is None else self.at[index])

    def counted(self) -> "Samples":
        """Return them with a place each, counted from 0 where none is known."""
        return self if self.at is not None else Samples(self.x, self.y, np.arange(len(self)))


@dataclass(frozen=True, eq=False)
class Source:
    """A data set before it is split."""

    samples: Samples
    classes: int | None
    """Number of classes; None where the targets are numbers."""
    fingerprint: str
    """16 hexadecimal digits of the content."""
    test: Samples | None = None
    """The official test set, where there is one."""
    test_fraction: float | None = None
    """Otherwise the share of the samples to hold out."""
    val: Samples | None = None
    """A validation set of its own, where it is not held out of the samples."""
    alphabet: str | None = None
    """Of a text: the characters that inputs and targets are the places of."""
    notes: tuple[str, ...] = ()
    """What was done to the data on the way, in sentences that are said once."""
    labels: tuple[Any, ...] | None = None
    """What the classes are called, in order; None where they are called 0, 1, 2 …"""
    reading: Mapping[str, Any] | None = None
    """How a file like this one becomes inputs, as plain values; ``kind`` says which reader reads them."""
    overview: tuple[tuple[str, ...], ...] = ()
    """Of a table: a line a column, the first line their headings."""
    categories: tuple[tuple[int, int], ...] = ()
    """First and end of the inputs that hold one category, or one boolean, each: 1 where it is; NaN where missing."""
    drawn_by: str | None = None
    """Of data that are a function of the run's seed: 16 hexadecimal digits of the function, the same for all seeds."""
    corpus: Corpus | None = None
    """Of sentences: the tokens that inputs are the places of."""

    @functools.cached_property
    def names(self) -> str | None:
        """16 hexadecimal digits of what classes and inputs are called; None where neither has names."""
        inputs = None if self.reading is None else self.reading.get("inputs")
        if self.labels is None and inputs is None:
            return None
        called = json.dumps([self.labels, inputs], default=str)
        return hashlib.sha256(called.encode()).hexdigest()[:16]


@dataclass(frozen=True, eq=False)
class Data:
    """What a run trains on: float inputs, normalized with statistics of ``train`` alone."""

    train: Samples
    val: Samples
    test: Samples
    classes: int | None
    fingerprint: str
    shift: Array
    """Raw inputs become (x - shift) / scale in float64; both broadcast over ``[n, …]``."""
    scale: Array
    alphabet: str | None = None
    fill: Array | None = None
    """What missing raw inputs become, ``[1, features]``; None where there are none."""
    target_shift: Array | None = None
    """Raw targets become (y - target_shift) / target_scale, ``[1, outputs]``; None where they stay as they are."""
    target_scale: Array | None = None
    labels: tuple[Any, ...] | None = None
    reading: Mapping[str, Any] | None = None
    vocabulary: Vocabulary | None = None
    """Of sentences: the tokens of train, which the inputs are the numbers of."""
    weights: Array | None = None
    """How much each training sample counts, ``[n]``, in the mean 1; None where all count alike."""
    generated: int = 0
    """How many of the training samples, the last ones, were drawn by a generator."""
    generated_seconds: float = 0.0
    """What it took to train the generator and to draw them."""

    @property
    def is_text(self) -> bool:
        """Whether the inputs are whole numbers that stand for characters or words, and no quantities."""
        return self.alphabet is not None or self.vocabulary is not None

    @property
    def outputs(self) -> int:
        """What a model predicts for a sample: a logit a class, or the numbers of its target."""
        return self.classes if self.classes is not None else self.train.y.shape[1]


def fingerprint(*parts: Samples) -> str:
    """Return 16 hexadecimal digits of the content of some samples."""
    digest = hashlib.sha256()
    for array in (a for part in parts for a in (part.x, part.y)):
        digest.update(f"{array.dtype.str}{array.shape}".encode())
        digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()[:16]
