"""The set of settings that can be the best, and which of them are as good as its leader.

Which of k settings may have the highest mean, with 95 % confidence (Gupta 1965; Hsu's comparisons with the best,
1981)? Setting i stays unless some j beats it: mean_j - mean_i > c·√(s_i²/n_i + s_j²/n_j), c being Dunnett's one-sided
critical value for k - 1 comparisons. A truly best setting leaves the set in at most 5 % of sweeps, and that the leader
was picked by looking is covered, as every setting is tried as the best.

Few seeds show too little of a setting's variance: one that fails for a seed in ten shows three alike ones. So settings
are held against each other on the scale on which variances are alike (``Scale``: the logit of a share, the logarithm of
a loss). Variances are shrunk to each other there (Smyth 2004), and none is taken to be below the cubic mean of those
still in the set. Wild losers leave first, then that floor falls: the rule is applied again to what is left until
nothing changes. As it is the mean itself that shall be best, a setting must be behind in it too, in a plain test of the
two at 5 %: Welch's, or the ranks', which three seeds each pass if all of one are below all of the other.
``scripts/bench_answer.py`` measures what this is worth.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt
from scipy import optimize, special

from runner.statistics.scores import LEVEL, Array

FLOOR_POWER = 3.0
"""The floor of variances is their mean of this power: the wider ones decide."""
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
        pair = np.array([self.leader, setting])
        return float(_welch(self.variance[pair], self.n[pair], np.array([0]))[1, 0])


@dataclass(frozen=True)
class Scale:
    """On which scale a measure's variances over seeds are alike, more being better."""

    even: Callable[[Array, float], Array]
    """From scores and the measure's step to that scale."""
    spread: Callable[[Array], Array]
    """From means to what variances of scores are about in proportion to."""
    width: Callable[[Array], Array]
    """From means to how far scores move for a step of one on that scale."""


def _share(means: Array) -> Array:
    inside = np.clip(means, 0.001, 0.999)
    return np.asarray(inside * (1 - inside))


def _logit(scores: Array, step: float) -> Array:
    least = step / 2 if step > 0 else 0.001
    inside = np.clip(scores, least, 1 - least)
    return np.asarray(np.log(inside / (1 - inside)))


def _size(means: Array) -> Array:
    return np.asarray(np.maximum(np.abs(means), 1e-12))


PLAIN = Scale(lambda scores, _: scores, np.ones_like, np.ones_like)
"""Of a measure of which nothing is known."""
SHARE = Scale(_logit, _share, _share)
"""Of a share, such as an accuracy: its logit, and p(1 - p), as a binomial's. 0 and 1 are half a step within."""
LOSS = Scale(lambda scores, _: np.asarray(-np.log(_size(scores))), lambda means: _size(means) ** 2, _size)
"""Of a loss, whose score is its negative: its logarithm, and its square."""
SHORTFALL = Scale(
    lambda scores, _: np.asarray(-np.log(_size(1 - scores))),
    lambda means: _size(1 - means) ** 2,
    lambda means: _size(1 - means),
)
"""Of what is 1 at best, such as R²: as a loss, of what is missing."""


def best_set(
    scores: Array, step: float = 0.0, scale: Scale = PLAIN, alpha: float = 1 - LEVEL, leader: int | None = None
) -> BestSet:
    """Find the settings that can be the best.

    Args:
        scores: ``[k, n]``, more is better; NaN is a missing run. A setting has one score at least.
        step: the measure's resolution: no variance is below its rounding error's, step²/12.
        scale: the measure's.
        alpha: in how many sweeps a truly best setting may be left out.
        leader: which of several equal means leads; by default the best mean of those with two scores or more.
    """
    n, mean, variance = _moments(scores, step)
    several = n > 1
    inside = np.ones(len(mean), bool)
    able = several if several.any() else inside
    leader = int(np.flatnonzero(able)[np.argmax(mean[able])]) if leader is None else leader
    if len(mean) == 1 or not several.any():
        nothing = np.full(len(mean), math.nan)
        return BestSet(leader, inside, n, mean, nothing, mean[leader] - mean, nothing, nothing)
    weight = scale.spread(mean)
    _, even_mean, even_variance = _moments(scale.even(scores, step), 0.0)
    ratio, even = (np.full(len(mean), math.nan) for _ in range(2))
    ratio[several], _ = moderated(variance[several] / weight[several], n[several] - 1)
    least = step**2 / 12 / scale.width(mean) ** 2
    even[several], _ = moderated(np.maximum(even_variance, least)[several], n[several] - 1)
    usual = np.where(several, np.fmax(variance, ratio * weight), _floor(ratio[several]) * weight)
    while True:
        who = np.flatnonzero(inside & several)
        who = who[np.argsort(-mean[who], kind="stable")][:CHALLENGERS]
        floored = np.fmax(even, _floor(even[inside & several]))
        bound = critical(max(1, int(inside.sum()) - 1), _welch(floored, n, who), alpha)
        ahead = _lead(even_mean, floored, n, who) > bound
        plainly = _lead(mean, usual, n, who) > special.stdtrit(_welch(usual, n, who), 1 - alpha)
        plainly |= _separated(scores, n, who, alpha)
        beaten = (ahead & plainly).any(1) & inside
        if not beaten.any():
            break
        inside &= ~beaten
    first, floored = (np.fmax(ratio, _floor(ratio[of & several])) * weight for of in (several, inside))
    difference = mean[leader] - mean
    degrees = _welch(first, n, np.array([leader]))[:, 0]
    error = np.sqrt(first / n + first[leader] / n[leader])
    half = critical(max(1, len(mean) - 1), degrees, alpha, two_sided=True) * error
    half[leader] = math.nan
    low = np.where(inside, difference - half, np.maximum(difference - half, 0.0))
    return BestSet(leader, inside, n, mean, floored, difference, low, difference + half)


def seed_effects(scores: Array, scale: Scale = PLAIN) -> Array:
    """Return what each seed adds to every setting's score, so that lucky seeds lift no setting above the others.

    Least squares of score = setting + seed by alternation, a setting weighing the less the wider its scores are
    expected to spread: one whose loss explodes says nothing of the others' seeds. 0 where every setting has every seed,
    or no two settings share one.

    Args:
        scores: ``[k, n]``, more is better; NaN is a missing run. A setting has one score at least.
        scale: the measure's.
    """
    known = np.isfinite(scores)
    seeds = np.zeros(scores.shape[1])
    if known.all() or (known.sum(0) < 2).all():
        return seeds
    filled, n = np.where(known, scores, 0.0), known.sum(1)
    narrowness = 1 / scale.spread(filled.sum(1) / n)
    weight = known * (narrowness / narrowness.max())[:, None]
    of_seed = weight.sum(0)
    for _ in range(100):
        settings = (filled - known * seeds).sum(1) / n
        left = (weight * (filled - settings[:, None])).sum(0)
        seeds = np.divide(left, of_seed, out=np.zeros_like(left), where=of_seed > 0)
        seeds -= np.average(seeds, weights=of_seed)
    return seeds


def half_widths(scores: Array, step: float = 0.0, scale: Scale = PLAIN) -> Array:
    """Return half the width of the 95 % interval of each setting's mean; NaN where it has one score.

    A few runs that happen to agree say little, so a variance is the setting's own, or what the settings' geometric mean
    makes one expect if that is more; its degrees of freedom are the setting's own and those that the others lend
    (Smyth 2004), no more than the others have. With one setting it is Student's interval.

    Args:
        scores: ``[k, n]``, more is better; NaN is a missing run. A setting has one score at least.
        step: the measure's resolution.
        scale: the measure's.
    """
    n, mean, variance = _moments(scores, step)
    weight, several = scale.spread(mean), n > 1
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


def _floor(variances: Array) -> float:
    return float(np.mean(variances**FLOOR_POWER)) ** (1 / FLOOR_POWER)


def _lead(mean: Array, variance: Array, n: npt.NDArray[np.int64], who: npt.NDArray[np.int64]) -> Array:
    """Return by how many standard errors each of ``who`` is ahead of each setting, ``[k, who]``."""
    return np.asarray((mean[who] - mean[:, None]) / np.sqrt(variance[:, None] / n[:, None] + variance[who] / n[who]))


def _separated(
    scores: Array, n: npt.NDArray[np.int64], who: npt.NDArray[np.int64], alpha: float
) -> npt.NDArray[np.bool_]:
    """Say whether all runs of each of ``who`` beat all of each setting, and are enough for ranks to tell."""
    orders = special.comb(n[:, None] + n[who], n[who])
    return np.asarray((np.nanmin(scores[who], 1) > np.nanmax(scores, 1)[:, None]) & (1 / orders <= alpha + 1e-12))


def _welch(variance: Array, n: npt.NDArray[np.int64], who: npt.NDArray[np.int64]) -> Array:
    """Return the degrees of freedom of these differences (Welch 1947); a single value has those of two."""
    share, df = variance / n, np.maximum(n - 1, 1)
    own = share[:, None] ** 2 / df[:, None]
    return np.asarray((share[:, None] + share[who]) ** 2 / (own + share[who] ** 2 / df[who]))


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


def equivalence(best: BestSet, setting: int, alpha: float = 1 - LEVEL) -> tuple[float, float]:
    """Return the interval at 1 - 2·alpha of the leader's mean less a setting's.

    The two are equivalent where it lies within ± the margin: two one-sided tests (Schuirmann 1987).
    """
    half = float(special.stdtrit(best.degrees(setting), 1 - alpha)) * best.error(setting)
    difference = float(best.difference[setting])
    return difference - half, difference + half


def seeds_to_tell(best: BestSet, setting: int, margin: float, most: int = 1000, alpha: float = 1 - LEVEL) -> int | None:
    """Return with how many seeds each a setting is expected to be clearly worse than the leader, or its equivalent.

    The difference and the variances are taken to stay as they are. More seeds than there are; None if ``most`` are
    not enough.
    """
    one, other = best.variance[best.leader], best.variance[setting]
    away, others = abs(float(best.difference[setting])), max(1, int(best.inside.sum()) - 1)
    for n in range(int(min(best.n[best.leader], best.n[setting])) + 1, most + 1):
        error, degrees = math.sqrt((one + other) / n), (n - 1) * (one + other) ** 2 / (one**2 + other**2)
        alike = float(special.stdtrit(degrees, 1 - alpha)) * error < margin - away
        if alike or float(critical(others, np.array(degrees), alpha)) * error < away:
            return n
    return None
