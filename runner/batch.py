"""Batch strategies: how many samples each step takes, one an option."""

from collections.abc import Callable

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
    return int(milestone) if milestone >= 1 else round(milestone * (epochs or 0))
