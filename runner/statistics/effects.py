"""What a choice is worth: a factor's levels compared, each at its own best of everything else, and interactions.

Levels are compared seed by seed. The best settings are chosen on the same seeds that they are judged on, so a level
with more settings to choose from looks a little better than it is. Leaving a seed out of each choice removes that bias,
but then choices waver, and intervals cover less: ``scripts/bench_answer.py`` measures those used here.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import combinations

import numpy as np
from scipy import stats

from runner.statistics.scores import LEVEL, Array, Interval, compare, holm, mean_interval


@dataclass(frozen=True)
class Interaction:
    """How much more one level of a factor gains over another at one level of a second factor than at another."""

    levels: tuple[str, str]
    """Of the first factor."""
    at: tuple[str, str]
    """Of the second."""
    gains: tuple[Interval, Interval]
    """The first level's score less the second's, at each level of the second factor."""
    difference: Interval
    """Of the two gains."""
    p: float
    """Corrected for all contrasts looked at (Holm)."""


def effect(scores: Array, one: int, other: int, step: float = 0.0) -> Interval:
    """Return the mean over shared seeds of one setting's score less another's, and its interval; ``n`` counts seeds.

    Args:
        scores: ``[settings, seeds]``, more is better; NaN is a missing run.
        one: a setting.
        other: the one it is held against.
        step: the measure's resolution.
    """
    held = compare(scores[one], scores[[other]], step)
    return Interval(float(held.difference[0]), float(held.low[0]), float(held.high[0]), int(held.pairs[0]))


def interactions(scores: Array, best: Mapping[tuple[str, str], int], step: float = 0.0) -> list[Interaction]:
    """Return every contrast of two levels of one factor at two of another, the surest first.

    Args:
        scores: ``[settings, seeds]``, more is better; NaN is a missing run.
        best: the setting that stands for each pair of levels.
        step: the measure's resolution.
    """
    rows, columns = (list(dict.fromkeys(pair[i] for pair in best)) for i in (0, 1))
    found: list[Interaction] = []
    for (a, b), (x, y) in ((r, c) for r in combinations(rows, 2) for c in combinations(columns, 2)):
        if not all(pair in best for pair in ((a, x), (a, y), (b, x), (b, y))):
            continue
        gains = [scores[best[a, level]] - scores[best[b, level]] for level in (x, y)]
        kept = (contrast := gains[0] - gains[1])[np.isfinite(contrast)]
        if len(kept) < 3:
            continue
        interval = mean_interval(kept, 2 * step)
        error = (interval.high - interval.low) / 2 / float(stats.t.ppf((1 + LEVEL) / 2, len(kept) - 1))
        p = float(2 * stats.t.sf(abs(interval.mean) / error, len(kept) - 1)) if error > 0 else float(interval.mean == 0)
        first, second = (effect(scores, best[a, level], best[b, level], step) for level in (x, y))
        found.append(Interaction((a, b), (x, y), (first, second), interval, p))
    if not found:
        return []
    corrected = holm(np.array([one.p for one in found]))
    checked = [replace(one, p=float(p)) for one, p in zip(found, corrected, strict=True)]
    return sorted(checked, key=lambda one: (one.p, -abs(one.difference.mean)))
