"""A power law with a floor, loss = E + A·N^(−α), fitted to the mean losses of several sizes, with bootstrap intervals.

Residuals are relative to the loss, as losses of small and large networks differ by orders. Given α, E ≥ 0 and A ≥ 0 are
least squares in closed form, so that a fit is a search over α alone, and a thousand of them cost milliseconds.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import optimize, stats

from runner.statistics.scores import LEVEL, ROUNDING, Array

FEWEST_SIZES = 4
"""One more than the law has numbers."""
DRAWS = 1000
EXPONENTS = np.geomspace(0.01, 5.0, 250)
"""Where α is looked for; a curve of a smaller one cannot be told from a logarithm, one of a larger one is a step."""


@dataclass(frozen=True)
class Law:
    """A fitted law, and as many more as there were bootstrap samples."""

    exponent: float
    """α; 0 where A is."""
    floor: float
    """E: what the loss falls towards."""
    coefficient: float
    """A, of sizes in units of ``unit``."""
    unit: float
    exponent_interval: tuple[float, float]
    """From 0 to the largest α looked for where A is 0: every exponent fits then."""
    floor_interval: tuple[float, float]
    error: float
    """Root mean square of the relative residuals, over the degrees of freedom that are left."""
    misfit: bool
    """The means lie further from the law than the spread of their seeds explains."""
    over_seeds: bool
    """The intervals are of the spread over seeds, and not of the residuals."""
    draws: Array
    """``[draws, 3]``: α, E and A of each bootstrap sample."""

    def at(self, sizes: Array) -> Array:
        """Return the law's losses."""
        return _curve(np.array([[self.exponent, self.floor, self.coefficient]]), sizes / self.unit)[0]

    def band(self, sizes: Array) -> tuple[Array, Array]:
        """Return the interval of the law's losses, size by size."""
        low, high = np.quantile(_curve(self.draws, sizes / self.unit), _ENDS, axis=0)
        return low, high


_ENDS = ((1 - LEVEL) / 2, (1 + LEVEL) / 2)


def fit(sizes: Array, losses: Sequence[Array], draws: int = DRAWS) -> Law:
    """Fit the law to each size's mean loss; intervals are percentiles of a bootstrap around it.

    With several seeds the noise is theirs; with one, or where the means lie further from the law than seeds explain (F
    test of lack of fit at 5 %), it is that of the means around the law.

    Args:
        sizes: ``[k]``, positive and all different, at least ``FEWEST_SIZES``.
        losses: of each size the runs' losses, positive.
        draws: bootstrap samples.
    """
    assert len(set(sizes)) == len(sizes) >= FEWEST_SIZES, "the caller counts sizes"
    counts = np.array([len(of_size) for of_size in losses])
    means = np.array([float(np.mean(of_size)) for of_size in losses])
    unit = float(np.exp(np.mean(np.log(sizes))))
    x = sizes / unit
    (found,) = _laws(x, means[None], means)
    if found[0] > 0:
        found = _between(x, means[None], means, found[0])
    expected = _curve(found[None], x)[0]
    residuals, left = _beyond_rounding(means / expected - 1), len(sizes) - 3
    spread, free = _spread(losses), int((counts - 1).sum())
    variance = float((spread**2).mean()) if free else 0.0
    beyond = (counts * residuals**2).sum() / left
    misfit = variance > 0 and bool(stats.f.sf(beyond / variance, left, free) < 1 - LEVEL)
    over_seeds = variance > 0 and not misfit
    if over_seeds:
        noise = _noise(spread, counts, free, draws)
    else:
        noise = _noise(residuals * np.sqrt(len(sizes) / left), np.ones_like(counts), left, draws)
    drawn = _laws(x, np.maximum(expected * (1 + noise), 1e-3 * expected), means)
    low, high = np.quantile(drawn, _ENDS, axis=0)
    exponent, floor, coefficient = map(float, found)
    of_exponent, of_floor = ((float(low[i]), float(high[i])) for i in (0, 1))
    if coefficient == 0:
        of_exponent = 0.0, float(EXPONENTS[-1])
    error = float(np.sqrt((residuals**2).sum() / left))
    return Law(exponent, floor, coefficient, unit, of_exponent, of_floor, error, misfit, over_seeds, drawn)


def _spread(losses: Sequence[Array]) -> Array:
    """Return each run's relative deviation from its size's mean, of the variance that single runs have."""
    several = [v for v in losses if len(v) > 1]
    deviations = [np.sqrt(len(v) / (len(v) - 1)) * _beyond_rounding(v / v.mean() - 1) for v in several]
    return np.concatenate(deviations or [np.zeros(0)])


def _beyond_rounding(deviations: Array) -> Array:
    """Return relative deviations, those that rounding alone can make as 0."""
    return np.where(np.abs(deviations) <= ROUNDING, 0.0, deviations)


def _noise(deviations: Array, counts: Array, free: int, draws: int) -> Array:
    """Return relative errors ``[draws, k]`` of means over ``counts`` deviations, drawn with replacement.

    Few deviations tell their own size badly: each sample's are scaled by √(ν/χ²(ν)), ν the degrees of freedom behind
    them, which makes Student's interval of a normal one.
    """
    rng = np.random.default_rng(0)
    noise = np.stack([rng.choice(deviations, (draws, int(count))).mean(1) for count in counts], axis=1)
    return np.asarray(noise * np.sqrt(free / rng.chisquare(free, (draws, 1))))


def _curve(laws: Array, x: Array) -> Array:
    """Return the losses ``[laws, sizes]`` of laws ``[laws, 3]``."""
    exponent, floor, coefficient = (column[:, None] for column in laws.T)
    found: Array = floor + coefficient * x**-exponent
    return found


def _laws(x: Array, y: Array, scale: Array) -> Array:
    """Return α, E and A ``[samples, 3]`` of the least residuals ``(E + A·x^(−α) − y)/scale``; α is 0 where A is.

    Args:
        x: sizes, ``[k]``.
        y: losses, ``[samples, k]``.
        scale: ``[k]``.
    """
    cost, floor, coefficient = _least_squares(x, y, scale, EXPONENTS)
    best = np.arange(len(y)), np.nan_to_num(cost, nan=np.inf).argmin(1)  # sizes of any span have no 5th power
    exponent = np.where(coefficient[best] > 0, EXPONENTS[best[1]], 0.0)
    return np.stack([exponent, floor[best], coefficient[best]], axis=1)


def _between(x: Array, y: Array, scale: Array, near: float) -> Array:
    """Return the law whose exponent is searched for around one of the table's."""
    at = int(np.abs(EXPONENTS - near).argmin())
    ends = EXPONENTS[max(0, at - 1)], EXPONENTS[min(len(EXPONENTS) - 1, at + 1)]

    def cost(exponent: float) -> float:
        return float(_least_squares(x, y, scale, np.array([exponent]))[0][0, 0])

    found = optimize.minimize_scalar(cost, bounds=ends, method="bounded", options={"xatol": 1e-9}).x
    _, floor, coefficient = _least_squares(x, y, scale, np.array([found]))
    return np.array([found if coefficient[0, 0] > 0 else 0.0, floor[0, 0], coefficient[0, 0]])


def _least_squares(x: Array, y: Array, scale: Array, exponents: Array) -> tuple[Array, Array, Array]:
    """Return the cost, E and A, each ``[samples, exponents]``, of the best E ≥ 0 and A ≥ 0 at each exponent.

    Losses and powers are taken from their means before they are multiplied, so that losses that are all alike leave
    nothing to explain. A fall that rounding alone can make is none: A is 0 then, whatever the exponent.
    """
    weight, z = scale**-2.0, x[:, None] ** -exponents
    z_mean, y_mean = weight @ z / weight.sum(), (y @ weight / weight.sum())[:, None]
    dz, dy = z - z_mean, y - y_mean
    z_spread, y_spread = weight @ dz**2, (dy**2 @ weight)[:, None]
    size, bare_z, both = (y**2 @ weight)[:, None], weight @ z**2, (y * weight) @ z
    together = (dy * weight) @ dz
    coefficient = together / z_spread
    floor = y_mean - coefficient * z_mean
    flat, bare = coefficient * np.sqrt(z_spread) <= ROUNDING * np.sqrt(size), floor < 0
    cost = np.where(bare, size - both**2 / bare_z, y_spread - coefficient * together)
    cost = np.where(flat, y_spread, cost)
    floor = np.where(flat, y_mean, np.where(bare, 0.0, floor))
    return cost, floor, np.where(flat, 0.0, np.where(bare, both / bare_z, coefficient))
