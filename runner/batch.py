"""Batch strategies: how many samples each step takes, one an option."""

from collections.abc import Callable

from runner.errors import ConfigError

Strategy = Callable[[int], int]
"""Samples of the step that begins in an epoch (0, 1, …)."""


def fixed(samples: int, *, size: int | None) -> Strategy:
    """Return the same size throughout; None is all ``samples``.

    Raises:
        ConfigError: if the training set is smaller.
    """
    if size is not None and size > samples:
        raise ConfigError(f"batch.size must be ≤ {samples}, the number of training samples, got {size}")
    whole = samples if size is None else size
    return lambda epoch: whole
