"""Which parameters decided what the best trials of a search are: PED-ANOVA (Watanabe, Bansal & Hutter 2023)."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from runner.statistics.scores import LEVEL, Array

BEST_SHARE, FEWEST_BEST = 0.1, 5
"""The best trials are so large a share of all, and so many at least."""
FEWEST_TRIALS = 20
CELLS = 50
"""Of the grid on which a number's densities are compared."""
SHUFFLES = 200
PRIOR = 1.0
"""So many trials are taken to be spread evenly, beside those that there are."""


@dataclass(frozen=True)
class Parameter:
    """What the trials of a search drew of one parameter."""

    values: Array
    """``[trials]``: of a number from 0 to 1, of a choice its option's place; NaN where the trial does not have it."""
    options: int
    """How many options a choice has; 0 of a number."""


@dataclass(frozen=True)
class Importance:
    """How much one parameter decided."""

    share: float
    """Of the variance of being among the best that all parameters explain, each by itself."""
    chance: float
    """What it would not exceed in 95 % of searches in which it decides nothing."""
    trials: int
    """How many have it."""


def importance(parameters: Mapping[str, Parameter], scores: Array) -> dict[str, Importance]:
    """Return how much each parameter decided, most first; nothing where there are too few trials.

    For each parameter by itself: the variance of P(among the best | its value) over the trials that there are, which
    is γ²·Σ p(x)·(p_best(x) / p(x) − 1)². A parameter that some trials do not have counts within those that do, by
    their share: what its parent decided is not counted again.

    Args:
        parameters: by name.
        scores: ``[trials]``, more is better; -∞ of one that diverged or failed.
    """
    n = len(scores)
    if n < FEWEST_TRIALS:
        return {}
    best = np.zeros(n, bool)
    best[np.argsort(-scores, kind="stable")[: max(FEWEST_BEST, math.ceil(BEST_SHARE * n))]] = True
    found = {name: _variances(parameter, best) for name, parameter in parameters.items()}
    total = sum(variances[0] for variances in found.values())
    if total <= 0:
        return {}
    shares = {
        name: Importance(
            float(variances[0] / total),
            _chance(variances[1:], total - variances[0]),
            int(np.isfinite(parameters[name].values).sum()),
        )
        for name, variances in found.items()
    }
    return dict(sorted(shares.items(), key=lambda pair: -pair[1].share))


def _chance(shuffled: Array, others: float) -> float:
    """Return the share of a parameter's shuffled variances beside the others', not exceeded in 95 % of shuffles."""
    together = np.maximum(shuffled + others, np.finfo(float).tiny)
    return float(np.quantile(shuffled / together, LEVEL))


def _variances(parameter: Parameter, best: npt.NDArray[np.bool_]) -> Array:
    """Return the variance of P(among the best | value), then of shuffles among those that have the parameter."""
    there = np.isfinite(parameter.values)
    values, n = parameter.values[there], int(there.sum())
    if n < 2 or len(np.unique(values)) < 2:
        return np.zeros(1 + SHUFFLES)
    everything = _density(values, parameter.options)
    found = []
    chance, its = np.random.default_rng(0), best[there]
    for of in (its, *(chance.permutation(its) for _ in range(SHUFFLES))):
        chosen = values[of]
        ratio = _density(chosen, parameter.options) / everything if len(chosen) else np.ones_like(everything)
        spread = float(everything @ (ratio - 1) ** 2)
        found.append(n / len(there) * (len(chosen) / n) ** 2 * spread)
    return np.array(found)


def _density(values: Array, options: int) -> Array:
    """Return how probable each option is, or each cell of a grid from 0 to 1 by Gaussian kernels of Scott's width."""
    if options:
        counts = np.bincount(values.astype(int), minlength=options) + PRIOR / options
        return np.asarray(counts / counts.sum())
    grid = (np.arange(CELLS) + 0.5) / CELLS
    quarter, three = np.quantile(values, (0.25, 0.75))
    spread = min(float(values.std(ddof=1)), (three - quarter) / 1.34) if len(values) > 1 else 0.0
    width = max(1.059 * spread * len(values) ** -0.2, 0.5 / CELLS)
    kernels = np.exp(-0.5 * ((grid[None, :] - values[:, None]) / width) ** 2)
    kernels /= kernels.sum(1, keepdims=True)
    return np.asarray((kernels.sum(0) + PRIOR / CELLS) / (len(values) + PRIOR))
