"""The options that a config chose, and with them every setting that it holds."""

import functools
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from runner.config import scope
from runner.config.conflicts import Conflict, Mistake
from runner.config.fields import REQUIRED, show
from runner.config.options import (
    COMBINED_GROUPS,
    default_choices,
    find,
    forget_options,
    known_of,
    of_every_run,
    options_in,
    sections,
)
from runner.config.specs import INTERNAL, Setting, Spec
from runner.errors import ConfigError, closest

Config = dict[str, Any]
"""A composed config as plain nested dictionaries."""

_Place = tuple[str, str, str, Mapping[str, Any]]
"""Of an option: its place in the config, its group, its YAML's name, and its values."""

GROUPS = tuple(group for group in default_choices() if group != "experiment")


@dataclass(frozen=True)
class Chosen:
    """What is known of the options of a config."""

    specs: Mapping[str, Spec]
    """By group, or by ``group.option`` where a group combines several."""
    settings: Mapping[str, Setting]
    """By dotted key, those of every run among them."""
    used: frozenset[str] | None = None
    """The groups and keys that the task uses; None where our loop trains, which uses all."""
    unused: Mapping[str, Setting] = field(default_factory=dict)
    """The settings that the task does not use."""

    def fact(self, group: str, name: str) -> Any:
        """Return what is known of the option of a group; None where it does not say."""
        return self.specs[group].facts.get(name) if group in self.specs else None

    def uses(self, key: str) -> bool:
        """Say whether the task uses a dotted key."""
        return self.used is None or key.partition(".")[0] in self.used

    def having(self, group: str, name: str) -> "Chosen":
        """Return the same with a shipped option in the place of a group's."""
        option = find(group, name)
        assert option is not None, f"{group}={name} is shipped"
        return _joined({**self.specs, group: option.spec})

    def of_task(self, used: frozenset[str]) -> "Chosen":
        """Return what is known of what a task uses."""
        specs = {where: spec for where, spec in self.specs.items() if where.partition(".")[0] in used}
        kept = {key: s for key, s in self.settings.items() if key.partition(".")[0] in used}
        left = {key: s for key, s in self.settings.items() if key not in kept}
        return Chosen(specs, {**kept, **{k: s for k, s in left.items() if k in scope.LEFT}}, used, left)

    @functools.cached_property
    def conflicts(self) -> list[Conflict]:
        """What cannot go together."""
        return [c for spec in (of_every_run().spec, *self.specs.values()) for c in spec.conflicts]

    @functools.cached_property
    def doubts(self) -> list[Conflict]:
        """What is seldom meant."""
        return [c for spec in (of_every_run().spec, *self.specs.values()) for c in spec.doubts]

    @functools.cached_property
    def mistakes(self) -> list[Mistake]:
        """What older versions did wrongly."""
        return [m for spec in (of_every_run().spec, *self.specs.values()) for m in spec.mistakes]

    @functools.cached_property
    def keys(self) -> dict[str, list[str]]:
        """The keys below each option and section, without its name; those of every run below the empty one."""
        found: dict[str, list[str]] = {where: [] for where in ("", *sections(), *self.specs)}
        for key in self.settings:
            for where in found:
                if where and key.startswith(f"{where}."):
                    found[where].append(key.removeprefix(f"{where}."))
        found[""] = [key for key in self.settings if "." not in key]
        return found

    @property
    def reads(self) -> set[str]:
        """Keys that decide what this run finds, though by themselves they do not."""
        return {key for spec in self.specs.values() for key in spec.reads}


def chosen(config: Mapping[str, Any], folders: tuple[Path, ...] = (), files: Mapping[str, str] | None = None) -> Chosen:
    """Return what is known of the options of a config.

    Args:
        config: each group's option, by ``_option_``.
        folders: the user's own YAMLs.
        files: the YAML's name of each group, where that is known: an option's own name may be another's.

    Raises:
        ConfigError: if a group is missing, or an option is none.
    """
    places, own = [], scope.is_own(config)
    for group in GROUPS:
        if group == scope.TASK and not own:
            continue
        if own and group not in config:
            continue
        if group not in config and group not in COMBINED_GROUPS:
            raise ConfigError(f"the group {group} is missing")
        nodes = options_in(config.get(group)) if group in COMBINED_GROUPS else {None: config[group]}
        for name, node in nodes.items():
            where = f"{group}.{name}" if name else group
            _refuse_no_option(node, where, name)
            file = name or (files or {}).get(group) or node["_option_"]
            places.append((where, group, file, node))
    if all(find(group, file, *folders) is not None for _, group, file, _ in places):
        found = _of_files(tuple((where, group, file) for where, group, file, _ in places), folders)
    else:
        found = _joined({where: _spec(where, group, file, node, folders) for where, group, file, node in places})
    return found.of_task(_used(config, places, folders, found)) if own else found


def _used(
    config: Mapping[str, Any], places: Sequence[_Place], folders: tuple[Path, ...], known: Chosen
) -> frozenset[str]:
    """Return what the task of a config uses: as its YAML says, or what the config holds where there is none."""
    file = next(file for where, _, file, _ in places if where == scope.TASK)
    if find(scope.TASK, file, *folders) is None:  # a run's folder, which holds what was used
        return frozenset({*config, *scope.ALWAYS} - {*scope.LEFT})
    return scope.used_by(known.specs[scope.TASK], f"{scope.TASK}={file}")


def _refuse_no_option(node: Any, where: str, name: str | None) -> None:
    if not isinstance(node, dict) or not isinstance(node.get("_target_"), str):
        raise ConfigError(f"{where} needs _target_, the import path of its function")
    label = name or node.get("_option_")
    if not isinstance(label, str) or not re.fullmatch(r"\w+", label):
        raise ConfigError(f"{where} needs _option_, its name in letters, digits and _, got {show(label)}")


def _spec(where: str, group: str, file: str, node: Mapping[str, Any], folders: tuple[Path, ...]) -> Spec:
    """Return what is known of an option; of one without a file, as a run's folder may name it, what its values tell."""
    option = find(group, file, *folders)
    return option.spec if option else Spec.of(node, where, known_of(group, node["_target_"]))


def forget_files() -> None:
    """Read the YAMLs anew when they are asked for next: those of the user may have changed."""
    forget_options()
    _of_files.cache_clear()


@functools.lru_cache(maxsize=1024)  # the jobs of a grid share their options
def _of_files(places: tuple[tuple[str, str, str], ...], folders: tuple[Path, ...]) -> Chosen:
    found = {where: find(group, file, *folders) for where, group, file in places}
    return _joined({where: option.spec for where, option in found.items() if option})


def _joined(specs: Mapping[str, Spec]) -> Chosen:
    of_all = of_every_run().spec.settings
    apart = {group for group in GROUPS if group not in COMBINED_GROUPS}
    settings = {key: setting for key, setting in of_all.items() if key.partition(".")[0] not in apart}
    for where, spec in specs.items():
        group = where.partition(".")[0]
        keys = () if group in COMBINED_GROUPS else (key for key in of_all if key.startswith(f"{group}."))
        shared = {key.partition(".")[2]: of_all[key] for key in keys}
        if lacking := [k for k, s in shared.items() if s.default == REQUIRED and k not in spec.settings]:
            raise ConfigError(f"{where} needs {', '.join(lacking)}")
        for key, setting in {**spec.settings, **shared}.items():
            own = spec.settings.get(key, setting)
            settings[f"{where}.{key}"] = replace(setting, default=own.default)
    return Chosen(specs, settings)


def refuse_unknown(config: Config, known: Chosen) -> None:
    """Refuse keys that nothing reads: those of a file are not checked as those of the command line are.

    Raises:
        ConfigError: naming the first one, and what is nearest.
    """
    top, together = [*known.keys[""], *(scope.LEFT if known.used else ())], sections()
    for key, value in config.items():
        if key in top or key in GROUPS:
            continue
        if key in together and isinstance(value, dict):
            if odd := next((k for k in value if k not in known.keys[key]), None):
                raise ConfigError(f"unknown key '{key}.{odd}'{closest(odd, known.keys[key])}")
            continue
        raise ConfigError(f"unknown key {key!r}{closest(key, [*top, *together, *GROUPS])}")
    for group in COMBINED_GROUPS:
        beside = [k.partition(".")[2] for k in of_every_run().spec.settings if k.startswith(f"{group}.")]
        node = config.get(group, {})
        if odd := next((k for k in node if k not in beside and k not in options_in(node)), None):
            raise ConfigError(f"unknown key '{group}.{odd}'{closest(odd, beside)}")
    for where in known.specs:
        group, _, name = where.partition(".")
        node = config[group][name] if name else config[group]
        valid = known.keys[where]
        odd = next((k for k in node if not (k in valid or k in INTERNAL or _is_part(k, valid))), None)
        if odd is not None:
            raise ConfigError(f"unknown key '{where}.{odd}'{closest(odd, valid)}")


def _is_part(key: str, valid: list[str]) -> bool:
    return any(name.startswith(f"{key}.") for name in valid)
