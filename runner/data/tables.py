"""The user's own tables."""

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from runner.data import Array, Samples, Source, fingerprint
from runner.errors import ConfigError, closest

MOST_CLASSES = 20
"""A column of whole numbers with no more values than this is taken for classes."""
MOST_CATEGORIES = 50


def csv(
    *, path: str, label: str, columns: list[str], kind: str, missing: str, delimiter: str, test_fraction: float
) -> Source:
    """Read a table: a column of targets, all others features, those that are no numbers one-hot.

    Args:
        path: the file, with a header.
        label: the column to predict.
        columns: the features; none named: all others.
        kind: ``classes``, ``numbers``, or ``auto``: classes where the column holds texts, or few whole numbers.
        missing: of rows with a missing value, ``refuse`` or ``drop``.
        delimiter: between cells.
        test_fraction: the share of the rows held out.

    Raises:
        ConfigError: naming the column, if it is missing or cannot be used.
    """
    try:
        table = pd.read_csv(Path(path).expanduser(), sep=delimiter)
    except (OSError, ValueError) as error:
        raise ConfigError(f"data.path={path} cannot be read as a table: {error}") from error
    if not isinstance(table.index, pd.RangeIndex):  # pandas took the first cells of each row for its name
        cells = table.index.nlevels + table.shape[1]
        raise ConfigError(f"data.path={path} has {cells} cells in a row, but {table.shape[1]} in its header")
    for key, names in (("data.label", [label]), ("data.columns", columns)):
        for name in names:
            if name not in table:
                valid = list(map(str, table))
                raise ConfigError(f"{key}={name} is no column{closest(name, valid)}\nvalid: {', '.join(valid)}")
    if len(set(columns)) != len(columns):
        twice = next(name for i, name in enumerate(columns) if name in columns[:i])
        raise ConfigError(f"data.columns names {twice} twice, got {columns}")
    if label in columns:
        raise ConfigError(f"data.columns has data.label={label} too, which is what is predicted")
    features = table[columns] if columns else table.drop(columns=label)
    if features.shape[1] == 0:
        raise ConfigError(f"data.path={path} has no column but data.label={label}: nothing is left to predict it from")
    used = features.assign(**{label: table[label]})
    holes = used.isna().sum()
    if holes.any() and missing == "refuse":
        found = ", ".join(f"{name} ({count})" for name, count in holes[holes > 0].items())
        raise ConfigError(f"data.path={path} has missing values: {found}; data.missing=drop leaves such rows out")
    whole = used.notna().all(axis=1)
    features, target = features[whole], table.loc[whole, label]
    if len(target) < 10:
        raise ConfigError(f"data.path={path} has {len(target)} rows to use, which is too few")
    y, classes = _targets(target, kind)
    samples = Samples(np.concatenate([_feature(features[name]) for name in features], axis=1), y)
    return Source(samples, classes, fingerprint(samples), test_fraction=test_fraction)


def _targets(column: "pd.Series[Any]", kind: str) -> tuple[Array, int | None]:
    numeric = pd.api.types.is_numeric_dtype(column) and not pd.api.types.is_bool_dtype(column)
    if numeric:
        _refuse_infinite(column)
    whole = numeric and bool((column.astype(float) % 1 == 0).all())
    values = sorted(column.unique(), key=lambda v: (str(type(v)), v))
    if kind == "auto":
        kind = "classes" if not numeric or (whole and len(values) <= MOST_CLASSES) else "numbers"
    if kind == "numbers":
        if not numeric:
            raise ConfigError(f"data.label={column.name} holds texts, which are no numbers: use data.kind=classes")
        return column.to_numpy(np.float64).reshape(-1, 1), None
    if not 2 <= len(values) <= max(MOST_CLASSES, len(column) // 2):
        raise ConfigError(f"data.label={column.name} has {len(values)} different values, which are no classes")
    return np.searchsorted(np.array(values), column.to_numpy(_compared_as(values))), len(values)


def _compared_as(values: list[object]) -> type:
    """Return the type in which values are compared: numbers as numbers, anything else as text."""
    return float if all(isinstance(v, int | float | np.number) for v in values) else str


def _refuse_infinite(column: "pd.Series[Any]") -> None:
    if not np.isfinite(column.to_numpy(np.float64)).all():
        raise ConfigError(f"the column {column.name} holds a number that is not finite")


def _feature(column: "pd.Series[Any]") -> npt.NDArray[np.float64]:
    if pd.api.types.is_numeric_dtype(column):
        _refuse_infinite(column)
        return column.to_numpy(np.float64).reshape(-1, 1)
    categories = sorted(map(str, column.unique()))
    if len(categories) > MOST_CATEGORIES:
        raise ConfigError(
            f"the column {column.name} has {len(categories)} categories, more than {MOST_CATEGORIES}: "
            "leave it out with data.columns"
        )
    found = column.astype(str).to_numpy()[:, None] == np.array(categories)
    return np.asarray(found, np.float64)
