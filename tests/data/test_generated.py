"""What a Gaussian a class adds to the training samples of a table, which alone it has seen."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from runner.data import Samples, Source, generated
from runner.data.generated import gaussian, labels, number
from runner.data.split import split
from runner.errors import ConfigError
from tests.support.made_data import read_table

HOW = {"split_seed": 1, "val_fraction": 0.2, "fraction": 1.0, "normalize": "standard", "dtype": "float64"}
MANY = 20_000


def correlated(n: int = 60, seed: int = 0) -> Samples:
    """Two classes of three numbers, each with a mean and a covariance of its own."""
    rng = np.random.default_rng(seed)
    y = np.arange(n) % 2
    x = rng.standard_normal((n, 3)) @ rng.standard_normal((3, 3))
    return Samples(np.where(y[:, None] == 1, 5 + 2 * x, x), y)


def drawing(source: Source, count: int = 50) -> Callable[[Samples], Samples]:
    return partial(gaussian, count=count, seed=0, categories=source.categories)


@pytest.mark.parametrize("label", [0, 1])
def test_each_class_has_the_mean_and_covariance_that_numpy_finds(label: int) -> None:
    train = correlated()
    rows = train.x[train.y == label]
    drawn = gaussian(train, MANY, seed=0)
    found = drawn.x[drawn.y == label]
    covariance = np.cov(rows, rowvar=False)
    spread = np.sqrt(np.diag(covariance))
    np.testing.assert_allclose(found.mean(0), rows.mean(0), atol=0.06 * spread.max())
    np.testing.assert_allclose(np.cov(found, rowvar=False) / np.outer(spread, spread),
                               covariance / np.outer(spread, spread), atol=0.06)  # fmt: skip


def test_the_draws_are_the_mean_and_a_root_of_the_covariance_times_standard_normals() -> None:
    rows = np.asarray(correlated().x, float)
    drawn = generated._draw(rows, 7, np.random.default_rng(3))
    normals = np.random.default_rng(3).standard_normal((7, 3))
    values, directions = np.linalg.eigh(np.cov(rows, rowvar=False))
    root = directions * np.sqrt(values)
    np.testing.assert_allclose(root @ root.T, np.cov(rows, rowvar=False))
    np.testing.assert_allclose(drawn, rows.mean(0) + normals @ root.T)


@pytest.mark.parametrize("count", [1, 10, 33, 300])
def test_classes_keep_their_shares(count: int) -> None:
    y = np.repeat([0, 1, 4], [50, 30, 20])
    found = np.bincount(labels(y, count), minlength=5)
    assert found.sum() == count
    assert np.abs(found - count * np.array([0.5, 0.3, 0, 0, 0.2])).max() <= 1


def test_a_share_is_of_the_training_samples() -> None:
    assert [number(30, share) for share in (0, 0.1, 0.5, 2)] == [0, 3, 15, 60]


def test_the_generator_sees_train_alone_and_the_other_parts_stay() -> None:
    samples = correlated(100)
    source = Source(samples, 2, "f" * 16, test_fraction=0.3)
    seen: list[Samples] = []

    def generate(train: Samples) -> Samples:
        seen.append(train)
        return gaussian(train, 50, 0)

    plain, data = split(source, **HOW), split(source, **HOW, generate=generate)
    assert seen[0].x.shape == plain.train.x.shape
    assert data.generated == 50 and len(data.train) == len(plain.train) + 50
    for one, other in ((data.val, plain.val), (data.test, plain.test)):
        assert (one.x == other.x).all() and (one.y == other.y).all()
    real = slice(len(plain.train))
    assert (data.train.x[real] == plain.train.x).all() and (data.train.y[real] == plain.train.y).all()
    assert (data.shift == plain.shift).all() and (data.scale == plain.scale).all()


def test_samples_outside_of_train_change_nothing_that_is_generated() -> None:
    samples, other = correlated(100), correlated(100)
    source = Source(samples, 2, "f" * 16, test_fraction=0.3)
    in_train = {tuple(row) for row in split(source, **{**HOW, "normalize": "none"}).train.x}
    outside = [i for i, row in enumerate(samples.x) if tuple(row) not in in_train]
    assert len(outside) == 100 - len(in_train) > 30
    other.x[outside] += 1000
    changed = Source(other, 2, "f" * 16, test_fraction=0.3)
    found = [split(s, **HOW, generate=drawing(s)) for s in (source, changed)]
    assert (found[0].train.x == found[1].train.x).all() and (found[0].train.y == found[1].train.y).all()
    assert not (found[0].test.x == found[1].test.x).any()


def test_it_is_drawn_from_the_resample_of_a_fold_and_a_fraction() -> None:
    source = Source(correlated(200), 2, "f" * 16, test_fraction=0.3)
    how = {**HOW, "val_fraction": None, "folds": 4, "fold": 1, "bootstrap": 3, "fraction": 0.5, "normalize": "none"}
    plain = split(source, **how)
    data = split(source, **how, generate=drawing(source))
    expected = gaussian(plain.train, 50, 0)
    assert (data.train.x[len(plain.train) :] == expected.x).all()


@pytest.fixture
def table(tmp_path: Path) -> Source:
    """Numbers with holes, a category with holes, a boolean, and classes that follow the category."""
    rng = np.random.default_rng(0)
    lines = ["age,city,member,income,bought"]
    for i in range(240):
        city = ("Rome", "Oslo", "Lima", "")[min(3, i % 7)]
        age = "" if i % 9 == 0 else f"{rng.normal(40, 9):.2f}"
        bought = "yes" if city in ("Rome", "Oslo") else "no"
        lines.append(f"{age},{city},{i % 2 == 0},{rng.normal(3, 1):.3f},{bought}")
    (tmp_path / "t.csv").write_text("\n".join(lines) + "\n")
    return read_table(tmp_path / "t.csv", label="bought", missing="impute")


def test_categories_are_whole_and_of_their_class(table: Source) -> None:
    assert table.reading is not None
    data = split(table, **{**HOW, "normalize": "none"}, generate=drawing(table, 400))
    names = list(table.reading["inputs"])
    real, drawn = (
        data.train[np.arange(len(data.train) - 400)],
        data.train[np.arange(len(data.train) - 400, len(data.train))],
    )
    cities = [names.index(f"city={name}") for name in ("Lima", "Oslo", "Rome")]
    assert np.isin(drawn.x[:, cities], (0, 1)).all() and (drawn.x[:, cities].sum(1) == 1).all()
    assert np.isin(drawn.x[:, names.index("member")], (0, 1)).all()
    for label in (0, 1):  # only combinations that are there, about as often
        seen, found = (part.x[part.y == label][:, cities].mean(0) for part in (real, drawn))
        assert (found[seen == 0] == 0).all()
        np.testing.assert_allclose(found, seen, atol=0.12)


def test_what_is_missing_is_missing_as_often_and_filled_as_in_train(table: Source) -> None:
    assert table.reading is not None
    data = split(table, **{**HOW, "normalize": "none"}, generate=drawing(table, 400))
    names = list(table.reading["inputs"])
    drawn = data.train.x[-400:]
    gone = drawn[:, names.index("age missing")] == 1
    assert gone.mean() == pytest.approx(1 / 9, abs=0.05)
    assert data.fill is not None
    ages = drawn[:, names.index("age")]
    assert (ages[gone] == data.fill[0, names.index("age")]).all()
    assert len(np.unique(ages[~gone])) == (~gone).sum()


def test_a_class_with_too_few_samples_is_named_with_what_it_needs() -> None:
    train = Samples(np.random.default_rng(0).standard_normal((9, 4)), np.repeat([0, 1], [6, 3]))
    with pytest.raises(ConfigError) as refused:
        gaussian(train, 10, 0, names=("plenty", "scarce"))
    assert "covariance of 4 numbers" in str(refused.value) and "data.fraction" in str(refused.value)
    assert [line.split() for line in str(refused.value).splitlines()[1:]] == [
        ["class", "samples", "needed"],
        ["plenty", "6", "5"],
        ["scarce", "3", "5"],
    ]


def test_rows_with_holes_do_not_count_for_a_covariance() -> None:
    x = np.random.default_rng(0).standard_normal((12, 2))
    x[:10, 0] = np.nan
    with pytest.raises(ConfigError, match="too few training rows without a missing number"):
        gaussian(Samples(x, np.zeros(12, int)), 5, 0)
