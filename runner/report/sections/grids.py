"""Heat maps: any two axes of a sweep, each cell at the best of all the others."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations, product
from typing import Any

import matplotlib
import numpy as np
import numpy.typing as npt
import pandas as pd
from matplotlib.figure import Figure
from scipy import stats

from runner.report.drawing import charts
from runner.report.drawing.figures import ORDER, short
from runner.report.section import DOUBLE, SINGLE, Plot, Section, Table
from runner.report.settings import LR, Workload, number

MOST_PAIRS = 6
MOST_LEVELS = 30
MARK = "●"
"""Stands in the cells of settings that can be best."""
DARK = 0.38
"""Colours further than this from the middle are so dark that a cell's text is white."""


@dataclass(frozen=True)
class Grid:
    """Two axes of a sweep, crossed."""

    rows: list[str]
    columns: list[str]
    values: npt.NDArray[np.float64]
    """``[rows, columns]``, NaN where there is none."""
    texts: list[list[list[str]]]
    """Each cell's lines."""
    inside: npt.NDArray[np.bool_]
    """Whether a cell's setting can be best."""

    def shades(self, higher: bool) -> npt.NDArray[np.float64]:
        """Return where each cell stands among all, from 0, the worst, to 1, the best: so every two cells differ."""
        flat = self.values.ravel() * (1 if higher else -1)
        known = np.isfinite(flat)
        found = np.full(flat.shape, np.nan)
        if known.any():
            ranks = stats.rankdata(flat[known])
            found[known] = (ranks - 1) / (known.sum() - 1) if known.sum() > 1 else 1.0
        return found.reshape(self.values.shape)


def heat_maps(workload: Workload, axes: tuple[str, str] | None) -> Section | None:
    """Draw initializer × optimizer at each cell's own best learning rate, and every other two axes likewise."""
    able = [a for a in workload.axes if 1 < len(workload.levels(a)) <= MOST_LEVELS]
    pairs = [axes] if axes else [(a, b) for a, b in combinations(able, 2)]
    if not pairs:
        return None
    built = [_heat_map(workload, rows, columns) for rows, columns in pairs[:MOST_PAIRS]]
    said = [
        "Each cell is the best setting with these two choices: the mean over its seeds ± their standard deviation. "
        f"{MARK} marks those that can be best. Colours go by the order of the cells, from the worst, red, to the best, "
        "blue: how far they lie apart is what the numbers say."
    ]
    if len(pairs) > MOST_PAIRS:
        said.append(
            f"{len(pairs) - MOST_PAIRS} more pairs of axes are drawn when asked for, as --axes {','.join(pairs[-1])}."
        )
    first = pairs[0]
    others = ", ".join(a for a in workload.axes if a not in first)
    title = f"{first[0]} × {first[1]}" + (f", each cell at its own best {others}" if others else "")
    return Section(title, tuple(said), tuple(p for p, _ in built), tuple(t for _, t in built))


def _heat_map(workload: Workload, rows: str, columns: str) -> tuple[Plot, Table]:
    measure, table = workload.measure, workload.table
    found = workload.best_of([rows, columns])
    row_levels, column_levels = workload.levels(rows), workload.levels(columns)
    values = np.full((len(row_levels), len(column_levels)), np.nan)
    inside = np.zeros(values.shape, bool)
    texts = [[["not run"] for _ in column_levels] for _ in row_levels]
    lines = []
    others = [a for a in workload.axes if a not in (rows, columns)]
    for (i, r), (j, c) in product(enumerate(row_levels), enumerate(column_levels)):
        setting = found.get((r, c))
        if setting is None:
            continue
        row = table.iloc[setting]
        inside[i, j] = row["in_set"]
        texts[i][j] = _text(row, LR in others)
        values[i, j] = row["mean"] if row["n"] else np.nan
        lines.append(
            {rows: r, columns: c, **{a: row[a] for a in others}, **row[["n", "bad", "mean", "sd", "low", "high"]]}
        )
    grid = Grid(
        [number(v) or "–" for v in row_levels], [number(v) or "–" for v in column_levels], values, texts, inside
    )
    name = re.sub(r"[^\w-]", "_", f"heatmap-{rows}-{columns}")  # a file, wherever the columns come from
    title = f"{rows} × {columns}: {measure.title}"
    plot = Plot(
        name,
        title,
        f"Heat map of {measure.title} by {rows} and {columns}; the best setting is {workload.words(0)}.",
        lambda figure: _draw(figure, grid, (rows, columns), measure.higher),
        width=SINGLE if len(column_levels) <= 3 else DOUBLE,
        height=min(9.0, max(1.8, 0.7 + 0.42 * len(row_levels))),
        chart=lambda: _chart(grid, (rows, columns), measure.higher),
    )
    return plot, Table(name, title, pd.DataFrame(lines), folded=True, names=2)


def _text(row: "pd.Series[Any]", at_lr: bool) -> list[str]:
    """Return what a cell says, in lines."""
    if row["n"] == 0:
        return ["diverged" if row["diverged"] else "failed" if row["bad"] else "no value"]
    spread = f"± {row['sd']:.2g}" if np.isfinite(row["sd"]) else "one seed"
    mark = f" {MARK}" if row["in_set"] else ""
    failed = row["bad"] - row["diverged"]
    return [
        f"{row['mean']:.4g}{mark}",
        spread,
        *([f"lr {number(row[LR])}"] if at_lr else []),
        *([f"{row['diverged']} diverged"] if row["diverged"] else []),
        *([f"{failed} failed"] if failed else []),
    ]


def _chart(grid: Grid, names: tuple[str, str], higher: bool) -> charts.Chart:
    shades = grid.shades(higher)
    known = np.sort(grid.values[np.isfinite(grid.values)]) * 1.0
    ends = known if higher else known[::-1]
    at = (0.0, 0.25, 0.5, 0.75, 1.0)
    ticks = [f"{np.quantile(ends, q) if higher else np.quantile(known, 1 - q):.4g}" for q in at] if len(known) else []
    lines = max(len(text) for row in grid.texts for text in row)
    said = [["<br>".join(map(charts.label, text)) for text in row] for row in grid.texts]
    columns = [charts.label(c, 18) for c in grid.columns]
    cells = {
        "type": "heatmap",
        "z": shades,
        "text": said,
        "hovertemplate": "%{y} · %{x}<br>%{text}<extra></extra>",
        "colorscale": charts.ORDER,
        "zmin": 0,
        "zmax": 1,
        "xgap": 2,
        "ygap": 2,
        "hoverongaps": False,
        "colorbar": {
            "tickvals": list(at),
            "ticktext": [f"{t}{e}" for t, e in zip(ticks, (" worst", "", "", "", " best"), strict=True)]
            if ticks
            else [],
            "thickness": 12,
            "outlinewidth": 0,
        },
    }
    at_levels = {"type": "linear", "showgrid": False, "zeroline": False}
    x = charts.named(names[1], tickvals=list(range(len(columns))), ticktext=columns, **at_levels)
    y = charts.named(
        names[0],
        tickvals=list(range(len(grid.rows))),
        ticktext=[charts.label(r, 22) for r in grid.rows],
        autorange="reversed",
        **at_levels,
    )
    layout = charts.layout(
        [""], [x], [y], 1, max(220, 70 + (18 * lines + 16) * len(grid.rows)), 120 + 74 * len(columns), legend=False
    )
    if grid.inside.any():
        layout["shapes"] = [_frame(i, j) for i, j in np.argwhere(grid.inside).tolist()]
    return {"data": [cells, *_texts(shades, said)], "layout": layout}


def _frame(row: int, column: int) -> dict[str, Any]:
    """Return the frame of a cell whose setting can be best."""
    ends = {"x0": column - 0.49, "x1": column + 0.49, "y0": row - 0.48, "y1": row + 0.48}
    return {"type": "rect", **ends, "line": {"color": charts.INK, "width": 2}}


def _texts(shades: npt.NDArray[np.float64], said: Sequence[Sequence[str]]) -> list[dict[str, Any]]:
    """Return what the cells say, dark on pale cells, white on dark ones, and soft where there is no value."""
    known = np.isfinite(shades)
    dark = known & (np.abs(np.nan_to_num(shades) - 0.5) > DARK)
    of = {"#1b1f24": known & ~dark, "#ffffff": dark, charts.SOFT: ~known}
    found = []
    for colour, mask in of.items():
        at = np.argwhere(mask)
        if len(at):
            text = {"mode": "text", "text": [said[i][j] for i, j in at.tolist()], "textfont": {"color": colour}}
            found.append({"type": "scatter", "x": at[:, 1], "y": at[:, 0], "hoverinfo": "skip"} | text)
    return found


def _draw(figure: Figure, grid: Grid, names: tuple[str, str], higher: bool) -> None:
    ax = figure.subplots()
    shades = grid.shades(higher)
    image = ax.imshow(shades, cmap=ORDER.with_extremes(bad="#eeeeee"), vmin=0, vmax=1, aspect="auto")
    ax.set_xticks(
        range(len(grid.columns)), [short(c, 18) for c in grid.columns], rotation=30 if len(grid.columns) > 6 else 0
    )
    ax.set_yticks(range(len(grid.rows)), [short(r, 22) for r in grid.rows])
    ax.set_ylabel(short(names[0]))
    ax.set_xlabel(short(names[1]))
    ax.grid(visible=False)
    ax.spines[:].set_visible(False)
    size = 6.5 if len(grid.columns) <= 8 else max(4.0, 52 / len(grid.columns))
    for i, j in np.ndindex(shades.shape):
        colour = "white" if np.isfinite(shades[i, j]) and abs(shades[i, j] - 0.5) > DARK else "black"
        ax.text(j, i, "\n".join(grid.texts[i][j]), ha="center", va="center", fontsize=size, color=colour)
        if grid.inside[i, j]:
            frame = matplotlib.patches.Rectangle((j - 0.48, i - 0.46), 0.96, 0.92, fill=False, ec="black", lw=1.5)
            ax.add_patch(frame)
    bar = figure.colorbar(image, ax=ax, shrink=0.9, ticks=[0, 1])
    bar.ax.set_yticklabels(["worst", "best"])
    bar.outline.set_visible(False)
