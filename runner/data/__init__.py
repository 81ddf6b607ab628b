"""Data sets, read once into memory as arrays. Never imports torch.

An option's function, in one of the files beside this one, returns a ``Source``; what its YAML sets arrives as keyword
arguments.
"""

import hashlib
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.generic]


@dataclass(frozen=True, eq=False)
class Samples:
    """Inputs ``[n, …]`` and targets: class indices ``[n]`` (of text ``[n, context]``), or numbers ``[n, outputs]``."""

    x: Array
    y: Array

    def __len__(self) -> int:
        return len(self.x)

    def __getitem__(self, index: NDArray[np.int64]) -> "Samples":
        return Samples(self.x[index], self.y[index])


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


@dataclass(frozen=True, eq=False)
class Data:
    """What a run trains on: float inputs, normalized with statistics of ``train`` alone."""

    train: Samples
    val: Samples
    test: Samples
    classes: int | None
    fingerprint: str
    shift: Array
    """Raw inputs become (x - shift) / scale; both broadcast over ``[n, …]``."""
    scale: Array
    alphabet: str | None = None

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
