"""Features of a table: as numbers for training, and for a new table with the training table's columns."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from runner.data import Samples
from runner.data.tables.cells import DELIMITERS, Reading, body_of, header_of
from runner.data.tables.columns import FALSE, TRUE, Column, understand
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


def encode(
    features: Sequence[Feature], marked: Sequence[str], cells: Mapping[str, Cells]
) -> tuple[npt.NDArray[np.float64], tuple[tuple[int, int], ...]]:
    """Return inputs ``[n, f]`` and the places of those that hold one category each.

    A number is itself, a boolean 0 or 1, a text 1 in the place of its category; missing values are NaN. At the end
    stand those that say, with 1, where a column of ``marked`` is missing.
    """
    blocks, spans, width = [], [], 0
    for feature in features:
        values, missing = cells[feature.name]
        if feature.kind == "text":
            block = np.asarray(values[:, None] == np.array(feature.categories, dtype=object), np.float64)
            spans.append((width, width + block.shape[1]))
        else:
            block = values.astype(np.float64).reshape(-1, 1)
        block[missing] = np.nan
        blocks.append(block)
        width += block.shape[1]
    blocks += [cells[name][1].astype(np.float64).reshape(-1, 1) for name in marked]
    return np.concatenate(blocks, axis=1), tuple(spans)


def read_like(path: str, saved: Mapping[str, Any], key: str, fills: bool) -> Samples:
    """Read a table that has the columns of the one trained on, in any order, with or without the label.

    Args:
        path: the file.
        saved: how the training table was read.
        key: that named the file.
        fills: missing values are known how to be filled.

    Returns:
        Inputs as ``encode`` makes them and where each was read; of targets the label's values as they stand in the
        table, ``[n]``, or none, ``[n, 0]``.

    Raises:
        ConfigError: naming columns that are missing or unknown, categories that training has not seen, and values that
            are missing or no numbers.
    """
    features = [Feature(one["name"], one["kind"], tuple(one["categories"])) for one in saved["features"]]
    needed, reading = [feature.name for feature in features], Reading.of(saved["reading"])
    reading, names = _matching(path, reading, needed, key)
    numbers_alone = all(feature.kind == "number" for feature in features)
    if reading.header and not set(names) & set(needed) and numbers_alone and len(names) == len(needed):
        headless = Reading.of(reading.plain() | {"header": False})
        if all(_is_plain(name) for name in names):
            reading, names = headless, needed
    _check_columns(path, names, needed, [*saved["others"]], key)
    texts = [feature.name for feature in features if feature.kind == "text"]
    label = saved["label"] if saved["label"] in names else None
    table = body_of(path, reading, key, names, [*texts, *([label] if label else [])])
    if len(table) == 0:
        raise ConfigError(f"{key}={path} has no rows")
    as_text = Reading.of(reading.plain() | {"text": [*reading.text, *texts]})
    cells = {f.name: _cells_of(path, f, understand(table[f.name], as_text), key, fills) for f in features}
    x, _ = encode(features, saved["marked"], cells)
    y = np.empty((len(x), 0)) if label is None else table[label].fillna("").map(str).to_numpy(object)
    return Samples(x, y, np.arange(len(x)))


def _matching(path: str, reading: Reading, needed: Sequence[str], key: str) -> tuple[Reading, list[str]]:
    """Return the reading under which the header has the columns needed: the delimiter may be another."""
    names = header_of(path, reading, key)
    if not set(needed) <= set(names):
        for other in DELIMITERS:
            tried = Reading.of(reading.plain() | {"delimiter": other})
            found = header_of(path, tried, key)
            if set(needed) <= set(found) or (len(names) == 1 and len(found) == len(needed)):
                return tried, found
    return reading, names


def _is_plain(word: str) -> bool:
    return bool(pd.notna(pd.to_numeric(pd.Series([word]), errors="coerce")[0]))


def _check_columns(path: str, names: Sequence[str], needed: Sequence[str], others: Sequence[str], key: str) -> None:
    if lacking := [name for name in needed if name not in names]:
        hints = "".join(closest(name, names) for name in lacking[:1])
        raise ConfigError(
            f"{key}={path} lacks the columns {', '.join(lacking)}, which the run was trained on{hints}\n"
            f"it has: {', '.join(names)}"
        )
    known = {*needed, *others}
    if unknown := [name for name in names if name not in known and not name.startswith("Unnamed: ")]:
        raise ConfigError(
            f"{key}={path} has the columns {', '.join(unknown)}, which the training table has not: take them away\n"
            f"valid: {', '.join([*needed, *others])}"
        )


def _cells_of(path: str, feature: Feature, column: Column, key: str, fills: bool) -> Cells:
    """Return a column's values and which are missing.

    Raises:
        ConfigError: if training has not seen a value's like.
    """
    values, missing, name = column.values, column.missing, feature.name
    if feature.kind == "text":
        odd = ~missing & ~np.isin(values.astype(str), np.array(feature.categories, dtype=str))
        if odd.any():
            valid = ", ".join(feature.categories)
            raise ConfigError(
                f"{key}={path}: {name} has {_some(values[odd])} in row {_rows(odd)}, which training has not seen\n"
                f"valid: {valid}"
            )
    elif feature.kind == "boolean":
        words = column.written.map(str, na_action="ignore").str.strip()
        odd = ~missing & ~words.isin([*TRUE, *FALSE]).to_numpy(bool)
        if odd.any():
            raise ConfigError(
                f"{key}={path}: {name} must be True or False, got {_some(words[odd])} in row {_rows(odd)}"
            )
        values = words.isin(TRUE).to_numpy(bool)
    elif column.kind != "number" and not missing.all():
        numbers = pd.to_numeric(column.written, errors="coerce").isna().to_numpy(bool) & ~missing
        shown = column.written[numbers] if numbers.any() else column.written
        raise ConfigError(f"{key}={path}: {name} must be numbers, as in training, got {_some(shown)}")
    elif column.kind == "number" and np.isinf(values).any():
        raise ConfigError(f"{key}={path}: {name} is not finite in row {_rows(np.isinf(values))}")
    elif missing.all():
        values = np.full(len(missing), np.nan)
    if missing.any() and not fills:
        raise ConfigError(
            f"{key}={path}: {name} is missing in row {_rows(missing)}; "
            "a run trained with data.missing=impute knows what to put there"
        )
    return values, missing


def _some(values: Any) -> str:
    found = [repr(str(value)) for value in dict.fromkeys(values)]
    return ", ".join(found[:MOST_NAMED]) + (" …" if len(found) > MOST_NAMED else "")


def _rows(which: npt.NDArray[np.bool_]) -> str:
    """Return rows counted from 0, the header apart."""
    rows = np.flatnonzero(which)
    return ", ".join(map(str, rows[:MOST_NAMED])) + (" …" if len(rows) > MOST_NAMED else "")
