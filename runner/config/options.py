"""The config files as a registry: groups, options and what they mean."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Option:
    """One YAML of one group."""

    name: str
    meaning: str
    settings: tuple[tuple[str, str], ...]
    """(``key: default``, comment) of each setting, in the file's order."""


def configs_dir() -> Path:
    """Return the folder of the shipped YAMLs: inside the wheel, or at the top level of a checkout."""
    package = Path(__file__).resolve().parent.parent
    inside = package / "configs"
    return inside if inside.is_dir() else package.parent / "configs"


def groups(*folders: Path) -> list[str]:
    """Return every group's name, in the order of the defaults list, then those of other folders."""
    listed = re.findall(r"^  - (\w+):", (configs_dir() / "config.yaml").read_text(encoding="utf-8"), re.MULTILINE)
    found = {path.name for folder in (configs_dir(), *folders) for path in folder.iterdir() if path.is_dir()}
    return [g for g in listed if g in found] + sorted(found - set(listed))


def options(group: str, *folders: Path) -> list[Option]:
    """Return every option of a group; a later folder's file stands in for an earlier one's."""
    paths: dict[str, Path] = {}
    for folder in (configs_dir(), *folders):
        paths.update({path.stem: path for path in sorted((folder / group).glob("*.yaml"))})
    return [read_option(path) for _, path in sorted(paths.items())]


def read_option(path: Path) -> Option:
    """Read a YAML's first comment and the comments behind its settings."""
    lines = path.read_text(encoding="utf-8").splitlines()
    comments = [line.lstrip("# ").rstrip() for line in lines if line.startswith("#") and "@package" not in line]
    return Option(path.stem, comments[0] if comments else "", _settings(lines))


def shared(section: str) -> tuple[tuple[str, str], ...]:
    """Return (``key: default``, comment) of what config.yaml sets below a group, or below a key such as ``target``."""
    text = (configs_dir() / "config.yaml").read_text(encoding="utf-8")
    found = re.search(rf"^{section}:\n((?:  .*\n)+)", text, re.MULTILINE)
    return _settings(found[1].splitlines()) if found else ()


def _settings(lines: Iterable[str]) -> tuple[tuple[str, str], ...]:
    found = (re.match(r"\s*(\w+:\s+[^#]+?)\s+#\s*(.*)", line) for line in lines if not line.startswith("#"))
    return tuple((match[1], match[2]) for match in found if match and not match[1].startswith("_"))
