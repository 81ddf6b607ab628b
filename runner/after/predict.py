"""Use what was trained: predictions of one's own samples, or of the run's."""

from collections.abc import Collection, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor

from runner.after.combined import is_ensemble, member_at, read
from runner.config.chosen import Config
from runner.data import Array, Samples, Source, text
from runner.data.images import pictures
from runner.engine.measure import EVALUATION_BATCH_ON_CPU
from runner.errors import ConfigError
from runner.run.files import read_config, refuse_changed_data
from runner.run.job import SPLIT_KEYS, parts_of, read_source
from runner.run.load import Trained


def part_of_data(run: str | Path, part: str, allow: Collection[str] = ()) -> Samples:
    """Return a run's own train, val or test samples, as raw inputs and targets; ``at`` is their place in the data.

    Raises:
        ConfigError: if the data has changed since the run was trained, or the part is empty.
    """
    run = _home(run, part)
    config = read_config(run)
    source = source_of(Path(run), config, allow, "predict")
    samples = cast(Samples, getattr(parts_of(config, source, "float64"), part))
    if not len(samples):
        raise ConfigError(f"--part {part}: the run has no such samples, as data.val_fraction=0 leaves none")
    return samples


def evenly(samples: Samples, most: int) -> Samples:
    """Return so many samples at most, evenly over all: a data set may lie sorted by class."""
    return samples if len(samples) <= most else samples[np.linspace(0, len(samples) - 1, most).astype(np.int64)]


def _home(run: str | Path, part: str) -> str | Path:
    """Return the run whose data are asked for: of an ensemble its first member, whose part is that of all.

    Raises:
        ConfigError: if the members have other samples of that part.
    """
    if not is_ensemble(run):
        return run
    homes = [member_at(run, place) for place in read(run)[1]]
    kept = ("split_seed", "test_fraction") if part == "test" else (*SPLIT_KEYS, "test_fraction")
    split = [[read_config(home)["data"].get(key) for key in kept if "normalize" not in key] for home in homes]
    if any(one != split[0] for one in split):
        raise ConfigError(f"--part {part}: the members of {run} have other such samples, as folds or bootstraps do")
    return homes[0]


def source_of(run: Path, config: Config, allow: Collection[str], said: str) -> Source:
    """Return a run's data set, as it was trained on; its samples know their place.

    Args:
        run: its folder.
        config: its config.
        allow: import paths of the user's own parts that may be imported.
        said: what reads the data, such as ``predict``.

    Raises:
        ConfigError: if the data has changed since the run was trained.
    """
    source = read_source(config, allow)
    refuse_changed_data(run, source, said)
    val, test = (None if part is None else part.counted() for part in (source.val, source.test))
    return replace(source, samples=source.samples.counted(), val=val, test=test)


def targets_of(samples: Samples, model: Trained) -> list[dict[str, Any]]:
    """Return a row for each sample of a run's own part: its targets, classes as they are called.

    Of a text it is the character after the last one.
    """
    y = samples.y.reshape(len(samples), -1)
    if model.classes is None:
        return _numbered("target", y)
    return [{"target": labels_of(model)[int(place)]} for place in y[:, -1]]


def _numbered(name: str, numbers: Array) -> list[dict[str, Any]]:
    """Return a row for each row of numbers ``[n, k]``; they are told apart by 0, 1 … where there are several."""
    names = [name] if numbers.shape[1] == 1 else [f"{name}_{i}" for i in range(numbers.shape[1])]
    return [dict(zip(names, row, strict=True)) for row in numbers.tolist()]


def read_own(path: str | Path, model: Trained) -> tuple[Samples, str | None]:
    """Read a user's samples: as the run read its data, or as plain numbers.

    Of a table run that is a table with its columns, of a run on sentences one with its column of texts; of a run on
    pictures a picture or a folder of them; of a text the end of a file, as one sample. Else, and of tables and pictures
    from .npy too, it is arrays of inputs as the network is given them before they are normalized, a row of a .csv each.

    Returns:
        The samples, whose y is empty where no target is known, and a note on how they were read, if there is any.

    Raises:
        ConfigError: if the file cannot be read or does not hold such inputs.
    """
    if model.alphabet is not None:
        return _unlabelled(_read_text(path, model.shape[0], model.alphabet)), None
    kind = model.reading["kind"] if model.reading is not None else None
    if model.vocabulary is not None:
        assert model.reading is not None, "it holds the vocabulary"
        from runner.data import sentences

        return sentences.read_like(str(path), model.reading, model.shape[0], model.labels, "--input")
    if Path(path).suffix == ".npy" or kind is None:
        return _unlabelled(_read_numbers(path, model.shape)), None
    assert model.reading is not None, "it has a kind"
    if kind == "pictures":
        return pictures.read_like(str(path), model.reading, "--input"), None
    from runner.data.tables import features

    return features.read_like(str(path), model.reading, model.labels, "--input")


def _unlabelled(x: Array) -> Samples:
    return Samples(x, np.empty((len(x), 0)), np.arange(len(x)))


def _read_numbers(path: str | Path, shape: tuple[int, ...]) -> Array:
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
    as_they_are, flat = _without_ones(values.shape[1:]) == _without_ones(shape), values.shape[1:] == (np.prod(shape),)
    if len(values) == 0 or not (as_they_are or flat):
        raise ConfigError(f"--input {path} must hold samples of shape {list(shape)}, got {list(values.shape[1:])}")
    return cast(Array, values.reshape(len(values), *shape))


def _without_ones(shape: Sequence[int]) -> list[int]:
    return [size for size in shape if size != 1]


def _read_text(path: str | Path, context: int, alphabet: str) -> Array:
    end = text.read(str(path), "--input").rstrip("\n")[-context:]
    unknown = sorted(set(end) - set(alphabet))
    if unknown or not end:
        raise ConfigError(f"--input {path} must end in characters that the model knows: {unknown or 'it is empty'}")
    return np.array([[alphabet.index(character) for character in end]])


@torch.no_grad()
def predict(model: Trained, x: Array, probabilities: bool = False) -> list[dict[str, Any]]:
    """Return a row for each sample: the class with its probability, or the predicted numbers.

    Args:
        model: the trained one.
        x: raw inputs, ``[n, …]``.
        probabilities: give those of all classes too.

    Raises:
        ConfigError: for probabilities of numbers.
    """
    parts = torch.split(torch.from_numpy(np.ascontiguousarray(x)), EVALUATION_BATCH_ON_CPU)
    outputs = torch.cat([last_outputs(model, part) for part in parts])
    if model.classes is None:
        if probabilities:
            raise ConfigError("--probabilities are of classes, and this run predicts numbers")
        return _numbered("prediction", outputs.numpy())
    shares = outputs.softmax(1)
    best, labels = shares.max(1), labels_of(model)
    rows = [
        {"prediction": labels[label], "probability": probability}
        for label, probability in zip(best.indices.tolist(), best.values.tolist(), strict=True)
    ]
    if probabilities:
        names = [f"probability_{label}" for label in labels]
        rows = [row | dict(zip(names, of_all, strict=True)) for row, of_all in zip(rows, shares.tolist(), strict=True)]
    return rows


def last_outputs(model: Trained, x: Tensor) -> Tensor:
    """Return a model's outputs ``[n, outputs]`` of raw inputs; of a text only those after its last character."""
    outputs: Tensor = model(x)
    return outputs if model.alphabet is None else outputs[:, -1]


def labels_of(model: Trained) -> Sequence[Any]:
    """Return what the classes are called, in their order: characters, names or numbers; empty where there are none."""
    return model.alphabet or model.labels or range(model.classes or 0)
