"""How fast an optimizer is: steps to a target, and the length at which a baseline ends as well (Wen et al. 2025, §3).

Within a run whose rate decays a loss is reached late whatever the optimizer; so the speed-up is of whole runs: how long
the baseline must be trained to end where the other ends.
"""

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy import stats

from runner.statistics.scores import Array
from runner.study.contest.choice import chosen, final_loss, finals
from runner.study.contest.packed import CURVE
from runner.study.contest.plan import LENGTH, TIMED

RESAMPLES, SEED = 2000, 0
LEVEL = 0.95
SLACK = 0.05
"""A target is so much above the loss that the tuned baseline ends at."""


@dataclass(frozen=True)
class Baseline:
    """Where the tuned baseline ends at several lengths."""

    shares: Array
    """Its lengths over the workload's, rising, ``[k]``."""
    losses: Array
    """Logarithms of its final validation losses, ``[k, seeds]``."""


def baseline(part: pd.DataFrame, budget: int) -> Baseline:
    """Return where a baseline that a budget tuned ends, from its part's rows."""
    own = finals(part, budget)
    length = float(own["steps"].iloc[0])
    found = {1.0: np.log(final_loss(own))}
    for steps, runs in part[part["role"] == LENGTH].groupby("steps"):
        found[float(str(steps)) / length] = np.log(final_loss(runs.sort_values("seed")))
    shares = sorted(found)
    return Baseline(np.array(shares), np.stack([found[share] for share in shares]))


def equivalent(shares: Array, losses: Array, loss: Array) -> Array:
    """Return the least share of a length at which a baseline's loss is so low, between its lengths in their logarithm.

    What is worse than the shortest length has its share, and what no length reaches the longest's: more is not known.
    A length that ends worse than a shorter one counts as it does.

    Args:
        shares: lengths, rising, ``[k]``.
        losses: of the baseline there, ``[k, n]``.
        loss: to be reached, ``[n]``; may be infinite.
    """
    falling = np.minimum.accumulate(losses, axis=0)
    there = falling <= loss
    first = np.where(there.any(0), there.argmax(0), len(shares) - 1)
    before, n = np.maximum(first - 1, 0), np.arange(falling.shape[1])
    above, below = falling[before, n], falling[first, n]
    with np.errstate(invalid="ignore", divide="ignore"):
        way = np.where(above > below, (above - loss) / (above - below), 1.0)
    way = np.where(there.any(0), np.clip(np.nan_to_num(way, nan=1.0), 0.0, 1.0), 1.0)
    logs = np.log(shares)
    return np.asarray(np.exp(logs[before] + np.where(first > 0, way, 0.0) * (logs[first] - logs[before])))


def draws(seeds: int, place: int) -> npt.NDArray[np.int64]:
    """Return resamples of seeds, ``[RESAMPLES + 1, seeds]``, the seeds themselves first.

    Args:
        seeds: how many.
        place: of the workload: each has draws of its own, the same for every optimizer.
    """
    drawn = np.random.default_rng([SEED, place]).integers(seeds, size=(RESAMPLES, seeds))
    return np.concatenate([np.arange(seeds)[None], drawn])


def speed_ups(of: Baseline, losses: Array, drawn: npt.NDArray[np.int64]) -> Array:
    """Return the speed-up in each draw of seeds.

    Args:
        of: the baseline.
        losses: the optimizer's final validation losses, ``[seeds]``, in the order of the baseline's.
        drawn: of ``draws``.
    """
    with np.errstate(divide="ignore"):
        logs = np.log(losses)
    return equivalent(of.shares, of.losses[:, drawn].mean(2), logs[drawn].mean(1))


def interval(values: Array, seeds: int) -> tuple[float, float, float]:
    """Return the first of some draws' values and the 95 % interval of the others.

    Plain percentiles of draws of 12 seeds would cover 91 %: these are moved out by what Student's interval of as many
    is wider (the expanded percentile interval, Hesterberg 2015, §5.3).

    Args:
        values: ``[RESAMPLES + 1]``, of ``draws``.
        seeds: how many were drawn from.
    """
    tail = stats.norm.cdf(stats.t.ppf((1 - LEVEL) / 2, seeds - 1) * math.sqrt(seeds / (seeds - 1)))
    low, high = np.quantile(values[1:], [tail, 1 - tail])
    return float(values[0]), float(low), float(high)


def target(part: pd.DataFrame, budget: int) -> float:
    """Return the validation loss to be reached, from the baseline's rows: a little above where it ends, tuned."""
    return float((1 + SLACK) * math.exp(float(np.mean(np.log(final_loss(finals(part, budget)))))))


def times(runs: pd.DataFrame, loss: float) -> Array:
    """Return the step at which each run's validation loss is first so low; infinite where it never is.

    Between two evaluations the logarithm of the loss is taken to be a straight line.
    """
    curves = runs[CURVE].apply(pd.to_numeric).to_numpy(float)
    at = np.linspace(0.0, 1.0, len(CURVE)) * runs["steps"].to_numpy(float)[:, None]
    there = np.where(np.isfinite(curves), curves, np.inf) <= loss
    found = np.full(len(runs), math.inf)
    for place in np.flatnonzero(there.any(1)):
        i = int(there[place].argmax())
        if i == 0:
            found[place] = 1.0
            continue
        high, low = np.log(curves[place, i - 1]), np.log(curves[place, i])
        way = (high - math.log(loss)) / (high - low)
        found[place] = at[place, i - 1] + way * (at[place, i] - at[place, i - 1])
    return found


def seconds_a_step(part: pd.DataFrame) -> float:
    """Return what a step of an optimizer's run takes by itself, on one thread; NaN where that was not measured."""
    runs = part[part["role"] == TIMED]
    return float(runs["step_seconds"].min()) if len(runs) else math.nan


def setting(part: pd.DataFrame, budget: int) -> str:
    """Return the setting that a budget chose, as it is typed; ``defaults`` where they are it."""
    return " ".join(o.removeprefix("optim.") for o in chosen(part, budget)[1]) or "defaults"
