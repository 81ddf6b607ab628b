"""Batch strategies: how many samples each step takes, one an option."""

import math

from runner.engine.rules import Adaptive, Strategy
from runner.errors import ConfigError


def fixed(samples: int, epochs: int | None, *, size: int | None) -> Strategy:
    """Return the same size throughout; None is all ``samples``.

    Args:
        samples: in the training set.
        epochs: length of the run; None where it is given in steps.
        size: samples a step.

    Raises:
        ConfigError: if the training set is smaller.
    """
    if size is not None and size > samples:
        raise ConfigError(f"batch.size must be ≤ {samples}, the number of training samples, got {size}")
    whole = samples if size is None else size
    return lambda epoch: whole


def growing(
    samples: int, epochs: int | None, *, size: int, factor: int, milestones: list[float], most: int | None
) -> Strategy:
    """Return a size that is multiplied by ``factor`` at each milestone, up to ``most`` (Smith et al. 2018, §5.1).

    Raises:
        ConfigError: if the training set is smaller than the first batch, or a milestone is no epoch.
    """
    whole = fixed(samples, epochs, size=size)(0)
    reached = [_epoch(milestone, epochs) for milestone in milestones]
    largest = min(samples, most or samples)
    return lambda epoch: max(whole, min(largest, whole * factor ** sum(epoch >= m for m in reached)))


def _epoch(milestone: float, epochs: int | None) -> int:
    if milestone >= 1 and milestone != int(milestone):
        raise ConfigError(f"batch.milestones must be whole epochs, or fractions of the run below 1, got {milestone:g}")
    if milestone < 1 and epochs is None:
        raise ConfigError(
            f"batch.milestones={milestone:g} is a fraction of epochs, but max_steps is set: use whole epochs"
        )
    return int(milestone) if milestone >= 1 else max(1, round(milestone * (epochs or 0)))


def adaptive(
    samples: int,
    epochs: int | None,
    *,
    size: int,
    smallest: int,
    most: int | None,
    every: int | None,
    parts: int,
    decay: float,
) -> Strategy:
    """Return a size that follows the gradient noise scale tr(Σ)/|G|² (McCandlish et al. 2018, §2.2, app. A.1).

    Raises:
        ConfigError: if the training set is smaller than the first batch.
    """
    first = fixed(samples, epochs, size=size)(0)
    return Adaptive(
        first, min(smallest, samples), min(most or samples, samples), every, parts, decay, in_steps=epochs is None
    )


def auto(samples: int, *, smallest: int, most: int) -> int:
    """Return the power of two nearest to √samples (of two as near, the larger), within bounds and ``samples``.

    A rule of thumb: an epoch has about as many steps as a batch has samples. Bounds that are no powers of two are
    sizes too.
    """
    nearest = 1 << math.floor(math.log2(samples) / 2 + 0.5)
    return min(max(nearest, smallest), most, samples)
