"""What two folders of runs have written, held against each other byte for byte, timing aside.

Settings, columns and keys that were added since are no difference; those that are gone are.
"""

import csv
import json
from collections.abc import Mapping
from itertools import zip_longest
from pathlib import Path
from typing import Any

import yaml

TIMING = ("train_seconds", "inference_seconds_per_sample", "seconds_to_target", "peak_memory_bytes")
VERSIONS = ("optbench_version", "torch_version", "python_version", "git_commit")
ASIDE = {*TIMING, *VERSIONS, *(f"actual_{key}" for key in (*TIMING, *VERSIONS))}
"""Columns and keys that are not compared."""
TRACEBACK = "traceback.txt"
"""Holds lines of code, and is not compared."""


def differences(
    old: Path, new: Path, placeholders: Mapping[str, str], aside: tuple[str, ...] = ()
) -> dict[str, str | None]:
    """Return the first difference of each run's folder, and of all other files of ``outputs/<name>``; None of equals.

    Args:
        old: a folder of runs.
        new: another.
        placeholders: what stands in texts for the paths that differ.
        aside: columns and keys beside timing and versions that are not compared.
    """
    runs = sorted({p.parent.name for folder in (old, new) for p in folder.glob("*/config.yaml")})
    found: dict[str, str | None] = {}
    for run in runs:
        found[run] = _of_files(old / run, new / run, _files(old / run) | _files(new / run), placeholders, aside)
    others = {f for f in _files(old) | _files(new) if f.parts[0] not in (*runs, ".locks")}
    return found | {"runs.csv": _of_files(old, new, others, placeholders, aside)}


def snapshot(folder: Path) -> dict[Path, tuple[int, bytes]]:
    """Return when each file was written, and its bytes, locks left out."""
    return {
        f: ((folder / f).stat().st_mtime_ns, (folder / f).read_bytes())
        for f in _files(folder)
        if ".locks" not in f.parts
    }


def _files(folder: Path) -> set[Path]:
    return {p.relative_to(folder) for p in folder.rglob("*") if p.is_file()}


def _of_files(
    old: Path, new: Path, files: set[Path], placeholders: Mapping[str, str], aside: tuple[str, ...]
) -> str | None:
    for file in sorted(files):
        a, b = old / file, new / file
        if not (a.exists() and b.exists()):
            return f"{file} is only in {old if a.exists() else new}"
        if file.name == TRACEBACK:
            continue
        if file.suffix == ".pt":
            states = [_loaded(path) for path in (a, b)]
            if not any("shape" in state for state in states):  # what a run goes on from is its version's own
                continue
            difference = _of_values(*states, "")
        else:
            texts = [_without_paths(path.read_bytes(), placeholders) for path in (a, b)]
            if file.suffix == ".csv":
                difference = _of_tables(*texts, {*ASIDE, *aside})
            elif file.name == "summary.json":
                difference = _of_summaries(*texts, {*ASIDE, *aside})
            elif file.name == "config.yaml":
                difference = _of_configs(*(yaml.safe_load(text) for text in texts), "")
            else:
                difference = of_lines(*texts)
        if difference:
            return f"{file}, {difference}"
    return None


def _without_paths(content: bytes, placeholders: Mapping[str, str]) -> str:
    text = content.decode()
    for path, word in placeholders.items():
        text = text.replace(path, word)
    return text


def of_lines(old: str, new: str) -> str | None:
    """Return the first line in which texts differ, or None."""
    pairs = zip_longest(old.splitlines(keepends=True), new.splitlines(keepends=True))
    return next((f"line {n}: {a!r} is now {b!r}" for n, (a, b) in enumerate(pairs, 1) if a != b), None)


def _of_tables(old: str, new: str, aside: set[str]) -> str | None:
    """Compare tables cell by cell, and the text around the cells where nothing is aside."""
    (head, *rows), (head_now, *rows_now) = (list(csv.reader(text.splitlines())) for text in (old, new))
    kept = [c for c in head if c not in aside]
    kept_now = [c for c in head_now if c in kept]
    if kept != kept_now:
        return f"columns: {_first_of(kept, kept_now)}"
    for number, (row, now) in enumerate(zip_longest(rows, rows_now), 1):
        if row is None or now is None:
            return f"row {number} is only {'here' if row is None else 'at REV'}"
        before, after = (dict(zip(h, r, strict=True)) for h, r in ((head, row), (head_now, now)))
        for column in kept:
            if before[column] != after[column]:
                return f"row {number}, column {column}: {before[column]!r} is now {after[column]!r}"
    return None if aside & {*head, *head_now} or head != head_now else of_lines(old, new)


def _of_summaries(old: str, new: str, aside: set[str]) -> str | None:
    before, after = ({k: v for k, v in json.loads(text).items() if k not in aside} for text in (old, new))
    after = {k: v for k, v in after.items() if k in before}
    if list(before) != list(after):
        return f"keys: {_first_of(list(before), list(after))}"
    return next((f"{k}: {v!r} is now {after[k]!r}" for k, v in before.items() if repr(v) != repr(after[k])), None)


def _of_configs(old: Any, new: Any, where: str) -> str | None:
    """Compare settings by their keys."""
    if not isinstance(old, dict) or not isinstance(new, dict):
        return None if old == new else f"{where}: {old!r} is now {new!r}"
    if gone := [key for key in old if key not in new]:
        return f"{where}{gone[0]} is gone"
    found = (_of_configs(value, new[key], f"{where}.{key}".removeprefix(".")) for key, value in old.items())
    return next((difference for difference in found if difference), None)


def _first_of(old: list[str], new: list[str]) -> str:
    return next(f"{a} is now {b}" for a, b in zip_longest(old, new) if a != b)


def _loaded(path: Path) -> Any:
    import torch

    return torch.load(path, map_location="cpu", weights_only=True)


def _of_values(old: Any, new: Any, where: str) -> str | None:
    """Compare what checkpoints hold: tensors bit for bit, so that NaN equals NaN and 0 does not equal -0."""
    import torch

    if isinstance(old, torch.Tensor) and isinstance(new, torch.Tensor):
        if (old.dtype, old.shape) != (new.dtype, new.shape):
            return f"{where}: {old.dtype} {tuple(old.shape)} is now {new.dtype} {tuple(new.shape)}"
        bits = [t.contiguous().flatten().view(torch.uint8) if t.numel() else t for t in (old, new)]
        if torch.equal(*bits):
            return None
        return f"{where}: {int((old != new).sum())} of {old.numel()} numbers differ"
    if type(old) is not type(new):
        return f"{where}: {type(old).__name__} is now {type(new).__name__}"
    if isinstance(old, dict):
        kept = [key for key in new if key in old]
        if list(old) != kept:
            return f"{where}: {_first_of(list(map(str, old)), list(map(str, kept)))}"
        pairs = ((old[key], new[key], f"{where}.{key}".lstrip(".")) for key in old)
        return next((found for pair in pairs if (found := _of_values(*pair))), None)
    if isinstance(old, list | tuple):
        pairs = ((a, b, f"{where}[{i}]") for i, (a, b) in enumerate(zip_longest(old, new)))
        return next((found for pair in pairs if (found := _of_values(*pair))), None)
    return None if repr(old) == repr(new) else f"{where}: {old!r} is now {new!r}"
