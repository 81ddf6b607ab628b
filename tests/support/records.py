"""What a run left on disk, and what a command said."""

import csv
import json
from dataclasses import dataclass
from pathlib import Path


@dataclass
class Result:
    """A command's exit code and what it printed."""

    code: int
    out: str
    err: str


def run_folder(folder: Path, name: str = "default") -> Path:
    """The one run of a sweep's folder."""
    (found,) = run_folders(folder, name)
    return found


def run_folders(folder: Path, name: str = "default") -> list[Path]:
    """Every run of a sweep's folder."""
    return [p for p in (folder / "outputs" / name).iterdir() if p.is_dir() and not p.name.startswith(".")]


def summary_of(path: Path) -> dict[str, object]:
    return json.loads((path / "summary.json").read_text())


def rows_of(path: Path) -> list[dict[str, str]]:
    with (path / "metrics.csv").open() as file:
        return list(csv.DictReader(file))


def rows_by_run(folder: Path, name: str = "default") -> dict[str, list[dict[str, str]]]:
    """The rows of every run of a sweep's folder, without timing, by the name of the run's folder."""
    return {run.name: without_timing(run) for run in run_folders(folder, name)}


def without_timing(path: Path) -> list[dict[str, str]]:
    return [{k: v for k, v in row.items() if k != "train_seconds"} for row in rows_of(path)]
