"""Data of one's own: a function's numbers, and data sets that are joined."""

import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from runner.data import Samples, Source, fingerprint, own
from runner.errors import ConfigError, PartError
from tests.support.made_data import make_cifar, make_pictures, make_table


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (["data.args={at: x}"], "gave x of which 1 of 1200 numbers are not finite"),
        (["data.args={at: y}"], "gave y of which 1 of 300 numbers are not finite"),
        (["data.args={at: large}"], ""),
        (["data.args={at: large}", "data.normalize=none"], "x[2] of the data is not finite after data.normalize=none"),
        (["data.args={at: large}", "data.normalize=minmax", "dtype=float64"], ""),
        (["data.args={at: large_y}"], "y[0] of the data is not finite"),
        (["data.args={at: near}"], ""),
        (["data.args={at: near}", "data.normalize=none"], ""),
    ],
)
def test_numbers_that_are_not_finite_are_refused(
    overrides: list[str], said: str, optbench: Callable, folder: Path
) -> None:
    asked = ["data=custom", "data.target=tests.own_parts.not_finite", *overrides, "max_steps=1"]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        refused = optbench("train", *asked)
    assert refused.code == (2 if said else 0) and said in refused.err, refused.err
    assert not said or list(folder.iterdir()) == []


def test_data_sets_that_fit_are_joined(tmp_path: Path) -> None:
    root = str(make_cifar(tmp_path))
    pictures = str(make_pictures(tmp_path / "pictures"))
    settings = {"csv": {"path": str(make_table(tmp_path / "a.csv")), "label": "bought"}}
    with pytest.raises(ConfigError, match="does not fit"):
        own.concat(parts=["digits", "csv"], args=settings)
    with pytest.raises(ConfigError, match="did you mean 'digits'"):
        own.concat(parts=["digts", "wine"], args={})
    with pytest.raises(ConfigError, match="at least two"):
        own.concat(parts=["digits"], args={})
    with pytest.raises(ConfigError, match=r"data.args.digits.root is no setting"):
        own.concat(parts=["digits", "wine"], args={"digits": {"root": root}})
    with pytest.raises(ConfigError, match="does not fit"):
        own.concat(
            parts=["cifar10", "image_folder"], args={"cifar10": {"root": root}, "image_folder": {"path": pictures}}
        )
    numbers = {"samples": 50, "features": 10}
    joined = own.concat(parts=["linear_regression", "diabetes"], args={"linear_regression": numbers})
    assert len(joined.samples) == 50 + 442 and joined.classes is None


@pytest.mark.parametrize(
    ("args", "said"),
    [
        ("{linear_regression: {features: abc}}", "data.args.linear_regression.features must be a whole number"),
        ("{linear_regression: {features: -3}}", "data.args.linear_regression.features must be a whole number ≥ 1"),
        ("{linear_regression: {test_fraction: 5}}", "data.args.linear_regression.test_fraction must be"),
        ("{linear_regression: {features: 10, test_fraction: 0.3}}", "data.args.diabetes.test_fraction must be that of"),
        ("{linear_regression: 3}", "data.args.linear_regression must be a set of key: value, got 3"),
        ("{linear_regression: {feature: 3}}", "did you mean 'features'"),
        ("{linear_regressio: {features: 3}}", "did you mean 'linear_regression'"),
        ("{wine: {}}", "data.args.wine: wine is not among data.parts"),
    ],
)
def test_settings_of_a_joined_data_set_are_checked(args: str, said: str, optbench: Callable, folder: Path) -> None:
    refused = optbench("train", "data=concat", "data.parts=[linear_regression,diabetes]", f"data.args={args}")
    assert refused.code == 2 and said in refused.err, refused.err
    assert "Traceback" not in refused.err and list(folder.iterdir()) == []


def test_a_joined_data_set_says_what_it_needs(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"data.args.csv.path must be given"):
        own.concat(parts=["digits", "csv"], args={})
    path = str(make_table(tmp_path / "a.csv"))
    with pytest.raises(ConfigError, match=r"data.args.csv: data.label=y is no column"):
        own.concat(parts=["digits", "csv"], args={"csv": {"path": path, "label": "y"}})
    with pytest.raises(ConfigError, match="does not fit"):
        own.concat(parts=["digits", "quadratic"], args={})


def test_a_validation_set_is_not_left_out_of_joined_data(monkeypatch: pytest.MonkeyPatch) -> None:
    samples = Samples(np.zeros((9, 2)), np.arange(9) % 3)
    parts = {"wine": Source(samples, 3, "a"), "digits": Source(samples, 3, "b", val=samples)}
    monkeypatch.setattr(own, "_source", lambda name, settings: parts[name])
    with pytest.raises(ConfigError, match="digits has a validation set of its own, which the joined data would leave"):
        own.concat(parts=["wine", "digits"], args={})


LABELS = {
    "booleans": (np.array([True, False, True, True] * 10), [1, 0, 1, 1]),
    "from 1 on": (np.array([1, 3, 2, 1] * 10), [0, 2, 1, 0]),
    "with a gap": (np.array([0, 7, 4, 7] * 10, np.uint8), [0, 2, 1, 2]),
    "minus and plus one": (np.array([-1, 1, 1, -1] * 10), [0, 1, 1, 0]),
    "texts": (np.array(["no", "yes", "maybe", "no"] * 10), [1, 2, 0, 1]),
    "of 19 digits": (np.array([10**18, 10**18 + 1, 10**18 + 2, 10**18] * 10), [0, 1, 2, 0]),
}


@pytest.mark.parametrize(("given", "classes"), LABELS.values(), ids=LABELS)
def test_labels_of_any_kind_are_classes_in_their_order(given: np.ndarray, classes: list[int]) -> None:
    x = np.arange(80.0).reshape(40, 2)
    source = own.custom(target=lambda: (x, given), args={}, test_fraction=0.2)
    assert source.classes == len(set(given.tolist()))
    assert source.samples.y[:4].tolist() == classes
    assert given.dtype == bool or f"are the classes 0 … {source.classes - 1}" in source.notes[0]
    parted = own.custom(target=lambda: (x, given, x, np.flip(given)), args={}, test_fraction=0.2)
    assert parted.test is not None and parted.test.y.tolist() == np.flip(parted.samples.y).tolist()


def test_labels_from_0_on_are_as_they_are() -> None:
    x, y = np.zeros((6, 2)), np.array([0, 1, 2, 0, 1, 2])
    source = own.custom(target=lambda: (x, y), args={}, test_fraction=0.2)
    assert source.classes == 3 and source.notes == () and source.samples.y.tolist() == y.tolist()
    assert source.fingerprint == fingerprint(Samples(x, y))


def test_texts_of_a_pandas_column_are_classes() -> None:
    x, y = np.zeros((6, 2)), np.array(["no", "yes", "no"] * 2, dtype=object)
    source = own.custom(target=lambda: (x, y), args={}, test_fraction=0.2)
    assert source.classes == 2 and source.samples.y.tolist() == [0, 1, 0, 0, 1, 0]


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (np.array([5] * 6), "one class, 5: there is nothing to tell apart"),
        (np.array([[0], [1]] * 3), r"int64 and shape \[6, 1\]: classes are \[n\], quantities numbers with a point"),
        (np.array([["no"], ["yes"]] * 3), r"<U3 and shape \[6, 1\]: classes are \[n\]"),
        (np.array([{}, {}] * 3), "targets of object"),
        (np.array([1 + 2j] * 6), "classes are whole numbers, booleans or texts"),
        (np.array(["2026-01-01"] * 6, "datetime64[D]"), "classes are whole numbers, booleans or texts"),
    ],
)
def test_targets_that_are_no_classes_and_no_numbers_are_refused(given: np.ndarray, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        own.custom(target=lambda: (np.zeros((6, 2)), given), args={}, test_fraction=0.2)


@pytest.mark.parametrize("given", [{"x": np.zeros((6, 2)), "y": np.arange(6)}, 7, "text", (np.zeros((6, 2)),)])
def test_a_function_that_gives_something_else_is_told_what_it_must_return(given: object) -> None:
    with pytest.raises(PartError, match=r"must return \(x, y\), .* or a Dataset, got (dict|int|str|tuple of 1)$"):
        own.custom(target=lambda: given, args={}, test_fraction=0.2)
