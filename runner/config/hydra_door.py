"""The door to Hydra: the only file of the package that imports from it, and all that is relied on of its inside.

Hydra's public interface starts at ``@hydra.main``, which writes before it checks and takes a tenth of a second a job.
To check every job of a sweep first, optbench calls what lies below: the override parser and the composition. Each
function says what it relies on; ``tests/config/test_hydra_door.py`` holds Hydra to it. The other file that knows
Hydra, ``hydra_plugins/optbench.py``, uses its interface for plugins alone.

What Hydra 1.4 (tried with 1.4.0rc3 and OmegaConf 2.4.1rc1 by ``scripts/test_hydra14``) does differently:

=========================================================  ======================================================
1.4                                                        here
=========================================================  ======================================================
plugins are found by entry points too                      nothing: the namespace hydra_plugins is still read
``instantiate`` takes a list of what it may call           nothing: Hydra vouches for the plugins that it found
a parse error first repeats the whole command line         `reason` leaves that line out
``extend_list(…)`` adds to a list, with a warning          `Parser` refuses it; 1.3 has no such function
keys may be paths, ``a.b[0]``                              unknown keys, but in a part's ``args``; 1.3 has none
a plugin's constructor raises what it raises, with a note  `multirun` knows the note, 1.3 wraps the error
a job may not change ``hydra.sweeper``                     nothing: `plan` refuses experiments of axes as an axis
=========================================================  ======================================================
"""

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path
from typing import Any, cast

import yaml
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra._internal.hydra import Hydra
from hydra._internal.utils import create_config_search_path
from hydra.core.config_loader import ConfigLoader
from hydra.core.config_search_path import SearchPathQuery
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import IntervalSweep, OverrideType, Quote, QuotedString, RangeSweep, Sweep
from hydra.core.override_parser.types import Override as HydraOverride
from hydra.errors import HydraException
from hydra.types import RunMode
from omegaconf import DictConfig, ListConfig, OmegaConf, flag_override
from omegaconf.errors import OmegaConfBaseException

from runner.errors import ConfigError
from runner.shell import in_quotes

__all__ = [
    "Axis",
    "Composition",
    "ConfigLoader",
    "DictConfig",
    "Hydra",
    "Override",
    "Parser",
    "compose",
    "files",
    "launched",
    "multirun",
    "options",
    "own_folders",
    "pack",
    "plain",
    "reason",
    "split",
    "start",
    "unpack",
    "written",
]

REFUSALS = (HydraException, OmegaConfBaseException)
"""What Hydra raises where it refuses a key or a value."""
BROKEN_FILES = (*REFUSALS, ValueError, TypeError, yaml.YAMLError, RecursionError)
"""What composing a user's files can raise."""
CONFIG = "config"
"""The file that everything is composed from."""
PLAIN_TEXT = re.compile(r"[A-Za-z_/][\w./@%+-]*", re.ASCII)
"""Texts that need no quotes, but for ``OTHER_WORDS``."""
OTHER_WORDS = ("null", "true", "false", "nan", "inf")
SIGNS = {OverrideType.ADD: "+", OverrideType.FORCE_ADD: "++", OverrideType.DEL: "~"}


def start(shipped: Path, own: Path | None = None) -> Hydra:
    """Return a Hydra over a folder of YAMLs, and a user's own folder before it.

    Relies on: the search path's providers (``main`` is the folder that is given, ``schema`` the last), of which the
    first that has a file is read; one Hydra a process, which ``GlobalHydra`` holds.
    """
    search_path = create_config_search_path(f"optbench://{shipped}")
    if own is not None:
        search_path.prepend("command-line", f"file://{own}", SearchPathQuery(provider="main", path=None))
    GlobalHydra.instance().clear()
    return Hydra.create_main_hydra2("train", search_path)


def options(loader: ConfigLoader, group: str) -> list[str]:
    """Return the names of a group's options, in every folder and in plugins; of ``hydra/launcher`` the installed."""
    return [str(option) for option in loader.get_group_options(group)]


@dataclass(frozen=True)
class Override:
    """One ``key=value`` of a command line."""

    line: str
    """As it was given."""
    key: str
    """Without the sign before it."""
    sign: str
    """``+`` adds a key, ``++`` adds or changes it, ``~`` deletes it; empty: changes it."""
    value: Any
    """In its own type; None of a sweep, whose values are ``values()``."""
    sweeps: bool
    """Whether it stands for several values, or for those of an interval or a list of one."""
    discrete: bool
    """Whether a sweep's values can be counted: not an interval's."""
    of_hydra: bool
    """Whether the key is Hydra's own."""
    _parsed: HydraOverride = field(repr=False, compare=False)

    def values(self) -> Iterator[Any]:
        """Yield the value, or every one of a sweep.

        Raises:
            ConfigError: for an interval, or a range without a step.
        """
        if not self.sweeps:
            yield self.value
            return
        try:
            yield from self._parsed.sweep_iterator()
        except (HydraException, ValueError, ArithmeticError) as error:
            raise ConfigError(f"{self.line} is no list of values: {reason(error)}") from error

    def axis(self) -> "Axis":
        """Return what a sweep draws from; relies on: tags and functions are kept, ``int(interval(1,8))`` is whole."""
        sweep = cast(Sweep, self._parsed.value())
        ends = (sweep.start, sweep.end) if isinstance(sweep, IntervalSweep) else None
        texts = () if ends else tuple(map(str, self._parsed.sweep_string_iterator()))
        in_steps = isinstance(sweep, RangeSweep)
        return Axis(texts, cast(Any, ends), in_steps, frozenset(sweep.tags), getattr(sweep, "shuffle", False))

    def forced(self) -> str:
        """Return it so that Hydra sets the key whether it is there or not."""
        return f"++{self.line.lstrip('+')}"


@dataclass(frozen=True)
class Axis:
    """What a sweep draws from."""

    texts: tuple[str, ...]
    """Each of its values, as it is typed; none of an interval."""
    ends: tuple[float, float] | None  # of an interval
    in_steps: bool  # a range
    tags: frozenset[str]
    shuffled: bool


class Parser:
    """Reads overrides by Hydra's grammar.

    Relies on: ``glob(…)`` asks the config loader for a group's options; numbers, ``true``, ``null``, lists, ``{}`` and
    quoted texts become Python's own, ``${…}`` stays a text until the config is resolved.
    """

    def __init__(self, loader: ConfigLoader) -> None:
        self._parser = OverridesParser.create(config_loader=loader)

    def parse(self, line: str) -> Override:
        """Parse one override.

        Raises:
            ConfigError: for a syntax error, or a function that only some versions of Hydra have.
        """
        if re.match(r"[^=]*=\s*extend_list\(", line):
            raise ConfigError(f"{line}: extend_list is not taken here: write the whole list")
        try:
            parsed = self._parser.parse_overrides([line])[0]
        except HydraException as error:
            said = reason(error) if line.isascii() or "Lexer" not in str(error) else f"{line} cannot be read"
            raise ConfigError(f"{said}; quote a value with other signs, as in {in_quotes(line)}") from error
        return Override(
            line=line,
            key=parsed.key_or_group,
            sign=SIGNS.get(parsed.type, ""),
            value=None if (sweeps := parsed.is_sweep_override()) else parsed.value(),
            sweeps=sweeps,
            discrete=parsed.is_discrete_sweep(),
            of_hydra=parsed.is_hydra_override(),
            _parsed=parsed,
        )


def written(value: Any) -> str:
    """Return a plain value as it is typed after ``key=``, so that it reads, and resolves, to the same value.

    Relies on: a quoted text stays one, where a backslash counts only before a quote or a reference; a key of ``{}`` is
    not quoted.
    """
    if isinstance(value, dict):
        keys = (HydraOverride._get_value_element_as_str(str(key)) for key in value)
        return "{" + ",".join(f"{key}:{written(inner)}" for key, inner in zip(keys, value.values(), strict=True)) + "}"
    if isinstance(value, list):
        return "[" + ",".join(map(written, value)) + "]"
    if value is None or isinstance(value, bool):
        return "null" if value is None else str(value).lower()
    if not isinstance(value, str):
        return repr(value)
    if PLAIN_TEXT.fullmatch(value) and value.lower() not in OTHER_WORDS:
        return value
    return QuotedString(_literal(value), Quote.single).with_quotes()


def pack(texts: Sequence[str]) -> str:
    """Return texts as the value of a sweeper's parameter, from which `unpack` has them back, references as they are.

    Relies on: Hydra resolves a plugin's parameters, 1.3 twice, of which none but what was given is read.
    """
    return written([_literal(text) for text in texts])


def unpack(node: ListConfig) -> list[str]:
    """Return the texts of a sweeper's parameter, the references in them left to whom they are for."""
    given = cast(list[str], OmegaConf.to_container(node, resolve=False))
    for _ in range(2):
        given = [re.sub(r"(\\+)\$\{", lambda found: found[1][: len(found[1]) // 2] + "${", text) for text in given]
    return given


def _literal(text: str) -> str:
    """Return a text that resolves to this one."""
    return re.sub(r"(\\*)\$\{", lambda found: 2 * found[1] + r"\${", text)


def split(overrides: Sequence[Override]) -> list[list[str]]:
    """Return the overrides of every job: every combination, the last axis fastest, keys in the order given.

    Relies on: an axis writes each of its values so that it reads as in the axis, quotes kept (but in ``choice('1')``,
    where ``'1'`` is read as 1, as all of Hydra's functions read it).

    Raises:
        ConfigError: for an interval, of which another sweeper may draw.
    """
    axes = []
    for override in overrides:
        if override.sweeps and not override.discrete:
            how = "give its values, as in 0.01,0.1, or draw from it with optbench tune"
            raise ConfigError(f"{override.line} is not a grid: {how}")
        key, parsed = f"{override.sign}{override.key}", override._parsed
        axes.append([f"{key}={v}" for v in parsed.sweep_string_iterator()] if override.sweeps else [override.line])
    return [list(job) for job in product(*axes)]


@dataclass(frozen=True)
class Composition:
    """What files and choices compose to, before any value is set."""

    config: DictConfig
    """All but Hydra's own part; it takes no new key, but where it was opened."""
    hydra: DictConfig
    """Hydra's own part, with the chosen launcher and sweeper and the parameters that an experiment gives them."""

    @property
    def files(self) -> dict[str, str]:
        """The YAML that each group was composed from; of a group that takes a list of options, None."""
        return files(self.hydra)

    def open(self, key: str) -> None:
        """Let a value be set below a key that is not there yet.

        Relies on: a node's own flag goes before its parents', and copies keep it.
        """
        OmegaConf.set_struct(OmegaConf.select(self.config, key), False)

    def applied(self, overrides: Sequence[Override]) -> DictConfig:
        """Return a copy with values set, in the order given.

        Relies on: Hydra's own function for it, so that a value means what it means to Hydra: ``{}`` is merged into
        what is there, a list replaces it, ``+`` refuses a key that is there.

        Raises:
            ConfigError: naming the override that cannot be set.
        """
        config = self.config.copy()
        try:
            ConfigLoaderImpl._apply_overrides_to_config([o._parsed for o in overrides], config)
        except REFUSALS as error:
            raise ConfigError(reason(error)) from error
        return config


def own_folders(loader: ConfigLoader) -> tuple[Path, ...]:
    """Return the user's own folders of YAMLs that a loader reads, as ``start`` named them."""
    places = [place for place in loader.get_search_path().get_path() if place.provider == "command-line"]
    return tuple(Path(str(place.path).removeprefix("file://")) for place in places)


def _take_out(node: DictConfig, key: str) -> None:
    """Take a key out of a node and of all below it; their flags stay."""
    with flag_override(node, ["struct", "readonly"], False):
        node.pop(key, None)
    for name in list(node):
        if OmegaConf.is_dict(below := node._get_node(name)):
            _take_out(cast(DictConfig, below), key)


def compose(loader: ConfigLoader, choices: Sequence[str], left_out: str) -> Composition:
    """Compose the files that some choices name, such as ``optim=adam``.

    Args:
        loader: of all folders.
        choices: options of groups.
        left_out: a key of the files that is no part of the config, wherever it stands.

    Relies on: a list of options merges all of them and is recorded as None; an option twice, ``~group`` and the later
    of two equal choices go through, so that they must be refused before; ``_global_`` packages reach every group.

    Raises:
        ConfigError: for an option that is not there, or a file that cannot be read or merged.
    """
    try:
        whole = loader.load_configuration(CONFIG, list(choices), RunMode.RUN)
    except BROKEN_FILES as error:
        raise ConfigError(reason(error)) from error
    config = OmegaConf.masked_copy(whole, [str(key) for key in whole if key != "hydra"])
    _take_out(config, left_out)
    OmegaConf.set_struct(config, True)
    return Composition(config, whole.hydra)


def plain(config: DictConfig, resolve: bool = True) -> dict[str, Any]:
    """Return a config as dictionaries and lists, its ``${…}`` resolved.

    Raises:
        ConfigError: where ``${…}`` leads nowhere.
    """
    try:
        return cast(dict[str, Any], OmegaConf.to_container(config, resolve=resolve))
    except OmegaConfBaseException as error:
        raise ConfigError(reason(error)) from error


def multirun(hydra: Hydra, task: Callable[[DictConfig], Any], overrides: Sequence[str]) -> Any:
    """Run a sweep through the sweeper and the launcher that the overrides choose; return what the sweeper returns.

    Relies on: Hydra composes once for the whole sweep, where it sets single values and leaves sweeps out, then hands
    all overrides to the sweeper as they were given. To a key that it does not have it says to add it by ``+``, which
    none but a sweeper's ``params`` takes.

    Raises:
        ConfigError: where Hydra refuses something.
    """
    try:
        return hydra.multirun(CONFIG, task, list(overrides), with_log_configuration=False)
    except Exception as error:
        if not isinstance(error, REFUSALS) and "full_key: hydra." not in str(getattr(error, "__notes__", "")):
            raise
        said = reason(error)
        if unknown := re.match(r"Could not override '(hydra\.(launcher|sweeper)\.(?!params)[\w.]+)'", said):
            said = f"{unknown[1]} is no setting of the {unknown[2]} that is chosen"
        raise ConfigError(said) from error


@dataclass(frozen=True)
class Launched:
    """The job that a launcher runs in this process."""

    config: dict[str, Any]
    overrides: list[str]
    hydra: DictConfig
    """Hydra's own part of the config."""
    own_folders: tuple[Path, ...]
    """The user's own YAMLs."""


def launched(config: DictConfig, left_out: str) -> Launched:
    """Return the job that a launcher runs in this process, its config without a key of the files.

    Relies on: a launcher sets ``HydraConfig`` before it calls the task; it names the folders and the chosen files.
    """
    hydra, config = cast(DictConfig, HydraConfig.get()), config.copy()
    _take_out(config, left_out)
    own = (source.path for source in hydra.runtime.config_sources if source.provider == "command-line")
    overrides = [str(line) for line in hydra.overrides.task]
    return Launched(plain(config), overrides, hydra, tuple(map(Path, own)))


def files(hydra: DictConfig) -> dict[str, str]:
    """Return the YAML that each group was composed from."""
    return {str(group): str(file) for group, file in hydra.runtime.choices.items() if file is not None}


def reason(error: Exception) -> str:
    """Return the complaint itself, without the hints and search paths that Hydra puts around it."""
    cause = error.__cause__ if not str(error) and error.__cause__ else error
    lines = [line.strip() for line in str(cause).splitlines() if line.strip()]
    lines = [line for line in lines if not line.startswith("Error when parsing index:")]
    return " ".join(lines[:2]).partition(" See https://")[0] if lines else type(cause).__name__
