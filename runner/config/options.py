"""The config files as a registry: groups, options, what they mean, and what is known of them.

Keys, defaults and specs are what a YAML parser reads; the comments are what people read.
"""

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from runner.config.specs import INTERNAL, SPEC, Setting, Spec
from runner.errors import ConfigError

COMBINED_GROUPS = ("regularization", "augment", "stop")
"""Groups of which any number of options may be chosen; their settings lie at ``group.option.key``."""

MAIN = "config.yaml"


@dataclass(frozen=True)
class Option:
    """One YAML of one group."""

    group: str
    name: str
    meaning: str
    content: Mapping[str, Any]
    """Its keys and values, with those of the option that its ``defaults`` name."""
    shown: Mapping[str, tuple[str, str]]
    """Of each setting its default and what it means, as they stand in the file."""
    spec: Spec

    @property
    def settings(self) -> dict[str, Setting]:
        """What may be set, by the keys as they stand below the group."""
        inside = f"{self.name}." if self.group in COMBINED_GROUPS else ""
        return {f"{inside}{key}": setting for key, setting in self.spec.settings.items()}


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
    group, name, file = path.parent.name, path.stem, _read(path)
    content, shown = dict(file.content), dict(file.shown)
    if group in COMBINED_GROUPS and "defaults" not in content:
        content = content.get(name) or {}
        shown = {key.removeprefix(f"{name}."): value for key, value in shown.items()}
    for parent in reversed(content.pop("defaults", [])):
        below = find(group, parent, *folders) if isinstance(parent, str) and parent not in ("_self_", name) else None
        if below is not None:
            content, shown = _merged(below.content, content), {**below.shown, **shown}
    shipped = path.is_relative_to(configs_dir())
    if group == "experiment":
        return Option(group, name, file.meaning, content, shown, Spec({}))
    known = None if shipped and _is_home(content, name) else known_of(group, str(content.get("_target_")))
    spec = Spec.of(content, f"{group}={name}" if shipped else str(path), known)
    return Option(group, name, file.meaning, content, shown, spec)


def _is_home(content: Mapping[str, Any], name: str) -> bool:
    """Say whether an option is the one that a shipped function has its name from, whose YAML says what is known."""
    return str(content.get("_target_", name)).rpartition(".")[2] == name


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


@functools.cache
def of_every_run() -> Option:
    """Return what config.yaml sets: the keys of every run, and by their dotted keys those that a group's options share.

    Below ``_spec_.settings`` it may say more of a key that every option of a group has, such as ``optim.lr``.
    """
    file = _read(configs_dir() / MAIN)
    content = {key: value for key, value in file.content.items() if key not in ("defaults", "hydra", SPEC)}
    flat: dict[str, Any] = {}
    for key, value in content.items():
        flat |= {f"{key}.{k}": v for k, v in value.items()} if isinstance(value, dict) else {key: value}
    of_settings = file.content[SPEC]["settings"]
    in_options = {key: "???" for key in of_settings if key not in flat}
    spec = Spec.of({**flat, **in_options, SPEC: file.content[SPEC]}, "config.yaml")
    return Option("", "", file.meaning, flat, file.shown, spec)


def sections() -> list[str]:
    """Return the keys of every run that stand together and are no group, such as ``target`` of ``target.value``."""
    first = dict.fromkeys(key.partition(".")[0] for key in of_every_run().content if "." in key)
    return [section for section in first if section not in default_choices()]


@dataclass(frozen=True)
class _File:
    content: dict[str, Any]
    meaning: str
    shown: dict[str, tuple[str, str]]


@functools.lru_cache(maxsize=512)
def _read(path: Path) -> _File:
    """Read a YAML: what it holds, its first comment, and by its dotted keys the values as written and the comments.

    Raises:
        ConfigError: if it is no YAML of keys and values.
    """
    try:
        text = path.read_text(encoding="utf-8")
        loader = yaml.CSafeLoader(text)
        root = loader.get_single_node()
        content = loader.construct_document(root) if root is not None else {}
    except (yaml.YAMLError, OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} cannot be read: {str(error).splitlines()[0]}") from error
    content = {} if content is None else content
    if not isinstance(content, dict):
        raise ConfigError(f"{path} must hold keys and values, got {type(content).__name__}")
    lines = text.splitlines()
    heads = [line.lstrip("# ").rstrip() for line in lines if line.startswith("#") and "@package" not in line]
    return _File(content, heads[0] if heads else "", _shown(root, text, lines))


def _shown(root: Any, text: str, lines: Sequence[str], prefix: str = "") -> dict[str, tuple[str, str]]:
    found: dict[str, tuple[str, str]] = {}
    for key, value in root.value if isinstance(root, yaml.MappingNode) else ():
        if key.value in (*INTERNAL, "defaults", "hydra"):
            continue
        if isinstance(value, yaml.MappingNode) and value.flow_style is False and value.value:
            found |= _shown(value, text, lines, f"{prefix}{key.value}.")
            continue
        start, end = value.start_mark, value.end_mark
        behind = lines[end.line][end.column :] if end.line < len(lines) else ""
        found[f"{prefix}{key.value}"] = (text[start.index : end.index], behind.partition("#")[2].strip())
    return found
