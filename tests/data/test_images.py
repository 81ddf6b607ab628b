"""Images: what is read is what is on disk, and what is not whole is refused by name."""

import gzip
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from runner.data import images
from runner.errors import ConfigError
from runner.run.build import build
from tests.support.known import MNIST_ROOT, as_seeds_go
from tests.support.made_data import make_cifar, make_pictures
from tests.support.records import run_folder, summary_of


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

    source = images.fashion_mnist(root=str(made), download=False)
    expected = read_image_file(str(made / "FashionMNIST/raw/train-images-idx3-ubyte"))
    assert np.array_equal(source.samples.x[:, 0], expected.numpy())
    assert source.test is not None
    assert np.array_equal(source.test.y, np.arange(50) % 10)


def test_a_truncated_file_is_refused_by_name(made: Path) -> None:
    path = made / "FashionMNIST/raw/train-images-idx3-ubyte"
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(ConfigError, match="train-images-idx3-ubyte is not a whole idx file"):
        images.fashion_mnist(root=str(made), download=False)


def test_fingerprint_is_of_the_content(made: Path) -> None:
    before = images.fashion_mnist(root=str(made), download=False).fingerprint
    assert images.fashion_mnist(root=str(made), download=False).fingerprint == before
    path = made / "FashionMNIST/raw/train-images-idx3-ubyte"
    content = bytearray(path.read_bytes())
    content[100] ^= 1
    path.write_bytes(content)
    assert images.fashion_mnist(root=str(made), download=False).fingerprint != before


@pytest.mark.mnist
def test_mnist_trains_from_its_folder(optbench: Callable, folder: Path) -> None:
    result = optbench(
        "train", "data=mnist", f"data.root={MNIST_ROOT}", "init=he", "optim=adamw", "epochs=1", "model.width=64"
    )
    assert result.code == 0
    assert summary_of(run_folder(folder))["test_accuracy"] == as_seeds_go(0.9486, 0.0015)


@pytest.mark.parametrize(("read", "classes"), [(images.cifar10, 10), (images.cifar100, 100)])
def test_cifar_is_read_as_torchvision_reads_it(read: Callable, classes: int, tmp_path: Path) -> None:
    import pickle

    root = make_cifar(tmp_path)
    source = read(root=str(root), download=False)
    assert source.classes == classes and source.samples.x.shape == (20 * (5 if classes == 10 else 1), 3, 32, 32)
    name = "cifar-10-batches-py/data_batch_1" if classes == 10 else "cifar-100-python/train"
    raw = pickle.loads((root / name).read_bytes(), encoding="bytes")
    # torchvision: reshape(-1, 3, 32, 32), then height, width, channel
    assert np.array_equal(source.samples.x[:20], raw[b"data"].reshape(-1, 3, 32, 32))
    assert source.samples.y[:20].tolist() == raw[b"labels" if classes == 10 else b"fine_labels"]
    assert len(source.test) == 20


def test_a_cifar_batch_with_code_in_it_is_refused_and_not_run(tmp_path: Path) -> None:
    import os
    import pickle

    class Trap:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return os.system, (f"touch {tmp_path / 'sprung'}",)

    root = make_cifar(tmp_path / "root")
    (root / "cifar-10-batches-py" / "data_batch_3").write_bytes(pickle.dumps({b"data": Trap(), b"labels": [0]}))
    with pytest.raises(ConfigError, match=r"data_batch_3 is no batch of CIFAR.*system"):
        images.cifar10(root=str(root), download=False)
    assert not (tmp_path / "sprung").exists()


@pytest.mark.parametrize("grey", [False, True])
def test_pictures_are_read_from_a_folder_a_class(grey: bool, tmp_path: Path) -> None:
    folder = make_pictures(tmp_path / "pictures")
    source = images.image_folder(path=str(folder), size=8, grey=grey, test_fraction=0.25)
    assert source.samples.x.shape == (24, 1 if grey else 3, 8, 8) and source.classes == 2
    if not grey:
        assert source.samples.x[source.samples.y == 0].mean((0, 2, 3)).tolist() == [20, 30, 220]
    parted = images.image_folder(
        path=str(make_pictures(tmp_path / "parted", ("train", "test"))), size=8, grey=grey, test_fraction=None
    )
    assert len(parted.test) == 24 and parted.test_fraction is None


def test_pictures_that_cannot_be_read_are_named(tmp_path: Path) -> None:
    folder = make_pictures(tmp_path / "pictures")
    (folder / "red" / "3.png").write_bytes(b"no picture")
    with pytest.raises(ConfigError, match=r"3\.png cannot be read as a picture"):
        images.image_folder(path=str(folder), size=8, grey=False, test_fraction=0.2)
    with pytest.raises(ConfigError, match="a folder for each class"):
        images.image_folder(path=str(tmp_path / "nowhere"), size=8, grey=False, test_fraction=0.2)


def test_a_share_beside_a_folder_of_test_pictures_is_refused(tmp_path: Path, job: Callable) -> None:
    parted = str(make_pictures(tmp_path / "parted", ("train", "test")))
    with pytest.raises(ConfigError, match=r"data.test_fraction=0.5 beside .*test"):
        images.image_folder(path=parted, size=8, grey=False, test_fraction=0.5)
    whole = str(make_pictures(tmp_path / "whole"))
    assert images.image_folder(path=whole, size=8, grey=False, test_fraction=None).test_fraction == 0.2
    with pytest.raises(ConfigError, match=r"data.test_fraction must be a finite number > 0 and < 1, got null"):
        build(job("data.test_fraction=null"))


def test_hidden_folders_and_files_are_no_pictures(tmp_path: Path) -> None:
    folder = make_pictures(tmp_path / "pictures")
    (folder / ".ipynb_checkpoints").mkdir()
    (folder / "red" / "._0.png").write_bytes(b"of a file manager")
    source = images.image_folder(path=str(folder), size=8, grey=False, test_fraction=0.2)
    assert source.classes == 2 and len(source.samples) == 24
