"""The config files as a registry: groups, options, what they mean, and what is known of them.

Keys, defaults and specs are what a YAML parser reads; the comments are what people read.
"""

import functools
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from runner.config.fields import REQUIRED
from runner.config.specs import INTERNAL, SPEC, Setting, Spec
from runner.errors import ConfigError, unreadable

COMBINED_GROUPS = ("regularization", "augment", "stop", "parallel", "finetune", "compress")
"""Groups of which any number of options may be chosen; their settings lie at ``group.option.key``."""

MAIN = "config.yaml"


def options_in(node: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return the options that were chosen of a group of several, by name; what else it holds is set for all of them."""
    return {name: option for name, option in (node or {}).items() if isinstance(option, Mapping)}


def name_of(group: str, node: Mapping[str, Any] | None) -> str:
    """Return what was chosen of a group of several: their names, joined, or that of its default, which is nothing."""
    return "+".join(sorted(options_in(node))) or str(default_choices()[group])


@dataclass(frozen=True)
class Option:
    """One YAML of one group; it is read when something of it is asked for."""

    path: Path
    folders: tuple[Path, ...] = ()
    """Where the options that its ``defaults`` name are looked for, beside the shipped ones."""

    @property
    def group(self) -> str:
        """The folder."""
        return self.path.parent.name

    @property
    def name(self) -> str:
        """The file."""
        return self.path.stem

    @functools.cached_property
    def meaning(self) -> str:
        """Its first comment."""
        with self.path.open(encoding="utf-8") as lines:
            heads = (line.lstrip("# ").rstrip() for line in lines if line.startswith("#") and "@package" not in line)
            return next(heads, "")

    @property
    def content(self) -> Mapping[str, Any]:
        """Its keys and values, with those of the options that its ``defaults`` name."""
        return self._whole[0]

    @property
    def shown(self) -> Mapping[str, tuple[str, str]]:
        """Of each setting its default and what it means, as they stand in the file."""
        return self._whole[1]

    @property
    def settings(self) -> dict[str, Setting]:
        """What may be set, by the keys as they stand below the group."""
        inside = f"{self.name}." if self.group in COMBINED_GROUPS else ""
        return {f"{inside}{key}": setting for key, setting in self.spec.settings.items()}

    @functools.cached_property
    def spec(self) -> Spec:
        """What is known of it.

        Raises:
            ConfigError: if the file says what nobody reads.
        """
        if self.group == "experiment":
            return Spec({})
        shipped, target = self.path.is_relative_to(configs_dir()), str(self.content.get("_target_"))
        at_home = shipped and target.rpartition(".")[2] in (self.name, "None")
        where = f"{self.group}={self.name}" if shipped else str(self.path)
        return Spec.of(self.content, where, None if at_home else known_of(self.group, target))

    @functools.cached_property
    def _whole(self) -> tuple[Mapping[str, Any], Mapping[str, tuple[str, str]]]:
        file = _read(self.path)
        content, shown = dict(file.content), dict(file.shown)
        if self.group in COMBINED_GROUPS and "defaults" not in content:
            content = content.get(self.name) or {}
            shown = {key.removeprefix(f"{self.name}."): value for key, value in shown.items()}
        parents = [name for name in content.pop("defaults", []) if isinstance(name, str)]
        for parent in reversed(parents):
            below = find(self.group, parent, *self.folders) if parent not in ("_self_", self.name) else None
            if below is not None:
                content, shown = _merged(below.content, content), {**below.shown, **shown}
        return content, shown


@functools.cache
def configs_dir() -> Path:
    """Return the folder of the shipped YAMLs: inside the wheel, or at the top level of a checkout."""
    package = Path(__file__).resolve().parent.parent
    inside = package / "configs"
    return inside if inside.is_dir() else package.parent / "configs"


def groups(*folders: Path) -> list[str]:
    """Return every group's name, in the order of the defaults list, then those of other folders."""
    listed = list(default_choices())
    found = {path.name for folder in (configs_dir(), *folders) for path in folder.iterdir() if path.is_dir()}
    return [g for g in listed if g in found] + sorted(found - set(listed))


def default_choices() -> dict[str, str | None]:
    """Return the option that each group has where none is chosen."""
    entries = [entry for entry in _read(configs_dir() / MAIN).content["defaults"] if isinstance(entry, dict)]
    pairs = [pair for entry in entries for pair in entry.items()]
    return {group: option for group, option in pairs if not group.startswith("override ")}


def options(group: str, *folders: Path) -> list[Option]:
    """Return every option of a group; a later folder's file stands in for an earlier one's."""
    names = {path.stem for folder in (configs_dir(), *folders) for path in (folder / group).glob("*.yaml")}
    return [option for name in sorted(names) if (option := find(group, name, *folders)) is not None]


def find(group: str, name: str, *folders: Path) -> Option | None:
    """Return an option by its name, or None; a later folder's file stands in for an earlier one's.

    Raises:
        ConfigError: if its file is no option's.
    """
    places = [folder / group / f"{name}.yaml" for folder in reversed((configs_dir(), *folders))]
    path = next((place for place in places if place.is_file()), None)
    return None if path is None else _option(path, folders)


@functools.lru_cache(maxsize=512)
def _option(path: Path, folders: tuple[Path, ...]) -> Option:
    return Option(path, folders)


def forget_options() -> None:
    """Read the options' files anew when they are asked for next."""
    for cached in (_option, _read):
        cached.cache_clear()


def known_of(group: str, target: str) -> Spec | None:
    """Return what is known of a shipped function: it stands with the option of its name."""
    name = target.rpartition(".")[2]
    if not target.startswith("runner.") or not (configs_dir() / group / f"{name}.yaml").is_file():
        return None
    home = _option(configs_dir() / group / f"{name}.yaml", ())
    return home.spec if home.content.get("_target_") == target else None


def _merged(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """Return two YAMLs as Hydra merges them: mappings key by key, the later value of all else."""
    found = dict(below)
    for key, value in above.items():
        both = isinstance(value, Mapping) and isinstance(found.get(key), Mapping)
        found[key] = _merged(found[key], value) if both else value
    return found


@dataclass(frozen=True)
class EveryRun:
    """What config.yaml sets: the keys of every run, and by dotted keys those that the options of a group share."""

    shown: Mapping[str, tuple[str, str]]
    """Of each key its default and what it means, as they stand in the file."""
    spec: Spec
    """What is known of them; of keys too that every option of a group has in its own file, such as ``optim.lr``."""


@functools.cache
def of_every_run() -> EveryRun:
    """Return what config.yaml sets."""
    file = _read(configs_dir() / MAIN)
    flat: dict[str, Any] = {}
    for key, value in file.content.items():
        if key not in ("defaults", "hydra", SPEC):
            flat |= {f"{key}.{k}": v for k, v in value.items()} if isinstance(value, dict) else {key: value}
    in_options = {key: REQUIRED for key in file.content[SPEC]["settings"] if key not in flat}
    return EveryRun(file.shown, Spec.of({**flat, **in_options, SPEC: file.content[SPEC]}, MAIN))


@functools.cache
def sections() -> tuple[str, ...]:
    """Return the keys of every run that stand together and are no group, such as ``target`` of ``target.value``."""
    first = dict.fromkeys(key.partition(".")[0] for key in of_every_run().shown if "." in key)
    return tuple(section for section in first if section not in default_choices())


def composed(path: Path) -> dict[str, Any]:
    """Return what runs are composed from: a shipped file's keys and values, without what only optbench reads."""
    return _without(_read(path).content, SPEC)


def _without(node: Mapping[str, Any], key: str) -> dict[str, Any]:
    return {k: _without(v, key) if isinstance(v, dict) else v for k, v in node.items() if k != key}


@dataclass(frozen=True)
class _File:
    content: dict[str, Any]
    shown: dict[str, tuple[str, str]]


@functools.lru_cache(maxsize=512)
def _read(path: Path) -> _File:
    """Read a YAML: what it holds, and by its dotted keys the values as written and the comments behind them.

    Raises:
        ConfigError: if it is no YAML of keys and values.
    """
    import yaml  # a tenth of the time that the quickest command takes

    try:
        text = path.read_text(encoding="utf-8")
        loader = _loader()(text)
        root = loader.get_single_node()
        content = loader.construct_document(root) if root is not None else None
    except (yaml.YAMLError, OSError, UnicodeDecodeError) as error:
        raise unreadable(path, error) from error
    if not isinstance(content, dict | None):
        raise ConfigError(f"{path} must hold keys and values, got {type(content).__name__}")
    return _File(content or {}, _shown(root, text, text.splitlines()) if content else {})


@functools.cache
def _loader() -> Any:
    """Return what reads YAML as Hydra does: ``1e-3`` is a number, which YAML 1.1 takes for a text."""
    import yaml

    class Loader(yaml.CSafeLoader):
        """Numbers with an exponent as in YAML 1.2."""

    with_exponent = re.compile(r"[-+]?[0-9][0-9_]*(\.[0-9_]*)?[eE][-+]?[0-9]+$")
    Loader.add_implicit_resolver("tag:yaml.org,2002:float", with_exponent, list("-+0123456789"))
    return Loader


def _shown(root: Any, text: str, lines: Sequence[str], prefix: str = "") -> dict[str, tuple[str, str]]:
    """Return the scalars and flow values of a block of YAML: as written, and the comment behind each."""
    found: dict[str, tuple[str, str]] = {}
    for key, value in root.value:
        if key.value in (*INTERNAL, "defaults", "hydra"):
            continue
        if value.id == "mapping" and value.flow_style is False and value.value:
            found |= _shown(value, text, lines, f"{prefix}{key.value}.")
            continue
        start, end = value.start_mark, value.end_mark
        behind = lines[end.line][end.column :] if end.line < len(lines) else ""
        found[f"{prefix}{key.value}"] = (text[start.index : end.index], behind.partition("#")[2].strip())
    return found
