"""How figures look, and how they become files. Colours are told apart by the colour-blind, and never alone."""

import io
import re
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from xml.sax.saxutils import quoteattr

import matplotlib
import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from runner.report.drawing import charts
from runner.report.drawing.looks import COLOURS, DASHES
from runner.report.section import Plot
from runner.run.record import write_whole

STYLE: dict[Any, Any] = {
    "font.size": 8,
    "axes.labelsize": 8,
    "axes.titlesize": 8,
    "xtick.labelsize": 7,
    "ytick.labelsize": 7,
    "legend.fontsize": 7,
    "lines.linewidth": 1.2,
    "lines.markersize": 4,
    "axes.linewidth": 0.6,
    "font.family": ["DejaVu Sans"],
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.alpha": 0.25,
    "legend.frameon": False,
    "svg.fonttype": "none",
    "svg.hashsalt": "optbench",
    "pdf.fonttype": 42,  # letters that a reader can copy, as journals ask
    "text.parse_math": False,
    "text.usetex": False,
}
DPI = 160
FORMATS = ("png", "svg", "pdf")
_DATES = {"svg": "Date", "pdf": "CreationDate"}
"""Left out, so that the same figure is the same file."""
ORDER = matplotlib.colors.LinearSegmentedColormap.from_list("order", charts.ORDER_COLOURS)
"""From the worst to the best, as on the page."""


@contextmanager
def _style() -> Iterator[None]:
    with matplotlib.rc_context(STYLE), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a sign that the font lacks is drawn as a box
        yield


def render(plot: Plot, formats: Sequence[str] = FORMATS) -> dict[str, bytes]:
    """Draw a plot; return it in each of some formats: png, svg, pdf."""
    with _style():
        figure = Figure(figsize=(plot.width, plot.height), dpi=DPI, layout="constrained")
        plot.draw(figure)
        for ax in figure.axes:
            for artist in (*ax.lines, *ax.collections, *ax.patches, *ax.texts):
                artist.set_in_layout(False)  # they lie inside the axes, and measuring each is slow
        figure.draw_without_rendering()
        figure.set_layout_engine(None)  # it has been laid out; each format would do so anew, drawing everything twice
        found = {}
        for kind in formats:
            file = io.BytesIO()
            about: dict[str, str | None] = {"Creator": None, "Title": clean(plot.title), _DATES.get(kind, ""): None}
            figure.savefig(file, format=kind, dpi=DPI, metadata={} if kind == "png" else about)
            found[kind] = file.getvalue()
    if "svg" in found:
        said = f'<svg role="img" aria-label={quoteattr(clean(plot.alt))} '.encode("utf-8", "replace")
        found["svg"] = found["svg"].replace(b"<svg ", said, 1)
    return found


def write_lines(
    path: Path, names: tuple[str, str], x: Sequence[float], curves: Mapping[str, Sequence[float]], log_x: bool
) -> None:
    """Write some curves over the same values as a picture, of the format that the file's name ends in.

    Raises:
        RecordError: if it cannot be written.
    """

    def draw(figure: Figure) -> None:
        ax = figure.subplots()
        for number, (label, y) in enumerate(curves.items()):
            ax.plot(x, y, color=COLOURS[number], ls=DASHES[number], label=label)
        ax.set_xlabel(names[0])
        ax.set_ylabel(names[1])
        if log_x:
            log_axis(ax, x, "x")
        legend_below(figure, [ax])

    kind = path.suffix.removeprefix(".")
    write_whole(path, render(Plot("curve", names[1], f"{names[1]} against {names[0]}", draw), [kind])[kind])


def clean(text: str) -> str:
    """Return a text without what an SVG file cannot hold."""
    return re.sub(r"[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff￾￿]", "�", text)


def short(text: str, most: int = 36) -> str:
    """Return a label short enough to stand beside a plot."""
    return charts.shortened(clean(text), most)


def log_axis(ax: Axes, values: Sequence[float] | npt.NDArray[np.float64], axis: str) -> None:
    """Make an axis logarithmic, with a tick at each decade."""
    getattr(ax, f"set_{axis}scale")("log")
    low, high = float(np.min(values)), float(np.max(values))
    which = ax.xaxis if axis == "x" else ax.yaxis
    if high / low >= 100:
        which.set_major_locator(LogLocator(10, numticks=8))
        which.set_minor_formatter(NullFormatter())
    else:
        which.set_minor_formatter(FuncFormatter(_plain if high / low < 3 else _at_2_and_5))
    which.set_major_formatter(FuncFormatter(_plain))


def _plain(value: float, position: int | None = None) -> str:
    return f"{value:g}"


def _at_2_and_5(value: float, position: int | None = None) -> str:
    return _plain(value) if f"{value:e}"[0] in "25" else ""


def legend_below(figure: Figure, axes: Iterable[Axes], columns: int = 2) -> None:
    """Put one legend for the whole figure below it."""
    found = {label: handle for ax in axes for handle, label in zip(*ax.get_legend_handles_labels(), strict=True)}
    if found:
        labels = [short(label, 48) for label in found]
        figure.legend(found.values(), labels, loc="outside lower center", ncols=columns)
