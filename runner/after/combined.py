"""An ensemble's folder becomes a model on raw inputs. The folder is data: members' places and ids, and numbers."""

import copy
import json
import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from runner.after import plain_form
from runner.engine.checkpoint import DIGEST_BYTES
from runner.errors import ConfigError, RecordError
from runner.run.load import Trained
from runner.run.load import load_model as load_run
from runner.statistics.ensembles import averaged, softmax, voted
from runner.statistics.scores import Array

FILE = "ensemble.json"
FORMAT = 1
AVERAGES, VOTES = ("mean", "greedy"), ("vote", "weighted", "samme")
METHODS = (*AVERAGES, *VOTES, "stack", "soup", "gradient")


@dataclass(frozen=True)
class Recipe:
    """How the members' outputs become one; numbers alone."""

    method: str
    """One of ``METHODS``."""
    classes: int | None
    """None of numbers."""
    weights: tuple[float, ...]
    """Of each member."""
    groups: tuple[tuple[int, ...], ...] = ()
    """Of a stack: the members, by their number, whose mean is one input of the last model."""
    coefficients: tuple[tuple[float, ...], ...] = ()
    intercept: tuple[float, ...] = ()
    called: tuple[int, ...] = ()
    """The classes that the last model knows, in the order of its outputs."""
    base: tuple[float, ...] = ()
    """Of gradient boosting: what is added to, ``[k]``."""

    def __call__(self, outputs: Array) -> Array:
        """Return probabilities or numbers ``[n, k]`` of members' outputs ``[members, n, k]``, in float64.

        Those are probabilities of classes, but numbers of gradient boosting; of a soup those of its one network.
        """
        weights = np.array(self.weights)
        if self.method in AVERAGES:
            return averaged(outputs, weights)
        if self.method in VOTES:
            return voted(outputs, weights)
        if self.method == "soup":
            return np.asarray(outputs[0])
        if self.method == "gradient":
            scores = np.array(self.base) + np.tensordot(weights, outputs, 1)
            return np.asarray(scores) if self.classes is None else softmax(scores)
        return self._last(features(outputs, self.groups, self.classes))

    def _last(self, x: Array) -> Array:
        scores = x @ np.array(self.coefficients).T + np.array(self.intercept)
        if self.classes is None:
            return np.asarray(scores)
        known = softmax(np.hstack([np.zeros_like(scores), scores]) if scores.shape[1] == 1 else scores)
        shares = np.zeros((len(x), self.classes))
        shares[:, list(self.called)] = known
        return shares


def features(outputs: Array, groups: Sequence[Sequence[int]], classes: int | None) -> Array:
    """Return what a stack's last model reads, ``[n, features]``: each group's mean; of two classes the second's."""
    means = [outputs[list(group)].mean(0) for group in groups]
    return np.hstack([mean[:, 1:] if classes == 2 else mean for mean in means])


@dataclass(frozen=True)
class Place:
    """Where a member lies, and what tells that it is still the same."""

    folder: str
    """As seen from the ensemble's folder."""
    run_id: str
    digest: str
    """The SHA-256 of its weights' file."""
    snapshot: int | None


class Ensemble(Trained):
    """Trained networks as one, between raw inputs and the logarithms of probabilities, or numbers in their own unit."""

    def __init__(self, members: Sequence[Trained], recipe: Recipe, saved: Mapping[str, Any]) -> None:
        super().__init__(nn.ModuleList(members), saved)
        self.recipe = recipe

    @torch.no_grad()
    def forward(self, x: Tensor | npt.NDArray[Any]) -> Tensor:
        """Return log-probabilities ``[n, classes]``, or numbers ``[n, outputs]``, in float64."""
        members = cast(Sequence[Trained], self.network)
        outputs = self.recipe(np.stack([plain(member, x) for member in members]))
        found = torch.from_numpy(np.ascontiguousarray(outputs))
        return found if self.classes is None else found.log()


def plain(model: Trained, x: Tensor | npt.NDArray[Any]) -> Array:
    """Return a model's probabilities or numbers ``[n, k]`` in float64."""
    outputs = model(x).double()
    return cast(Array, (outputs if model.classes is None else outputs.softmax(1)).numpy())


def is_ensemble(folder: str | Path) -> bool:
    """Say whether a folder is an ensemble's."""
    return (Path(folder) / FILE).is_file()


def load_model(folder: str | Path, allow: Collection[str] = ()) -> Trained:
    """Load a run's weights, or an ensemble's, in evaluation mode on the CPU.

    Args:
        folder: of a run, or of an ensemble.
        allow: import paths of the user's own models that may be imported.

    Raises:
        ConfigError: if the folder is neither, or names a part that is not allowed.
        RecordError: if weights are missing, damaged, or of an ensemble no longer those that it was made of.
    """
    return load_ensemble(folder, allow) if is_ensemble(folder) else load_run(folder, allow)


def load_ensemble(folder: str | Path, allow: Collection[str] = ()) -> Ensemble:
    """Load an ensemble; see ``load_model``."""
    recipe, places, content = read(folder)
    members = []
    for place in places:
        at = member_at(folder, place)
        if digest_of(at) != place.digest:
            raise RecordError(f"{folder}: its member {at} has changed since: its weights are others; "
                              "make the ensemble anew")  # fmt: skip
        members.append(load_run(at, allow, place.snapshot))
    if recipe.method == "soup":
        members = [soup(members)]
    first = members[0]
    saved = {"shape": first.shape, "reading": first.reading, **{k: content[k] for k in ("classes", "labels")}}
    return Ensemble(members, recipe, saved).eval()


def member_at(folder: str | Path, place: Place) -> Path:
    """Return the folder of a member.

    Raises:
        RecordError: if it is gone, or another run.
    """
    at = Path(folder) / place.folder
    if not (at / "checkpoint.pt").is_file() or not at.resolve().name.endswith(place.run_id):
        raise RecordError(f"{folder}: its member {at} is gone; an ensemble is made of its members' folders, "
                          "which must stay where they are beside it")  # fmt: skip
    return at


def digest_of(run: Path) -> str:
    """Return the SHA-256 at the end of a run's weights, which reading them checks."""
    try:
        with (run / "checkpoint.pt").open("rb") as file:
            file.seek(-DIGEST_BYTES, 2)
            return file.read().decode("ascii", "replace")
    except OSError as error:
        raise RecordError(f"cannot read {run / 'checkpoint.pt'}: {error.strerror or error}") from error


def soup(members: Sequence[Trained]) -> Trained:
    """Return one network of the mean of the members' weights (Wortsman et al. 2022, §2).

    Raises:
        ConfigError: if their weights cannot be averaged.
    """
    members = [plain_form.plain(member) for member in members]  # the mean of two products is not that of their factors
    first, others = copy.deepcopy(members[0]), members[1:]
    numbers = first.state_dict()
    for other in others:
        theirs = other.state_dict()
        if {k: v.shape for k, v in numbers.items()} != {k: v.shape for k, v in theirs.items()}:
            raise ConfigError("--method soup averages weights: the members must be of one model and size")
        for name in ("shift", "scale", "fill", "target_shift", "target_scale"):
            if name in numbers and not torch.allclose(numbers[name], theirs[name]):
                raise ConfigError("--method soup averages weights: the members normalize their data otherwise, "
                                  "as those of several bootstraps or folds do")  # fmt: skip
    if any(isinstance(module, nn.modules.batchnorm._BatchNorm) for module in first.modules()):
        raise ConfigError("--method soup averages weights, and batch norm's statistics would have to be measured anew: "
                          "use --method mean")  # fmt: skip
    with torch.no_grad():
        mean = {
            name: torch.stack([m.network.state_dict()[name] for m in members]).double().mean(0).to(tensor.dtype)
            if tensor.is_floating_point()
            else tensor
            for name, tensor in members[0].network.state_dict().items()
        }
        first.network.load_state_dict(mean)
    return first


def read(folder: str | Path) -> tuple[Recipe, list[Place], dict[str, Any]]:
    """Return what an ensemble's folder says: how, of whom, and all of it.

    Raises:
        ConfigError: if its file is none.
    """
    path = Path(folder) / FILE
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        if content["format"] != FORMAT:
            raise ValueError(f"format {content['format']}, where this version reads {FORMAT}")
        said = content["recipe"]
        recipe = Recipe(
            str(said["method"]),
            None if content["classes"] is None else int(content["classes"]),
            _numbers(said["weights"]),
            tuple(tuple(map(int, group)) for group in said["groups"]),
            tuple(map(_numbers, said["coefficients"])),
            _numbers(said["intercept"]),
            tuple(map(int, said["called"])),
            _numbers(said["base"]),
        )
        places = [
            Place(str(m["folder"]), str(m["run_id"]), str(m["digest"]),
                  None if m["snapshot"] is None else int(m["snapshot"]))
            for m in content["members"]
        ]  # fmt: skip
        labels = content["labels"]
        if recipe.method not in METHODS or not places or len(places) != len(recipe.weights):
            raise ValueError("its recipe does not fit its members")
        if labels is not None and (not isinstance(labels, list) or len(labels) != recipe.classes):
            raise ValueError("its labels are not its classes'")
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ConfigError(f"{path} is no ensemble's file: {type(error).__name__}: {error}") from error
    return recipe, places, content


def _numbers(values: Sequence[Any]) -> tuple[float, ...]:
    numbers = tuple(map(float, values))
    if not all(map(math.isfinite, numbers)):
        raise ValueError("a number is not finite")
    return numbers
