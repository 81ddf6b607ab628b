"""Data: what is read is what is on disk, splits are stratified and disjoint, statistics are of train alone."""

import gzip
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from sklearn import datasets

from runner import data
from runner.errors import ConfigError

SPLIT = {"split_seed": 0, "val_fraction": 0.1, "fraction": 1.0, "normalize": "none", "dtype": "float32"}


def test_digits_are_scikit_learns() -> None:
    source = data.digits(test_fraction=0.2)
    expected = datasets.load_digits()
    assert np.array_equal(source.samples.x[:, 0], expected.images)
    assert np.array_equal(source.samples.y, expected.target)


def test_parts_are_disjoint_complete_and_stratified() -> None:
    source = data.digits(test_fraction=0.2)
    parts = data.split(source, **SPLIT)
    sizes = [len(p) for p in (parts.train, parts.val, parts.test)]
    assert sizes == [1295, 143, 359]
    rows = np.concatenate([p.x.reshape(len(p), -1) for p in (parts.train, parts.val, parts.test)])
    assert sorted(map(bytes, rows)) == sorted(map(bytes, source.samples.x.reshape(1797, -1).astype(np.float32)))
    for part, share in ((parts.test, 0.2), (parts.val, 0.08)):
        counts = np.bincount(part.y, minlength=10)
        assert np.abs(counts - share * np.bincount(source.samples.y)).max() <= 1.5


def test_split_depends_on_its_seed_alone() -> None:
    source = data.digits(test_fraction=0.2)
    first, same = data.split(source, **SPLIT), data.split(source, **{**SPLIT, "normalize": "standard"})
    other = data.split(source, **{**SPLIT, "split_seed": 1})
    assert np.array_equal(first.test.y, same.test.y)
    assert not np.array_equal(first.test.y, other.test.y)


def test_fraction_takes_its_share_of_train_alone() -> None:
    source = data.digits(test_fraction=0.2)
    whole, part = data.split(source, **SPLIT), data.split(source, **{**SPLIT, "fraction": 0.1})
    assert len(part.train) == 129
    assert np.array_equal(whole.test.x, part.test.x)
    assert np.bincount(part.train.y, minlength=10).min() >= 12


@pytest.mark.parametrize("normalize", ["standard", "minmax"])
def test_normalization_is_fitted_on_train_alone(normalize: str) -> None:
    for source, axes in (
        (data.digits(test_fraction=0.2), (0, 2, 3)),
        (data.linear_regression(samples=300, features=5, noise=0.1, sample_seed=0, test_fraction=0.2), (0,)),
    ):
        parts = data.split(source, **{**SPLIT, "normalize": normalize, "dtype": "float64"})
        x = parts.train.x
        low, high = (x.mean(axes), x.std(axes)) if normalize == "standard" else (x.min(axes), x.max(axes))
        np.testing.assert_allclose(low, 0, atol=1e-12)
        np.testing.assert_allclose(high, 1, atol=1e-12)
        assert abs(parts.test.x.mean() - parts.train.x.mean()) > 1e-6


def test_a_constant_feature_stays_finite() -> None:
    x = np.random.default_rng(0).standard_normal((100, 3))
    x[:, 1] = 7
    source = data.Source(data.Samples(x, np.zeros((100, 1))), None, "f", test_fraction=0.2)
    assert np.isfinite(data.split(source, **{**SPLIT, "normalize": "standard"}).train.x).all()


def test_linear_regression_has_the_noise_it_says() -> None:
    source = data.linear_regression(samples=20000, features=5, noise=0.5, sample_seed=3, test_fraction=0.2)
    x, y = source.samples.x, source.samples.y
    residual = y - x @ np.linalg.lstsq(x, y, rcond=None)[0]
    assert residual.std() == pytest.approx(0.5, rel=0.03)


def write_idx(path: Path, values: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    header = bytes([0, 0, 8, values.ndim]) + struct.pack(f">{values.ndim}I", *values.shape)
    content = header + values.astype(np.uint8).tobytes()
    path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)


@pytest.fixture
def made(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    for part, n in (("train", 200), ("t10k", 50)):
        write_idx(tmp_path / "FashionMNIST/raw" / f"{part}-images-idx3-ubyte", rng.integers(0, 256, (n, 28, 28)))
        write_idx(tmp_path / "FashionMNIST/raw" / f"{part}-labels-idx1-ubyte.gz", np.arange(n) % 10)
    return tmp_path


def test_idx_files_are_read_plain_and_zipped(made: Path) -> None:
    from torchvision.datasets.mnist import read_image_file

    source = data.fashion_mnist(root=str(made), download=False)
    expected = read_image_file(str(made / "FashionMNIST/raw/train-images-idx3-ubyte"))
    assert np.array_equal(source.samples.x[:, 0], expected.numpy())
    assert source.test is not None
    assert np.array_equal(source.test.y, np.arange(50) % 10)


def test_a_truncated_file_is_refused_by_name(made: Path) -> None:
    path = made / "FashionMNIST/raw/train-images-idx3-ubyte"
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(ConfigError, match="train-images-idx3-ubyte is not a whole idx file"):
        data.fashion_mnist(root=str(made), download=False)


def test_fingerprint_is_of_the_content(made: Path) -> None:
    before = data.fashion_mnist(root=str(made), download=False).fingerprint
    assert data.fashion_mnist(root=str(made), download=False).fingerprint == before
    path = made / "FashionMNIST/raw/train-images-idx3-ubyte"
    content = bytearray(path.read_bytes())
    content[100] ^= 1
    path.write_bytes(content)
    assert data.fashion_mnist(root=str(made), download=False).fingerprint != before


@pytest.mark.mnist
def test_mnist_trains_from_its_folder(optbench: Callable, folder: Path) -> None:
    from tests.conftest import MNIST_ROOT, run_folder, summary_of

    result = optbench(
        "train", "data=mnist", f"data.root={MNIST_ROOT}", "init=he", "optim=adamw", "epochs=1", "model.width=64"
    )
    assert result.code == 0
    assert summary_of(run_folder(folder))["test_accuracy"] > 0.93
