"""Learning-rate sensitivity: how good at each rate, how wide the good range is, where it diverges, and the edge."""

import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from runner.report.settings import LR, Workload
from runner.statistics.scores import Array

WIDEST = 10.0
"""Rates beyond the edge of those tried go on in steps of this factor at most."""


@dataclass(frozen=True)
class Curve:
    """One combination of the other axes over the learning rate."""

    group: tuple[str, ...]
    settings: npt.NDArray[np.int64]
    lr: Array
    mean: Array
    """NaN where no seed has a value."""
    low: Array
    high: Array
    bad: npt.NDArray[np.int64]
    """How many seeds diverged or failed."""
    diverged: npt.NDArray[np.int64]
    """How many of them diverged."""

    @property
    def usable(self) -> npt.NDArray[np.bool_]:
        """Which rates have a mean, and no seed that diverged."""
        return (self.diverged == 0) & np.isfinite(self.mean)

    @property
    def best(self) -> int | None:
        """Where the best rate is: the first of the table of settings, unless seeds diverged there."""
        usable = np.flatnonzero(self.usable)
        return int(usable[np.argmin(self.settings[usable])]) if len(usable) else None

    def scores(self, higher: bool) -> Array:
        """Return the means so that more is better, -∞ where a rate has none or a seed diverged."""
        return np.where(self.usable, self.mean * (1 if higher else -1), -np.inf)


def lines_of(workload: Workload) -> list[str]:
    """Return the axes that have a curve for each of their values: initializer and optimizer, or what else varies."""
    return [a for a in workload.axes if a in ("init", "optim")] or [a for a in workload.axes if a != LR][:1]


def curves(workload: Workload) -> list[Curve]:
    """Return a curve for each combination of initializer and optimizer, best over all other axes at each rate."""
    by = lines_of(workload)
    grouped: dict[tuple[str, ...], list[int]] = {}
    for levels, setting in workload.best_of([*by, LR]).items():
        grouped.setdefault(levels[:-1], []).append(setting)
    found = []
    for group, settings in sorted(grouped.items()):
        rates = pd.to_numeric(workload.table[LR].loc[settings], errors="coerce")
        part = workload.table.loc[rates[rates > 0].sort_values().index]
        lr = rates.loc[part.index].to_numpy(float)
        if len(part):
            values = [part[c].to_numpy() for c in ("mean", "low", "high", "bad", "diverged")]
            found.append(Curve(group, part.index.to_numpy(), lr, *values))
    return found


def decades_within(curve: Curve, best: float, percent: float, higher: bool) -> float:
    """Return over how many decades of the rate the mean lies within ``percent`` of ``best``.

    The mean is interpolated between neighbouring rates, in the logarithm of the rate; a rate at which a seed diverged
    is outside.
    """
    bound = best - abs(best) * percent / 100 * (1 if higher else -1)
    above = np.where(curve.usable, (curve.mean - bound) * (1 if higher else -1), np.nan)
    x = np.log10(curve.lr)
    total = 0.0
    for i in range(len(x) - 1):
        a, b = above[i], above[i + 1]
        if np.isfinite(a) and np.isfinite(b):
            if a >= 0 and b >= 0:
                total += x[i + 1] - x[i]
            elif max(a, b) >= 0:
                total += (x[i + 1] - x[i]) * max(a, b) / abs(a - b)
    return float(total)


def edge(curve: Curve, higher: bool) -> tuple[str, list[float]] | None:
    """Return at which end of the rates tried the best one lies, and the values to add there.

    None if it lies inside, or if no floating-point number lies further out.
    """
    score = curve.scores(higher)
    if len(score) < 2 or not np.isfinite(score).any():
        return None
    assert curve.best is not None, "one has a mean"
    best, lr = set(np.flatnonzero(score == score[curve.best]).tolist()), curve.lr.tolist()
    first, last = 0, len(lr) - 1
    if best == {last}:
        ratio = min(lr[-1] / lr[-2], WIDEST)
        end, further = "largest", rounded(lr[-1] * ratio ** (i / 2) for i in (1, 2))
    elif best == {first}:
        ratio = min(lr[1] / lr[0], WIDEST)
        end, further = "smallest", rounded(lr[0] / ratio ** (i / 2) for i in (2, 1))
    else:
        return None
    return (end, further) if further else None


def rounded(rates: Iterable[float]) -> list[float]:
    """Return rates to two digits, without those that are no learning rate: 0, and what overflows."""
    found = (float(f"{rate:.2g}") for rate in rates)
    return [rate for rate in found if 0 < rate < math.inf]


def robustness(workload: Workload, curve: Curve, by: list[str], percent: float) -> dict[str, object]:
    """Return a curve's row: its best rate, how wide the good range is, where it diverges, and the edge.

    Further rates are named only where the best one can be the best of all: a network that does not learn at any rate
    needs no larger one.
    """
    higher = workload.measure.higher
    at_edge, top = edge(curve, higher), curve.best
    lr, mean, low, high = (
        math.nan if top is None else float(v[top]) for v in (curve.lr, curve.mean, curve.low, curve.high)
    )
    worth = top is not None and bool(workload.of(int(curve.settings[top]), "in_set"))
    diverged = curve.lr[curve.diverged > 0]
    return {
        **dict(zip(by, curve.group, strict=True)),
        "best_lr": lr,
        "mean": mean,
        "low": low,
        "high": high,
        f"decades_within_{percent:g}_percent": decades_within(curve, mean, percent, higher),
        "diverges_from_lr": float(diverged.min()) if len(diverged) else math.nan,
        "edge": at_edge[0] if at_edge else "",
        "values_to_add": _listed(at_edge[1]) if at_edge and worth else "",
    }


def points(curve: Curve, by: list[str]) -> list[dict[str, object]]:
    """Return a curve's points, a row a rate."""
    return [
        {
            **dict(zip(by, curve.group, strict=True)),
            LR: curve.lr[i],
            "mean": curve.mean[i],
            "low": curve.low[i],
            "high": curve.high[i],
            "diverged": curve.diverged[i],
            "failed": curve.bad[i] - curve.diverged[i],
        }
        for i in range(len(curve.lr))
    ]


def edge_warnings(workload: Workload, found: list[Curve]) -> list[str]:
    """Say of the curves whose best is in the running that it lies on the edge of what was tried."""
    warnings = []
    for curve in found:
        at_edge, top = edge(curve, workload.measure.higher), curve.best
        if at_edge is not None and top is not None and workload.of(int(curve.settings[top]), "in_set"):
            name = ", ".join(curve.group) or "every run"
            tried = f"the best optim.lr is the {at_edge[0]} tried ({curve.lr[top]:g})"
            warnings.append(f"{name}: {tried}; add {_listed(at_edge[1])}")
    return warnings


def _listed(values: list[float]) -> str:
    return ",".join(f"{v:g}" for v in values)
