"""Images as torchvision lays data sets out; beside it, the user's own pictures."""

import gzip
import io
import pickle
import struct
from pathlib import Path
from typing import Any

import numpy as np

from runner.data import Array, Samples, Source, fingerprint
from runner.data.images.pictures import image_folder
from runner.errors import ConfigError

__all__ = ["cifar10", "cifar100", "fashion_mnist", "image_folder", "mnist"]

CLOTHES = (
    "T-shirt/top",
    "Trouser",
    "Pullover",
    "Dress",
    "Coat",
    "Sandal",
    "Shirt",
    "Sneaker",
    "Bag",
    "Ankle boot",
)
"""Fashion-MNIST's classes (Xiao et al. 2017, table 1)."""


def mnist(*, root: str, download: bool) -> Source:
    """Read MNIST; x is ``[n, 1, 28, 28]`` of bytes."""
    return _idx_images("MNIST", root, download, None)


def fashion_mnist(*, root: str, download: bool) -> Source:
    """Read Fashion-MNIST; x is ``[n, 1, 28, 28]`` of bytes."""
    return _idx_images("FashionMNIST", root, download, CLOTHES)


def cifar10(*, root: str, download: bool) -> Source:
    """Read CIFAR-10; x is ``[n, 3, 32, 32]`` of bytes."""
    batches, meta = [f"data_batch_{i}" for i in range(1, 6)], "batches.meta"
    return _cifar("CIFAR10", "cifar-10-batches-py", batches, "test_batch", meta, b"labels", 10, root, download)


def cifar100(*, root: str, download: bool) -> Source:
    """Read CIFAR-100 with its fine labels; x is ``[n, 3, 32, 32]`` of bytes."""
    return _cifar("CIFAR100", "cifar-100-python", ["train"], "test", "meta", b"fine_labels", 100, root, download)


class _Arrays(pickle.Unpickler):
    """Reads dictionaries of arrays, texts and numbers, and refuses everything else: a pickle can hold any code."""

    ALLOWED = frozenset(
        (module, name)
        for package in ("numpy.core", "numpy._core")
        for module, name in ((f"{package}.multiarray", "_reconstruct"), ("numpy", "ndarray"), ("numpy", "dtype"))
    )

    def find_class(self, module: str, name: str) -> Any:
        """Return one of numpy's own three, or what turns text into bytes."""
        if (module, name) == ("_codecs", "encode"):
            return _bytes_of
        if (module, name) not in self.ALLOWED:
            raise pickle.UnpicklingError(f"it holds {module}.{name}")
        return super().find_class(module, name)


def _bytes_of(text: str, encoding: str) -> bytes:
    """Return bytes as newer Pythons wrote them into older pickles: as Latin-1."""
    if encoding != "latin1":
        raise pickle.UnpicklingError(f"it holds text in {encoding}")
    return text.encode("latin1")


def _cifar(
    name: str,
    folder: str,
    batches: list[str],
    test: str,
    meta: str,
    key: bytes,
    classes: int,
    root: str,
    download: bool,
) -> Source:
    place = Path(root).expanduser() / folder
    missing = [b for b in (*batches, test) if not (place / b).is_file()]
    if missing:
        _fetch(name, root, place / missing[0], folder, download)
    parts = [_cifar_batch(place / b, key, classes) for b in (*batches, test)]
    train = Samples(np.concatenate([p.x for p in parts[:-1]]), np.concatenate([p.y for p in parts[:-1]]))
    labels = _cifar_labels(place / meta, key.replace(b"labels", b"label_names"), classes)
    return Source(train, classes, fingerprint(train, parts[-1]), test=parts[-1], labels=labels)


def _cifar_labels(path: Path, key: bytes, classes: int) -> tuple[str, ...] | None:
    """Return what the classes are called, as the file beside the batches says; None where there is none."""
    if not path.is_file():
        return None
    try:
        names = tuple(name.decode() for name in _Arrays(io.BytesIO(path.read_bytes()), encoding="bytes").load()[key])
    except Exception as error:
        raise ConfigError(f"{path} does not name CIFAR's classes: {type(error).__name__}: {error}") from error
    return names if len(names) == classes else None


def _cifar_batch(path: Path, key: bytes, classes: int) -> Samples:
    """Read one pickled batch: ``data`` ``[n, 3072]`` of bytes, channel by channel, and labels."""
    try:
        found = _Arrays(io.BytesIO(path.read_bytes()), encoding="bytes").load()
        x, y = np.asarray(found[b"data"]), np.asarray(found[key])
        if x.dtype != np.uint8 or x.shape != (len(y), 3072) or y.ndim != 1 or not 0 <= y.min() <= y.max() < classes:
            raise ValueError(f"images {x.shape} of {x.dtype} and labels {y.shape} do not fit")
    except Exception as error:
        raise ConfigError(f"{path} is no batch of CIFAR: {type(error).__name__}: {error}") from error
    return Samples(x.reshape(-1, 3, 32, 32), y.astype(np.int64))


def _fetch(name: str, root: str, missing: Path, folder: str, download: bool) -> None:
    """Fetch a data set with torchvision where that is asked for; otherwise say what is missing."""
    if not download:
        raise ConfigError(
            f"data.root={root} holds no {name}: {missing} is not there\n"
            f"valid: the folder that holds {folder}, or data.download=true to fetch it"
        )
    from torchvision import datasets

    try:
        getattr(datasets, name)(str(Path(root).expanduser()), download=True)
    except (OSError, RuntimeError) as error:
        raise ConfigError(f"data.download=true could not fetch {name} into {root}: {error}") from error


def _idx_images(folder: str, root: str, download: bool, labels: tuple[str, ...] | None) -> Source:
    raw = Path(root).expanduser() / folder / "raw"
    names = [f"{part}-{kind}-ubyte" for part in ("train", "t10k") for kind in ("images-idx3", "labels-idx1")]
    missing = [name for name in names if _idx_path(raw / name) is None]
    if missing:
        _fetch(folder, root, raw / missing[0], f"{folder}/raw", download)
    paths = [path for name in names if (path := _idx_path(raw / name)) is not None]
    train_x, train_y, test_x, test_y = (_read_idx(path) for path in paths)
    for x, y in ((train_x, train_y), (test_x, test_y)):
        if x.ndim != 3 or y.ndim != 1 or len(x) != len(y):
            raise ConfigError(f"images {x.shape} and labels {y.shape} of {raw} do not match")
        if y.max(initial=0) > 9:
            raise ConfigError(f"labels of {raw} must be 0 … 9, got {y.max()}")
    train, test = Samples(train_x[:, None], train_y), Samples(test_x[:, None], test_y)
    return Source(train, 10, fingerprint(train, test), test=test, labels=labels)


def _idx_path(path: Path) -> Path | None:
    return next((p for p in (path, path.with_name(f"{path.name}.gz")) if p.is_file()), None)


def _read_idx(path: Path) -> Array:
    """Read one file of LeCun's idx format: two zero bytes, type 8 (bytes), rank, sizes, values."""
    content = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    rank = content[3] if content[:3] == b"\0\0\x08" else 0
    sizes = struct.unpack_from(f">{rank}I", content, 4) if len(content) >= 4 + 4 * rank else ()
    values = np.frombuffer(content, np.uint8, offset=min(4 + 4 * rank, len(content)))
    if not sizes or values.size != np.prod(sizes):
        raise ConfigError(f"{path} is not a whole idx file of bytes: download it again")
    return values.reshape(sizes)
