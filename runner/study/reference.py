"""The verdicts that come with the package: one run of every study, with its date and versions.

``scripts/table_studies.py`` writes them. They stand where a study was not run, and beside one that was.
"""

import json
import math
import zipfile
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
VERDICTS, PLOTS = HERE / "reference.json", HERE / "reference_plots.zip"
SAME = 1e-3
"""Relative difference up to which two numbers count as the same."""

Row = Mapping[str, Any]


@cache
def _verdicts() -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = json.loads(VERDICTS.read_text(encoding="utf-8"))
    return found


def of(name: str, rule: str) -> dict[str, Any] | None:
    """Return the reference of a study, as ``verdict.json`` holds one; None where there is none of this rule."""
    found = _verdicts().get(name)
    return found if found is not None and found["rule"] == rule else None


def plot(name: str) -> bytes | None:
    """Return a reference's plot as SVG; None where there is none."""
    with zipfile.ZipFile(PLOTS) as held:
        return held.read(f"{name}.svg") if f"{name}.svg" in held.namelist() else None


def made_by(verdict: Row) -> str:
    """Return when and by what a verdict was made, such as ``2026-11-26, optbench 0.2.0, torch 2.9.0``."""
    versions = [f"{name} {value}" for name, value in verdict["versions"].items()]
    note = [str(verdict["note"])] if "note" in verdict else []
    return ", ".join([str(verdict["date"]), *versions, *note])


def label(row: Row) -> str:
    """Return what a row of numbers is of: its words, without what was expected."""
    return ", ".join(str(v) for k, v in row.items() if isinstance(v, str) and k not in ("expected", "status"))


def beside(row: Row, reference: Sequence[Row]) -> dict[str, float]:
    """Return the reference's numbers of a row, by column; empty where it has no such row, or several."""
    same = [other for other in reference if label(other) == label(row)]
    if len(same) != 1:
        return {}
    return {k: float(v) for k, v in same[0].items() if _is_number(v) and _is_number(row.get(k)) and k != "expected"}


def compared(numbers: Sequence[Row], verdict: str, reference: Row) -> str:
    """Return how a verdict and its numbers stand to the reference's, as a sentence."""
    pairs = [
        (f"{label(row)}: {column.replace('_', ' ')}", float(row[column]), other)
        for row in numbers
        for column, other in beside(row, reference["numbers"]).items()
    ]
    apart = {what: _apart(own, other) for what, own, other in pairs}
    same = sum(value <= SAME for value in apart.values())
    said = (
        f"the reference ({made_by(reference)}) says {str(reference['verdict']).replace('_', ' ')}"
        f"{', too' if reference['verdict'] == verdict else ''}"
    )
    if not pairs:
        return f"{said}; it has no numbers that could be compared"
    counted = f"{said}; {same} of {len(pairs)} numbers are the same to {SAME:.1%}"
    if same == len(pairs):
        return counted
    what, own, other = max(pairs, key=lambda pair: _apart(pair[1], pair[2]))
    return f"{counted}, farthest: {what} is {own:.4g} and was {other:.4g}"


def _apart(own: float, other: float) -> float:
    """Return how far two numbers are apart, relative to the larger; 0 of two that are tiny, or the same."""
    largest = max(abs(own), abs(other))
    if own == other or largest < 1e-9 or (math.isnan(own) and math.isnan(other)):
        return 0.0
    return abs(own - other) / largest if math.isfinite(largest) else math.inf


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
