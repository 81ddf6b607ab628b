"""One run before it is built: its config, its data, its id and its folder. Never imports torch."""

import functools
import hashlib
import importlib.metadata
import json
import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from runner.config import hydra_door
from runner.config.canonical import shrunk
from runner.config.check import leaves, sized
from runner.config.chosen import Chosen, Config
from runner.config.compose import Composed
from runner.config.identity import folder_name
from runner.config.identity import run_id as identify
from runner.config.imports import (
    accepts,
    bind,
    forget_changed,
    named_by_user,
    refuse_unless_allowed,
    resolve,
    source_digest,
    standing_in,
)
from runner.config.own_parts import explained, find_part, origin, path_of
from runner.config.part_names import SHOWN_AS, is_part, shown
from runner.config.scope import is_own
from runner.data import Data, Samples, Source, generated
from runner.data.split import split, training_samples
from runner.errors import ConfigError, PartError, TableError
from runner.run.files import read_config, refuse_changed_data
from runner.run.training_function import refuse_what_only_the_loop_settles, training_function
from runner.shell import joined

T = TypeVar("T")
TRAINING_KEYS = ("val_fraction", "fraction", "folds", "fold")
"""What decides how many samples are trained on."""
OUTPUTS = Path("outputs")
NO_DATA = Source(Samples(np.empty((0, 0)), np.empty(0)), None, fingerprint="")
"""Of a training function of one's own that does not use the group ``data``."""
SPLIT_KEYS = ("split_seed", "val_fraction", "folds", "fold", "bootstrap", "fraction", "normalize", "normalize_target")
GIVEN_KEYS = ("weights", "targets")
"""Files of something for each sample; see ``runner.data.given``."""
GENERATED = "generated"
"""The share of the training samples that a generator adds to them; see ``runner.run.components.generated``."""
SPLIT_COLUMNS = ("data_fingerprint", *(f"data.{key}" for key in (*SPLIT_KEYS, "test_fraction")), "loss")
"""What tells data splits apart, as columns of ``runs.csv``; the loss, as ``val_loss`` is of it."""
PUBLISHED = "DEFAULT"
"""In the place of a file of weights: those that a package publishes."""
AGAIN_SECONDS = 1.0
"""Data of one's own that take less are drawn twice: a run whose data never come again cannot be found or resumed."""
BASELINES = "baselines.csv"
"""Beside the runs: what simple baselines reach on each split of the data."""


@dataclass(frozen=True)
class Job:
    """A run that is known to be well-formed."""

    config: Config
    known: Chosen
    """What is known of the config's options."""
    source: Source
    run_id: str
    allow: frozenset[str]
    """Import paths of the user's own parts that may be imported."""
    overrides: tuple[str, ...] = ()
    hydra: Any = None
    """Hydra's own part of the composed config, for ``.hydra/hydra.yaml``."""

    @property
    def folder(self) -> Path:
        """Where the run's files lie; a run with a part of the user's own may lie there under another name of it."""
        place = OUTPUTS / str(self.config["name"]) / folder_name(self.config, self.run_id)
        if self.allow and not place.exists():
            return next(iter(sorted(place.parent.glob(f"*-{self.run_id}"))), place)
        return place

    @property
    def lock(self) -> Path:
        """The file that whoever trains the run holds."""
        return self.folder.parent / ".locks" / self.run_id

    @property
    def target(self) -> str | None:
        """What is to be reached, such as ``val_accuracy 0.97``; None without a target."""
        asked = self.config.get("target")
        return None if asked is None or asked["metric"] is None else f"{asked['metric']} {asked['value']!r}"

    @property
    def of_data(self) -> dict[str, str]:
        """What tells its data apart, as columns of ``runs.csv``; nothing where it uses none."""
        if "data" not in self.config:
            return {}
        drawn = {} if self.source.drawn_by is None else {"data_drawn_by": self.source.drawn_by}
        return {"data_fingerprint": self.source.fingerprint, **drawn}

    @property
    def is_own(self) -> bool:
        """Whether a function of the user's trains, and not our loop."""
        return is_own(self.config)

    def remembered(self, of: Callable[["Job"], T]) -> T:
        """Return what a function finds of the job; a sweep's jobs, which are composed anew each time, remember it."""
        return of(self)

    def sibling(self, overrides: Sequence[str], allow: frozenset[str]) -> "Job | None":
        """Return another job, which a folder tells of, as this one was made; None where it is not known how.

        Args:
            overrides: what it is made of.
            allow: import paths that may be imported for it.

        Raises:
            ConfigError: if it cannot be run, or names other paths.
        """
        return None

    def part(self, option: dict[str, Any], *without: str) -> functools.partial[Any]:
        """Return the function of an option of the config with its settings, those ``without`` left out."""
        function, settings = bind(option, self.allow, *without)
        return functools.partial(function, **settings)

    def __str__(self) -> str:
        return " ".join(self.overrides) or "the defaults"


def prepare(composed: Composed, allow: Collection[str] | None = None) -> Job:
    """Read the data and name the run.

    Args:
        composed: its config.
        allow: import paths of the user's own parts that may be imported; None: all that the config names, as the user
            typed them. A run's folder is no user: of what it says, only these.

    Raises:
        ConfigError: if the data or a part is not there, or is not allowed.
    """
    with explained(composed.known.settings):
        return _prepared(composed, allow)


def _prepared(composed: Composed, given: Collection[str] | None) -> Job:
    config, known = composed.config, composed.known
    named = named_by_user(config)
    allow = frozenset(named.values() if given is None else given)
    for path in named.values() if given is not None else ():
        refuse_unless_allowed(path, allow)
    # What a measure computes does not decide what the run finds: it is looked for once there is a run to measure.
    found = {key: find_part(key, path, allow) for key, path in named.items() if not key.startswith("metrics")}
    source = read_source(config, allow) if "data" in config else NO_DATA
    if config.get("loss") == "auto" and source is not NO_DATA:
        numbers = source.classes is None or config["data"]["targets"] is not None
        config["loss"] = "mse" if numbers else "cross_entropy"
    samples = _training_samples(config, source) if "data" in config else 0
    if is_own(config):
        training_function(config, allow)
        refuse_what_only_the_loop_settles(config, known)
    elif known.fact("batch", "resolved"):
        config, known = _sized(config, known, source, allow, samples)
    elif composed.default_batch:
        config = shrunk(config, samples)
    digests = {key: source_digest(part) for key, part in found.items()}
    parts = standing_in(config) | digests
    values = leaves(config)
    for key, setting in known.settings.items():
        if setting.a_file and values.get(key) is not None:
            parts[key] = _weights_digest(values[key], setting.a_file, key)
        if not setting.a_run or values.get(key) is None:
            continue
        folder = Path(values[key]).expanduser()
        parts[key] = _file_digest(folder / "checkpoint.pt", key, "; the run must have kept its weights")
        same = _with_seed(config, source) == _data_of(folder, _modified(folder / "config.yaml"), bool(source.drawn_by))
        if source is not NO_DATA and same:
            refuse_changed_data(folder, source, f"{key}={values[key]}")
    run_id = identify(config, source.fingerprint, parts, known)
    return Job(config, known, source, run_id, allow, composed.overrides, composed.hydra)


def _training_samples(config: Config, source: Source) -> int:
    """Return how many samples are trained on, of which some may be generated.

    Raises:
        ConfigError: if some are asked for that cannot be.
    """
    how, share = {key: config["data"][key] for key in TRAINING_KEYS}, config["data"][GENERATED]
    if share:
        generated.refuse(source, share, shown("data", config["data"]))
        generated.refuse_none(training_samples(source, **how), share)
    return training_samples(source, **how, generated_share=share)


def _sized(config: Config, known: Chosen, source: Source, allow: frozenset[str], samples: int) -> tuple[Config, Chosen]:
    """Return a config in which a size to be resolved is the size, and the samples at a time, that it comes to here."""
    function, settings = bind(config["batch"], allow, "shuffle", "drop_last", "micro")
    size = function(max(1, samples), **settings)
    micro = config["batch"]["micro"]
    if micro is None and config["device"] != "cpu":
        from runner.run.memory import samples_at_a_time

        micro = samples_at_a_time(config, source, allow, size)
    return sized(config, size, micro, known)


def _read_from(config: Config) -> Config:
    """Return what of a config decides which data are read."""
    return {
        key: value
        for key, value in config["data"].items()
        if key not in (*SPLIT_KEYS, *GIVEN_KEYS, GENERATED, SHOWN_AS)
    }


@functools.lru_cache(maxsize=64)  # the jobs of a sweep are taught by few runs
def _data_of(folder: Path, modified: int, with_seed: bool) -> Config | None:
    """Return which data another run read; None where its config does not tell."""
    try:
        config = read_config(folder)
    except ConfigError:
        return None
    return _read_from(config) | ({"seed": config["seed"]} if with_seed else {})


def _with_seed(config: Config, source: Source) -> Config:
    """Return which data a run reads, with the seed that they follow."""
    return _read_from(config) | ({"seed": config["seed"]} if source.drawn_by else {})


def _modified(path: Path) -> int:
    """Return when a file was changed, in nanoseconds; 0 where there is none."""
    return path.stat().st_mtime_ns if path.exists() else 0


def _weights_digest(given: str, package: bool | str, key: str) -> str:
    """Return what tells weights apart: a digest of their file, or the version of the package whose own they are."""
    if given == PUBLISHED and isinstance(package, str):
        return f"{package} {importlib.metadata.version(package)}"
    return _file_digest(Path(given).expanduser(), key)


def _file_digest(path: Path, key: str, hint: str = "") -> str:
    """Return 16 hexadecimal digits of a file's content, which decides what a run finds as its path does not."""
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()[:16]
    except OSError as error:
        raise ConfigError(f"{key}: {path} cannot be read: {error.strerror}{hint}") from error


def forget_data() -> None:
    """Read the data, and parts of the user's own, anew at the next job: files may have changed."""
    _read.cache_clear()
    forget_changed()


def read_source(config: Config, allow: Collection[str]) -> Source:
    """Read a config's data set, unless it has just been read; one that follows the run's seed is read with it."""
    seed = config["seed"] if follows_seed(config, allow) else None
    found = _read(json.dumps(_read_from(config), sort_keys=True), tuple(sorted(allow)), seed)
    if isinstance(found, ConfigError):
        raise found
    return found


def follows_seed(config: Config, allow: Collection[str]) -> bool:
    """Say whether a config's data are a function of the run's seed: one's own that has ``seed`` in its signature.

    Where ``data.args.seed`` is given they are of that seed, in every run.
    """
    data = config.get("data", {})
    if not is_part(data) or "seed" in data["args"]:
        return False
    return accepts(resolve(data["target"], allow), "seed")


def parts_of(config: Config, source: Source, dtype: str) -> Data:
    """Return the parts of a config's data as they are before they are normalized."""
    raw = {"normalize": "none", "normalize_target": "none"}
    return split(source, **{key: config["data"][key] for key in SPLIT_KEYS} | raw, dtype=dtype)


@functools.lru_cache(maxsize=4)  # a sweep reads its data once
def _read(data: str, allow: tuple[str, ...], seed: int | None) -> Source | ConfigError:
    """Return a data set, or why there is none: the jobs of a sweep that share it ask once."""
    try:
        return _read_now(data, allow, seed)
    except ConfigError as error:
        return error


def _read_now(data: str, allow: tuple[str, ...], seed: int | None) -> Source:
    function, settings = bind(json.loads(data), allow)
    settings |= {} if seed is None else {"seed": seed}
    began = time.monotonic()
    try:
        source = function(**settings)
        is_quick = "target" in settings and time.monotonic() - began < AGAIN_SECONDS
        if is_quick and function(**settings).fingerprint != source.fingerprint:
            said = f"data.target={path_of(settings['target'])} gives other data each time it is called"
            hint = "draw them by np.random.default_rng(0), or name seed in its signature"
            raise PartError("data.target", f"{said}: {hint}")
    except TableError as error:
        if error.settings is None:
            raise
        typed = joined(f"data.{key}={hydra_door.written(value)}" for key, value in error.settings.items())
        said = f"{error}\nit can be used with  {typed}"
        raise TableError(said, error.overview, error.settings) from error
    except ConfigError:
        raise
    except (Exception, SystemExit) as error:  # a user's function, or a file that is not what its name says
        name = settings.get("target", function)
        raise ConfigError(
            f"data of {path_of(name)} cannot be read: {type(error).__name__}: {error}{origin(error)}"
        ) from error
    if not isinstance(source, Source):
        raise ConfigError(f"{function.__module__}.{function.__qualname__} must return a runner.data.Source")
    if seed is None:
        return source
    drawn_by = json.dumps([data, source_digest(settings["target"])])
    return replace(source, drawn_by=hashlib.sha256(drawn_by.encode()).hexdigest()[:16])
