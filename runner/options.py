"""The config files as a registry: groups, options and what they mean."""

import re
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
    package = Path(__file__).resolve().parent
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
    meaning, settings = "", []
    for line in path.read_text(encoding="utf-8").splitlines():
        if line.startswith("#"):
            if not meaning and "@package" not in line:
                meaning = line.lstrip("# ").rstrip()
        elif (match := re.match(r"\s*(\w+:\s+[^#]+?)\s+#\s*(.*)", line)) and not match[1].startswith("_"):
            settings.append((match[1], match[2]))
    return Option(path.stem, meaning, tuple(settings))
