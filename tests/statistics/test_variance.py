"""Shares of variance are those of least squares, whatever the table looks like, and what was planted is found."""

import numpy as np
import pytest

from runner.statistics.variance import variance_explained


def residual(values: np.ndarray, *factors: np.ndarray) -> float:
    """The sum of squares that least squares on every level of some factors leaves."""
    x = np.concatenate([(f[:, None] == np.unique(f)).astype(float) for f in (np.zeros(len(values)), *factors)], axis=1)
    return float(((values - x @ np.linalg.lstsq(x, values, rcond=None)[0]) ** 2).sum())


def test_variance_explained_finds_what_was_planted():
    rng = np.random.default_rng(0)
    a, b, seed = (x.ravel() for x in np.meshgrid(range(4), range(3), range(5), indexing="ij"))
    values = 3.0 * a + 1.0 * b + rng.normal(0, 0.1, a.size)
    share_a, share_b, share_ab = variance_explained([a, b], values, seed)
    total = values.var()
    assert share_a.mean == pytest.approx((3.0 * np.arange(4)).var() / total, abs=0.02)
    assert share_b.mean == pytest.approx(np.arange(3).var() / total, abs=0.02)
    assert share_ab.mean < 0.01
    assert share_a.low < share_a.mean < share_a.high


def test_variance_explained_is_type_ii_in_an_unbalanced_table():
    rng = np.random.default_rng(1)
    a, b = rng.integers(0, 3, 60), rng.integers(0, 2, 60)
    values = rng.normal(0, 1, 60) + a + 2 * b
    found = variance_explained([a, b], values, [0] * 60)
    total, main = residual(values), residual(values, a, b)
    assert found[0].mean == pytest.approx((residual(values, b) - main) / total, rel=1e-5)
    assert found[1].mean == pytest.approx((residual(values, a) - main) / total, rel=1e-5)
    assert found[2].mean == pytest.approx((main - residual(values, a, b, 2 * a + b)) / total, rel=1e-4)


@pytest.mark.parametrize("share_there", [1.0, 0.7])
def test_seeds_among_the_factors_are_taken_out_as_least_squares_would(share_there: float):
    rng = np.random.default_rng(2)
    a, b, seed = (x.ravel() for x in np.meshgrid(range(4), range(3), range(6), indexing="ij"))
    there = rng.random(a.size) < share_there
    a, b, seed = a[there], b[there], seed[there]
    values = rng.normal(0, 1, a.size) + a + 0.5 * b * (seed == 2) + 0.3 * seed
    ab, a_seed, b_seed = 3 * a + b, 6 * a + seed, 6 * b + seed
    total, main = residual(values), residual(values, a, b, seed)
    full = residual(values, a, b, seed, ab, a_seed, b_seed)
    expected = [
        residual(values, b, seed) - main,
        residual(values, a, seed) - main,
        residual(values, a, b) - main,
        residual(values, a, b, seed, a_seed, b_seed) - full,
        residual(values, a, b, seed, ab, b_seed) - full,
        residual(values, a, b, seed, ab, a_seed) - full,
    ]
    found = variance_explained([a, b, seed], values, seed)
    assert [f.mean for f in found] == pytest.approx([e / total for e in expected], abs=1e-6)
    renamed = variance_explained([a, b, seed], values, [f"seed {s}" for s in seed])
    assert renamed == found


def test_values_that_do_not_differ_leave_nothing_to_explain():
    a, seed = (x.ravel() for x in np.meshgrid(range(4), range(5), indexing="ij"))
    assert [f.mean for f in variance_explained([a, seed], np.full(20, 0.1), seed)] == [0.0, 0.0, 0.0]


def test_its_interval_is_that_of_leaving_out_each_seed():
    rng = np.random.default_rng(3)
    a, b, seed = (x.ravel() for x in np.meshgrid(range(3), range(2), range(4), indexing="ij"))
    values = rng.normal(0, 1, a.size) + a
    (found, *_) = variance_explained([a, b, seed], values, seed)
    without = [
        variance_explained([a[k], b[k], seed[k]], values[k], seed[k])[0].mean for k in (seed != s for s in range(4))
    ]
    pseudo = 4 * found.mean - 3 * np.array(without)
    half = 3.182446 * pseudo.std(ddof=1) / 2  # t(3), n = 4
    assert (found.low, found.high) == pytest.approx((max(0, found.mean - half), min(1, found.mean + half)), rel=1e-5)
