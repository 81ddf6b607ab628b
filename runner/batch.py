"""Batch strategies: how many samples each step takes, one an option."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from runner.errors import ConfigError

Strategy = Callable[[int], int]
"""Samples of the step that begins in an epoch (0, 1, …)."""


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


@dataclass(frozen=True)
class Adaptive:
    """A size that follows the gradient noise scale, which the run measures; as a ``Strategy``, the first one."""

    size: int
    smallest: int
    most: int
    every: int | None
    """Steps between changes of the size; None is once an epoch."""
    parts: int
    """Of each batch, whose gradients are held against the whole batch's."""
    decay: float
    """Of the averages of tr(Σ) and |G|², a step."""
    in_steps: bool
    """The run's length is given in steps, which its schedule counts; else in epochs, and the schedule in samples."""

    def __call__(self, epoch: int) -> int:
        """Return the first size."""
        return self.size

    def at(self, noise_scale: float) -> int:
        """Return the size for a noise scale."""
        return round(min(max(noise_scale, self.smallest), self.most))


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


def noise_and_signal(whole: float, parts: Sequence[float], samples: Sequence[int]) -> tuple[float, float]:
    """Return unbiased estimates of tr(Σ) and |G|² from one batch (McCandlish et al. 2018, app. A.1).

    A mean gradient of b samples has a squared norm of |G|² + tr(Σ)/b in the mean. Samples drawn without putting them
    back give the tr(Σ) and |G|² of what the training set was drawn from; of parts of one size they are the paper's.

    Args:
        whole: squared norm of the mean gradient of a batch.
        parts: of each of its parts.
        samples: in each part.
    """
    n = sum(samples)
    reciprocal = sum(1 / b for b in samples) / len(samples)
    noise = (sum(parts) / len(parts) - whole) / (reciprocal - 1 / n)
    return noise, whole - noise / n


def auto(samples: int, *, smallest: int, most: int) -> int:
    """Return the power of two nearest to √samples (of two as near, the larger), within bounds and ``samples``.

    A rule of thumb: an epoch has about as many steps as a batch has samples. Bounds that are no powers of two are
    sizes too.
    """
    nearest = 1 << math.floor(math.log2(samples) / 2 + 0.5)
    return min(max(nearest, smallest), most, samples)
