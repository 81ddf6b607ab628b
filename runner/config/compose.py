"""From overrides to checked configs: what is refused, and with which words. Hydra composes, behind ``hydra_door``.

Configs are composed by Hydra once per combination of group choices; plain values are then applied to a copy,
by Hydra's own function, so that a grid over values costs milliseconds a job.
"""

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache, reduce
from itertools import islice
from pathlib import Path
from typing import Any

from runner.config import hydra_door, instead, scope
from runner.config.check import check, leaves
from runner.config.chosen import GROUPS, Chosen, Config, chosen, forget_files
from runner.config.fields import is_import_path, show
from runner.config.hydra_door import Composition, ConfigLoader, DictConfig, Hydra, Override
from runner.config.options import COMBINED_GROUPS, configs_dir, default_choices, name_of, options, options_in, sections
from runner.config.own_yamls import own_folder
from runner.config.part_names import PART
from runner.config.specs import INTERNAL, SPEC, Setting
from runner.errors import ConfigError, closest

MOST_RUNS = 100_000
HYDRA_GROUPS = ("hydra/launcher", "hydra/sweeper")
HYDRA_KEYS_HELP = "with -m, hydra/launcher, hydra.launcher.*, hydra/sweeper and hydra.sweeper.*"
PACKAGES = {
    "hydra/launcher": {
        "joblib": "hydra-joblib-launcher",
        "ray": "hydra-ray-launcher",
        "submitit_local": "hydra-submitit-launcher",
        "submitit_slurm": "hydra-submitit-launcher",
    },
    "hydra/sweeper": {
        "ax": "hydra-ax-sweeper",
        "nevergrad": "hydra-nevergrad-sweeper",
        "optuna": "hydra-optuna-sweeper",
    },
}
"""What to install for launchers and sweepers that come in packages of their own."""


@dataclass(frozen=True)
class Composed:
    """One job's config, checked, and what it was composed from."""

    config: Config
    known: Chosen
    """What is known of its options."""
    overrides: tuple[str, ...]
    hydra: DictConfig
    default_batch: bool
    """Nobody gave ``batch.size``."""


def start_hydra(config_dir: str | None = None) -> Hydra:
    """Return a Hydra over the shipped configs, those of ``config_dir`` before them.

    Raises:
        ConfigError: if ``config_dir`` is no folder, or holds what would not be read as it stands.
    """
    if config_dir is None:
        return hydra_door.start(configs_dir())
    forget_files()
    return hydra_door.start(configs_dir(), own_folder(config_dir))


class Composer:
    """Composes jobs over one set of config folders."""

    def __init__(self, loader: ConfigLoader) -> None:
        self._loader = loader
        self._folders = hydra_door.own_folders(loader)
        self._parser = hydra_door.Parser(loader)
        self._lines: dict[str, Override] = {}
        self._groups = [*GROUPS, "experiment"]
        self._options: dict[str, list[str]] = {}
        self._bases: dict[tuple[str, ...], _Base] = {}

    @classmethod
    @lru_cache(maxsize=1)  # there is one Hydra a process
    def of(cls, loader: ConfigLoader) -> "Composer":
        """Return a loader's composer: the same for all who ask, so that its files are composed once."""
        return cls(loader)

    @classmethod
    def over(cls, config_dir: str | None = None) -> "Composer":
        """Return one over the shipped configs, those of ``config_dir`` before them.

        Raises:
            ConfigError: if ``config_dir`` is no folder, or holds what would not be read as it stands.
        """
        return cls.of(start_hydra(config_dir).config_loader)

    @property
    def config_dir(self) -> str | None:
        """The user's own folder of YAMLs, if there is one."""
        return str(self._folders[0]) if self._folders else None

    def parse(self, overrides: Sequence[str], sweep: bool = False) -> list[Override]:
        """Parse overrides and refuse what can be refused before composing.

        Raises:
            ConfigError: for a syntax error, an unknown option, an empty value, or a key given twice.
        """
        parsed = [self._parsed(line) for line in overrides]
        seen: dict[str, str] = {}
        for override in parsed:
            key, line = override.key, override.line
            if key in seen:
                raise ConfigError(f"{key} is given twice: {seen[key]} and {line}")
            seen[key] = line
            if override.sign == "~":
                raise ConfigError(f"{line}: nothing can be deleted; choose another option or value for {key}")
            if override.value == "":
                raise ConfigError(f"{key} has an empty value: {line}")
            if override.sweeps and not sweep:
                one = key in self._groups and key not in COMBINED_GROUPS
                a_list = "" if one else f", or write {key}=[…] for a list"
                raise ConfigError(f"{line} is a sweep: add -m to run each value{a_list}")
            if override.of_hydra:
                _check_hydra_key(key, line, sweep)
            if key in self._groups or key in HYDRA_GROUPS:
                self._check_options(override)
        return parsed

    def _parsed(self, line: str) -> Override:
        """Parse one override; the jobs of a grid share most of theirs."""
        if line not in self._lines:
            if re.fullmatch(r"\+*[\w.]+", line):
                hint = instead.of_bare(line.lstrip("+"), self._instead(self._base(()).settable))
                raise ConfigError(f"{line!r} has no value: overrides are group=option and key=value{hint}")
            self._lines[line] = self._parser.parse(line)
        return self._lines[line]

    def _check_options(self, override: Override) -> None:
        group = override.key
        for value in override.values():
            names = value if isinstance(value, list) else [value]
            if isinstance(value, list) and group not in COMBINED_GROUPS:
                raise ConfigError(f"{group} takes one option, got {override.line}")
            for name in names:
                self._check_option(group, name)
            if len(names) != len(set(map(str, names))):
                raise ConfigError(f"{group} names an option twice: {override.line}")
            nothing = default_choices().get(group)
            if nothing in names and len(names) > 1:
                raise ConfigError(f"{group}={nothing} stands alone, got {override.line}")

    def _check_option(self, group: str, name: object) -> None:
        valid, packages = self.options_of(group), PACKAGES.get(group, {})
        if str(name) in valid:
            return
        asked = f"{group}={show(name).strip(chr(39))}"
        if package := packages.get(str(name)):
            raise ConfigError(f"{asked} comes in a package that is not installed: pip install {package}")
        if is_import_path(str(name)) and PART in valid:
            raise ConfigError(f"{asked} is not an option; did you mean {group}={PART} {group}.target={name}?")
        hint = instead.of_option(group, str(name), self._instead()) if group in self._groups else ""
        hint = hint or closest(str(name), [*valid, *packages])
        raise ConfigError(f"{asked} is not an option{hint}\nvalid: {', '.join(valid)}")

    def options_of(self, group: str) -> list[str]:
        """Return the names of a group's options."""
        if group not in self._options:
            self._options[group] = hydra_door.options(self._loader, group)
        return self._options[group]

    def _instead(self, keys: Collection[str] = (), chosen: Mapping[Any, Any] | None = None) -> instead.Known:
        """Return what can be typed in the place of what is refused."""
        several = {group: list(options_in((chosen or {}).get(group))) for group in COMBINED_GROUPS}
        return instead.Known(keys, self.options_of, several)

    def expand(self, overrides: Sequence[str]) -> list[list[str]]:
        """Return the overrides of every job of a grid, Hydra's own keys left out."""
        parsed = [o for o in self.parse(overrides, sweep=True) if not o.of_hydra]
        runs = 1
        for override in parsed:
            if override.discrete:
                runs *= len(list(islice(override.values(), MOST_RUNS + 1)))
        if not 0 < runs <= MOST_RUNS:
            raise ConfigError(f"a sweep has 1 to {MOST_RUNS:,} runs, got {'none' if not runs else 'more'}")
        return [[line.removeprefix("++") for line in job] for job in hydra_door.split(parsed)]

    def for_sweep(self, overrides: Sequence[str]) -> list[str]:
        """Return a sweep's overrides as Hydra takes them.

        Hydra composes once for the whole sweep, where it sets every single value. What only jobs have, a key of an
        option that is swept over or of a user's own part, is forced (``++``) there, and checked in the jobs.
        """
        parsed = self.parse(overrides, sweep=True)
        left = [o for o in parsed if not (o.sweeps or o.of_hydra or o.key in self._groups)]
        if not left:
            return list(overrides)
        base = self._base(tuple(o.line for o in parsed if o.key in self._groups and not o.sweeps))
        for override in left:
            _refuse_plus(override, base)
        only_jobs = [o for o in left if not o.sign and (o.key not in base.settable or isinstance(o.value, dict))]
        return [o.forced() if o in only_jobs else o.line for o in parsed]

    def for_launcher(self, overrides: Sequence[str]) -> list[str]:
        """Return a job's overrides as Hydra takes them where it composes the job by itself.

        Its composition takes an argument of a user's own part only where it is forced.
        """
        parsed = self.parse(overrides)
        base = self._base(self._choices(parsed))
        return [o.forced() if base.is_argument(o.key) else o.line for o in parsed]

    def launcher(self, overrides: Sequence[str]) -> dict[str, Any]:
        """Return ``hydra.launcher`` as overrides of it alone, and of ``hydra/launcher``, make it.

        Raises:
            ConfigError: for a launcher or a setting that is not there, or a value of another type.
        """
        lines = tuple(o.line for o in self.parse(overrides, sweep=True))
        return hydra_door.plain(hydra_door.compose(self._loader, lines, left_out=SPEC).hydra.launcher)

    def settings(self, overrides: Sequence[str]) -> Mapping[str, Setting]:
        """Return every setting, by dotted key, of the options that overrides choose."""
        return self._base(self._choices(self.parse(overrides))).known.settings

    def chosen_by(self, overrides: Sequence[str]) -> tuple[DictConfig, Config]:
        """Return Hydra's part of what choices of groups alone compose to, and the config, of which nothing is checked.

        An experiment may leave to the command line what it needs.
        """
        base = self._base(self._choices(self.parse(overrides)))
        return base.composition.hydra, base.config

    def _choices(self, parsed: Sequence[Override]) -> tuple[str, ...]:
        return tuple(o.line for o in parsed if o.key in self._groups or o.of_hydra)

    def compose(self, overrides: Sequence[str]) -> Composed:
        """Compose and check one job.

        Raises:
            ConfigError: naming the first thing that is wrong.
        """
        parsed = self.parse(overrides)
        choices = self._choices(parsed)
        values = [o for o in parsed if o.line not in choices]
        base = self._base(choices)
        if (used := base.known.used) is not None:
            for override in parsed:
                scope.refuse_unused(override.key, override.line, base.config[scope.TASK]["_option_"], used)
        for override in values:
            self._check_key(override, base)
        config = base.with_values(values)
        if config is None:
            config = hydra_door.plain(base.composition.applied(values))
        checked = check(config, base.known)
        return Composed(checked, base.known, tuple(overrides), base.composition.hydra, _has_default_batch(config))

    def _base(self, choices: tuple[str, ...]) -> "_Base":
        if choices not in self._bases:
            self._bases[choices] = _Base.of(hydra_door.compose(self._loader, choices, left_out=SPEC), self._folders)
        return self._bases[choices]

    def _check_key(self, override: Override, base: "_Base") -> None:
        """Refuse a key that the chosen options do not have, naming the nearest that they have."""
        key, line, settable = override.key, override.line, base.settable
        group, _, setting = key.partition(".")
        if key in settable or base.is_argument(key):
            return _refuse_plus(override, base)
        if setting in INTERNAL:
            raise ConfigError(f"{key} belongs to the option's file; choose another option with {group}=…")
        is_part = key == "target" and is_import_path(str(override.value))
        holders = [k for k in settable if k.endswith(f".{key}")] if is_part else []
        if holders and not setting:
            raise ConfigError(f"{line} names a part; did you mean {holders[0]}={override.value}?")
        inside = [k for k in settable if k.startswith(f"{key}.")]
        if inside and (setting or group in sections()):
            raise ConfigError(f"{line}: {key} is not one value; set {', '.join(inside)}")
        near = [k for k in settable if k.startswith(f"{group}.")] if setting else []
        named = "args" if setting.startswith("args.") else setting
        owners = [o.name for o in options(group, *self._folders) if named in o.settings] if setting else []
        if owners:
            option = base.config.get(group) or {}
            name = option.get("_option_") or name_of(group, option)
            raise ConfigError(f"{key} is a setting of {group}={', '.join(owners)}, but {group}={name} is chosen")
        valid = near or [*self._groups, *(k for k in settable if "." not in k)]
        hint = instead.of_key(key, str(line).partition("=")[2], self._instead(settable, base.config))
        raise ConfigError(f"unknown key {key!r} in {line}{hint}\nvalid: {', '.join(valid)}")


def from_hydra(config: DictConfig) -> Composed:
    """Check the config of the job that one of Hydra's other launchers composed and runs in this process.

    Raises:
        ConfigError: naming the first thing that is wrong.
    """
    job = hydra_door.launched(config, left_out=SPEC)
    known = chosen(job.config, job.own_folders, hydra_door.files(job.hydra))
    checked = check(job.config, known)
    return Composed(checked, known, tuple(job.overrides), job.hydra, _has_default_batch(job.config))


@dataclass(frozen=True)
class _Base:
    """What a combination of group choices composes to, before any value is set."""

    composition: Composition
    config: Config
    """The same as plain dictionaries, nothing resolved."""
    known: Chosen
    """What is known of the options."""
    settable: dict[str, Any]
    """Every key that may be set, and its default."""
    arguments: tuple[str, ...]
    """Keys below which a user's own part takes what it takes, such as ``model.args``."""
    resolved: Config | None
    """The config with every ``${…}`` resolved; None where one refers to another value, which an override may change."""

    @staticmethod
    def of(composition: Composition, folders: tuple[Path, ...]) -> "_Base":
        config = hydra_door.plain(composition.config, resolve=False)
        keys = leaves(config)
        known = chosen(config, folders, composition.files)
        settable = {k: v for k, v in keys.items() if k.rpartition(".")[2] not in INTERNAL and known.uses(k)}
        arguments = tuple(k for k, v in settable.items() if k.endswith(".args") and isinstance(v, dict))
        for key in arguments:
            composition.open(key)
        refers = any(_refers(value) for value in keys.values())
        resolved = None if refers else hydra_door.plain(composition.config)
        return _Base(composition, config, known, settable, arguments, resolved)

    def with_values(self, overrides: Sequence[Override]) -> Config | None:
        """Return the config with values set, where each is a plain one in the place of another; None otherwise.

        Hydra's own function, which knows how to merge and to add, copies the whole config node by node: ten times as
        long. A grid over values needs neither.
        """
        if self.resolved is None or not all(self._is_plain(override) for override in overrides):
            return None
        config: Config = _copied(self.resolved)
        for override in overrides:
            *path, last = override.key.split(".")
            reduce(lambda node, name: node[name], path, config)[last] = _copied(override.value)
        return config

    def _is_plain(self, override: Override) -> bool:
        there, value = self.settable.get(override.key, self), override.value
        settable = there is not self and not isinstance(there, dict) and not self.is_argument(override.key)
        return settable and not override.sign and not isinstance(value, dict) and not _refers(value, resolvers=True)

    def is_argument(self, key: str) -> bool:
        """Say whether a key is, or lies in, the arguments of a user's own part."""
        return any(key == k or key.startswith(f"{k}.") for k in self.arguments)


def _has_default_batch(config: Config) -> bool:
    return config.get("batch", {}).get("size") is None


def _refers(value: Any, resolvers: bool = False) -> bool:
    """Say whether a value holds ``${…}``, that of a resolver such as ``${oc.env:HOME}`` counted only where asked."""
    if isinstance(value, list):
        return any(_refers(inner, resolvers) for inner in value)
    if isinstance(value, dict):
        return any(_refers(inner, resolvers) for inner in value.values())
    if not isinstance(value, str) or "${" not in value:
        return False
    return resolvers or not re.fullmatch(r"\$\{oc\.env:[^${}]*\}", value)


def _copied(node: Any) -> Any:
    """Return a copy of plain dictionaries and lists."""
    if isinstance(node, dict):
        return {key: _copied(value) for key, value in node.items()}
    return [_copied(value) for value in node] if isinstance(node, list) else node


def _refuse_plus(override: Override, base: _Base) -> None:
    """Refuse to add what is there."""
    if override.sign == "+" and (override.key in base.settable or _at(base.config, override.key) is not None):
        raise ConfigError(f"{override.line}: {override.key} exists already, leave out the +")


def _at(config: Any, key: str) -> Any:
    """Return the value at a dotted key, None where there is none."""
    return reduce(lambda at, name: at.get(name) if isinstance(at, Mapping) else None, key.split("."), config)


def _check_hydra_key(key: str, line: str, sweep: bool) -> None:
    if key == "hydra/sweeper" and line.endswith("=basic"):
        raise ConfigError(
            f"{line} writes before anything is checked: leave it out, optbench's own takes the same syntax"
        )
    if key.endswith("_target_"):
        raise ConfigError(f"{line} is not valid here: choose a launcher or sweeper by its name")
    if key.startswith(("hydra/launcher", "hydra.launcher", "hydra/sweeper", "hydra.sweeper")):
        if sweep:
            return
        raise ConfigError(f"{line} needs -m: launchers and sweepers run sweeps")
    raise ConfigError(f"{line} is not taken here: the only Hydra keys are {HYDRA_KEYS_HELP}")
