"""The column of a table that is predicted: numbers, or classes."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from runner.data import Array
from runner.data.tables.columns import FALSE, TRUE, Column

MOST_CLASSES = 20
"""A column of whole numbers with no more values than this is taken for classes."""
ROWS_A_CLASS = 5
"""So many, on average, at least; otherwise they are numbers."""


@dataclass(frozen=True, eq=False)
class Target:
    """A column, what its targets are asked to be (``auto``, ``classes`` or ``numbers``), and which rows are used."""

    column: Column
    kind: str
    kept: npt.NDArray[np.bool_]

    @property
    def was_meant_as_numbers(self) -> bool:
        """Almost all of its texts are numbers, and the others are no names of classes.

        Where classes are asked for, texts that differ from numbers by more than what is missing are such names.
        """
        column = self.column
        as_names = self.kind == "classes" and column.settings and "missing_values" not in column.settings
        if not column.was_meant_as_numbers or as_names:
            return False
        return bool(column.settings.keys() - {"missing_values"}) or not any(word.isalpha() for word in column.odd)

    @cached_property
    def classes(self) -> list[Any] | None:
        """The classes in order, whole numbers exact whatever their length; None where the targets are numbers."""
        used = self.kept & ~self.column.missing
        values = self.column.values[used]
        if self.column.kind == "number":
            whole = bool(np.isfinite(values).all() and (values % 1 == 0).all())
            few = len(np.unique(values)) <= min(MOST_CLASSES, max(2, len(values) // ROWS_A_CLASS))
            if self.kind == "numbers" or (self.kind == "auto" and not (whole and few)):
                return None
            return sorted(set(self._exact[used]))
        return sorted(set(values.tolist()))

    @cached_property
    def _words(self) -> npt.NDArray[Any]:
        """The cells as they are written, ``[n]``; empty where there is none."""
        return written(self.column.written)

    @cached_property
    def _exact(self) -> npt.NDArray[Any]:
        """A column of numbers as objects, ``[n]``: whole ones as integers of any length."""
        cells = zip(self._words, self.column.missing, self.column.values, strict=True)
        return np.array([None if gone else exact(word, value) for word, gone, value in cells], dtype=object)

    @cached_property
    def encoded(self) -> tuple[Array, tuple[str, ...] | None]:
        """The targets of the rows that are used, and what the classes are called: as the file first writes them."""
        if self.classes is None:
            return self.column.values[self.kept].astype(np.float64).reshape(-1, 1), None
        values = (self._exact if self.column.kind == "number" else self.column.values)[self.kept]
        place = {value: i for i, value in enumerate(self.classes)}
        y = np.array([place[value] for value in values], dtype=np.int64)
        _, firsts = np.unique(y, return_index=True)
        return y, tuple(self._words[self.kept][firsts].tolist())

    def lone_classes(self) -> list[str]:
        """Return the classes of which there is one sample."""
        y, labels = self.encoded
        if labels is None:
            return []
        return [label for label, n in zip(labels, np.bincount(y.astype(np.int64)), strict=True) if n == 1]


def written(cells: pd.Series) -> npt.NDArray[Any]:
    """Return cells as texts ``[n]``, without spaces around them; empty where there is none."""
    there = zip(cells, cells.isna(), strict=True)
    return np.array(["" if gone else str(word).strip() for word, gone in there], dtype=object)


def exact(word: str, value: float) -> int | float:
    """Return a number as it is written: a whole one as an integer of any length."""
    bare = word.removeprefix("-").removeprefix("+")
    if bare.isascii() and bare.isdecimal():
        return int(word)
    return int(value) if value.is_integer() and abs(value) < 1e15 else float(value)


def as_called(words: npt.NDArray[Any], labels: list[str], kind: str) -> list[str]:
    """Return labels of another file as the training file wrote their classes; what is no class stays as it is."""

    def meant(word: str) -> object:
        if kind == "boolean":
            return word in TRUE if word in (*TRUE, *FALSE) else word
        if kind == "number":
            try:
                return exact(word, float(word))
            except (ValueError, OverflowError):
                return word
        return word

    called = {meant(label): label for label in labels}
    return [word if word == "" else called.get(meant(word), word) for word in words]
