"""A data set split into train, validation and test, and normalized."""

import math

import numpy as np
from numpy.typing import NDArray

from runner.data import Array, Data, Samples, Source
from runner.errors import ConfigError


def split(
    source: Source,
    *,
    split_seed: int,
    val_fraction: float | None,
    fraction: float,
    normalize: str,
    dtype: str,
    folds: int | None = None,
    fold: int | None = None,
    bootstrap: int | None = None,
) -> Data:
    """Split a source into train, validation and test, stratified over classes, and normalize it.

    Args:
        source: the data set.
        split_seed: of the test set, and of what is cut out of the rest.
        val_fraction: the share of the rest that is validation; None with folds.
        fraction: the share of the training samples used.
        normalize: none, standard or minmax.
        dtype: of the inputs.
        folds: cuts the rest into so many parts instead (cross-validation: Stone 1974; stratified: Kohavi 1995).
        fold: the part that is validation, from 0; the others are train.
        bootstrap: seed of a draw of as many training samples with replacement (Efron 1979).

    Raises:
        ConfigError: if a part would be empty, or holds a number beyond the range of ``dtype``; for folds of data that
            has a validation set of its own.
    """
    rng = np.random.default_rng(split_seed)
    rest, test = source.samples, source.test
    if test is None:
        if source.test_fraction is None:
            raise ConfigError("data.test_fraction must be > 0 and < 1 where the data has no test set, got null")
        rest, test = _hold_out(rest, source.classes, source.test_fraction, rng, "data.test_fraction")
    train, val = _train_and_val(source, rest, val_fraction, folds, fold, rng)
    if fraction < 1:
        _, train = _hold_out(train, source.classes, fraction, rng, "data.fraction")
    if bootstrap is not None:
        # A stream beside those of all split seeds, which may be the same number.
        drawing = np.random.default_rng(np.random.SeedSequence(bootstrap, spawn_key=(1,)))
        train = train[drawing.integers(len(train), size=len(train))]
    return _as_numbers(source, train, val, test, normalize, dtype)


def _train_and_val(
    source: Source,
    rest: Samples,
    val_fraction: float | None,
    folds: int | None,
    fold: int | None,
    rng: np.random.Generator,
) -> tuple[Samples, Samples]:
    """Return the training samples and the validation samples."""
    if folds is not None:
        if source.val is not None:
            raise ConfigError(
                f"data.folds={folds} beside data that has a validation set of its own: "
                "leave data.folds and data.fold out"
            )
        assert fold is not None
        return _hold_out_fold(rest, source.classes, folds, fold, rng)
    if source.val is not None:
        return rest, source.val
    assert val_fraction is not None
    return _hold_out(rest, source.classes, val_fraction, rng, "data.val_fraction")


def _as_numbers(source: Source, train: Samples, val: Samples, test: Samples, normalize: str, dtype: str) -> Data:
    """Return the parts as floats of ``dtype``, normalized with the statistics of train; a text as it is."""
    if source.alphabet is not None and normalize != "none":
        raise ConfigError(f"data.normalize={normalize} beside a text, whose characters are no quantities: use none")
    targets = np.dtype(dtype) if source.classes is None else np.dtype(np.int64)
    with np.errstate(all="ignore"):  # what is not finite then is refused by name
        shift, scale = (s.astype(dtype) for s in _statistics(train.x, normalize))
        if source.alphabet is None:
            train, val, test = (
                Samples(_normalized(part.x.astype(dtype), shift, scale), part.y.astype(targets))
                for part in (train, val, test)
            )
    for name, array in ((name, getattr(part, name)) for part in (train, val, test) for name in ("x", "y")):
        if not np.isfinite(array).all():
            place = np.argwhere(~np.isfinite(array))[0, 1:].tolist()
            raise ConfigError(
                f"{name}{place} of the data is not finite after data.normalize={normalize} in dtype={dtype}: "
                "its numbers are too large, or too near each other"
            )
    return Data(train, val, test, source.classes, source.fingerprint, shift, scale, source.alphabet)


def training_samples(
    source: Source,
    *,
    val_fraction: float | None,
    fraction: float,
    folds: int | None = None,
    fold: int | None = None,
) -> int:
    """Return how many training samples ``split`` leaves, without splitting."""
    n = len(source.samples)
    n -= 0 if source.test is not None else math.floor(n * (source.test_fraction or 0.0))
    if folds is not None and fold is not None:
        n -= len(range(fold, n, folds))
    elif source.val is None:
        n -= math.floor(n * (val_fraction or 0.0))
    return math.floor(n * fraction)


def _hold_out(
    samples: Samples, classes: int | None, share: float, rng: np.random.Generator, key: str
) -> tuple[Samples, Samples]:
    """Return what is left and ⌊n·share⌋ samples taken evenly from every class."""
    n = len(samples)
    order = _by_class(samples, classes, rng)
    taken = np.floor(np.arange(1, n + 1) * share) > np.floor(np.arange(n) * share)
    if taken.all() or not taken.any():
        raise ConfigError(f"{key}={share:g} of {n} samples leaves a part empty")
    return samples[np.sort(order[~taken])], samples[np.sort(order[taken])]


def _hold_out_fold(
    samples: Samples, classes: int | None, folds: int, fold: int, rng: np.random.Generator
) -> tuple[Samples, Samples]:
    """Return what is left and one of ``folds`` parts, dealt out in turn: sizes differ by 1 at most, in every class."""
    n = len(samples)
    if n < folds:
        raise ConfigError(f"data.folds={folds} of {n} samples leaves a part empty")
    order = _by_class(samples, classes, rng)
    taken = np.arange(n) % folds == fold
    return samples[np.sort(order[~taken])], samples[np.sort(order[taken])]


def _by_class(samples: Samples, classes: int | None, rng: np.random.Generator) -> NDArray[np.int64]:
    """Return the samples' places at random, those of a class together; of a text or numbers just at random."""
    order = rng.permutation(len(samples))
    if classes is not None and samples.y.ndim == 1:
        order = order[np.argsort(samples.y[order], kind="stable")]
    return order


def _normalized(x: Array, shift: Array, scale: Array) -> Array:
    """Return the numbers in their own place: a second copy of a large set costs more than the arithmetic."""
    np.subtract(x, shift, out=x)
    return np.divide(x, scale, out=x)


def _statistics(x: Array, normalize: str) -> tuple[Array, Array]:
    """Return shift and scale: one a channel of images ``[n, c, h, w]``, one a feature of tables ``[n, f]``."""
    axes = (0, *range(2, x.ndim))
    if normalize == "none":
        return np.zeros([1] * x.ndim), np.ones([1] * x.ndim)
    if normalize == "standard" and x.dtype == np.uint8:  # sums of whole numbers are exact, and a tenth of the work
        n = x.size // x.shape[1]
        total = x.sum(axes, dtype=np.int64, keepdims=True)
        squares = np.square(x, dtype=np.uint16).sum(axes, dtype=np.int64, keepdims=True)
        spread = squares.astype(object) * n - total.astype(object) ** 2  # beyond 64 bits
        shift, scale = total / n, np.sqrt(spread.astype(np.float64)) / n
    elif normalize == "standard":
        shift = x.mean(axes, dtype=np.float64, keepdims=True)
        scale = x.std(axes, dtype=np.float64, keepdims=True)
    else:
        assert normalize == "minmax"
        shift = x.min(axes, keepdims=True).astype(np.float64)
        scale = x.max(axes, keepdims=True) - shift
    return shift, np.where(scale == 0, 1.0, scale)  # a constant feature stays 0
