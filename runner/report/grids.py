"""Heat maps: any two axes of a sweep, each cell at the best of all the others."""

from itertools import combinations, product
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from runner.report.figures import heat_map
from runner.report.sections import Plot, Section, Table
from runner.report.settings import LR, Workload, number

MOST_PAIRS = 6
MOST_LEVELS = 30


def heat_maps(workload: Workload, axes: tuple[str, str] | None) -> Section | None:
    """Draw initializer × optimizer at each cell's own best learning rate, and every other two axes likewise."""
    able = [a for a in workload.axes if 1 < len(workload.levels(a)) <= MOST_LEVELS]
    pairs = [axes] if axes else [(a, b) for a, b in combinations(able, 2)]
    if not pairs:
        return None
    built = [_heat_map(workload, rows, columns) for rows, columns in pairs[:MOST_PAIRS]]
    said = ["Each cell is the best setting with these two choices: the mean over its seeds ± their standard deviation."]
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
    texts = [["" for _ in column_levels] for _ in row_levels]
    lines, mark = [], None
    others = [a for a in workload.axes if a not in (rows, columns)]
    for (i, r), (j, c) in product(enumerate(row_levels), enumerate(column_levels)):
        setting = found.get((r, c))
        if setting is None:
            texts[i][j] = "not run"
            continue
        row = table.iloc[setting]
        mark = (i, j) if setting == workload.best else mark
        if row["n"] == 0:
            texts[i][j] = "diverged" if row["diverged"] else "failed" if row["bad"] else "no value"
        else:
            values[i, j] = row["mean"]
            spread = f"\n± {row['sd']:.2g}" if np.isfinite(row["sd"]) else "\none seed"
            best_lr = f"\nlr {number(row[LR])}" if LR in others else ""
            texts[i][j] = f"{row['mean']:.4g}{spread}{best_lr}" + _trouble(row)
        lines.append(
            {rows: r, columns: c, **{a: row[a] for a in others}, **row[["n", "bad", "mean", "sd", "low", "high"]]}
        )
    name = f"heatmap-{rows}-{columns}".replace(".", "_")
    title = f"{rows} × {columns}: {measure.title}"

    def draw(figure: Figure) -> dict[str, str]:
        across, down = ([number(v) or "–" for v in levels] for levels in (row_levels, column_levels))
        return heat_map(
            figure, values, texts, across, down, (rows, columns, measure.title), measure.higher, mark, noise
        )

    spreads = table["sd"][np.isfinite(table["sd"]) & (table["sd"] > 0)]
    noise = max(workload.step, float(spreads.median()) if len(spreads) else 0.0)
    best = workload.words(0)
    plot = Plot(
        name,
        title,
        f"Heat map of {measure.title} by {rows} and {columns}; the best setting is {best}.",
        draw,
        width=min(12.0, 3.2 + 1.15 * len(column_levels)),
        height=min(14.0, max(2.9, 1.4 + 0.72 * len(row_levels))),
    )
    return plot, Table(name, title, pd.DataFrame(lines), folded=True)


def _trouble(row: "pd.Series[Any]") -> str:
    failed = row["bad"] - row["diverged"]
    said = [f"{row['diverged']} diverged"] if row["diverged"] else []
    return "".join(f"\n{line}" for line in [*said, *([f"{failed} failed"] if failed else [])])
