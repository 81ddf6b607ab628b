"""Splits are stratified and disjoint, folds cover everything, statistics are of train alone."""

from collections.abc import Callable

import numpy as np
import pytest

from runner import data
from runner.data import embedded, synthetic
from runner.data.split import split
from runner.run.build import build

SPLIT = {"split_seed": 0, "val_fraction": 0.1, "fraction": 1.0, "normalize": "none", "dtype": "float32"}


def test_parts_are_disjoint_complete_and_stratified() -> None:
    source = embedded.digits(test_fraction=0.2)
    parts = split(source, **SPLIT)
    sizes = [len(p) for p in (parts.train, parts.val, parts.test)]
    assert sizes == [1295, 143, 359]
    rows = np.concatenate([p.x.reshape(len(p), -1) for p in (parts.train, parts.val, parts.test)])
    assert sorted(map(bytes, rows)) == sorted(map(bytes, source.samples.x.reshape(1797, -1).astype(np.float32)))
    for part, share in ((parts.test, 0.2), (parts.val, 0.08)):
        counts = np.bincount(part.y, minlength=10)
        assert np.abs(counts - share * np.bincount(source.samples.y)).max() <= 1.5


def test_split_depends_on_its_seed_alone() -> None:
    source = embedded.digits(test_fraction=0.2)
    first, same = split(source, **SPLIT), split(source, **{**SPLIT, "normalize": "standard"})
    other = split(source, **{**SPLIT, "split_seed": 1})
    assert np.array_equal(first.test.y, same.test.y)
    assert not np.array_equal(first.test.y, other.test.y)


def test_fraction_takes_its_share_of_train_alone() -> None:
    source = embedded.digits(test_fraction=0.2)
    whole, part = split(source, **SPLIT), split(source, **{**SPLIT, "fraction": 0.1})
    assert len(part.train) == 129
    assert np.array_equal(whole.test.x, part.test.x)
    assert np.bincount(part.train.y, minlength=10).min() >= 12


def rows(part: data.Samples) -> list[bytes]:
    return [row.tobytes() for row in part.x.reshape(len(part), -1)]


@pytest.mark.parametrize("folds", [2, 5, 7])
@pytest.mark.parametrize("numbers", [False, True])
def test_folds_are_disjoint_and_cover_everything_outside_test(folds: int, numbers: bool) -> None:
    source: data.Source = embedded.digits(test_fraction=0.2)
    if numbers:
        source = synthetic.linear_regression(samples=301, features=3, noise=0.1, sample_seed=0, test_fraction=0.2)
    whole = split(source, **SPLIT)
    outside = sorted([*rows(whole.train), *rows(whole.val)])
    parts = [split(source, **{**SPLIT, "val_fraction": None}, folds=folds, fold=i) for i in range(folds)]
    assert sorted(row for part in parts for row in rows(part.val)) == outside
    for part in parts:
        assert sorted([*rows(part.train), *rows(part.val)]) == outside
        assert rows(part.test) == rows(whole.test)
    sizes = [len(part.val) for part in parts]
    assert max(sizes) - min(sizes) <= 1
    if not numbers:
        counts = np.array([np.bincount(part.val.y, minlength=10) for part in parts])
        assert (counts.max(0) - counts.min(0)).max() <= 1


def test_folds_depend_on_the_split_seed() -> None:
    source = embedded.wine(test_fraction=0.2)
    first, same, other = (
        split(source, **{**SPLIT, "val_fraction": None, "split_seed": seed}, folds=5, fold=0) for seed in (0, 0, 1)
    )
    assert rows(first.val) == rows(same.val) != rows(other.val)


def test_a_bootstrap_holds_the_share_of_distinct_samples_that_chance_says() -> None:
    source = synthetic.linear_regression(samples=2000, features=3, noise=0.1, sample_seed=0, test_fraction=0.2)
    whole = split(source, **SPLIT)
    n, shares = len(whole.train), []
    for seed in range(20):
        part = split(source, **SPLIT, bootstrap=seed)
        assert len(part.train) == n and set(rows(part.train)) < set(rows(whole.train))
        assert rows(part.val) == rows(whole.val) and rows(part.test) == rows(whole.test)
        shares.append(len(set(rows(part.train))) / n)
    # 1 - 1/e = 0.632 of them, with a variance of (1/e - 2/e²)/n.
    deviation = np.sqrt((np.exp(-1) - 2 * np.exp(-2)) / n)
    assert np.mean(shares) == pytest.approx(1 - np.exp(-1), abs=4 * deviation / np.sqrt(20))
    assert 0.5 * deviation < np.std(shares) < 1.6 * deviation


def test_a_bootstrap_draws_targets_with_their_inputs_by_its_seed_alone() -> None:
    source = embedded.digits(test_fraction=0.2)
    whole = split(source, **SPLIT)
    first, same, other = (split(source, **SPLIT, bootstrap=seed) for seed in (0, 0, 1))
    assert rows(first.train) == rows(same.train) != rows(other.train)
    label = dict(zip(rows(whole.train), whole.train.y.tolist(), strict=True))
    assert [label[row] for row in rows(first.train)] == first.train.y.tolist()


def test_a_fold_and_a_resample_are_trained_on(job: Callable) -> None:
    whole, fold, drawn = (build(job(*o)) for o in ([], ["data.folds=5", "data.fold=4"], ["data.bootstrap=3"]))
    assert (len(whole.val.y), len(fold.val.y), len(fold.train.y)) == (143, 287, 1151)
    assert len(drawn.train.x.flatten(1).unique(dim=0)) < 0.7 * len(drawn.train.y)


@pytest.mark.parametrize("normalize", ["standard", "minmax"])
def test_normalization_is_fitted_on_train_alone(normalize: str) -> None:
    for source, axes in (
        (embedded.digits(test_fraction=0.2), (0, 2, 3)),
        (synthetic.linear_regression(samples=300, features=5, noise=0.1, sample_seed=0, test_fraction=0.2), (0,)),
    ):
        parts = split(source, **{**SPLIT, "normalize": normalize, "dtype": "float64"})
        x = parts.train.x
        low, high = (x.mean(axes), x.std(axes)) if normalize == "standard" else (x.min(axes), x.max(axes))
        np.testing.assert_allclose(low, 0, atol=1e-12)
        np.testing.assert_allclose(high, 1, atol=1e-12)
        assert abs(parts.test.x.mean() - parts.train.x.mean()) > 1e-6


def test_a_constant_feature_stays_finite() -> None:
    x = np.random.default_rng(0).standard_normal((100, 3))
    x[:, 1] = 7
    source = data.Source(data.Samples(x, np.zeros((100, 1))), None, "f", test_fraction=0.2)
    assert np.isfinite(split(source, **{**SPLIT, "normalize": "standard"}).train.x).all()
