"""Use what was trained: a run's folder becomes a model on raw inputs.

The folder is data: nothing is imported on its word.
"""

from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn

from runner.config.imports import bind
from runner.data import Array, Samples, split, text
from runner.engine import checkpoint
from runner.errors import ConfigError, RecordError
from runner.regularization import weight_norm
from runner.run.build import network as reader
from runner.run.build import parametrized
from runner.run.job import SPLIT_KEYS, read_source
from runner.run.record import read_config


class Trained(nn.Module):
    """A trained network behind the normalization it was trained with; ``x`` is ``[n, …]`` as the data set has it."""

    shift: Tensor
    scale: Tensor

    def __init__(
        self,
        network: nn.Module,
        shape: tuple[int, ...],
        shift: Tensor,
        scale: Tensor,
        classes: int | None,
        alphabet: str | None,
    ) -> None:
        super().__init__()
        self.network = network
        self.shape = shape
        self.classes = classes
        self.alphabet = alphabet
        self.register_buffer("shift", shift)
        self.register_buffer("scale", scale)

    def forward(self, x: Tensor) -> Tensor:
        """Return logits ``[n, classes]`` or numbers ``[n, outputs]``; of a text ``[n, length, classes]``."""
        if self.alphabet is not None:
            return self.network(x)  # type: ignore[no-any-return]
        return self.network((x.to(self.shift.dtype) - self.shift) / self.scale)  # type: ignore[no-any-return]


def load_model(run: str | Path, allow: Collection[str] = ()) -> Trained:
    """Load a run's weights, in evaluation mode on the CPU.

    Args:
        run: the run's folder.
        allow: import paths of a user's own model that may be imported.

    Raises:
        ConfigError: if the folder's config is not one, or names a part that is not allowed.
        RecordError: if the weights are missing or damaged.
    """
    config = read_config(run)
    path = Path(run) / "checkpoint.pt"
    if not path.exists():
        raise RecordError(f"{path} is not there: the run kept no weights; train it with save=last or save=best")
    saved = checkpoint.load_weights(path)
    own = config["model"]["_option_"] == "custom"
    function, settings = bind(config["model"], allow)
    try:
        shape = tuple(saved["shape"])
        # Without memory until the weights are known to fit; a user's own model may not know how.
        with torch.random.fork_rng(devices=[]), torch.device("cpu" if own else "meta"):
            option, alphabet = config["model"]["_option_"], saved.get("alphabet")
            network: nn.Module = reader(function, option, alphabet)(shape, saved["outputs"], **settings)
            parametrized([weight_norm()] if "weight_norm" in config["regularization"] else [], network)
        network.load_state_dict(saved["model"], assign=True)
    except Exception as error:
        raise RecordError(f"{path} does not fit the model of {Path(run) / 'config.yaml'}: {error}") from error
    return Trained(network, shape, saved["shift"], saved["scale"], saved["classes"], alphabet).eval()


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


def export(run: str | Path, path: str | Path, allow: Collection[str] = ()) -> float:
    """Export a run's model with ``torch.export`` and return the largest difference of the reloaded program's outputs.

    Raises:
        RecordError: if the program does not give the model's numbers, or cannot be written.
    """
    model = load_model(run, allow)
    x = torch.from_numpy(np.ascontiguousarray(part_of_data(run, "test", allow).x[:64]))
    batch = torch.export.Dim("batch", min=1)
    program = torch.export.export(model, (x[:3],), dynamic_shapes=({0: batch},))
    try:
        torch.export.save(program, path)
    except (OSError, RuntimeError) as error:
        raise RecordError(f"cannot write {path}: {error}") from error
    with torch.no_grad():
        difference = float((torch.export.load(path).module()(x) - model(x)).abs().max())
    if not difference <= 1e-5 * model(x).abs().max().item():
        raise RecordError(f"{path} gives outputs that differ by {difference:g} from the model's")
    return difference
