"""Data sets, read once into memory as arrays, split and normalized. Never imports torch.

An option's function returns a ``Source``; what its YAML sets arrives as keyword arguments.
"""

import gzip
import hashlib
import importlib.util
import struct
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from runner.errors import ConfigError

Array = NDArray[np.generic]


@dataclass(frozen=True, eq=False)
class Samples:
    """Inputs ``[n, …]`` and targets: class indices ``[n]``, or numbers ``[n, outputs]``."""

    x: Array
    y: Array

    def __len__(self) -> int:
        return len(self.x)

    def __getitem__(self, index: NDArray[np.int64]) -> "Samples":
        return Samples(self.x[index], self.y[index])


@dataclass(frozen=True, eq=False)
class Source:
    """A data set before it is split."""

    samples: Samples
    classes: int | None
    """Number of classes; None where the targets are numbers."""
    fingerprint: str
    """16 hexadecimal digits of the content."""
    test: Samples | None = None
    """The official test set, where there is one."""
    test_fraction: float | None = None
    """Otherwise the share of the samples to hold out."""


@dataclass(frozen=True, eq=False)
class Data:
    """What a run trains on: float inputs, normalized with statistics of ``train`` alone."""

    train: Samples
    val: Samples
    test: Samples
    classes: int | None
    fingerprint: str
    shift: Array
    """Raw inputs become (x - shift) / scale; both broadcast over ``[n, …]``."""
    scale: Array

    @property
    def outputs(self) -> int:
        """What a model predicts for a sample: a logit a class, or the numbers of its target."""
        return self.classes if self.classes is not None else self.train.y.shape[1]


def digits(*, test_fraction: float) -> Source:
    """Read scikit-learn's digits from its file (importing its loader costs seconds); x is ``[1797, 1, 8, 8]``."""
    package = importlib.util.find_spec("sklearn")
    assert package is not None and package.origin is not None, "scikit-learn is a dependency"
    path = Path(package.origin).parent / "datasets" / "data" / "digits.csv.gz"
    with gzip.open(path, "rt") as file:
        table = np.loadtxt(file, delimiter=",", dtype=np.float32)
    samples = Samples(table[:, :-1].reshape(-1, 1, 8, 8), table[:, -1].astype(np.int64))
    return Source(samples, 10, _fingerprint(samples), test_fraction=test_fraction)


def mnist(*, root: str, download: bool) -> Source:
    """Read MNIST; x is ``[n, 1, 28, 28]`` of bytes."""
    return _idx_images("MNIST", root, download)


def fashion_mnist(*, root: str, download: bool) -> Source:
    """Read Fashion-MNIST; x is ``[n, 1, 28, 28]`` of bytes."""
    return _idx_images("FashionMNIST", root, download)


def linear_regression(*, samples: int, features: int, noise: float, sample_seed: int, test_fraction: float) -> Source:
    """Draw x ~ N(0, 1), w ~ N(0, 1/features) and y = x·w + noise·N(0, 1); y is ``[samples, 1]``."""
    rng = np.random.default_rng(sample_seed)
    weights = rng.standard_normal((features, 1)) / features**0.5
    x = rng.standard_normal((samples, features))
    y = x @ weights + noise * rng.standard_normal((samples, 1))
    drawn = Samples(x, y)
    return Source(drawn, None, _fingerprint(drawn), test_fraction=test_fraction)


def custom(*, target: Callable[..., Any], args: dict[str, Any], test_fraction: float) -> Source:
    """Take what the user's function or Dataset class gives; whole-number targets are classes.

    Raises:
        ConfigError: if it is not (x, y), (x, y, test_x, test_y) or a map-style Dataset of such pairs.
    """
    given = target(**args)
    if not isinstance(given, tuple | list) and hasattr(given, "__getitem__") and hasattr(given, "__len__"):
        pairs = [given[i] for i in range(len(given))]
        given = tuple(np.stack([np.asarray(pair[i]) for pair in pairs]) for i in range(2))
    if not isinstance(given, tuple | list) or len(given) not in (2, 4):
        raise ConfigError(
            f"data.target={target.__module__}.{target.__qualname__} must return (x, y), (x, y, test_x, test_y) "
            f"or a Dataset, got {type(given).__name__}"
        )
    arrays = [np.asarray(part) for part in given]
    if any(len(x) != len(y) or len(x) < 2 for x, y in zip(arrays[::2], arrays[1::2], strict=True)):
        raise ConfigError(f"data.target gave x and y of lengths {[len(a) for a in arrays]}: they must match")
    parts = [Samples(x, y) for x, y in zip(arrays[::2], arrays[1::2], strict=True)]
    classes = None
    if np.issubdtype(parts[0].y.dtype, np.integer) and parts[0].y.ndim == 1:
        classes = int(max(part.y.max() for part in parts)) + 1
        if min(part.y.min() for part in parts) < 0:
            raise ConfigError("data.target gave classes below 0: they must be 0, 1, …")
    else:
        parts = [Samples(part.x, part.y.reshape(len(part), -1)) for part in parts]
    test = parts[1] if len(parts) == 2 else None
    return Source(parts[0], classes, _fingerprint(*parts), test, None if test else test_fraction)


def split(source: Source, *, split_seed: int, val_fraction: float, fraction: float, normalize: str, dtype: str) -> Data:
    """Split a source into train, validation and test, stratified over classes, and normalize it.

    Raises:
        ConfigError: if a part would be empty.
    """
    rng = np.random.default_rng(split_seed)
    rest, test = source.samples, source.test
    if test is None:
        assert source.test_fraction is not None
        rest, test = _hold_out(rest, source.classes, source.test_fraction, rng, "data.test_fraction")
    train, val = _hold_out(rest, source.classes, val_fraction, rng, "data.val_fraction")
    if fraction < 1:
        _, train = _hold_out(train, source.classes, fraction, rng, "data.fraction")
    shift, scale = (s.astype(dtype) for s in _statistics(train.x, normalize))
    targets = np.dtype(dtype) if source.classes is None else np.dtype(np.int64)
    train, val, test = (
        Samples((part.x.astype(dtype) - shift) / scale, part.y.astype(targets)) for part in (train, val, test)
    )
    return Data(train, val, test, source.classes, source.fingerprint, shift, scale)


def _hold_out(
    samples: Samples, classes: int | None, share: float, rng: np.random.Generator, key: str
) -> tuple[Samples, Samples]:
    """Return what is left and ⌊n·share⌋ samples taken evenly from every class."""
    n = len(samples)
    order = rng.permutation(n)
    if classes is not None:
        order = order[np.argsort(samples.y[order], kind="stable")]
    taken = np.floor(np.arange(1, n + 1) * share) > np.floor(np.arange(n) * share)
    if taken.all() or not taken.any():
        raise ConfigError(f"{key}={share:g} of {n} samples leaves a part empty")
    return samples[np.sort(order[~taken])], samples[np.sort(order[taken])]


def _statistics(x: Array, normalize: str) -> tuple[Array, Array]:
    """Return shift and scale: one a channel of images ``[n, c, h, w]``, one a feature of tables ``[n, f]``."""
    axes = (0, *range(2, x.ndim))
    if normalize == "none":
        return np.zeros([1] * x.ndim), np.ones([1] * x.ndim)
    if normalize == "standard":
        shift = x.mean(axes, dtype=np.float64, keepdims=True)
        scale = x.std(axes, dtype=np.float64, keepdims=True)
    else:
        assert normalize == "minmax"
        shift = x.min(axes, keepdims=True).astype(np.float64)
        scale = x.max(axes, keepdims=True) - shift
    return shift, np.where(scale == 0, 1.0, scale)  # a constant feature stays 0


def _idx_images(folder: str, root: str, download: bool) -> Source:
    raw = Path(root).expanduser() / folder / "raw"
    names = [f"{part}-{kind}-ubyte" for part in ("train", "t10k") for kind in ("images-idx3", "labels-idx1")]
    missing = [name for name in names if _idx_path(raw / name) is None]
    if missing and download:
        from torchvision import datasets

        try:
            getattr(datasets, folder)(str(Path(root).expanduser()), download=True)
        except (OSError, RuntimeError) as error:
            raise ConfigError(f"data.download=true could not fetch {folder} into {root}: {error}") from error
    elif missing:
        raise ConfigError(
            f"data.root={root} holds no {folder}: {raw / missing[0]} is not there\n"
            f"valid: the folder that holds {folder}/raw, or data.download=true to fetch it"
        )
    paths = [path for name in names if (path := _idx_path(raw / name)) is not None]
    train_x, train_y, test_x, test_y = (_read_idx(path) for path in paths)
    for x, y in ((train_x, train_y), (test_x, test_y)):
        if x.ndim != 3 or y.ndim != 1 or len(x) != len(y):
            raise ConfigError(f"images {x.shape} and labels {y.shape} of {raw} do not match")
        if y.max(initial=0) > 9:
            raise ConfigError(f"labels of {raw} must be 0 … 9, got {y.max()}")
    train, test = Samples(train_x[:, None], train_y), Samples(test_x[:, None], test_y)
    return Source(train, 10, _fingerprint(train, test), test=test)


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


def _fingerprint(*parts: Samples) -> str:
    digest = hashlib.sha256()
    for array in (a for part in parts for a in (part.x, part.y)):
        digest.update(f"{array.dtype.str}{array.shape}".encode())
        digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()[:16]
