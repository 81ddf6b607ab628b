"""Measures as what is wrong: an error or a loss on a logarithmic scale, on which 0.99 and 0.999 lie apart."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from runner.measures import title
from runner.report.measure import Measure
from runner.statistics.scores import Array


@dataclass(frozen=True)
class Wrong:
    """A measure as it is drawn."""

    column: str
    """Of ``metrics.csv``."""
    title: str
    from_one: bool
    """It is 1 less the measure."""
    logarithmic: bool
    """Where nothing in it is negative."""

    def of(self, values: Array) -> Array:
        """Return what is drawn of values of the column."""
        return 1 - values if self.from_one else values

    def floor(self, drawn: Iterable[Array]) -> float | None:
        """Return what stands for 0, a little below the least of what is drawn; None where the axis is linear."""
        values = np.concatenate([np.zeros(0), *drawn])
        positive = values[np.isfinite(values) & (values > 0)]
        if not self.logarithmic or not len(positive) or (values < -1e-9).any():
            return None
        return float(positive.min()) * 0.7


def above(values: Array, floor: float | None) -> Array:
    """Return values, those below the floor put onto it."""
    return values if floor is None else np.maximum(values, floor)


def wrong(measure: Measure, column: str) -> Wrong:
    """Return how a measure's column is drawn, or the training column of its kind, or a loss in its place."""
    if column.partition("_")[2] != measure.name.partition("_")[2]:
        return Wrong(column, title(column), False, True)
    if measure.counted or measure.name == "val_r2":
        part, name = title(column).split(" ", 1)
        return Wrong(column, f"{part} error (1 − {name})", True, True)
    return Wrong(column, title(column), False, not measure.higher)
