"""The statistics of comparing training runs: functions of arrays, each tested by hand or by simulation.

A score is a measure whose larger value is the better one. SciPy computes what it has; what it lacks is here.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import stats

Array = npt.NDArray[np.float64]

LEVEL = 0.95
ROUNDING = 1e-12
"""Relative differences up to this are rounding, not a finding: sums of thousands of numbers are only so exact."""
MOST_SAMPLES = 20_000
"""The finest step that is looked for; a finer one is of no account."""
NORMAL_QUANTILE = float(stats.norm.ppf((1 + LEVEL) / 2))
"""What bounds the level on both sides of a normal distribution: 1.96 standard deviations."""


@dataclass(frozen=True)
class Interval:
    """A mean and the interval around it; ``low`` and ``high`` are NaN where there are fewer than two values."""

    mean: float
    low: float
    high: float
    n: int

    @property
    def known(self) -> bool:
        """Whether there is an interval."""
        return math.isfinite(self.low) and math.isfinite(self.high)


def mean_interval(values: Sequence[float] | npt.NDArray[np.floating[Any]], step: float = 0.0) -> Interval:
    """Return the mean of independent values and its 95 % interval x̄ ± t(n-1)·s/√n (Student 1908).

    Args:
        values: ``[n]``.
        step: the measure's resolution: s² is no less than its rounding error's variance ``step²/12``, so that a few
            coarse values that happen to agree do not claim to be exact.
    """
    x = np.asarray(values, float)
    n = len(x)
    if n == 0:
        return Interval(math.nan, math.nan, math.nan, 0)
    mean = float(x.mean())
    if n == 1:
        return Interval(mean, math.nan, math.nan, 1)
    half = _t_quantile(n - 1) * math.sqrt(max(float(x.var(ddof=1)), step**2 / 12) / n)
    return Interval(mean, mean - half, mean + half, n)


@cache
def _t_quantile(freedom: int) -> float:
    """Return what bounds the level on both sides of Student's distribution."""
    return float(stats.t.ppf((1 + LEVEL) / 2, freedom))


def resolution(values: Array) -> float:
    """Return the step in which a share is counted, such as 1/143 of an accuracy on 143 samples, as its values tell.

    It is one over the least common denominator of the values; 0 where there is none below ``MOST_SAMPLES``.
    """
    denominator = 1
    for value in np.unique(values[np.isfinite(values)]):
        share = Fraction(float(value)).limit_denominator(MOST_SAMPLES)
        if abs(float(share) - value) > ROUNDING:
            return 0.0
        denominator = math.lcm(denominator, share.denominator)
        if denominator > MOST_SAMPLES:
            return 0.0
    return 1.0 / denominator if denominator > 1 else 0.0


@dataclass(frozen=True)
class Comparisons:
    """One setting held against ``k`` others, in pairs that share their seeds; every array is ``[k]``."""

    pairs: npt.NDArray[np.int64]
    difference: Array
    """Mean over pairs of the one's score less the other's."""
    low: Array
    high: Array
    better: Array
    """P(the one's score > the other's), ties counted half (Bouthillier 2021)."""
    better_low: Array
    better_high: Array
    """Its Wilson interval."""


def compare(one: Array, others: Array, step: float = 0.0) -> Comparisons:
    """Compare a setting's scores ``[n]`` with those of others ``[k, n]``, seed by seed; NaN is a missing run.

    Scores that differ by rounding alone are equal: such differences are multiples of the last bit, so that all pairs
    may show the same one.

    Args:
        one: scores of the one.
        others: scores of the others.
        step: the measure's resolution: two counts differ by an error of variance ``step²/6`` even where every pair
            shows the same difference, so that a few coarse values that happen to agree prove nothing.
    """
    differences = one[None, :] - others
    differences[np.abs(differences) <= ROUNDING * np.maximum(np.abs(one[None, :]), np.abs(others))] = 0.0
    shared = np.isfinite(differences)
    n = shared.sum(1)
    d = np.where(shared, differences, 0.0)
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = np.where(n > 0, d.sum(1) / n, np.nan)
        mean[np.abs(mean) <= ROUNDING * np.abs(d).max(1, initial=0.0)] = 0.0
        variance = np.where(n > 1, (np.where(shared, differences - mean[:, None], 0) ** 2).sum(1) / (n - 1), np.nan)
        error = np.sqrt(np.maximum(variance, step**2 / 6) / n)
        half = stats.t.ppf((1 + LEVEL) / 2, np.maximum(n - 1, 1)) * error
        better = np.where(n > 0, ((d > 0) + 0.5 * (d == 0)).sum(1, where=shared) / n, np.nan)
    low, high = wilson(better, n)
    return Comparisons(n, mean, mean - half, mean + half, better, low, high)


def holm(p: Array, family: int | None = None) -> Array:
    """Return p-values corrected for a family of comparisons (Holm 1979); NaN stay NaN.

    Args:
        p: of the comparisons looked at.
        family: how many were made, these among them; by default those that are known. Where the best was picked by
            looking, every pair was: the others count as not rejected, which is on the safe side.
    """
    corrected = np.full(len(p), np.nan)
    known = np.flatnonzero(np.isfinite(p))
    order = known[np.argsort(p[known], kind="stable")]
    scaled = p[order] * (max(len(order), family or 0) - np.arange(len(order)))
    corrected[order] = np.minimum(1.0, np.maximum.accumulate(scaled)) if len(order) else scaled
    return corrected


def wilson(share: Array, n: npt.NDArray[Any]) -> tuple[Array, Array]:
    """Return the interval of a share of ``n`` (Wilson 1927); the share may count ties half."""
    z = NORMAL_QUANTILE
    with np.errstate(invalid="ignore", divide="ignore"):
        middle = (share + z**2 / (2 * n)) / (1 + z**2 / n)
        half = z / (1 + z**2 / n) * np.sqrt(share * (1 - share) / n + z**2 / (4 * n**2))
    return middle - half, middle + half


def selection_bias(scores: Array) -> float:
    """Return by how much the best of several means is expected to look better than it is (the winner's curse).

    The choice is made on all seeds but one and judged on that one, in turn: the mean of these judgements has no part
    in its own choice, and is held against the best's mean over all seeds.

    Args:
        scores: ``[settings, seeds]``; NaN is a missing run.
    """
    usual = np.isfinite(scores).mean(0) >= 0.5
    whole = scores[np.isfinite(scores[:, usual]).all(1)][:, usual]  # settings that have every usual seed
    settings, seeds = whole.shape
    if settings < 2 or seeds < 2:
        return math.nan
    without = (whole.sum(1, keepdims=True) - whole) / (seeds - 1)
    judged = whole[without.argmax(0), np.arange(seeds)]
    return float(whole.mean(1).max() - judged.mean())


def expected_best(values: Array, k: int) -> float:
    """Return what the best of k trials of a random search is expected to come to (Dodge 2019).

    Of N trials in rising order that is Σ v(i)·[(i/N)^k - ((i-1)/N)^k], as if k were drawn from them with replacement:
    biased low where k is near to N. Trials of other searches are no random sample.

    Args:
        values: ``[N]``, more is better.
        k: how many, 1 at least.
    """
    rising = np.sort(np.asarray(values, float))
    share = np.arange(len(rising) + 1) / len(rising)
    return float(rising @ np.diff(share**k))


@dataclass(frozen=True)
class TimeToTarget:
    """How long runs took to reach a target, those that did not being censored (Kaplan & Meier 1958)."""

    runs: int
    reached: int
    median: float
    """The time by which half of the runs have reached it; infinite where fewer do."""
    restricted_mean: float
    """The mean time up to the horizon, ∫S(t)dt."""
    par10: float
    """The mean time, a run that never reached it counted as ten horizons."""
    times: Array
    survival: Array
    """Share that has not reached it after each time."""


def time_to_target(times: Array, reached: npt.NDArray[np.bool_], horizon: float) -> TimeToTarget:
    """Estimate the time to a target from runs ``[n]``.

    Args:
        times: when each run reached it, or until when it is known not to have.
        reached: whether it did.
        horizon: the longest time looked at; a run known never to reach the target is censored there.
    """
    if reached.any():
        estimate = stats.ecdf(stats.CensoredData(uncensored=times[reached], right=times[~reached])).sf
        grid, survival = np.asarray(estimate.quantiles, float), np.asarray(estimate.probabilities, float)
    else:  # the same, at a hundredth of the time: most settings of a large grid
        grid = np.unique(times)
        survival = np.ones(len(grid))
    half = np.flatnonzero(survival <= 0.5 + 1e-12)
    inside = grid < horizon
    edges = np.concatenate([[0.0], grid[inside], [horizon]])
    height = np.concatenate([[1.0], survival[inside]])
    return TimeToTarget(
        runs=len(times),
        reached=int(reached.sum()),
        median=float(grid[half[0]]) if len(half) else math.inf,
        restricted_mean=float(np.sum(np.diff(edges) * height)),
        par10=float(np.mean(np.where(reached, times, 10 * horizon))),
        times=grid,
        survival=survival,
    )


def performance_profile(times: Array, ratios: Array) -> tuple[Array, Array]:
    """Return each setting's share of workloads that it solves within a ratio of the best, and its score.

    Dolan & Moré 2002, as AlgoPerf scores: ρ(τ) = share of workloads with time / best time ≤ τ, score = ⅓∫₁⁴ρ dτ.

    Args:
        times: ``[settings, workloads]``, above 0, infinite where the target was not reached.
        ratios: the τ at which ρ is wanted.

    Returns:
        ρ ``[settings, len(ratios)]`` and scores ``[settings]``.
    """
    with np.errstate(invalid="ignore"):
        r = times / times.min(0, keepdims=True)
    r = np.where(np.isfinite(r), r, np.inf)
    rho = (r[:, :, None] <= ratios).mean(1)
    score = np.clip(4 - np.maximum(r, 1), 0, 3).mean(1) / 3  # ∫₁⁴ 1[r ≤ τ] dτ = 4 - r
    return rho, score
