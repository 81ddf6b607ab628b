"""The statistics of comparing training runs: functions of arrays, each tested by hand or by simulation.

A score is a measure whose larger value is the better one. SciPy computes what it has; what it lacks is here.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import linalg, sparse, stats

Array = npt.NDArray[np.float64]

LEVEL = 0.95
ROUNDING = 1e-12
"""Relative differences up to this are rounding, not a finding: sums of thousands of numbers are only so exact."""
EXACT_PAIRS = 12
"""Up to so many pairs every flip of the differences' signs is tried; beyond, of their ranks' signs."""
FEWEST_PAIRS = 3
"""Fewer pairs tell nothing: two that agree may do so by chance."""
MOST_SAMPLES = 20_000
"""The finest step that is looked for; a finer one is of no account."""


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
    return _interval(values, step, of_next=False)


def next_interval(values: Sequence[float] | npt.NDArray[np.floating[Any]], step: float = 0.0) -> Interval:
    """Return the mean and the 95 % interval that the next value lies in, x̄ ± t(n-1)·s·√(1 + 1/n)."""
    return _interval(values, step, of_next=True)


def _interval(values: Sequence[float] | npt.NDArray[np.floating[Any]], step: float, of_next: bool) -> Interval:
    x = np.asarray(values, float)
    n = len(x)
    if n == 0:
        return Interval(math.nan, math.nan, math.nan, 0)
    mean = float(x.mean())
    if n == 1:
        return Interval(mean, math.nan, math.nan, 1)
    spread = math.sqrt(max(float(x.var(ddof=1)), step**2 / 12) * (1 / n + of_next))
    half = float(stats.t.ppf((1 + LEVEL) / 2, n - 1)) * spread
    return Interval(mean, mean - half, mean + half, n)


def resolution(values: Array) -> float:
    """Return the step in which a share is counted, such as 1/143 of an accuracy on 143 samples, as its values tell.

    It is one over the least common denominator of the values; 0 where there is none below ``MOST_SAMPLES``.
    """
    denominator = 1
    for value in np.unique(values[np.isfinite(values)]):
        share = Fraction(float(value)).limit_denominator(MOST_SAMPLES)
        if abs(float(share) - value) > 1e-12:
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
    p_t: Array
    """Two-sided, of the paired t-test; NaN with fewer than two pairs."""
    p_flip: Array
    """Two-sided, of the exact sign-flip test."""
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
        variance = np.where(n > 1, (np.where(shared, differences - mean[:, None], 0) ** 2).sum(1) / (n - 1), np.nan)
        error = np.sqrt(np.maximum(variance, step**2 / 6) / n)
        t = np.where(error > 0, mean / error, np.where(mean == 0, 0.0, np.inf * np.sign(mean)))
        p_t = np.where(n > 1, 2 * stats.t.sf(np.abs(t), np.maximum(n - 1, 1)), np.nan)
        half = stats.t.ppf((1 + LEVEL) / 2, np.maximum(n - 1, 1)) * error
        better = np.where(n > 0, ((d > 0) + 0.5 * (d == 0)).sum(1, where=shared) / n, np.nan)
    low, high = wilson(better, n)
    return Comparisons(n, mean, mean - half, mean + half, p_t, sign_flip(differences), better, low, high)


def sign_flip(differences: Array) -> Array:
    """Return for each row of paired differences ``[k, n]`` the exact two-sided p that it is as likely to be reversed.

    Under the null each difference is as likely to have the other sign (Fisher 1935); beyond ``EXACT_PAIRS`` pairs the
    same of their ranks (Wilcoxon 1945). The smallest p of n pairs is 2^(1-n).
    """
    p = np.full(len(differences), np.nan)
    shared = np.isfinite(differences)
    for pattern in np.unique(shared, axis=0):
        rows = (shared == pattern).all(1)
        n = int(pattern.sum())
        if n < 2:
            p[rows] = np.nan if n == 0 else 1.0
            continue
        d = differences[rows][:, pattern]
        if n > EXACT_PAIRS:
            nothing = (d == 0).all(1)
            found = np.ones(len(d))
            if not nothing.all():
                found[~nothing] = stats.wilcoxon(d[~nothing], axis=1, method="exact", zero_method="zsplit").pvalue
            p[rows] = found
            continue
        p[rows] = stats.permutation_test(
            (d,),
            lambda x, axis: np.mean(x, axis=axis),
            permutation_type="samples",
            vectorized=True,
            n_resamples=np.inf,
            batch=512,
            axis=1,
        ).pvalue
    return p


def fewest_pairs(comparisons: int, alpha: float = 1 - LEVEL) -> int:
    """Return how many pairs it takes for the sign-flip test, corrected for so many comparisons, to reach alpha."""
    return math.ceil(1 + math.log2(max(1, comparisons) / alpha))


def all_pairs(settings: int) -> int:
    """Return in how many pairs so many settings can be compared."""
    return settings * (settings - 1) // 2


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
    z = float(stats.norm.ppf((1 + LEVEL) / 2))
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
    data = stats.CensoredData(uncensored=times[reached], right=times[~reached])
    found = stats.ecdf(data).sf
    grid, survival = np.asarray(found.quantiles, float), np.asarray(found.probabilities, float)
    half = np.flatnonzero(survival <= 0.5 + 1e-12)
    inside = grid < horizon
    edges = np.concatenate([[0.0], grid[inside], [horizon]])
    height = np.concatenate([[1.0], survival[inside]])
    return TimeToTarget(
        runs=len(times),
        reached=int(reached.sum()),
        median=float(grid[half[0]]) if len(half) and reached.any() else math.inf,
        restricted_mean=float(np.sum(np.diff(edges) * height)),
        par10=float(np.mean(np.where(reached, times, 10 * horizon))),
        times=grid,
        survival=survival,
    )


def performance_profile(times: Array, ratios: Array) -> tuple[Array, Array]:
    """Return each setting's share of workloads that it solves within a ratio of the best, and its score.

    Dolan & Moré 2002, as AlgoPerf scores: ρ(τ) = share of workloads with time / best time ≤ τ, score = ⅓∫₁⁴ρ dτ.

    Args:
        times: ``[settings, workloads]``, infinite where the target was not reached.
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


def variance_explained(factors: Sequence[Sequence[object]], values: Array, seeds: Sequence[object]) -> list[Interval]:
    """Return the share of the variance that each factor, then each pair of them, explains (ANOVA of type II).

    A factor's share is what leaving it out of the model of all factors costs, over the total; a pair's, what it adds
    to all factors and the other pairs. Intervals are of the jackknife over seeds, with t(n-1).

    Args:
        factors: each factor's level, ``[n]``.
        values: ``[n]``, finite.
        seeds: what is left out in turn, ``[n]``.
    """
    codes = [np.unique(np.asarray(f, str), return_inverse=True)[1] for f in factors]
    pairs = [(i, j) for i in range(len(codes)) for j in range(i)]
    names = [*codes, *(codes[i] * (codes[j].max() + 1) + codes[j] for i, j in pairs)]
    columns, where = [np.ones((len(values), 1))], [0]
    for code in names:
        levels = np.unique(code)
        columns.append((code[:, None] == levels[1:]).astype(float))
        where.append(columns[-1].shape[1])
    # One Gram matrix a seed: leaving a seed out is a subtraction.
    x = np.concatenate(columns, axis=1)
    ends = np.cumsum([1, *where[1:]])
    seed_codes = np.unique(np.asarray(seeds, str), return_inverse=True)[1]
    n_seeds = int(seed_codes.max()) + 1
    xy = sparse.csr_array(np.concatenate([x, values[:, None]], axis=1))
    grams = np.stack([(xy[seed_codes == s].T @ xy[seed_codes == s]).toarray() for s in range(n_seeds)])
    blocks = [np.arange(ends[i], ends[i + 1]) for i in range(len(names))]
    whole = grams.sum(0)
    share = _shares(whole, blocks, len(codes))
    if n_seeds < 3:
        return [Interval(float(s), math.nan, math.nan, n_seeds) for s in share]
    without = np.stack([_shares(whole - gram, blocks, len(codes)) for gram in grams])
    pseudo = n_seeds * share - (n_seeds - 1) * without
    found = []
    for i, s in enumerate(share):
        interval = mean_interval(pseudo[:, i])
        half = (interval.high - interval.low) / 2
        found.append(Interval(float(s), max(0.0, float(s) - half), min(1.0, float(s) + half), n_seeds))
    return found


def _shares(gram: Array, blocks: Sequence[npt.NDArray[np.int64]], mains: int) -> Array:
    """Return each block's share of the total sum of squares, from the Gram matrix of (1, blocks, values)."""

    def residual(chosen: Sequence[int]) -> float:
        keep = np.concatenate([[0], *(blocks[i] for i in chosen)]).astype(int)
        a, b = gram[np.ix_(keep, keep)], gram[keep, -1]
        tiny = 1e-9 * np.trace(a) / len(a) * np.eye(len(a))  # levels that never meet leave the matrix singular
        return float(gram[-1, -1] - b @ linalg.solve(a + tiny, b, assume_a="pos", check_finite=False))

    total = residual([])
    if total <= 1e-12 * abs(gram[-1, -1]):
        return np.zeros(len(blocks))
    all_mains, everything = range(mains), range(len(blocks))
    main, full = residual(all_mains), residual(everything)
    found = [residual([j for j in all_mains if j != i]) - main for i in all_mains]
    found += [residual([j for j in everything if j != i]) - full for i in range(mains, len(blocks))]
    return np.clip(np.array(found) / total, 0.0, 1.0)
