"""How choices look: each has one colour in all charts of a report, told apart by the colour-blind, and never alone."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from runner.report.settings import Workload

COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#9467d6", "#7f7f7f")
"""Okabe & Ito 2008; purple and grey for the yellow and the black, which vanish on a white or a black page."""
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")
DASHES: tuple[Any, ...] = ("-", "--", "-.", ":", (0, (5, 1)), (0, (3, 1, 1, 1)), (0, (1, 1)), (0, (7, 2)))
SYMBOLS = ("circle", "square", "triangle-up", "diamond", "triangle-down", "cross", "x", "star")
STROKES = ("solid", "dash", "dashdot", "dot", "10px,2px", "6px,2px,2px,2px", "2px,2px", "14px,4px")


@dataclass(frozen=True)
class Look:
    """A line's colour, and what tells it from the others without colour."""

    colour: str
    number: int
    """Of its dash and marker."""

    @property
    def dash(self) -> Any:
        """Matplotlib's line style."""
        return DASHES[self.number % len(DASHES)]

    @property
    def marker(self) -> str:
        """Matplotlib's marker."""
        return MARKERS[self.number % len(MARKERS)]

    @property
    def stroke(self) -> str:
        """Plotly's dash."""
        return STROKES[self.number % len(STROKES)]

    @property
    def symbol(self) -> str:
        """Plotly's marker."""
        return SYMBOLS[self.number % len(SYMBOLS)]


def first_axis(workload: Workload) -> str | None:
    """Return the axis whose values have the first colours: the optimizer, the initializer, or what else varies."""
    return next((a for a in ("optim", "init", *workload.axes) if a in workload.axes), None)


def colours(workload: Workload) -> dict[tuple[str, str], str]:
    """Return the colour of each value of each axis, by axis and value; they repeat only where there are too many."""
    axes = [a for a in dict.fromkeys(["optim", "init", *workload.axes]) if a in workload.axes]
    choices = [(a, level) for a in axes for level in workload.levels(a)]
    return {choice: COLOURS[i % len(COLOURS)] for i, choice in enumerate(choices)}


def looks_of_levels(workload: Workload, axis: str, levels: Sequence[str]) -> dict[str, Look]:
    """Return how the values of an axis look, each in its own colour, dash and marker."""
    known = colours(workload)
    return {level: Look(known.get((axis, level), COLOURS[i % len(COLOURS)]), i) for i, level in enumerate(levels)}


def looks_of_settings(workload: Workload, settings: Sequence[int], axis: str | None = None) -> Mapping[int, Look]:
    """Return how settings of one chart look: in the colour of what they chose on an axis, each in its own dash.

    Args:
        workload: theirs.
        settings: rows of its table.
        axis: the axis; by default the one whose values have the first colours.
    """
    axis = axis or first_axis(workload)
    known = colours(workload)
    return {
        s: Look(COLOURS[0] if axis is None else known[axis, str(workload.table.at[s, axis])], i)
        for i, s in enumerate(settings)
    }
