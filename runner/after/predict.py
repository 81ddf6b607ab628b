"""Use what was trained: predictions of one's own samples, or of the run's."""

from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch

from runner.data import Array, Samples, text
from runner.data.split import split
from runner.errors import ConfigError
from runner.run.job import SPLIT_KEYS, read_source
from runner.run.load import Trained
from runner.run.record import read_config


def part_of_data(run: str | Path, part: str, allow: Collection[str] = ()) -> Samples:
    """Return a run's own train, val or test samples, as raw inputs and targets."""
    config = read_config(run)
    parts = {k: config["data"][k] for k in SPLIT_KEYS} | {"normalize": "none"}
    data = split(read_source(config, allow), **parts, dtype=config["dtype"])
    return cast(Samples, getattr(data, part))


def read_inputs(path: str | Path, model: Trained) -> Array:
    """Read a user's inputs from .npy, or from .csv with a number a cell; a row of each is one sample.

    A model of text gets the end of a text file, as one sample.

    Raises:
        ConfigError: if the file cannot be read or does not hold such inputs.
    """
    if model.alphabet is not None:
        return _read_text(path, model.shape[0], model.alphabet)
    shape = model.shape
    try:
        if Path(path).suffix == ".npy":
            values = np.load(path, allow_pickle=False)
        else:
            values = np.loadtxt(path, delimiter=",", ndmin=2)
        if values.dtype.kind not in "buif" or values.ndim == 0 or not np.isfinite(values).all():
            raise ValueError("they must be finite real numbers")
        values = values.astype(values.dtype.newbyteorder("="))
    except (OSError, ValueError) as error:
        raise ConfigError(f"--input {path} cannot be read as numbers: {error}") from error
    if len(values) == 0 or values[0].size != np.prod(shape):
        raise ConfigError(f"--input {path} must hold samples of shape {list(shape)}, got {list(values.shape[1:])}")
    return cast(Array, values.reshape(len(values), *shape))


def _read_text(path: str | Path, context: int, alphabet: str) -> Array:
    end = text.read(str(path), "--input").rstrip("\n")[-context:]
    unknown = sorted(set(end) - set(alphabet))
    if unknown or not end:
        raise ConfigError(f"--input {path} must end in characters that the model knows: {unknown or 'it is empty'}")
    return np.array([[alphabet.index(character) for character in end]])


@torch.no_grad()
def predict(model: Trained, x: Array, batch: int = 2048) -> list[dict[str, Any]]:
    """Return a row for each sample: the class with its probability, or the predicted numbers."""
    outputs = torch.cat([model(part) for part in torch.split(torch.from_numpy(np.ascontiguousarray(x)), batch)])
    if model.alphabet is not None:  # what comes after the last character
        outputs = outputs[:, -1]
    if model.classes is None:
        names = ["prediction"] if outputs.shape[1] == 1 else [f"prediction_{i}" for i in range(outputs.shape[1])]
        return [dict(zip(names, row, strict=True)) for row in outputs.tolist()]
    best = outputs.softmax(1).max(1)
    pairs = zip(best.indices.tolist(), best.values.tolist(), strict=True)
    labels: Sequence[Any] = model.alphabet or range(model.classes)
    return [{"prediction": labels[label], "probability": probability} for label, probability in pairs]
