"""What a run is given for each sample beside its data set: weights, and targets in the place of the data set's.

``data.weights`` is a file of one number a sample, in the data set's order, its own test set left out: ``.npy`` or text,
a number a line. ``data.targets`` is an ``.npz`` with ``samples`` ``[n, k]``, and ``val`` and ``test`` where the data
set has such sets of its own.
"""

import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import cast

import numpy as np
from numpy.typing import NDArray

from runner.data import Array, Samples, Source
from runner.errors import ConfigError

Floats = NDArray[np.float64]


def weights_of(path: str, samples: int, train: Samples) -> Floats:
    """Return the weights of training samples, in the mean 1.

    Args:
        path: the file.
        samples: how many the data set has.
        train: the training samples, whose inputs are their numbers.

    Raises:
        ConfigError: if it does not hold a finite weight ≥ 0 a sample, or training has none above 0.
    """
    key = f"data.weights={path}"
    try:
        file = Path(path).expanduser()
        found = np.load(file, allow_pickle=False) if file.suffix == ".npy" else np.loadtxt(file, ndmin=1)
        weights = np.asarray(found, np.float64)
    except (OSError, ValueError, TypeError) as error:
        raise ConfigError(f"{key} cannot be read as numbers: {error}") from error
    if weights.shape != (samples,):
        raise ConfigError(
            f"{key} must hold a number for each of the data set's {samples} samples (those of a test set of its own "
            f"left out), got {list(weights.shape)}"
        )
    if not np.isfinite(weights).all() or (weights < 0).any():
        place = int(np.argmin(np.isfinite(weights) & (weights >= 0)))
        raise ConfigError(f"{key} must hold finite weights ≥ 0, got {weights[place]} for sample {place}")
    ours = weights[train.x.astype(np.int64)]
    if not ours.any():
        raise ConfigError(f"{key} is 0 for every training sample")
    return cast(Floats, ours / ours.mean())


def targets_of(path: str, source: Source, counted: Sequence[Samples]) -> list[Array]:
    """Return the targets of train, validation and test, ``[n, k]`` each.

    Args:
        path: the file.
        source: the data set.
        counted: its parts, whose inputs are the numbers of their samples.

    Raises:
        ConfigError: if it does not hold k finite numbers for each sample.
    """
    key = f"data.targets={path}"
    needed = {"samples": source.samples, "val": source.val, "test": source.test}
    try:
        with np.load(Path(path).expanduser(), allow_pickle=False) as file:
            held = {name: np.asarray(file[name], np.float64) for name, part in needed.items() if part is not None}
    except (OSError, ValueError, TypeError, KeyError, zipfile.BadZipFile) as error:
        raise ConfigError(f"{key} cannot be read: {error}; it must be an .npz of samples, and val and test "
                          "where the data set has such sets of its own") from error  # fmt: skip
    for name, array in held.items():
        part = cast(Samples, needed[name])
        if array.ndim != 2 or len(array) != len(part) or array.shape[1] != held["samples"].shape[-1]:
            raise ConfigError(f"{key}: {name} must be [{len(part)}, k] numbers, got {list(array.shape)}")
        if not np.isfinite(array).all():
            raise ConfigError(f"{key}: {name} holds a number that is not finite")
    owners = ["samples", *(name if needed[name] is not None else "samples" for name in ("val", "test"))]
    return [held[owner][part.x.astype(np.int64)] for owner, part in zip(owners, counted, strict=True)]
