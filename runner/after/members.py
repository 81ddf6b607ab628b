"""The members of an ensemble: trained runs of one data set, found, held against each other, and asked."""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch

from runner.after.combined import FILE, Recipe, digest_of, plain
from runner.after.predict import source_of
from runner.config.chosen import Config
from runner.config.identity import choices
from runner.config.scope import is_own
from runner.data import Samples
from runner.engine import checkpoint
from runner.engine.measure import EVALUATION_BATCH_ON_CPU
from runner.errors import ConfigError, closest
from runner.run import files
from runner.run.job import SPLIT_KEYS, parts_of
from runner.run.load import Trained, load_model
from runner.statistics.ensembles import Classes
from runner.statistics.scores import Array


@dataclass(frozen=True, eq=False)
class Member:
    """A trained run, or its weights at one place on its way."""

    folder: Path
    config: Config
    summary: dict[str, Any]
    snapshot: int | None = None

    @property
    def run_id(self) -> str:
        """The run's id."""
        return str(self.summary["run_id"])

    @property
    def title(self) -> str:
        """What it is called in tables."""
        return self.folder.name if self.snapshot is None else f"{self.folder.name}, snapshot {self.snapshot + 1}"

    @property
    def has_weights(self) -> bool:
        """Whether the run kept them."""
        return (self.folder / "checkpoint.pt").is_file() and self.summary.get("saved", "none") != "none"


def find(places: Sequence[str]) -> tuple[list[Member], list[str]]:
    """Return the finished runs of some folders of runs, or of sweeps, each once, and what was left out and why.

    Raises:
        ConfigError: if a place is neither.
    """
    folders: dict[Path, Path] = {}
    for place in places:
        for folder in _runs_in(Path(place)):
            folders.setdefault(folder.resolve(), folder)
    members, left_out = [], []
    for folder in folders.values():
        summary = files.read_summary(folder)
        if summary is None or summary["status"] not in files.SOUND:
            left_out.append(f"{folder}: {'it has not ended' if summary is None else summary['status']}")
            continue
        members.append(Member(folder, files.read_config(folder), {"run_id": folder.name[-8:], **summary}))
    return members, left_out


def _runs_in(place: Path) -> list[Path]:
    if (place / FILE).is_file():
        raise ConfigError(f"{place} is an ensemble, and members are runs: name those")
    if (place / "config.yaml").is_file():
        return [place]
    if found := sorted(path.parent for path in place.glob("*/config.yaml")):
        return found
    if place.is_dir():
        raise ConfigError(f"{place} holds no runs: give runs, or the folder of a sweep, such as outputs/default")
    beside = [path.name for path in place.parent.iterdir()] if place.parent.is_dir() else []
    raise ConfigError(f"there is no folder {place}{closest(place.name, beside)}")


def snapshots_of(members: Sequence[Member]) -> list[Member]:
    """Return every member's weights at the places on its way where it kept them, the last among them.

    Raises:
        ConfigError: if one kept none.
    """
    found = []
    for member in members:
        if (parts := member.summary.get("snapshots")) is None:
            raise ConfigError(
                f"--snapshots: {member.folder} kept none; train it with snapshots=5 scheduler=warm_restarts "
                "scheduler.first=0.2 scheduler.growth=1"
            )
        kept = len(_kept(member))
        found += [replace(member, snapshot=i) for i in range(kept)] + [member]
        assert kept < parts, "the last part's end is the run's"
    return found


def _kept(member: Member) -> Sequence[Any]:
    kept: Sequence[Any] = checkpoint.load_weights(member.folder / "checkpoint.pt").get("snapshots") or ()
    return kept


@dataclass(frozen=True, eq=False)
class Predicted:
    """What members predict of samples."""

    outputs: Array
    """``[members, n, k]``: probabilities, or numbers."""
    y: Array
    """Classes ``[n]``, or numbers ``[n, k]``."""
    at: Classes
    """Each sample's place in the data."""

    @property
    def labels(self) -> Classes:
        """The targets as classes."""
        return self.y.astype(np.int64)


@dataclass(frozen=True, eq=False)
class Parts:
    """What is read of a member's data set."""

    val: Samples
    test: Samples


class Team:
    """Members that may be combined, with their models and their data."""

    def __init__(self, members: Sequence[Member], allow: Collection[str] = (), boosted: bool = False) -> None:
        """Load the members' weights and data.

        Args:
            members: two at least.
            allow: import paths of the user's own parts that may be imported.
            boosted: they are rounds, which may have learned what the rounds before left over.

        Raises:
            ConfigError: if they are not of one data set, one test set and the same classes, or fewer than two.
            RecordError: if weights cannot be read.
        """
        self.members = list(members)
        self.allow = allow
        if len(members) < 2:
            raise ConfigError(f"an ensemble has two members or more, got {len(members)}{_one_alone(members)}")
        _refuse_other_data(members, boosted)
        self.models = [load_model(m.folder, allow, m.snapshot) for m in members]
        self.source = source_of(members[0].folder, members[0].config, allow, "ensemble")
        self._parts: dict[tuple[str, ...], Parts] = {}
        _refuse_unlike(self.members, self.models)
        self.classes = self.source.classes
        self.labels = None if self.source.labels is None else list(self.source.labels)
        self.digests = [digest_of(m.folder) for m in members]

    def parts(self, member: Member) -> Parts:
        """Return a member's validation and test samples, raw."""
        key = tuple(str(member.config["data"][name]) for name in SPLIT_KEYS if "normalize" not in name)
        if key not in self._parts:
            found = parts_of(member.config, self.source, "float64")
            self._parts[key] = Parts(found.val, found.test)  # training samples, the most, are let go
        return self._parts[key]

    def predict(self, part: str) -> Predicted:
        """Return what every member predicts of a part that is the same for all.

        Raises:
            ConfigError: if it is not.
        """
        found = [self.predict_of(i, part) for i in range(len(self.members))]
        for member, one in zip(self.members, found, strict=True):
            if not np.array_equal(one.at, found[0].at):
                raise ConfigError(
                    f"{member.folder} has other {part} samples than {self.members[0].folder}: "
                    "train the members on one split (data.split_seed, data.val_fraction, data.fold)"
                )
        return Predicted(np.concatenate([one.outputs for one in found]), found[0].y, found[0].at)

    def predict_of(self, number: int, part: str) -> Predicted:
        """Return what one member predicts of its own part, as outputs ``[1, n, k]``."""
        samples: Samples = getattr(self.parts(self.members[number]), part)
        y = cast(Array, samples.y if self.classes is None else samples.y.reshape(len(samples), -1)[:, -1])
        return Predicted(outputs_of(self.models[number], samples.x)[None], y, cast(Classes, samples.at))

    @property
    def has_validation(self) -> bool:
        """Whether every member has validation samples."""
        return all(len(self.parts(m).val) for m in self.members)


@torch.no_grad()
def outputs_of(model: Trained, x: Any) -> Array:
    """Return a model's probabilities or numbers of raw inputs ``[n, …]``."""
    if not len(x):
        return np.empty((0, 0))
    parts = torch.split(torch.from_numpy(np.ascontiguousarray(x)), EVALUATION_BATCH_ON_CPU)
    return np.concatenate([plain(model, part) for part in parts])


def _one_alone(members: Sequence[Member]) -> str:
    if members and members[0].summary.get("snapshots"):
        return f": {members[0].folder} kept {members[0].summary['snapshots']} snapshots, which --snapshots takes"
    return "; optbench train -m seeds=5 save=last trains five"


def _refuse_other_data(members: Sequence[Member], boosted: bool) -> None:
    first = members[0]
    for member in members:
        if is_own(member.config):
            raise ConfigError(f"{member.folder} is of a training function of your own, which keeps its model itself")
        if member.config["data"]["targets"] is not None and not boosted:
            raise ConfigError(f"{member.folder} learned data.targets, and predicts nothing of the data set's own")
    for other in members:
        ours, theirs = (m.summary.get("data_fingerprint") for m in (first, other))
        if ours != theirs:
            raise ConfigError(
                f"{other.folder} was trained on other data than {first.folder}: "
                f"{_data(other)} ({theirs}), not {_data(first)} ({ours})"
            )
        for key in ("split_seed", "test_fraction"):
            ours, theirs = (m.config["data"].get(key) for m in (first, other))
            if ours != theirs:
                raise ConfigError(
                    f"{other.folder} has other test samples than {first.folder}: data.{key} is {theirs}, not {ours}"
                )


def _data(member: Member) -> str:
    return f"data={member.config['data']['_option_']}"


def _refuse_unlike(members: Sequence[Member], models: Sequence[Trained]) -> None:
    first, model = members[0], models[0]
    for member, other in zip(members, models, strict=True):
        if other.alphabet is not None:
            raise ConfigError(f"{member.folder} predicts the next character of a text, which no ensemble is made of")
        if (other.classes, other.labels) != (model.classes, model.labels):
            raise ConfigError(
                f"{member.folder} tells other classes than {first.folder}: {_called(other)}, not {_called(model)}"
            )
        if other.shape != model.shape or other.reading != model.reading:
            words = ", as vocabularies of several bootstraps or folds are" if model.vocabulary is not None else ""
            raise ConfigError(f"{member.folder} reads its inputs otherwise than {first.folder}{words}")


def _called(model: Trained) -> str:
    if model.classes is None:
        return "numbers"
    return str(model.labels) if model.labels is not None else f"{model.classes} classes"


def settings(members: Iterable[Member]) -> list[tuple[tuple[str, str], ...]]:
    """Return what each member's setting is, its fold left out: the folds of one setting are equal."""
    return [tuple(sorted((k, str(v)) for k, v in choices(m.config).items() if k != "data.fold")) for m in members]


def recipe_as_json(recipe: Recipe) -> dict[str, Any]:
    """Return a recipe as plain values."""
    names = ("method", "weights", "groups", "coefficients", "intercept", "called", "base")
    return {name: getattr(recipe, name) for name in names}
