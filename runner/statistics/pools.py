"""Several workloads together: what may be said of choices over a pool of them. Seeds are not workloads.

All of it depends on the pool: add a workload or a choice, and scores, ranks and groups may change.
"""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import stats

from runner.statistics.scores import LEVEL, ROUNDING, Array, Interval, holm, performance_profile

RESAMPLES = 2000
SEED = 0
"""Of resampling: the same runs give the same intervals."""
QUARTER = 0.25


def normalized(scores: Array, zero: float, one: float) -> Array:
    """Return scores scaled so that ``zero`` becomes 0 and ``one`` becomes 1; what is below ``zero`` is 0.

    NaN stay NaN. Where ``one`` is no more than ``zero``, nobody got anywhere, and every score is 0.
    """
    if not one > zero:
        return np.where(np.isnan(scores), np.nan, 0.0)
    with np.errstate(invalid="ignore"):
        return np.where(np.isnan(scores), np.nan, np.maximum((scores - zero) / (one - zero), 0.0))


def interquartile_mean(strata: Sequence[Array]) -> Interval:
    """Return the mean of the middle half of all scores, with its 95 % interval (Agarwal et al. 2021).

    The interval is of the percentile bootstrap, runs drawn within each workload. Below four scores the interquartile
    mean is the mean.

    Args:
        strata: the scores of one choice's runs on each workload, ``[runs]`` each; NaN is a missing run, left out.
    """
    known = [x for x in (s[~np.isnan(s)] for s in strata) if len(x)]
    if not known:
        return Interval(np.nan, np.nan, np.nan, 0)
    everything = np.concatenate(known)
    value, n = float(stats.trim_mean(everything, QUARTER)), len(everything)
    drawn, alone = [x for x in known if len(x) > 1], np.concatenate([[], *(x for x in known if len(x) == 1)])
    if not drawn:
        return Interval(value, np.nan, np.nan, n)

    def statistic(*samples: Array, axis: int = -1) -> Any:
        rest = np.broadcast_to(alone, (*samples[0].shape[:-1], len(alone)))
        return stats.trim_mean(np.concatenate([*samples, rest], axis=-1), QUARTER, axis=axis)

    rng = np.random.default_rng(SEED)
    interval = stats.bootstrap(
        drawn, statistic, n_resamples=RESAMPLES, vectorized=True, confidence_level=LEVEL, method="percentile", rng=rng
    ).confidence_interval
    return Interval(value, float(interval.low), float(interval.high), n)


def median_times(times: Array) -> Array:
    """Return the time by which half of the runs of each row ``[…, runs]`` have reached the target.

    NaN is a missing run, infinity one that never reached it. A row without runs never reaches it.
    """
    ordered = np.sort(times, axis=-1)  # infinite ones come late, missing ones last
    n = np.sum(~np.isnan(times), axis=-1)
    at = np.maximum((n + 1) // 2 - 1, 0)
    median = np.take_along_axis(ordered, at[..., None], axis=-1)[..., 0]
    return np.where(n > 0, median, np.inf)


def profile_scores(times: Sequence[Array]) -> list[Interval]:
    """Return each choice's score of the performance profile with its 95 % interval, seeds being drawn anew.

    A draw takes the same seeds for every choice, as they share weights and batches; a workload with one seed stays
    as it is. Without a workload of several seeds there is no interval.

    Args:
        times: on each workload how long every run took to the target, ``[choices, seeds]``: infinite where a run never
            reached it, NaN where there is none.
    """
    nothing = np.array([1.0])
    _, score = performance_profile(np.stack([median_times(t) for t in times], axis=1), nothing)
    n = len(times)
    if all(t.shape[1] < 2 for t in times):
        return [Interval(float(s), np.nan, np.nan, n) for s in score]
    rng = np.random.default_rng(SEED)
    medians = []
    for t in times:
        seeds = rng.integers(t.shape[1], size=(RESAMPLES, t.shape[1]))
        medians.append(median_times(t[:, seeds]))  # [choices, draws]
    drawn = np.stack(medians, axis=2)
    each = np.stack([performance_profile(drawn[:, i], nothing)[1] for i in range(RESAMPLES)], axis=1)
    low, high = np.quantile(each, [(1 - LEVEL) / 2, (1 + LEVEL) / 2], axis=1)
    return [Interval(float(s), float(a), float(b), n) for s, a, b in zip(score, low, high, strict=True)]


def fewest_workloads(choices: int) -> int:
    """Return with how many workloads a test over them can tell two of so many choices apart at all.

    The smallest p of n workloads is 2^(1-n), and it is corrected for every pair of choices.
    """
    return math.ceil(1 + math.log2(max(1, number_of_pairs(choices)) / (1 - LEVEL)))


def number_of_pairs(choices: int) -> int:
    """Return in how many pairs so many choices can be compared."""
    return choices * (choices - 1) // 2


def pairwise(scores: Array) -> Array:
    """Return for each pair of choices the two-sided p of Wilcoxon's signed-rank test over workloads, by Holm.

    Demšar 2006 and Benavoli et al. 2016: unlike tests of mean ranks, what it says of two choices does not depend on the
    others, but for the correction for their number.

    Args:
        scores: ``[choices, workloads]``, comparable over workloads; NaN where a choice has none.

    Returns:
        p ``[choices, choices]``, NaN on the diagonal and where a pair shares no workload.
    """
    k = len(scores)
    p = np.full((k, k), np.nan)
    first, second = np.triu_indices(k, 1)
    single = np.array([_signed_rank(scores[i] - scores[j]) for i, j in zip(first, second, strict=True)])
    p[first, second] = p[second, first] = holm(single, number_of_pairs(k))
    return p


def _signed_rank(differences: Array) -> float:
    d = differences[np.isfinite(differences)]
    d = np.where(np.abs(d) <= ROUNDING, 0.0, d)
    if not len(d):
        return np.nan
    return float(stats.wilcoxon(d, zero_method="zsplit").pvalue) if d.any() else 1.0


def groups(alike: npt.NDArray[np.bool_]) -> list[list[int]]:
    """Return the largest sets of choices in which every two are alike (Bron & Kerbosch 1973).

    A choice may be in several: to be alike is not transitive.

    Args:
        alike: ``[choices, choices]``, symmetric; the diagonal is not looked at.
    """
    beside = [{j for j in range(len(alike)) if j != i and alike[i, j]} for i in range(len(alike))]
    found: list[list[int]] = []

    def grow(members: set[int], able: set[int], done: set[int]) -> None:
        if not able and not done:
            found.append(sorted(members))
            return
        pivot = max(able | done, key=lambda i: len(able & beside[i]))
        for i in sorted(able - beside[pivot]):
            grow(members | {i}, able & beside[i], done & beside[i])
            able, done = able - {i}, done | {i}

    grow(set(), set(range(len(alike))), set())
    return sorted(found)
