"""A run's folder becomes a model on raw inputs.

The folder is data: nothing is imported on its word.
"""

import warnings
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy.typing as npt
import torch
from torch import Tensor, nn

from runner.config.chosen import Config, chosen
from runner.config.imports import bind
from runner.config.options import options_in
from runner.config.scope import is_own as is_own_task
from runner.data.vocabulary import Vocabulary
from runner.engine import checkpoint
from runner.engine.hooks import Hook
from runner.errors import ChangedWarning, ConfigError, RecordError
from runner.run.components.network import is_own, parametrized, source_of
from runner.run.components.network import network as reader
from runner.run.files import read_config


class Trained(nn.Module):
    """A trained network between raw inputs, ``[n, …]`` as the data set has them, and targets in their own unit."""

    shift: Tensor
    scale: Tensor
    fill: Tensor | None
    target_shift: Tensor | None
    target_scale: Tensor | None

    def __init__(self, network: nn.Module, saved: Mapping[str, Any]) -> None:
        """Wrap a network.

        Args:
            network: with its weights.
            saved: see ``Run.interface``; runs of older versions lack what came later.
        """
        super().__init__()
        self.network = network
        self.shape = tuple(saved["shape"])
        """Of an input."""
        self.classes: int | None = saved["classes"]
        self.alphabet: str | None = saved.get("alphabet")
        self.labels: list[Any] | None = saved.get("labels")
        """What the classes are called; None where they are called 0, 1, 2 …"""
        self.reading: dict[str, Any] | None = saved.get("reading")
        """How a file becomes inputs; None where that is not known."""
        self.vocabulary = vocabulary_of(saved)
        """Of sentences: the tokens that inputs are the numbers of."""
        for name in ("shift", "scale", "fill", "target_shift", "target_scale"):
            self.register_buffer(name, saved.get(name))
        self.marks = marks_of(self.reading or {})

    def forward(self, x: Tensor | npt.NDArray[Any]) -> Tensor:
        """Return logits ``[n, classes]`` or numbers ``[n, outputs]``; of a text ``[n, length, classes]``.

        Sentences are numbers ``[n, length]``, as ``encoded`` makes them.
        """
        if not isinstance(x, Tensor):
            x = torch.as_tensor(x)
        if self.alphabet is not None:
            return self.network(x)  # type: ignore[no-any-return]
        if self.vocabulary is not None:
            return self._in_own_unit(self.network(x))
        if self.fill is not None:
            missing = x.isnan()
            x = torch.where(missing, self.fill, x)
            if self.marks:
                width = len(self.marks)
                told = missing[:, list(self.marks)].to(x.dtype)
                x = torch.cat([x[:, :-width], torch.maximum(x[:, -width:], told)], 1)
        dtype = next((p.dtype for p in self.network.parameters()), torch.float32)
        outputs: Tensor = self.network(((x.to(self.shift.dtype) - self.shift) / self.scale).to(dtype))
        return self._in_own_unit(outputs)

    def _in_own_unit(self, outputs: Tensor) -> Tensor:
        if self.target_shift is None or self.target_scale is None:
            return outputs
        return outputs.double() * self.target_scale + self.target_shift

    def encoded(self, texts: Sequence[str]) -> Tensor:
        """Return sentences as inputs, ``[n, length]``.

        Raises:
            ConfigError: if the run reads no sentences.
        """
        if self.vocabulary is None:
            raise ConfigError("this run was not trained on sentences")
        return torch.from_numpy(self.vocabulary.encoded(texts, self.shape[0]))


def marks_of(reading: Mapping[str, Any]) -> tuple[int, ...]:
    """Return for each of the last inputs, which say that a column is missing, where that column's inputs begin."""
    first, place = {}, 0
    for feature in reading.get("features") or ():
        first[feature["name"]] = place
        place += max(1, len(feature["categories"]))
    return tuple(first[name] for name in reading.get("marked") or ())


def vocabulary_of(saved: Mapping[str, Any]) -> Vocabulary | None:
    """Return the vocabulary of a run on sentences from what was saved of it; None of any other."""
    held = (saved.get("reading") or {}).get("vocabulary")
    return None if held is None else Vocabulary.of(held)


def load_model(run: str | Path, allow: Collection[str] = (), snapshot: int | None = None) -> Trained:
    """Load a run's weights, in evaluation mode on the CPU.

    Args:
        run: the run's folder.
        allow: import paths of a user's own model that may be imported.
        snapshot: which of those that the run kept on its way, from 0; None: the weights that it ended with.

    Raises:
        ConfigError: if the folder's config is not one, or names a part that is not allowed.
        RecordError: if the weights are missing or damaged.
    """
    config = read_config(run)
    if is_own_task(config):
        raise ConfigError(f"{run} is of a training function of your own, which keeps its model itself: load that")
    path = Path(run) / "checkpoint.pt"
    if not path.exists():
        raise RecordError(f"{path} is not there: the run kept no weights; train it with save=last or save=best")
    saved = checkpoint.load_weights(path)
    if snapshot is not None:
        if snapshot >= len(saved.get("snapshots") or ()):
            raise RecordError(f"{path} holds no snapshot {snapshot}; train the run with snapshots=…")
        saved["model"] = saved["snapshots"][snapshot]
    function, settings = bind(config["model"], allow)
    now = source_of(config["model"], allow)
    if now != saved.get("source", now):
        named = config["model"].get("target") or config["model"]["_target_"]
        said = f"the source of {named} has changed since {run} was trained: what it predicts may have, too"
        warnings.warn(said, ChangedWarning, stacklevel=2)
    at_first = [key for key, setting in chosen(config).settings.items() if setting.a_file]
    settings |= {key: None for key in settings if f"model.{key}" in at_first}  # the run's own are taken
    try:
        shape = tuple(saved["shape"])
        # Without memory until the weights are known to fit; a user's own model may not know how.
        with torch.random.fork_rng(devices=[]), torch.device("cpu" if is_own(config["model"]) else "meta"):
            alphabet = saved.get("alphabet")
            made = reader(function, config["model"], alphabet, vocabulary_of(saved))
            network: nn.Module = made(shape, saved["outputs"], **settings)
            is_text = alphabet is not None or vocabulary_of(saved) is not None
            parametrized(_parametrizing(config, allow), network, shape, is_text)
        network.load_state_dict(saved["model"], assign=True)
    except Exception as error:
        raise RecordError(f"{path} does not fit the model of {Path(run) / 'config.yaml'}: {error}") from error
    return Trained(network, saved).eval()


def _parametrizing(config: Config, allow: Collection[str]) -> list[Hook]:
    """Return the hooks of a run that change the form of its model; of one's own parts, those that are allowed."""
    found = []
    for group in ("regularization", "finetune", "compress"):
        for option in options_in(config.get(group)).values():
            if option["_target_"].startswith("runner.") or option["_target_"] in allow:
                function, settings = bind(option, allow)
                found.append(function(**settings))
    return found
