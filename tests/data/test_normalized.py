"""Normalization in float64, cast last: held against scikit-learn's scalers."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import mean_absolute_error, mean_squared_error, r2_score
from sklearn.preprocessing import MinMaxScaler, StandardScaler

from runner import metrics
from runner.data import Samples, Source
from runner.data.split import split
from tests.support.records import run_folder, summary_of

SPLIT = {"split_seed": 0, "val_fraction": 0.1, "fraction": 1.0}
SCALERS = {"standard": StandardScaler, "minmax": MinMaxScaler}


def numbers(x: np.ndarray) -> Source:
    return Source(Samples(x, np.arange(len(x), dtype=float).reshape(-1, 1)), None, "f", test_fraction=0.2)


def columns(n: int = 300) -> np.ndarray:
    """Features of every size, some of them the same in all rows but for rounding."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(n, 8)) * 10.0 ** np.array([-9, -3, 0, 3, 9, 0, 0, 0])
    x[:, 4] += 1e12
    x[:, 5] = 98.6
    x[:, 6] = 0.1 + np.where(rng.random(n) < 0.5, 0.0, 2e-17)
    x[:, 7] = 1e9 / 3
    return x


@pytest.mark.parametrize("normalize", ["standard", "minmax"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_features_are_normalized_as_scikit_learn_does(normalize: str, dtype: str) -> None:
    data = split(numbers(columns()), **SPLIT, normalize=normalize, dtype=dtype)
    raw = split(numbers(columns()), **SPLIT, normalize="none", dtype="float64")
    scaler = SCALERS[normalize]().fit(raw.train.x)
    for part, before in ((data.train, raw.train), (data.val, raw.val), (data.test, raw.test)):
        assert part.x.dtype == dtype
        expected = scaler.transform(before.x)
        np.testing.assert_allclose(part.x, expected.astype(dtype), rtol=0, atol=2e-6 if dtype == "float32" else 1e-9)


@pytest.mark.parametrize("constant", [98.6, 0.1, 1e9 / 3, -7.7e-5, 123456.789])
@pytest.mark.parametrize("normalize", ["standard", "minmax"])
def test_a_value_beside_a_constant_stays_small(constant: float, normalize: str) -> None:
    x = np.full((200, 2), constant)
    x[:, 1] = np.arange(200)
    data = split(numbers(x), **SPLIT, normalize=normalize, dtype="float32")
    assert (data.scale[0, 0], abs(data.train.x[:, 0]).max() < 1e-6) == (1.0, True)


@pytest.mark.parametrize("normalize", ["standard", "minmax", "none"])
def test_bytes_are_normalized_as_their_numbers_are(normalize: str) -> None:
    x = np.random.default_rng(0).integers(0, 256, (200, 3, 5, 5)).astype(np.uint8)
    as_bytes, as_numbers = (split(numbers(v), **SPLIT, normalize=normalize, dtype="float32") for v in (x, x * 1.0))
    for part in ("train", "val", "test"):
        np.testing.assert_allclose(getattr(as_bytes, part).x, getattr(as_numbers, part).x, rtol=1e-7, atol=1e-7)


@pytest.mark.parametrize("normalize", ["standard", "minmax"])
def test_targets_are_normalized_before_they_are_cast(normalize: str) -> None:
    source = numbers(columns())
    y = 1e9 + np.arange(300.0).reshape(-1, 1)  # in float32 its values would be the same by sixties
    source = Source(Samples(source.samples.x, y), None, "f", test_fraction=0.2)
    arguments = {**SPLIT, "normalize": "none", "dtype": "float32"}
    data = split(source, **arguments, normalize_target=normalize)
    raw = split(source, **{**arguments, "dtype": "float64"})
    expected = SCALERS[normalize]().fit(raw.train.y).transform(raw.test.y)
    np.testing.assert_allclose(data.test.y, expected, rtol=0, atol=1e-6)


def test_errors_are_in_the_targets_own_unit_and_predictions_too(optbench: Callable, folder: Path) -> None:
    import csv
    import io

    asked = ["data=diabetes", "data.normalize_target=standard", "epochs=5", "optim.lr=0.01", "metrics=[r2]"]
    assert optbench("train", *asked).code == 0
    run = run_folder(folder)
    rows = list(csv.DictReader(io.StringIO(optbench("predict", str(run)).out)))
    true, predicted = ([float(row[name]) for row in rows] for name in ("target", "prediction"))
    assert max(true) > 300 and 100 < np.mean(predicted) < 200
    found = summary_of(run)
    for name, measure in (("mse", mean_squared_error), ("mae", mean_absolute_error), ("r2", r2_score)):
        assert found[f"test_{name}"] == pytest.approx(measure(true, predicted), rel=1e-5)
    assert found["test_loss"] == pytest.approx(found["test_mse"] / np.square(77.98), rel=0.05)  # of standard scores


def test_stacks_measure_in_the_targets_own_unit_as_the_loop_does(optbench: Callable, folder: Path) -> None:
    asked = ["data=diabetes", "data.normalize_target=standard", "epochs=3", "optim.lr=0.003,0.01", "dtype=float64"]
    for engine in ("loop", "fused"):
        assert optbench("train", "-m", *asked, f"engine={engine}", f"name={engine}", "workers=1").code == 0
    loop, fused = (
        {
            p.name: json.loads((p / "summary.json").read_text())["test_mse"]
            for p in (folder / "outputs" / name).glob("d*")
        }
        for name in ("loop", "fused")
    )
    assert loop == pytest.approx(fused, rel=1e-9) and min(loop.values()) > 1000


def test_classes_have_no_scale(optbench: Callable, folder: Path) -> None:
    refused = optbench("train", "data.normalize_target=standard", "max_steps=1")
    assert refused.code == 2 and "data.normalize_target=standard beside classes" in refused.err
    assert list(folder.iterdir()) == []


def test_a_normalized_target_is_another_run_and_none_is_the_same(job: Callable) -> None:
    plain = job("data=diabetes").run_id
    assert job("data=diabetes", "data.normalize_target=none").run_id == plain
    assert job("data=diabetes", "data.normalize_target=standard").run_id != plain


def test_a_run_that_diverges_on_large_targets_is_told_what_helps(optbench: Callable, folder: Path) -> None:
    asked = ["data=diabetes", "optim=sgd", "optim.lr=0.1", "epochs=2"]
    assert "data.normalize_target=standard" in optbench("train", *asked).err
    assert optbench("train", *asked, "data.normalize_target=standard").err == ""


@pytest.mark.parametrize("offset", [0.0, 1e4, 1e8])
def test_measures_of_numbers_are_computed_in_float64(offset: float) -> None:
    import torch

    rng = np.random.default_rng(0)
    y = (offset + rng.normal(size=(500, 1))).astype(np.float32)
    outputs = (y + 0.1 * rng.normal(size=(500, 1))).astype(np.float32)
    for name, measure in (("mse", mean_squared_error), ("mae", mean_absolute_error), ("r2", r2_score)):
        found = float(metrics.OF_NUMBERS[name](torch.from_numpy(outputs), torch.from_numpy(y)))
        expected = measure(y.astype(np.float64), outputs.astype(np.float64))
        assert found == pytest.approx(expected, rel=1e-9)


def test_r2_of_a_constant_target_is_that_of_scikit_learn() -> None:
    import torch

    y = torch.ones(5, 1)
    assert float(metrics.r2(y, y)) == r2_score(y, y) == 1.0
    assert float(metrics.r2(y + 1, y)) == r2_score(y, y + 1) == 0.0
