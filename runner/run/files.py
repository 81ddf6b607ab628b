"""What a run's folder holds, read: its config, its summary, its tables. Never imports torch."""

import csv
import json
from pathlib import Path
from typing import Any

import yaml

from runner.config.check import check
from runner.config.chosen import Config
from runner.config.own_yamls import refuse_aliases
from runner.data import Source
from runner.errors import ConfigError, closest

SOUND = ("completed", "stopped_early")
"""Of a run whose result can be used."""
FINISHED = (*SOUND, "diverged")
ENDED = (*FINISHED, "failed")
STATUSES = (*ENDED, "interrupted", "paused")
VALIDATION = "validation.json"
"""What a classifier got right and wrong on the validation set, in its run's folder."""


def read_config(run: str | Path) -> Config:
    """Read and check the config of a run's folder.

    Raises:
        ConfigError: if there is none, or it is no run's config.
    """
    folder = Path(run)
    path = folder / "config.yaml"
    if not folder.is_dir():
        beside = [p.name for p in folder.parent.iterdir()] if folder.parent.is_dir() else []
        raise ConfigError(f"there is no folder {folder}{closest(folder.name, beside)}")
    if not path.is_file():
        runs = sorted(at.parent for at in folder.glob("*/config.yaml"))
        named = f"; it holds {len(runs)} run{'s' * (len(runs) > 1)}, such as {runs[0]}: give one" if runs else ""
        raise ConfigError(f"{folder} is no run's folder: it holds no config.yaml{named}")
    refuse_aliases(folder)
    try:
        return check(yaml.load(path.read_text(encoding="utf-8"), yaml.CSafeLoader))
    except (ConfigError, KeyError, TypeError, AttributeError, yaml.YAMLError) as error:
        raise ConfigError(f"{path} is no run's config: {error}") from error


def read_overrides(run: Path) -> list[str]:
    """Return what was typed for a run.

    Raises:
        ConfigError: if its folder does not tell.
    """
    path = run / ".hydra" / "overrides.yaml"
    try:
        found = yaml.load(path.read_text(encoding="utf-8"), yaml.CSafeLoader)
    except (OSError, yaml.YAMLError) as error:
        raise ConfigError(f"{path} cannot be read: {error}; without it no run like this one can be trained") from error
    if not isinstance(found, list) or not all(isinstance(override, str) for override in found):
        raise ConfigError(f"{path} holds no overrides; without them no run like this one can be trained")
    return found


def written_at(folder: Path) -> int | None:
    """Return when a run's summary was written, by the file system's clock; None where it has none."""
    try:
        return (folder / "summary.json").stat().st_mtime_ns
    except OSError:
        return None


def read_summary(folder: Path) -> dict[str, Any] | None:
    """Return a run's summary, or None where there is none or it is no summary."""
    try:
        summary = json.loads((folder / "summary.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return summary if isinstance(summary, dict) and summary.get("status") in STATUSES else None


def status_of(folder: Path) -> str | None:
    """Return a run's status as its summary has it, one of ``STATUSES``; None where there is no summary."""
    summary = read_summary(folder)
    return None if summary is None else str(summary["status"])


def whole_lines(path: Path) -> list[str]:
    """Return a file's lines without a torn last one; none where there is no file."""
    try:
        with path.open(encoding="utf-8", errors="replace") as file:
            return [line for line in file if line.endswith("\n")]
    except FileNotFoundError:
        return []


csv.field_size_limit(2**27)  # a user's settings may be long


def read_csv(path: Path) -> list[dict[str, Any]]:
    """Return a CSV's whole rows."""
    return list(csv.DictReader(whole_lines(path)))


def refuse_changed_data(folder: Path, source: Source, said: str) -> None:
    """Refuse data that is not what a finished run was trained on, though it is read from the same place.

    Args:
        folder: the run's.
        source: the data now.
        said: what reads both, such as ``predict``.

    Raises:
        ConfigError: if the fingerprint that the summary keeps is another one.
    """
    summary = read_summary(folder) or {}
    then = summary.get("data_fingerprint")
    if then == source.fingerprint and summary.get("data_names") not in (None, source.names):
        raise ConfigError(
            f"{said}: the data has changed since {folder} was trained: its classes or columns are called otherwise; "
            "put the old data back, or train the run anew"
        )
    if then is not None and then != source.fingerprint:
        raise ConfigError(
            f"{said}: the data has changed since {folder} was trained: its fingerprint was {then}, now it is "
            f"{source.fingerprint}; put the old data back, or train the run anew"
        )
