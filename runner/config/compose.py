"""From overrides to checked configs: everything that touches Hydra's composition.

Configs are composed by Hydra once per combination of group choices; plain values are then applied to a copy,
by Hydra's own function, so that a grid over values costs milliseconds a job.
"""

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, cast

import yaml
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra._internal.hydra import Hydra
from hydra._internal.utils import create_config_search_path
from hydra.core.config_loader import ConfigLoader
from hydra.core.config_search_path import SearchPathQuery
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from runner.config import fields, instead, schema
from runner.config.options import configs_dir, options
from runner.config.own_yamls import own_folder
from runner.errors import ConfigError

BROKEN_FILES = (HydraException, OmegaConfBaseException, ValueError, TypeError, yaml.YAMLError, RecursionError)
"""What composing a user's files can raise."""
MOST_RUNS = 100_000
HYDRA_KEYS_HELP = "with -m, hydra/launcher, hydra.launcher.*, hydra/sweeper and hydra.sweeper.*"


@dataclass(frozen=True)
class Composed:
    """One job's config, checked, and what it was composed from."""

    config: schema.Config
    overrides: tuple[str, ...]
    hydra: DictConfig


def start_hydra(config_dir: str | None = None) -> Hydra:
    """Return a Hydra over the shipped configs, those of ``config_dir`` before them.

    Raises:
        ConfigError: if ``config_dir`` is no folder, or holds what cannot be read.
    """
    search_path = create_config_search_path(str(configs_dir()))
    if config_dir is not None:
        search_path.prepend(
            "command-line", f"file://{own_folder(config_dir)}", SearchPathQuery(provider="schema", path=None)
        )
    GlobalHydra.instance().clear()
    return Hydra.create_main_hydra2("train", search_path)


class Composer:
    """Composes jobs over one set of config folders."""

    def __init__(self, loader: ConfigLoader) -> None:
        self._loader = loader
        self._parser = OverridesParser.create(config_loader=loader)
        self._lines: dict[str, Override] = {}
        self._groups = [*schema.GROUPS, "experiment"]
        self._options: dict[str, list[str]] = {}
        self._bases: dict[tuple[str, ...], _Base] = {}

    def parse(self, overrides: Sequence[str], sweep: bool = False) -> list[Override]:
        """Parse overrides and refuse what can be refused before composing.

        Raises:
            ConfigError: for a syntax error, an unknown option, an empty value, or a key given twice.
        """
        parsed = [self._parsed(line) for line in overrides]
        seen: dict[str, str] = {}
        for override in parsed:
            key, line = override.key_or_group, override.input_line or ""
            if key in seen:
                raise ConfigError(f"{key} is given twice: {seen[key]} and {line}")
            seen[key] = line
            if override.is_delete():
                raise ConfigError(f"{line}: nothing can be deleted; choose another option or value for {key}")
            if override.value() == "":
                raise ConfigError(f"{key} has an empty value: {line}")
            if override.is_sweep_override() and not sweep:
                one = key in self._groups and key not in schema.COMBINED_GROUPS
                a_list = "" if one else f", or write {key}=[…] for a list"
                raise ConfigError(f"{line} is a sweep: add -m to run each value{a_list}")
            if override.is_hydra_override():
                _check_hydra_key(key, line, sweep)
            if key in self._groups or key in ("hydra/launcher", "hydra/sweeper"):
                self._check_options(override)
        return parsed

    def _parsed(self, line: str) -> Override:
        """Parse one override; the jobs of a grid share most of theirs."""
        if line not in self._lines:
            if re.fullmatch(r"\+*[\w.]+", line):
                hint = instead.of_bare(line.lstrip("+"), self._known(self._base(()).settable))
                raise ConfigError(f"{line!r} has no value: overrides are group=option and key=value{hint}")
            try:
                self._lines[line] = self._parser.parse_overrides([line])[0]
            except HydraException as error:
                reason = f"{first_line(error)}; quote a value with other signs, as in 'name=\"a: b\"'"
                raise ConfigError(reason) from error
        return self._lines[line]

    def _check_options(self, override: Override) -> None:
        group, valid = override.key_or_group, self.options_of(override.key_or_group)
        values = list(override.sweep_iterator()) if override.is_sweep_override() else [override.value()]
        for value in values:
            names = value if isinstance(value, list) else [value]
            if isinstance(value, list) and group not in schema.COMBINED_GROUPS:
                raise ConfigError(f"{group} takes one option, got {override.input_line}")
            for name in names:
                if name is None and group == "experiment":
                    continue
                if str(name) not in valid:
                    raise ConfigError(
                        f"{group}={fields.show(name).strip(chr(39))} is not an option"
                        f"{instead.of_option(group, str(name), self._known())}\nvalid: {', '.join(valid)}"
                    )
            if len(names) != len(set(map(str, names))):
                raise ConfigError(f"{group} names an option twice: {override.input_line}")
            if "none" in names and len(names) > 1:
                raise ConfigError(f"{group}=none stands alone, got {override.input_line}")

    def options_of(self, group: str) -> list[str]:
        """Return the names of a group's options."""
        if group not in self._options:
            self._options[group] = [str(o) for o in self._loader.get_group_options(group)]
        return self._options[group]

    def _known(self, keys: Collection[str] = (), chosen: Mapping[Any, Any] | None = None) -> instead.Known:
        """Return what can be typed in the place of what is refused."""
        several = {group: list((chosen or {}).get(group) or ()) for group in schema.COMBINED_GROUPS}
        return instead.Known(keys, self.options_of, several)

    def expand(self, overrides: Sequence[str]) -> list[list[str]]:
        """Return the overrides of every job of a grid, Hydra's own keys left out."""
        parsed = [o for o in self.parse(overrides, sweep=True) if not o.is_hydra_override()]
        runs = 1
        for override in parsed:
            if override.is_discrete_sweep():
                runs *= len(list(islice(override.sweep_iterator(), MOST_RUNS + 1)))
        if not 0 < runs <= MOST_RUNS:
            raise ConfigError(f"a sweep has 1 to {MOST_RUNS:,} runs, got {'none' if not runs else 'more'}")
        try:
            return BasicSweeper.split_arguments(parsed, max_batch_size=None)[0]
        except HydraException as error:
            raise ConfigError(first_line(error)) from error

    def compose(self, overrides: Sequence[str]) -> Composed:
        """Compose and check one job.

        Raises:
            ConfigError: naming the first thing that is wrong.
        """
        parsed = self.parse(overrides)
        values = [o for o in parsed if o.key_or_group not in self._groups and not o.is_hydra_override()]
        base = self._base(tuple(str(o.input_line) for o in parsed if o not in values))
        for override in values:
            self._check_key(override, base)
        composed = base.config.copy()
        try:
            ConfigLoaderImpl._apply_overrides_to_config(values, composed)
        except (HydraException, OmegaConfBaseException) as error:
            raise ConfigError(first_line(error)) from error
        for override in values:
            default, key = base.settable.get(override.key_or_group), override.key_or_group
            if key not in fields.FIELDS and type(default) in (bool, int, float, str) and default != "???":
                fields.Field(type(default)).parse(key, OmegaConf.select(composed, key))  # a user's own option
        return _checked(composed, overrides, base.hydra)

    def _base(self, choices: tuple[str, ...]) -> "_Base":
        if choices not in self._bases:
            try:
                whole = self._loader.load_configuration("config", list(choices), RunMode.RUN)
            except BROKEN_FILES as error:
                raise ConfigError(first_line(error)) from error
            config = OmegaConf.masked_copy(whole, [str(k) for k in whole if k != "hydra"])
            OmegaConf.set_struct(config, True)
            for group in self._groups:
                if OmegaConf.is_dict(arguments := OmegaConf.select(config, f"{group}.args")):
                    OmegaConf.set_struct(arguments, False)  # a user's own part takes what it takes
            keys = schema.leaves(cast(dict[str, Any], OmegaConf.to_container(config)))
            settable = {k: v for k, v in keys.items() if k.rpartition(".")[2] not in schema.INTERNAL}
            self._bases[choices] = _Base(config, whole.hydra, settable)
        return self._bases[choices]

    def _check_key(self, override: Override, base: "_Base") -> None:
        """Refuse a key that the chosen options do not have, naming the nearest that they have."""
        key, line, settable = override.key_or_group, override.input_line, base.settable
        group, _, setting = key.partition(".")
        if key in settable or (setting.startswith("args.") and f"{group}.args" in settable):
            if override.is_add() and not override.is_force_add():
                raise ConfigError(f"{line}: {key} exists already, leave out the +")
            return
        if setting in schema.INTERNAL:
            raise ConfigError(f"{key} belongs to the option's file; choose another option with {group}=…")
        inside = [k for k in settable if k.startswith(f"{key}.")]
        if inside and (setting or group in schema.SECTIONS):
            raise ConfigError(f"{line}: {key} is not one value; set {', '.join(inside)}")
        near = [k for k in settable if k.startswith(f"{group}.")] if setting else []
        owners = [o.name for o in options(group) if setting in schema.settings(group, o)] if setting else []
        if owners:
            chosen = OmegaConf.select(base.config, f"{group}._option_") or "+".join(base.config.get(group) or ["none"])
            raise ConfigError(f"{key} is a setting of {group}={', '.join(owners)}, but {group}={chosen} is chosen")
        valid = near or [*self._groups, *(k for k in settable if "." not in k)]
        hint = instead.of_key(key, str(line).partition("=")[2], self._known(settable, base.config))
        raise ConfigError(f"unknown key {key!r} in {line}{hint}\nvalid: {', '.join(valid)}")


def from_hydra(config: DictConfig, overrides: Sequence[str]) -> Composed:
    """Check a job's config that Hydra composed by itself, as its other launchers do.

    Raises:
        ConfigError: naming the first thing that is wrong.
    """
    return _checked(config, overrides, cast(DictConfig, HydraConfig.get()))


def _checked(config: DictConfig, overrides: Sequence[str], hydra: DictConfig) -> Composed:
    try:
        plain = cast(schema.Config, OmegaConf.to_container(config, resolve=True))
    except OmegaConfBaseException as error:
        raise ConfigError(first_line(error)) from error
    return Composed(schema.check(plain), tuple(overrides), hydra)


@dataclass(frozen=True)
class _Base:
    """What a combination of group choices composes to, before any value is set."""

    config: DictConfig
    hydra: DictConfig
    settable: dict[str, Any]
    """Every key that may be set, and its default."""


def _check_hydra_key(key: str, line: str, sweep: bool) -> None:
    if key == "hydra/sweeper" and line.endswith("=basic"):
        raise ConfigError(f"{line} writes before it checks: leave it out, optbench's own sweeper reads the same syntax")
    if key.endswith("_target_"):
        raise ConfigError(f"{line} is not valid here: choose a launcher or sweeper by its name")
    if key.startswith(("hydra/launcher", "hydra.launcher", "hydra/sweeper", "hydra.sweeper")):
        if sweep:
            return
        raise ConfigError(f"{line} needs -m: launchers and sweepers run sweeps")
    raise ConfigError(f"{line} is not valid here: of Hydra's keys, {HYDRA_KEYS_HELP} are")


def first_line(error: Exception) -> str:
    """Return the complaint itself, without the hints and search paths that Hydra puts below it."""
    cause = error.__cause__ if not str(error) and error.__cause__ else error
    lines = [line.strip() for line in str(cause).splitlines() if line.strip()]
    return " ".join(lines[:2]).partition(" See https://")[0] if lines else type(cause).__name__
