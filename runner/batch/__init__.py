"""Batch strategies: how many samples each step takes, one an option."""

import math

from runner.engine.rules import Strategy, whole_steps
from runner.errors import ConfigError


def fixed(samples: int, epochs: int | None, *, size: int | str | None) -> Strategy:
    """Return the same size throughout; ``all``, or None, is all ``samples``.

    Args:
        samples: in the training set.
        epochs: length of the run; None where it is given in steps.
        size: samples a step.

    Raises:
        ConfigError: if the training set is smaller.
    """
    if isinstance(size, str) or size is None:
        return lambda epoch: samples
    whole = size
    if whole > samples:
        raise ConfigError(f"batch.size must be ≤ {samples}, the number of training samples, got {size}")
    return lambda epoch: whole


def growing(
    samples: int,
    epochs: int | None,
    *,
    size: int,
    factor: int,
    milestones: list[float],
    most: int | None,
    max_steps: int | None = None,
    drop_last: bool = False,
) -> Strategy:
    """Return a size that is multiplied by ``factor`` at each milestone, up to ``most`` (Smith et al. 2018, §5.1).

    Args:
        samples: in the training set.
        epochs: length of the run; None where it is given in steps.
        size: samples a step at first.
        factor: by which it grows.
        milestones: epochs from 1 on, or fractions of the run below 1. In a run of steps, the size changes with the
            first epoch that begins at such a share of its steps, or after it.
        most: largest size; None is all ``samples``.
        max_steps: length of the run; None where it is given in epochs.
        drop_last: an epoch's last batch is left out where it is smaller.

    Raises:
        ConfigError: if the training set is smaller than the first batch, or a milestone is no epoch.
    """
    whole = fixed(samples, epochs, size=size)(0)
    if odd := [milestone for milestone in milestones if milestone >= 1 and milestone != int(milestone)]:
        raise ConfigError(f"batch.milestones must be whole epochs, or fractions of the run below 1, got {odd[0]:g}")
    largest = min(samples, most or samples)

    def grown(reached: int) -> int:
        return max(whole, min(largest, whole * int(factor**reached)))

    if epochs is not None:
        firsts = [whole_steps(m, epochs) for m in milestones]
        return lambda epoch: grown(sum(epoch >= first for first in firsts))
    assert max_steps is not None, "a run has a length"
    begins = [0]  # the steps made before each epoch

    def of_steps(epoch: int) -> int:
        while True:
            last = len(begins) - 1
            at = min(epoch, last)
            size = grown(sum(at >= m if m >= 1 else at > 0 and begins[at] >= m * max_steps for m in milestones))
            if epoch <= last:
                return size
            begins.append(begins[last] + (samples // size if drop_last else math.ceil(samples / size)))

    return of_steps


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
    from runner.batch.noise_scale import Adaptive

    first = fixed(samples, epochs, size=size)(0)
    bounds = min(smallest, samples), min(most or samples, samples)
    return Adaptive(samples, first, *bounds, every, parts, decay, in_steps=epochs is None)


def auto(samples: int, *, smallest: int, most: int) -> int:
    """Return the power of two nearest to √samples (of two as near, the larger), within bounds and ``samples``.

    A rule of thumb: an epoch has about as many steps as a batch has samples. Bounds that are no powers of two are
    sizes too.
    """
    nearest = 1 << math.floor(math.log2(samples) / 2 + 0.5)
    return min(max(nearest, smallest), most, samples)
