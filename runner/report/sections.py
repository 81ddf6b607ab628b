"""What a report is made of: sections of text, plots and tables, which analyses return and the page shows."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd
from matplotlib.figure import Figure


@dataclass(frozen=True)
class Table:
    """Rows to read, sort and save as CSV."""

    name: str
    """The stem of its file."""
    title: str
    frame: pd.DataFrame
    note: str = ""
    folded: bool = False
    """On the page, shown when asked for."""


@dataclass(frozen=True)
class Plot:
    """A figure, saved as PNG and SVG."""

    name: str
    title: str
    alt: str
    """What it shows, in a sentence, for who cannot see it."""
    draw: Callable[[Figure], Mapping[str, str]]
    """Draws into a figure; returns what a pointer resting on an element says, by the element's gid."""
    width: float = 7.5
    """Inches, as ``height``."""
    height: float = 4.2
    chart: Callable[[], Mapping[str, Any]] | None = None
    """The same for the page: a plotly figure as plain ``{"data": [...], "layout": {...}}``."""


@dataclass(frozen=True)
class Section:
    """One question and its answer."""

    title: str
    text: tuple[str, ...] = ()
    plots: tuple[Plot, ...] = ()
    tables: tuple[Table, ...] = ()
    terminal: str = ""
    """What the terminal shows of it."""
