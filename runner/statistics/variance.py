"""How much of the variance each choice explains."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from runner.statistics.scores import Array, Interval, mean_interval

SINGULAR = 1e-9
"""Levels that never meet leave a matrix singular: so much of its mean diagonal is added."""

NOTHING = 1e-20
"""A sum of squares up to this is of rounding, the largest value being 1."""


def variance_explained(
    factors: Sequence[Sequence[object]], values: Array, seeds: Sequence[object], pairs: bool = True
) -> list[Interval]:
    """Return the share of the variance that each factor, then each pair of them, explains (ANOVA of type II).

    A factor's share is what leaving it out of the model of all factors costs, over the total; a pair's, what it adds
    to all factors and the other pairs. Intervals are of the jackknife over seeds, with t(n-1).

    Args:
        factors: each factor's level, ``[n]``.
        values: ``[n]``, finite.
        seeds: what is left out in turn, ``[n]``.
        pairs: whether pairs are looked at; without them they need fewer values.
    """
    design = _design(factors, values, seeds, pairs)
    shares = _shares(design)
    share, without, n_seeds = shares[0], shares[1:], len(design.grams)
    if n_seeds < 3:
        return [Interval(float(s), math.nan, math.nan, n_seeds) for s in share]
    pseudo = n_seeds * share - (n_seeds - 1) * without
    found = []
    for i, s in enumerate(share):
        interval = mean_interval(pseudo[:, i])
        half = (interval.high - interval.low) / 2
        found.append(Interval(float(s), max(0.0, float(s) - half), min(1.0, float(s) + half), n_seeds))
    return found


@dataclass(frozen=True)
class _Design:
    """The terms of the model, and what is needed of the data: leaving a seed out is a subtraction."""

    mains: int
    """So many terms are factors, the others pairs of them."""
    blocks: list[npt.NDArray[np.int64]]
    """Each term's columns. Those of the seeds themselves have none: see ``within``."""
    within: list[int | None]
    """The factor whose effect a term lets differ from seed to seed; -1 where it is the seeds' own effect alone, None
    where a term has nothing to do with seeds."""
    grams: Array
    """Of each seed's rows, the products of (1, columns, values), ``[seeds, columns + 2, columns + 2]``."""


def _design(factors: Sequence[Sequence[object]], values: Array, seeds: Sequence[object], with_pairs: bool) -> _Design:
    codes = [np.unique(np.asarray(f, str), return_inverse=True)[1] for f in factors]
    of = np.unique(np.asarray(seeds, str), return_inverse=True)[1]
    own = next((i for i, code in enumerate(codes) if _same_parts(code, of)), -1)
    pairs = [(i, j) for i in range(len(codes)) for j in range(i) if with_pairs]
    within: list[int | None] = [-1 if i == own else None for i in range(len(codes))]
    within += [j if i == own else i if j == own else None for i, j in pairs]
    columns, blocks, end = [np.ones((len(values), 1))], [], 1
    terms = [*codes, *(codes[i] * (codes[j].max() + 1) + codes[j] for i, j in pairs)]
    for code, inside in zip(terms, within, strict=True):
        levels = np.unique(code)[1:] if inside is None else np.array([], int)
        columns.append((code[:, None] == levels).astype(float))
        blocks.append(np.arange(end, end := end + len(levels)))
    scaled = (values - values.mean()) / max(float(np.abs(values).max()), np.finfo(float).tiny)
    xy = np.concatenate([*columns, scaled[:, None]], axis=1)
    grams = np.stack([xy[of == s].T @ xy[of == s] for s in range(int(of.max()) + 1)])
    return _Design(len(codes), blocks, within, grams)


def _same_parts(one: npt.NDArray[np.int64], other: npt.NDArray[np.int64]) -> bool:
    """Say whether two factors divide the rows in the same way."""
    both = len(np.unique(np.stack([one, other]), axis=1).T)
    return bool(both == one.max() + 1 == other.max() + 1)


def _shares(design: _Design) -> Array:
    """Return each term's share of the sum of squares, of all rows, then without each seed: ``[1 + seeds, terms]``."""
    mains, everything = range(design.mains), range(len(design.blocks))
    total = _residuals(design, [])
    main, full = _residuals(design, mains), _residuals(design, everything)
    found = [_residuals(design, [j for j in mains if j != i]) - main for i in mains]
    found += [_residuals(design, [j for j in everything if j != i]) - full for i in everything if i >= design.mains]
    costs = np.stack(found, axis=1)
    share = np.divide(costs, total[:, None], where=total[:, None] > NOTHING, out=np.zeros_like(costs))
    return np.clip(share, 0.0, 1.0)


def _residuals(design: _Design, model: Sequence[int]) -> Array:
    """Return the sum of squares that some terms leave: of all rows, then without each seed, ``[1 + seeds]``.

    Effects that differ from seed to seed are taken out of each seed's rows by themselves, which leaves a matrix of the
    other columns alone: of hundreds, where all seeds' effects together would be thousands.
    """
    kept = np.concatenate([[0], *(design.blocks[t] for t in model)]).astype(int)
    inside = [w for t in model if (w := design.within[t]) is not None]
    grams = design.grams
    if inside:
        gone = np.concatenate([[0], *(design.blocks[w] for w in inside if w >= 0)]).astype(int)
        kept = np.setdiff1d(kept, gone)
        at = np.concatenate([kept, [grams.shape[1] - 1]])
        across = grams[:, gone[:, None], at]
        taken = np.linalg.solve(_regular(grams[:, gone[:, None], gone]), across)
        grams = grams[:, at[:, None], at] - across.transpose(0, 2, 1) @ taken
    else:
        at = np.concatenate([kept, [grams.shape[1] - 1]])
        grams = grams[:, at[:, None], at]
    return np.array([_residual(gram) for gram in _without(grams)])


def _without(grams: Array) -> Array:
    """Return the sum over seeds, then the sums without each, where they are enough for a jackknife."""
    whole = grams.sum(0, keepdims=True)
    return np.concatenate([whole, whole - grams]) if len(grams) >= 3 else whole


def _residual(gram: Array) -> float:
    """Return what is left of the last column, regressed on the others, of their products."""
    a, b = gram[:-1, :-1], gram[:-1, -1]
    return float(gram[-1, -1] - b @ np.linalg.solve(_regular(a), b)) if len(b) else float(gram[-1, -1])


def _regular(a: Array) -> Array:
    n = a.shape[-1]
    mean = np.trace(a, axis1=-2, axis2=-1) / n
    return a + SINGULAR * np.maximum(mean, np.finfo(float).tiny)[..., None, None] * np.eye(n)
