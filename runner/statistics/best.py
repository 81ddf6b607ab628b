"""The set of settings that can be the best, and which of them are as good as its leader.

Which of k settings may have the highest mean, with 95 % confidence (Gupta 1965; Hsu's comparisons with the best,
1981)? Setting i stays unless some j beats it: mean_j - mean_i > c·√(s_i²/n_i + s_j²/n_j), c being Dunnett's one-sided
critical value for k - 1 comparisons. A truly best setting leaves the set in at most 5 % of sweeps, and that the leader
was picked by looking is covered, as every setting is tried as the best.

Few seeds show too little of a setting's variance: one that fails for a seed in ten shows three alike ones. So
variances are divided by what the mean makes one expect (``Spread``), shrunk to each other (Smyth 2004), and none is
taken to be below the root mean square of those still in the set. Wild losers leave first, then that floor falls: the
rule is applied again to what is left until nothing changes. ``scripts/bench_answer.py`` measures what this is worth.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt
from scipy import optimize, special

from runner.statistics.scores import LEVEL, Array

Spread = Callable[[Array], Array]
"""From means ``[k]`` to how their settings' variances over seeds should compare, up to a factor."""

CHALLENGERS = 64
"""So many of the best means are held against each setting; one that they all leave in stays."""
TINIEST = 1e-12
"""A deviation is no smaller than this share of the mean: less is rounding."""
DEGREES = (0.5, 1, 1.5, 2, 3, 4, 6, 8, 12, 18, 30, 60, 1e6)
"""Dunnett's critical value is computed at these degrees of freedom; between them, its logarithm is linear in 1/df."""


@dataclass(frozen=True)
class BestSet:
    """Which settings can be the best; arrays are ``[k]``, in the order of the scores."""

    leader: int
    """The best mean of those with enough seeds."""
    inside: npt.NDArray[np.bool_]
    """Whether a setting can be the best."""
    n: npt.NDArray[np.int64]
    mean: Array
    variance: Array
    """Of one run, moderated and floored."""
    difference: Array
    """The leader's mean less the setting's."""
    low: Array
    high: Array
    """The difference's interval, 95 % for all of them together (Dunnett 1955, two-sided), with the floor of all.

    Outside the set it does not reach below 0, as Hsu's does not: that the setting is worse is known.
    """

    def error(self, setting: int) -> float:
        """Return the standard error of a setting's difference to the leader."""
        one, other = self.leader, setting
        return math.sqrt(self.variance[one] / self.n[one] + self.variance[other] / self.n[other])

    def degrees(self, setting: int) -> float:
        """Return its degrees of freedom (Welch 1947)."""
        one, other = self.leader, setting
        return float(_welch(self.variance[[one]], self.n[[one]], self.variance[[other]], self.n[[other]])[0])


def share_spread(means: Array) -> Array:
    """Return p(1 - p): how the variance of a share changes with it, as a binomial's does.

    A mean outside of 0 … 1, as shifted scores have, counts as the nearest within.
    """
    inside = np.clip(means, 0.001, 0.999)
    return np.asarray(inside * (1 - inside))


def loss_spread(means: Array) -> Array:
    """Return |m|: how the variance of a loss changes with it, halfway between an absolute and a relative error's."""
    return np.asarray(np.maximum(np.abs(means), 1e-12))


def even_spread(means: Array) -> Array:
    """Return 1: nothing is known of how the variance changes with the mean."""
    return np.ones_like(means)


def best_set(
    scores: Array, step: float = 0.0, spread: Spread = even_spread, alpha: float = 1 - LEVEL, leader: int | None = None
) -> BestSet:
    """Find the settings that can be the best.

    Args:
        scores: ``[k, n]``, more is better; NaN is a missing run. A setting has one score at least.
        step: the measure's resolution: no variance is below its rounding error's, step²/12.
        spread: how variances should compare, by the means.
        alpha: in how many sweeps a truly best setting may be left out.
        leader: which of several equal means leads; by default the best mean of those with two scores or more.
    """
    n, mean, variance = _moments(scores, step)
    several = n > 1
    inside = np.ones(len(mean), bool)
    weight = spread(mean)
    able = several if several.any() else inside
    leader = int(np.flatnonzero(able)[np.argmax(mean[able])]) if leader is None else leader
    if len(mean) == 1 or not several.any():
        nothing = np.full(len(mean), math.nan)
        return BestSet(leader, inside, n, mean, nothing, mean[leader] - mean, nothing, nothing)
    ratio = np.full(len(mean), math.nan)
    ratio[several], _ = moderated(variance[several] / weight[several], n[several] - 1)
    first = floored = np.fmax(ratio, _floor(ratio[several])) * weight
    while (beaten := _beaten(mean, floored, n, inside, several, alpha)).any():
        inside &= ~beaten
        floored = np.fmax(ratio, _floor(ratio[inside & several])) * weight
    difference = mean[leader] - mean
    degrees = _welch(first, n, first[leader], n[leader])
    error = np.sqrt(first / n + first[leader] / n[leader])
    half = critical(max(1, len(mean) - 1), degrees, alpha, two_sided=True) * error
    half[leader] = math.nan
    low = np.where(inside, difference - half, np.maximum(difference - half, 0.0))
    return BestSet(leader, inside, n, mean, floored, difference, low, difference + half)


def _floor(ratios: Array) -> float:
    return math.sqrt(float(np.mean(ratios**2)))


def half_widths(scores: Array, step: float = 0.0, spread: Spread = even_spread) -> Array:
    """Return half the width of the 95 % interval of each setting's mean; NaN where it has one score.

    A few runs that happen to agree say little, so a variance is the setting's own, or what the settings' geometric mean
    makes one expect if that is more; its degrees of freedom are the setting's own and those that the others lend
    (Smyth 2004), no more than the others have. With one setting it is Student's interval.

    Args:
        scores: ``[k, n]``, more is better; NaN is a missing run. A setting has one score at least.
        step: the measure's resolution.
        spread: how variances should compare, by the means.
    """
    n, mean, variance = _moments(scores, step)
    weight, several = spread(mean), n > 1
    if not several.any():
        return np.full(len(mean), math.nan)
    ratio = variance[several] / weight[several]
    _, lent = moderated(ratio, n[several] - 1)
    usual = math.exp(float(np.mean(np.log(ratio)))) * weight
    own = np.maximum(n - 1, 1)
    degrees = own + np.minimum(lent, (n[several] - 1).sum() - own)
    half = special.stdtrit(degrees, (1 + LEVEL) / 2) * np.sqrt(np.maximum(variance, usual) / n)
    return np.where(several, half, math.nan)


def _moments(scores: Array, step: float) -> tuple[npt.NDArray[np.int64], Array, Array]:
    """Return each row's count, mean and variance, the last no smaller than rounding makes it."""
    known = np.isfinite(scores)
    n = known.sum(1)
    filled = np.where(known, scores, 0.0)
    mean = filled.sum(1) / n
    squares = (np.where(known, scores - mean[:, None], 0.0) ** 2).sum(1)
    least = np.maximum(step**2 / 12, (TINIEST * np.abs(mean)) ** 2)
    return n, mean, np.maximum(squares / np.maximum(n - 1, 1), np.maximum(least, 1e-300))


def _beaten(
    mean: Array,
    variance: Array,
    n: npt.NDArray[np.int64],
    inside: npt.NDArray[np.bool_],
    several: npt.NDArray[np.bool_],
    alpha: float,
) -> npt.NDArray[np.bool_]:
    """Say which of those inside some other of them beats."""
    who = np.flatnonzero(inside & several)
    who = who[np.argsort(-mean[who], kind="stable")][:CHALLENGERS]
    error = np.sqrt(variance[:, None] / n[:, None] + variance[who] / n[who])
    degrees = _welch(variance[:, None], n[:, None], variance[who], n[who])
    beaten = (mean[who] - mean[:, None]) / error > critical(max(1, int(inside.sum()) - 1), degrees, alpha)
    return np.asarray(beaten.any(1) & inside)


def _welch(a: Array, n_a: npt.NDArray[np.int64], b: Array, n_b: npt.NDArray[np.int64]) -> Array:
    """Return the degrees of freedom of a difference of two means; a single value has those of two."""
    x, y = a / n_a, b / n_b
    return np.asarray((x + y) ** 2 / (x**2 / np.maximum(n_a - 1, 1) + y**2 / np.maximum(n_b - 1, 1)))


def moderated(variances: Array, df: npt.NDArray[np.int64]) -> tuple[Array, float]:
    """Return variances shrunk to each other, and how many degrees of freedom their prior is worth (Smyth 2004).

    Each is taken for a draw from a scaled F distribution around a common value; the prior's degrees of freedom follow
    from how much their logarithms differ beyond what ``df`` explains, and are infinite where they do not.

    Args:
        variances: ``[k]``, all above 0.
        df: their degrees of freedom, ``[k]``.
    """
    if len(variances) < 2:
        return variances, 0.0
    e = np.log(variances) - special.digamma(df / 2) + np.log(df / 2)
    excess = float(np.var(e, ddof=1) - np.mean(special.polygamma(1, df / 2)))
    if excess <= 1e-8:
        return np.full(len(variances), math.exp(float(np.mean(e)))), math.inf
    prior = 2 * float(optimize.brentq(lambda x: float(special.polygamma(1, x)) - excess, 1e-6, 1e9))
    common = math.exp(float(np.mean(e)) + float(special.digamma(prior / 2)) - math.log(prior / 2))
    return np.asarray((prior * common + df * variances) / (prior + df)), prior


def critical(others: int, degrees: Array, alpha: float = 1 - LEVEL, two_sided: bool = False) -> Array:
    """Return Dunnett's critical value: what the largest of so many differences to one mean stays below, 1 - alpha.

    The differences' correlation is ½, as of means of equally many runs of equal variance (Dunnett 1955).

    Args:
        others: how many means are held against the one.
        degrees: degrees of freedom, of any shape, 0.5 at least.
        alpha: how often it is exceeded.
        two_sided: whether a difference of either sign counts.
    """
    x, values = _critical_grid(others, alpha, two_sided)
    return np.exp(np.interp(1 / np.asarray(degrees, float), x, values))


@lru_cache(256)
def _critical_grid(others: int, alpha: float, two_sided: bool) -> tuple[Array, Array]:
    """Return 1/df in rising order, and there the logarithm of the critical value."""
    x, x_weight = np.polynomial.hermite_e.hermegauss(48)
    x_weight = x_weight / x_weight.sum()
    u, u_weight = np.polynomial.legendre.leggauss(64)
    u, u_weight = (u + 1) / 2, u_weight / 2
    values = []
    for df in DEGREES:
        s = np.sqrt(2 * special.gammaincinv(df / 2, u) / df)

        def excess(c: float, s: Array = s) -> float:
            reach = math.sqrt(2) * c * s[:, None]
            below = special.ndtr(x[None, :] + reach)
            if two_sided:
                below = below - special.ndtr(x[None, :] - reach)
            return float(u_weight @ (below**others) @ x_weight) - (1 - alpha)

        values.append(math.log(optimize.brentq(excess, 0.01, 1e5)))
    return 1 / np.array(DEGREES[::-1]), np.array(values[::-1])


def equivalence(found: BestSet, setting: int, alpha: float = 1 - LEVEL) -> tuple[float, float]:
    """Return the interval at 1 - 2·alpha of the leader's mean less a setting's.

    The two are equivalent where it lies within ± the margin: two one-sided tests (Schuirmann 1987).
    """
    half = float(special.stdtrit(found.degrees(setting), 1 - alpha)) * found.error(setting)
    difference = float(found.difference[setting])
    return difference - half, difference + half


def seeds_to_tell(
    found: BestSet, setting: int, margin: float, most: int = 1000, alpha: float = 1 - LEVEL
) -> int | None:
    """Return with how many seeds each a setting is expected to be told from the leader, or to be its equivalent.

    The difference and the variances are taken to stay as they are. None if ``most`` are not enough.
    """
    one, other = found.variance[found.leader], found.variance[setting]
    away = abs(float(found.difference[setting]))
    room = max(margin - away, away)
    for n in range(2, most + 1):
        degrees = (n - 1) * (one + other) ** 2 / (one**2 + other**2)
        if float(special.stdtrit(degrees, 1 - alpha)) * math.sqrt((one + other) / n) < room:
            return n
    return None
