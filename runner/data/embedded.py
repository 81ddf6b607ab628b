"""Real data that scikit-learn brings along, read from its files: importing its loaders costs seconds."""

import gzip
import importlib.util
from pathlib import Path

import numpy as np

from runner.data import Array, Samples, Source, fingerprint


def digits(*, test_fraction: float) -> Source:
    """Read the scans of digits; x is ``[1797, 1, 8, 8]``."""
    table = _table("digits.csv.gz", ",").astype(np.float32)
    samples = Samples(table[:, :-1].reshape(-1, 1, 8, 8), table[:, -1].astype(np.int64))
    return Source(samples, 10, fingerprint(samples), test_fraction=test_fraction)


def breast_cancer(*, test_fraction: float) -> Source:
    """Read 30 measures of 569 tumours; class 0 is malignant, 1 benign."""
    return _classes("breast_cancer.csv", ("malignant", "benign"), test_fraction)


def wine(*, test_fraction: float) -> Source:
    """Read 13 chemical measures of 178 wines of three growers."""
    return _classes("wine_data.csv", None, test_fraction)


def diabetes(*, test_fraction: float) -> Source:
    """Read 10 measures of 442 patients and the disease's progression after a year; y is ``[442, 1]``."""
    x, y = _table("diabetes_data_raw.csv.gz", None), _table("diabetes_target.csv.gz", None)
    samples = Samples(x, y.reshape(-1, 1))
    return Source(samples, None, fingerprint(samples), test_fraction=test_fraction)


def _classes(name: str, labels: tuple[str, ...] | None, test_fraction: float) -> Source:
    table = _table(name, ",", skip=1)
    samples = Samples(table[:, :-1], table[:, -1].astype(np.int64))
    classes = len(np.unique(samples.y))
    return Source(samples, classes, fingerprint(samples), test_fraction=test_fraction, labels=labels)


def _table(name: str, delimiter: str | None, skip: int = 0) -> Array:
    package = importlib.util.find_spec("sklearn")
    assert package is not None and package.origin is not None, "scikit-learn is a dependency"
    path = Path(package.origin).parent / "datasets" / "data" / name
    with gzip.open(path, "rt") if path.suffix == ".gz" else path.open(encoding="utf-8") as file:
        return np.loadtxt(file, delimiter=delimiter, skiprows=skip, dtype=np.float64)
