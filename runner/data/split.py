"""A data set split into train, validation and test, and normalized."""

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from runner.data import Array, Data, Samples, Source, generated, given
from runner.data.vocabulary import Codes, Corpus, Vocabulary
from runner.errors import ConfigError

Floats = NDArray[np.float64]
Parts = tuple[Samples, Samples, Samples]
"""Training, validation and test samples."""
Generate = Callable[[Samples], Samples]
"""From training samples to further ones."""

EPSILON = float(np.finfo(np.float64).eps)
CHUNK = 4096
"""Samples that are held in float64 at a time."""


def split(
    source: Source,
    *,
    split_seed: int,
    val_fraction: float | None,
    fraction: float,
    normalize: str,
    dtype: str,
    normalize_target: str = "none",
    folds: int | None = None,
    fold: int | None = None,
    bootstrap: int | None = None,
    weights: str | None = None,
    targets: str | None = None,
    generate: Generate | None = None,
) -> Data:
    """Split a source into train, validation and test, stratified over classes, and normalize it.

    What is missing is filled with the median of train, or its most frequent category, before it is normalized. Of
    sentences the tokens of train are known, and no others.

    Args:
        source: the data set.
        split_seed: of the test set, and of what is cut out of the rest.
        val_fraction: the share of the rest that is validation, which 0 leaves empty; None with folds.
        fraction: the share of the training samples used.
        normalize: none, standard or minmax.
        dtype: of the inputs, and of targets that are numbers.
        normalize_target: none, standard or minmax, of targets that are numbers.
        folds: cuts the rest into so many parts instead (cross-validation: Stone 1974; stratified: Kohavi 1995).
        fold: the part that is validation, from 0; the others are train.
        bootstrap: seed of a draw of as many training samples with replacement (Efron 1979).
        weights: a file of how much each sample counts in training; see ``runner.data.given``.
        targets: a file of numbers that are learned in the place of what the data set has.
        generate: draws samples from the raw training samples, to stand behind them; statistics are of the real ones.

    Raises:
        ConfigError: if a part would be empty, or holds a number beyond the range of ``dtype``; for folds beside a
            validation set of its own; for classes to be normalized; for a column that is missing in all of train.
    """
    cut = partial(
        _cut,
        split_seed=split_seed,
        val_fraction=val_fraction,
        fraction=fraction,
        folds=folds,
        fold=fold,
        bootstrap=bootstrap,
    )
    parts = cut(source)
    counted = None if weights is None and targets is None else cut(_counting(source))
    if targets is not None and counted is not None:
        numbers = given.targets_of(targets, source, counted)
        parts = tuple(replace(part, y=y) for part, y in zip(parts, numbers, strict=True))  # type: ignore[assignment]
        source = replace(source, classes=None, labels=None)
    drawn = () if generate is None else (generate(parts[0]),)
    data = _as_numbers(source, (*parts, *drawn), normalize, normalize_target, dtype)
    if weights is not None and counted is not None:
        return replace(data, weights=given.weights_of(weights, len(source.samples), counted[0]))
    return data


def places(source: Source, **cutting: Any) -> tuple[NDArray[np.int64], ...]:
    """Return which samples of a source are train, validation and test, by their number, as ``split`` cuts them.

    Of a test or a validation set of its own, the numbers are those of that set.
    """
    return tuple(part.x.astype(np.int64) for part in _cut(_counting(source), **cutting))


def _counting(source: Source) -> Source:
    """Return a source whose inputs are the numbers of its samples."""

    def counted(samples: Samples | None) -> Samples | None:
        return None if samples is None else Samples(np.arange(len(samples)), samples.y)

    samples = Samples(np.arange(len(source.samples)), source.samples.y)
    return replace(source, samples=samples, test=counted(source.test), val=counted(source.val))


def _cut(
    source: Source,
    *,
    split_seed: int,
    val_fraction: float | None,
    fraction: float,
    folds: int | None = None,
    fold: int | None = None,
    bootstrap: int | None = None,
) -> Parts:
    """Return the parts as they are."""
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
    return train, val, test


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
    if val_fraction == 0:
        return rest, rest[np.arange(0)]
    return _hold_out(rest, source.classes, val_fraction, rng, "data.val_fraction")


def _as_numbers(source: Source, parts: Sequence[Samples], normalize: str, normalize_target: str, dtype: str) -> Data:
    """Return the parts as floats of ``dtype``, normalized with the statistics of train; a text as it is.

    They are train, validation, test and what was generated, if it was.
    """
    is_text = source.alphabet is not None or source.corpus is not None
    if is_text and normalize != "none":
        what = "a text, whose characters are" if source.corpus is None else "sentences, whose words are"
        raise ConfigError(f"data.normalize={normalize} beside {what} no quantities: use none")
    if source.classes is not None and normalize_target != "none":
        raise ConfigError(f"data.normalize_target={normalize_target} beside classes, which have no scale: use none")
    imputes = source.reading is not None and source.reading.get("missing") == "impute"
    fill = _filling(cast(Floats, parts[0].x), source) if imputes or any(map(_has_holes, parts)) else None
    if fill is not None:
        parts = tuple(Samples(np.where(np.isnan(p.x), fill, p.x), p.y, p.at) for p in parts)
    reading, vocabulary = source.reading, None
    if source.corpus is not None:
        parts, vocabulary = _known(source.corpus, parts)
        reading = {**(reading or {}), "vocabulary": vocabulary.plain()}
    target_shift = target_scale = None
    with np.errstate(all="ignore"):  # what is not finite then is refused by name
        shift, scale = _statistics(parts[0].x, normalize)
        if normalize_target != "none":
            target_shift, target_scale = _statistics(parts[0].y, normalize_target)
        x = [p.x if is_text else normalized(p.x, shift, scale, dtype) for p in parts]
        y = [p.y for p in parts]
        if source.classes is None:
            y = [_target(part, target_shift, target_scale, dtype) for part in y]
        elif source.alphabet is None:
            y = [part.astype(np.int64) for part in y]
    for name, array in [("x", part) for part in x] + [("y", part) for part in y]:
        if not np.isfinite(array).all():
            place = np.argwhere(~np.isfinite(array))[0, 1:].tolist()
            raise ConfigError(
                f"{name}{place} of the data is not finite after data.normalize={normalize} in dtype={dtype}: "
                "its numbers are too large, or too near each other"
            )
    train, val, test, *drawn = (Samples(of_x, of_y, p.at) for of_x, of_y, p in zip(x, y, parts, strict=True))
    return Data(
        _joined(train, *drawn),
        val,
        test,
        source.classes,
        source.fingerprint,
        shift,
        scale,
        source.alphabet,
        fill=fill,
        target_shift=target_shift,
        target_scale=target_scale,
        labels=source.labels,
        reading=reading,
        vocabulary=vocabulary,
        generated=sum(map(len, drawn)),
    )


def _joined(train: Samples, *drawn: Samples) -> Samples:
    """Return samples one behind the other; what was drawn was read nowhere."""
    if not drawn:
        return train
    parts = (train, *drawn)
    return Samples(np.concatenate([p.x for p in parts]), np.concatenate([p.y for p in parts]))


def _known(corpus: Corpus, parts: Sequence[Samples]) -> tuple[tuple[Samples, ...], Vocabulary]:
    """Return the parts in the numbers of the vocabulary of train, and that."""
    vocabulary = corpus.vocabulary(cast(Codes, parts[0].x))
    if not vocabulary.tokens:
        unit = corpus.splitting.unit
        raise ConfigError(f"data.least={corpus.least} leaves none of train's {unit}: each of them occurs less often")
    return tuple(Samples(corpus.known(cast(Codes, p.x), vocabulary), p.y, p.at) for p in parts), vocabulary


def _has_holes(part: Samples) -> bool:
    return part.x.ndim == 2 and part.x.dtype == np.float64 and bool(np.isnan(part.x).any())


def _filling(x: Floats, source: Source) -> Floats:
    """Return what stands in for missing numbers of ``[n, f]``, ``[1, f]``: the median, or the most frequent category.

    Raises:
        ConfigError: if a column is missing in every row.
    """
    gone = np.isnan(x).all(axis=0)
    if gone.any():
        place = int(np.argmax(gone))
        name = source.reading["inputs"][place] if source.reading is not None else f"x[{place}]"
        raise ConfigError(
            f"{name} of the data is missing in all of train, which leaves nothing to fill it with: "
            "leave the column out, or use more of the data for training"
        )
    fill = np.nanmedian(x, axis=0, keepdims=True)
    for first, end in source.categories:
        if end - first == 1:  # a boolean, or a category that is the only one
            fill[0, first] = np.nanmean(x[:, first]) > 0.5
            continue
        counts = np.nansum(x[:, first:end], axis=0)
        fill[0, first:end] = np.arange(end - first) == np.argmax(counts)
    return fill


def _target(y: Array, shift: Floats | None, scale: Floats | None, dtype: str) -> Array:
    return y.astype(dtype) if shift is None or scale is None else normalized(y, shift, scale, dtype)


def training_samples(
    source: Source,
    *,
    val_fraction: float | None,
    fraction: float,
    folds: int | None = None,
    fold: int | None = None,
    generated_share: float = 0.0,
) -> int:
    """Return how many training samples ``split`` leaves, without splitting, and those that are generated."""
    n = len(source.samples)
    n -= 0 if source.test is not None else math.floor(n * (source.test_fraction or 0.0))
    if folds is not None and fold is not None:
        n -= len(range(fold, n, folds))
    elif source.val is None:
        n -= math.floor(n * (val_fraction or 0.0))
    n = math.floor(n * fraction)
    return n + generated.number(n, generated_share)


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


def normalized(x: Array, shift: Floats, scale: Floats, dtype: str) -> Array:
    """Return (x - shift) / scale, computed in float64 and cast last."""
    if not shift.any() and (scale == 1).all():
        return x.astype(dtype)
    result = np.empty(x.shape, dtype)
    if x.dtype == np.uint8 and x.ndim == 4:  # of bytes there are 256
        shifts, scales = (np.broadcast_to(s, (1, x.shape[1], 1, 1)).reshape(-1, 1) for s in (shift, scale))
        becomes = ((np.arange(256) - shifts) / scales).astype(dtype)
        for channel in range(x.shape[1]):
            result[:, channel] = becomes[channel][x[:, channel]]
        return result
    for first in range(0, len(x), CHUNK):
        part = slice(first, first + CHUNK)
        result[part] = (x[part].astype(np.float64) - shift) / scale
    return result


def scales_rounding(train: Samples, normalize: str) -> bool:
    """Say whether scaling every feature that varies at all would scale one that is constant but for rounding."""
    if normalize == "none" or train.x.dtype == np.uint8 or train.x.ndim < 2:
        return False
    axes = (0, *range(2, train.x.ndim))
    constant = _statistics(train.x, normalize)[1] == 1
    spread = train.x.std(axes, keepdims=True) if normalize == "standard" else np.ptp(train.x, axes, keepdims=True)
    return bool((constant & (spread > 0) & (spread != 1)).any())


def _statistics(x: Array, normalize: str) -> tuple[Floats, Floats]:
    """Return shift and scale in float64: one a channel of images ``[n, c, h, w]``, one a feature of tables ``[n, f]``.

    What is constant but for rounding is not scaled, by the rule of scikit-learn's ``StandardScaler``.
    """
    axes = (0, *range(2, x.ndim))
    if normalize == "none":
        return np.zeros([1] * x.ndim), np.ones([1] * x.ndim)
    n = x.size // x.shape[1] if x.ndim > 1 else x.size
    if normalize == "standard" and x.dtype == np.uint8:  # sums of whole numbers are exact, and a tenth of the work
        total = x.sum(axes, dtype=np.int64, keepdims=True)
        squares = np.square(x, dtype=np.uint16).sum(axes, dtype=np.int64, keepdims=True)
        spread = squares.astype(object) * n - total.astype(object) ** 2  # beyond 64 bits
        shift, scale = total / n, np.sqrt(spread.astype(np.float64)) / n
        constant = scale == 0
    elif normalize == "standard":
        shift = x.mean(axes, dtype=np.float64, keepdims=True)
        scale = x.std(axes, dtype=np.float64, keepdims=True)
        constant = scale**2 <= n * EPSILON * scale**2 + (n * shift * EPSILON) ** 2
    else:
        assert normalize == "minmax"
        shift = x.min(axes, keepdims=True).astype(np.float64)
        largest = x.max(axes, keepdims=True).astype(np.float64)
        scale = largest - shift
        constant = scale <= n * EPSILON * np.maximum(np.abs(shift), np.abs(largest))
    return shift, np.where(constant, 1.0, scale)
