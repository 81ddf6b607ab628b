"""How figures look, and how they become files. Colours are told apart by the colour-blind, and never alone."""

import io
import re
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import matplotlib
import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from runner.report.sections import Plot
from runner.run.record import write_whole

COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#5d3a9b", "#444444")
"""Okabe & Ito 2008, the yellow left out, which is too light on white."""
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")
DASHES = ("-", "--", "-.", ":", (0, (5, 1)), (0, (3, 1, 1, 1)), (0, (1, 1)), (0, (7, 2)))
STYLE: dict[Any, Any] = {
    "font.size": 10,
    "font.family": ["DejaVu Sans"],
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.alpha": 0.25,
    "legend.frameon": False,
    "svg.fonttype": "none",
    "svg.hashsalt": "optbench",
    "text.parse_math": False,
    "text.usetex": False,
}
DPI = 144
SVG = "http://www.w3.org/2000/svg"


@contextmanager
def _style() -> Iterator[None]:
    with matplotlib.rc_context(STYLE), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a sign that the font lacks is drawn as a box
        yield


def render(plot: Plot) -> tuple[bytes, str]:
    """Draw a plot; return it as PNG and as SVG."""
    with _style():
        figure = Figure(figsize=(plot.width, plot.height), layout="constrained")
        tips = plot.draw(figure)
        png, svg = io.BytesIO(), io.BytesIO()
        figure.savefig(png, format="png", dpi=DPI)
        figure.set_layout_engine("none")  # it has been laid out
        figure.savefig(svg, format="svg", metadata={"Date": None, "Creator": None, "Title": clean(plot.title)})
    return png.getvalue(), _with_tips(svg.getvalue(), tips, plot)


def write_lines(
    path: Path, names: tuple[str, str], x: Sequence[float], curves: Mapping[str, Sequence[float]], log_x: bool
) -> None:
    """Write some curves over the same values as a picture, .png or .svg as the file's name ends.

    Raises:
        RecordError: if it cannot be written.
    """

    def draw(figure: Figure) -> dict[str, str]:
        ax = figure.subplots()
        for number, (label, y) in enumerate(curves.items()):
            ax.plot(x, y, color=COLOURS[number], ls=DASHES[number], label=label)
        ax.set_xlabel(names[0])
        ax.set_ylabel(names[1])
        if log_x:
            log_axis(ax, x, "x")
        legend_below(figure, [ax])
        return {}

    png, svg = render(Plot("curve", names[1], f"{names[1]} against {names[0]}", draw))
    write_whole(path, png if path.suffix == ".png" else svg)


def _with_tips(svg: bytes, tips: Mapping[str, str], plot: Plot) -> str:
    """Give a figure its description and its elements what a pointer resting on them says; ids are the plot's own."""
    ElementTree.register_namespace("", SVG)
    ElementTree.register_namespace("xlink", "http://www.w3.org/1999/xlink")
    root = ElementTree.fromstring(svg)
    for found in root.findall(f"{{{SVG}}}metadata"):
        root.remove(found)
    root.set("role", "img")
    root.set("aria-label", clean(plot.alt))
    for element in root.iter():
        said = tips.get(element.get("id", ""))
        if said is not None:
            title = ElementTree.Element(f"{{{SVG}}}title")
            title.text = clean(said)
            element.insert(0, title)
    text = ElementTree.tostring(root, encoding="unicode")
    return re.sub(r'(\bid="|href="#|url\(#)', rf"\g<1>{plot.name}-", text)


def clean(text: str) -> str:
    """Return a text without what an SVG file cannot hold."""
    return re.sub(r"[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff￾￿]", "�", text)


def short(text: str, most: int = 36) -> str:
    """Return a label short enough to stand beside a plot."""
    text = clean(text)
    return text if len(text) <= most else f"{text[: most // 2 - 1]}…{text[-(most // 2) :]}"


def log_axis(ax: Axes, values: Sequence[float] | npt.NDArray[np.float64], axis: str) -> None:
    """Make an axis logarithmic, with a tick at each decade."""
    getattr(ax, f"set_{axis}scale")("log")
    low, high = float(np.min(values)), float(np.max(values))
    which = ax.xaxis if axis == "x" else ax.yaxis
    if high / low >= 100:
        which.set_major_locator(LogLocator(10, numticks=8))
        which.set_minor_formatter(NullFormatter())
    else:
        which.set_minor_formatter(FuncFormatter(_plain))
    which.set_major_formatter(FuncFormatter(_plain))


def _plain(value: float, position: int | None = None) -> str:
    return f"{value:g}"


def legend_below(figure: Figure, axes: Iterable[Axes], columns: int = 2) -> None:
    """Put one legend for the whole figure below it."""
    found = {label: handle for ax in axes for handle, label in zip(*ax.get_legend_handles_labels(), strict=True)}
    if found:
        labels = [short(label, 48) for label in found]
        figure.legend(found.values(), labels, loc="outside lower center", ncols=columns, fontsize=9)


def heat_map(
    figure: Figure,
    values: npt.NDArray[np.float64],
    texts: Sequence[Sequence[str]],
    rows: Sequence[str],
    columns: Sequence[str],
    names: tuple[str, str, str],
    higher: bool,
    mark: tuple[int, int] | None,
    noise: float,
) -> dict[str, str]:
    """Draw a matrix with its numbers written in it.

    Args:
        figure: what to draw into.
        values: ``[rows, columns]``, NaN where there is none.
        texts: what each cell says.
        rows: the rows' names.
        columns: the columns' names.
        names: of the rows' axis, the columns' axis and the values.
        higher: whether more is better: better is lighter.
        mark: the best cell, framed.
        noise: differences from the best below it have one colour; those above are coloured by their logarithm, so that
            a few values at chance do not take all of the scale.
    """
    ax = figure.subplots()
    known = values[np.isfinite(values)]
    best = (known.max() if higher else known.min()) if len(known) else 0.0
    distance = np.abs(values - best)
    widest = float(np.nanmax(distance)) if len(known) else 0.0
    floor = max(noise, 1e-3 * widest, 1e-12)
    colours = matplotlib.colormaps["cividis_r"].with_extremes(bad="#e4e4e4")
    scale = LogNorm(floor, max(widest, 10 * floor))
    image = ax.imshow(np.maximum(distance, floor), cmap=colours, norm=scale, aspect="auto")
    ax.set_xticks(range(len(columns)), [short(c, 18) for c in columns], rotation=30 if len(columns) > 6 else 0)
    ax.set_yticks(range(len(rows)), [short(r, 22) for r in rows])
    ax.set_ylabel(short(names[0]))
    ax.set_xlabel(short(names[1]))
    ax.grid(visible=False)
    ax.spines[:].set_visible(False)
    size = 9 if len(columns) <= 6 else max(5, 60 / len(columns))
    for i, j in np.ndindex(values.shape):
        light = not np.isfinite(values[i, j]) or float(scale(max(float(distance[i, j]), floor))) < 0.5
        ax.text(j, i, texts[i][j], ha="center", va="center", fontsize=size, color="black" if light else "white")
    if mark is not None:
        frame = matplotlib.patches.Rectangle((mark[1] - 0.5, mark[0] - 0.5), 1, 1, fill=False, ec="#d55e00", lw=3)
        ax.add_patch(frame)
    bar = figure.colorbar(image, ax=ax, shrink=0.9, format=_plain)
    bar.ax.minorticks_off()
    bar.ax.invert_yaxis()
    bar.set_label("distance from the best", fontsize=9)
    bar.outline.set_visible(False)
    return {}
