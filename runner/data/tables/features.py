"""Features of a table: as numbers for training, and for a new table with the training table's columns."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from runner.data import Samples
from runner.data.tables.cells import Reading, body_of, header_of, readings
from runner.data.tables.columns import FALSE, NO_NUMBER, TRUE, Column, numbers_of, understand
from runner.data.tables.target import as_called, written
from runner.errors import ConfigError, closest

MOST_CATEGORIES = 50
MOST_NAMED = 5
"""Values or rows that a message lists."""

Cells = tuple[npt.NDArray[Any], npt.NDArray[np.bool_]]
"""Values of a column, and which are missing."""


@dataclass(frozen=True)
class Feature:
    """A column that is predicted from."""

    name: str
    kind: str
    categories: tuple[str, ...]
    """Of text, in order; none of numbers and booleans."""

    @staticmethod
    def of(column: Column, kept: npt.NDArray[np.bool_]) -> "Feature":
        """Return a column as a feature, with the categories of the rows that are used."""
        texts = column.values[kept & ~column.missing] if column.kind == "text" else ()
        return Feature(column.name, column.kind, tuple(map(str, sorted(set(texts)))))

    def plain(self) -> dict[str, Any]:
        """Return it as plain values."""
        return {"name": self.name, "kind": self.kind, "categories": list(self.categories)}

    @property
    def inputs(self) -> list[str]:
        """What the inputs are called that it becomes."""
        return [f"{self.name}={category}" for category in self.categories] or [self.name]


def encode(
    features: Sequence[Feature], marked: Sequence[str], cells: Mapping[str, Cells]
) -> tuple[npt.NDArray[np.float64], tuple[tuple[int, int], ...]]:
    """Return inputs ``[n, f]`` and the places of those that hold one category, or a boolean, each.

    A number is itself, a boolean 0 or 1, a text 1 in the place of its category; missing values are NaN. At the end
    stand those that say, with 1, where a column of ``marked`` is missing.
    """
    blocks, spans, width = [], [], 0
    for feature in features:
        values, missing = cells[feature.name]
        if feature.kind == "text":
            block = np.asarray(values[:, None] == np.array(feature.categories, dtype=object), np.float64)
        else:
            block = values.astype(np.float64).reshape(-1, 1)
        block[missing] = np.nan
        blocks.append(block)
        spans += [(width, width + block.shape[1])] if feature.kind != "number" else []
        width += block.shape[1]
    blocks += [cells[name][1].astype(np.float64).reshape(-1, 1) for name in marked]
    return np.concatenate(blocks, axis=1), tuple(spans)


def read_like(
    path: str, saved: Mapping[str, Any], labels: Sequence[str] | None, key: str
) -> tuple[Samples, str | None]:
    """Read a table that has the columns of the one trained on, in any order, with or without the label.

    Args:
        path: the file.
        saved: how the training table was read.
        labels: what its classes are called; None where the targets are numbers.
        key: that named the file.

    Returns:
        Inputs as ``encode`` makes them and where each was read; of targets the label's values as they stand in the
        table, classes as training called them, ``[n]``, or none, ``[n, 0]``. And what is to be said of it.

    Raises:
        ConfigError: naming columns that are missing or unknown, categories that training has not seen, and values that
            are missing or no numbers.
    """
    features = [Feature(one["name"], one["kind"], tuple(one["categories"])) for one in saved["features"]]
    reading, names = _columns_of(path, saved, features, key)
    texts, note = [feature.name for feature in features if feature.kind == "text"], None
    if reading.header != saved["reading"]["header"]:
        note = f"{key}={path} is read as having no header, its columns as {', '.join(names)}"
    label = saved["label"] if saved["label"] in names else None
    table = body_of(path, reading, key, names, [*texts, *([label] if label else [])])
    if len(table) == 0:
        raise ConfigError(f"{key}={path} has no rows")
    as_text = replace(reading, text=(*reading.text, *texts))
    imputes = saved["missing"] == "impute"
    cells = {f.name: _cells_of(path, f, understand(table[f.name], as_text), reading, key, imputes) for f in features}
    x, _ = encode(features, saved["marked"], cells)
    if label is None:
        return Samples(x, np.empty((len(x), 0)), np.arange(len(x))), note
    words = written(table[label])
    y = words if labels is None else np.array(as_called(words, list(labels), saved["label_kind"]), dtype=object)
    return Samples(x, y, np.arange(len(x))), note


def _columns_of(
    path: str, saved: Mapping[str, Any], features: Sequence[Feature], key: str
) -> tuple[Reading, list[str]]:
    """Return how a file is read, and what its columns are called in training's words.

    The delimiter may be another. Without a header it has all columns of the training table, all but the label, or the
    features alone; a file that lacks the header of the training table is read so where its cells are all numbers.
    """
    reading, needed, every = Reading.of(saved["reading"]), [f.name for f in features], list(saved["names"])
    without_label = [name for name in every if name != saved["label"]]
    layouts = [every, without_label, needed]
    for tried in readings(reading):
        names = header_of(path, tried, key, unique=False)
        if not reading.header:
            if found := next((layout for layout in layouts if len(layout) == len(names)), None):
                return tried, found
        elif set(needed) <= set(names):
            return tried, _checked(path, header_of(path, tried, key), every, key)
    if reading.header and all(feature.kind == "number" for feature in features):
        for tried in readings(replace(reading, header=False)):
            first = header_of(path, replace(tried, header=True), key, unique=False)
            if len(first) == len(needed) and not np.isnan(numbers_of(pd.Series(first, dtype=object), tried)).any():
                return tried, needed
    names = header_of(path, reading, key)
    if not reading.header:
        raise ConfigError(
            f"{key}={path} has {len(names)} columns: the training table has {len(every)}, the label among them"
        )
    lacking = [name for name in needed if name not in names]
    raise ConfigError(
        f"{key}={path} lacks the columns {', '.join(lacking)}, which the run was trained on"
        f"{closest(lacking[0], names)}\nit has: {', '.join(names)}"
    )


def _checked(path: str, names: list[str], known: Sequence[str], key: str) -> list[str]:
    if unknown := [name for name in names if name not in known and not name.startswith("Unnamed: ")]:
        raise ConfigError(
            f"{key}={path} has the columns {', '.join(unknown)}, which the training table lacks: remove them\n"
            f"valid: {', '.join(known)}"
        )
    return names


def _cells_of(path: str, feature: Feature, column: Column, reading: Reading, key: str, imputes: bool) -> Cells:
    """Return a column's values and which are missing.

    Raises:
        ConfigError: if training has not seen a value's like.
    """
    words = written(column.written)
    values, missing, where = column.values, column.missing, f"{key}={path}: {feature.name}"
    if feature.kind == "text":
        odd = ~missing & ~np.isin(values.astype(str), np.array(feature.categories, dtype=str))
        if odd.any():
            raise ConfigError(
                f"{where} has {_some(values[odd])} in row {rows_named(odd)}, which training has not seen\n"
                f"valid: {', '.join(feature.categories)}"
            )
    else:
        missing = np.isin(words, ["", *NO_NUMBER, *reading.missing_values])
        if column.kind == "number":
            missing |= column.missing
        if feature.kind == "boolean":
            values, odd = np.isin(words, TRUE), ~missing & ~np.isin(words, [*TRUE, *FALSE])
        else:
            values = column.values if column.kind == "number" else numbers_of(pd.Series(words, dtype=object), reading)
            odd = ~missing & ~np.isfinite(values)
            values = np.where(missing, np.nan, values)
        if odd.any():
            valid = "True or False" if feature.kind == "boolean" else "finite numbers, as in training"
            raise ConfigError(f"{where} must be {valid}, got {_some(words[odd])} in row {rows_named(odd)}")
    if missing.any() and not imputes:
        raise ConfigError(
            f"{where} is missing in row {rows_named(missing)}; "
            "a run trained with data.missing=impute knows what to put there"
        )
    return values, missing


def _some(values: Any) -> str:
    found = [repr(str(value)) for value in dict.fromkeys(values)]
    return ", ".join(found[:MOST_NAMED]) + (" …" if len(found) > MOST_NAMED else "")


def rows_named(which: npt.NDArray[np.bool_]) -> str:
    """Return rows counted from 0, the header apart."""
    rows = np.flatnonzero(which)
    return ", ".join(map(str, rows[:MOST_NAMED])) + (" …" if len(rows) > MOST_NAMED else "")
