"""The table of compressed networks, and what is said below it."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from runner.statistics.scores import Interval, mean_interval

FASTER = 1.05
"""Less is not said to be faster: medians of one program differ by as much from one measurement to the next."""


@dataclass(frozen=True)
class Row:
    """What was found of one way."""

    name: str
    runtime: str
    scores: Sequence[float]
    """Of each seed."""
    of_dense: Sequence[float] | None
    """In the same runtime; None of itself."""
    of_small: Sequence[float] | None
    """Of the dense network of equal size."""
    parameters: int
    """That are not 0."""
    stored: int
    flops: int | None
    file_bytes: int
    bytes_of_dense: int
    seconds: dict[int, tuple[float, float]]
    """By batch: the median and the 95th percentile of a call."""
    faster: dict[int, float]
    """By batch: how many times as fast as the same runtime's dense network in float32."""

    def against(self, others: Sequence[float] | None, unit: float) -> Interval | None:
        """Return the paired difference from others, in a unit."""
        if others is None or len(others) != len(self.scores):
            return None
        return mean_interval((np.asarray(self.scores) - np.asarray(others)) * unit)


def table(
    rows: Sequence[Row], batches: Sequence[int], classes: bool, seeds: int
) -> tuple[list[str], list[dict[str, object]]]:
    """Return the lines in Markdown with what is said below, and the cells of a CSV.

    Args:
        rows: the dense network first.
        batches: samples a call.
        classes: scores are shares that are right; else minus mean squared errors.
        seeds: how many runs.
    """
    measure, unit, points = ("accuracy", 100.0, "points") if classes else ("-MSE", 1.0, "")
    head = ["way", "runtime", measure, "- dense", "- small dense", "not 0", "stored", "FLOPs", "bytes", "smaller"]
    head += [f"{what} at {batch}" for batch in batches for what in ("ms (p95)", "faster")]
    lines = [_line(head), _line(["---"] * len(head))]
    cells = []
    for row in rows:
        dense, small = row.against(row.of_dense, unit), row.against(row.of_small, unit)
        mean = float(np.mean(row.scores))
        shown = [row.name, row.runtime, f"{mean * unit:.2f}", _shown(dense), _shown(small)]
        shown += [f"{row.parameters:,}", f"{row.stored:,}", "" if row.flops is None else f"{row.flops:,}"]
        shown += [f"{row.file_bytes:,}", f"{row.bytes_of_dense / row.file_bytes:.2f}×"]
        cell: dict[str, object] = {"way": row.name, "runtime": row.runtime, measure: mean, "seeds": len(row.scores)}
        for name, found in (("dense", dense), ("small", small)):
            for key in ("mean", "low", "high"):
                cell[f"minus_{name}_{key}"] = "" if found is None else getattr(found, key)
        cell |= {"not_0": row.parameters, "stored": row.stored, "flops_per_sample": row.flops, "bytes": row.file_bytes}
        for batch in batches:
            median, late = row.seconds[batch]
            ratio = row.faster[batch]
            shown += [f"{median * 1e3:.3f} ({late * 1e3:.3f})", "" if math.isnan(ratio) else f"{ratio:.2f}×"]
            cell |= {f"median_seconds_{batch}": median, f"p95_seconds_{batch}": late, f"faster_{batch}": ratio}
        lines.append(_line(shown))
        cells.append(cell)
    lines += ["", _legend(points, seeds), *(said for row in rows for said in _slow(row, batches))]
    return lines, cells


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _shown(found: Interval | None) -> str:
    if found is None:
        return ""
    return f"{found.mean:+.2f}" + (f" [{found.low:+.2f}, {found.high:+.2f}]" if found.known else "")


def _legend(points: str, seeds: int) -> str:
    paired = f"differences {f'in {points} ' if points else ''}are paired over {seeds} runs, with their 95 % interval"
    if seeds < 2:
        paired = f"differences {f'in {points} ' if points else ''}are of one run: they have no interval"
    return f"{paired}; faster and smaller are beside the dense network in float32 in the same runtime, on one thread"


def _slow(row: Row, batches: Sequence[int]) -> list[str]:
    slow = [str(batch) for batch in batches if not math.isnan(row.faster[batch]) and row.faster[batch] < FASTER]
    found = [f"{row.name} is not faster at batch {' and '.join(slow)}"] if slow else []
    if row.bytes_of_dense <= row.file_bytes * FASTER and any(not math.isnan(r) for r in row.faster.values()):
        found.append(f"{row.name} is not smaller as a file")
    return found
