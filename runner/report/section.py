"""What a report is made of: sections of text, plots and tables, which analyses return and the page shows."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd
from matplotlib.figure import Figure

SINGLE, DOUBLE = 3.3, 6.9
"""Widths of a figure in one column of a journal and across two, in inches."""


@dataclass(frozen=True)
class Table:
    """Rows to read, sort and save as CSV."""

    name: str
    """The stem of its file."""
    title: str
    frame: pd.DataFrame
    folded: bool = False
    """On the page, shown when asked for."""
    names: int = 1
    """So many of the first columns name a row: they stay in sight when the others are scrolled."""
    first: tuple[str, ...] = ()
    """The columns that the page shows first; by default the first few."""


@dataclass(frozen=True)
class Plot:
    """A figure, saved as PNG, SVG and PDF."""

    name: str
    title: str
    alt: str
    """What it shows, in a sentence, for who cannot see it."""
    draw: Callable[[Figure], object]
    """Draws into a figure, for the files."""
    width: float = DOUBLE
    """Inches, as ``height``: of one column of a journal, or of two."""
    height: float = 3.4
    chart: Callable[[], Mapping[str, Any]] | None = None
    """The same for the page: a plotly figure as plain ``{"data": [...], "layout": {...}}``; None off the page."""


@dataclass(frozen=True)
class Section:
    """One question and its answer."""

    title: str
    text: tuple[str, ...] = ()
    plots: tuple[Plot, ...] = ()
    tables: tuple[Table, ...] = ()
    terminal: str = ""
    """What the terminal shows of it."""
