"""Samples that a generator adds to the training samples, which alone it has seen. Never imports torch.

A table gets a Gaussian a class; the generator of images is ``runner.generator``.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from runner.data import Array, Samples, Source
from runner.errors import ConfigError

Floats = NDArray[np.float64]
Classes = NDArray[np.int64]

MOST_VALUES = 4096
"""Of an input that the generator of images draws: 64×64 in grey, 36×36 in colour. A fully connected one is small."""
VALID = (
    ("data", "generator", "needs"),
    ("tables of classes", "a Gaussian a class", "of each class one sample more than it has columns of numbers"),
    ("images, signals of classes", "a conditional GAN", f"at most {MOST_VALUES:,} values an input"),
)
"""What ``data.generated`` can be used with."""


def number(samples: int, share: float) -> int:
    """Return how many samples a share of the training samples is."""
    return round(samples * share)


def refuse(source: Source, share: float, option: str) -> None:
    """Refuse data of which no generator here can draw samples.

    Raises:
        ConfigError: with a table of what is valid.
    """
    shape, reason = source.samples.x.shape[1:], None
    if source.alphabet is not None or source.corpus is not None:
        reason = "no generator writes text"
    elif source.classes is None or source.samples.y.ndim != 1:
        reason = "its targets are numbers, and a generator draws samples of a class"
    elif len(shape) > 1 and np.prod(shape) > MOST_VALUES:
        reason = f"an input has {np.prod(shape):,} values"
    elif not shape:
        reason = "its inputs are single numbers"
    if reason:
        raise ConfigError(f"data.generated={share:g} beside data={option}: {reason}\nvalid:\n{_table(VALID)}")


def refuse_none(samples: int, share: float) -> None:
    """Refuse a share so small that it adds no sample.

    Raises:
        ConfigError: naming the least.
    """
    if number(samples, share) < 1:
        raise ConfigError(
            f"data.generated={share:g} adds no sample to {samples} training samples: "
            f"use data.generated={1 / samples:.2g} or more, or 0"
        )


def labels(y: Array, count: int) -> Classes:
    """Return so many classes in their shares of ``y``, in order."""
    places = ((np.arange(count) + 0.5) * len(y) / count).astype(np.int64)
    found: Classes = np.sort(y)[places].astype(np.int64)
    return found


def gaussian(
    train: Samples,
    count: int,
    seed: int,
    categories: Sequence[tuple[int, int]] = (),
    names: Sequence[object] | None = None,
) -> Samples:
    """Draw samples of a table, each class's numbers from a Gaussian of its mean and covariance.

    Mean and covariance are of the class's complete rows. Categories, booleans and whatever else is 0 or 1 alone are
    those of a row of the class that is drawn at random, as is which numbers are missing: only what occurs together is
    drawn together. They are independent of the numbers within a class.

    Args:
        train: the training samples ``[n, f]``; NaN where missing.
        count: how many are drawn, classes in their shares.
        seed: of the draws.
        categories: first and end of the inputs that hold one category each.
        names: what the classes are called.

    Raises:
        ConfigError: for classes with too few complete rows for a covariance, naming them.
    """
    x, y = np.asarray(train.x, np.float64), np.asarray(train.y)
    is_number = _are_numbers(x, categories)
    of_class = {label: x[y == label] for label in np.unique(y).tolist()}
    complete = {label: _complete(rows[:, is_number]) for label, rows in of_class.items()}
    _refuse_few(complete, int(is_number.sum()), names, has_holes=bool(np.isnan(x).any()))
    rng = np.random.default_rng(seed)
    drawn_y = labels(y, count)
    drawn = np.empty((count, x.shape[1]))
    for label, rows in of_class.items():
        places = np.flatnonzero(drawn_y == label)
        taken = rows[rng.integers(len(rows), size=len(places))]
        if is_number.any():
            numbers = _draw(complete[label], len(places), rng)
            taken[:, is_number] = np.where(np.isnan(taken[:, is_number]), np.nan, numbers)
        drawn[places] = taken
    order = rng.permutation(count)
    return Samples(drawn[order], drawn_y[order])


def _are_numbers(x: Floats, categories: Sequence[tuple[int, int]]) -> NDArray[np.bool_]:
    """Return which columns are quantities, ``[f]``: no categories, and not 0 and 1 alone."""
    found: NDArray[np.bool_] = ~(np.isnan(x) | (x == 0) | (x == 1)).all(axis=0)
    for first, end in categories:
        found[first:end] = False
    return found


def _complete(rows: Floats) -> Floats:
    return rows[~np.isnan(rows).any(axis=1)]


def _draw(rows: Floats, count: int, rng: np.random.Generator) -> Floats:
    """Draw from the Gaussian of some rows' mean and covariance (n - 1 in the denominator)."""
    covariance = np.atleast_2d(np.cov(rows, rowvar=False))
    values, directions = np.linalg.eigh(covariance)
    spread = directions * np.sqrt(np.maximum(values, 0))  # rounding takes some below 0
    drawn: Floats = rows.mean(axis=0) + rng.standard_normal((count, len(values))) @ spread.T
    return drawn


def _refuse_few(complete: dict[int, Floats], numbers: int, names: Sequence[object] | None, *, has_holes: bool) -> None:
    if not numbers or all(len(rows) > numbers for rows in complete.values()):
        return
    called = {label: label if names is None else names[label] for label in complete}
    lines = [(str(called[label]), str(len(rows)), str(numbers + 1)) for label, rows in complete.items()]
    rows = "rows without a missing number" if has_holes else "samples"
    raise ConfigError(
        f"data.generated: a class has too few training {rows} for a covariance of {numbers} numbers: "
        f"use more of the data (data.fraction), or leave data.generated out\n"
        f"{_table([('class', rows, 'needed'), *lines])}"
    )


def _table(lines: Sequence[Sequence[str]]) -> str:
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    padded = ("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) for line in lines)
    return "\n".join(f"  {line}".rstrip() for line in padded)
