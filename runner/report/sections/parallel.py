"""All settings at once, as lines through their choices and what they reached, tied to the table of every setting."""

from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from scipy import stats

from runner.report.drawing import charts
from runner.report.drawing.figures import ORDER, short
from runner.report.section import DOUBLE, Plot
from runner.report.settings import Workload, number

MOST_AXES = 9
MOST_LEVELS = 40
"""A choice of more values that are no numbers has no axis."""
FEWEST = 3
"""With fewer settings the table says it all."""


def parallel(workload: Workload) -> Plot | None:
    """Return the plot: one line a setting with a value, coloured from the worst to the best."""
    there = np.flatnonzero(workload.table["n"].to_numpy() > 0)
    if len(there) < FEWEST:
        return None
    return Plot(
        "settings",
        "Every setting: drag along an axis to mark lines, and the table below shows them",
        f"Parallel coordinates of {len(there)} settings: {', '.join(workload.axes)} and {workload.measure.title}.",
        lambda figure: _draw(figure, _axes(workload, there), _colours(workload, there)),
        width=DOUBLE,
        height=2.8,
        chart=lambda: _chart(_axes(workload, there), _colours(workload, there), there),
    )


def _colours(workload: Workload, there: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
    """Return where each setting stands among all, from 0, the worst, to 1, the best."""
    scores = workload.table["mean"].to_numpy(float)[there] * workload.measure.sign
    return np.asarray((stats.rankdata(scores) - 1) / max(1, len(scores) - 1))


def _axes(workload: Workload, there: npt.NDArray[np.int64]) -> list[dict[str, Any]]:
    """Return an axis for each choice, for what was reached and for what it took, as plotly's dimensions."""
    found: list[dict[str, Any]] = []
    for choice in workload.axes:
        levels = workload.levels(choice)
        if len(found) >= MOST_AXES - 2:
            break
        if len(levels) > MOST_LEVELS:  # such as those that a search drew
            drawn = pd.to_numeric(workload.table[choice], errors="coerce").to_numpy(float)[there]
            if np.isfinite(drawn).all():
                found.append({"label": choice} | (_decades(drawn) if (drawn > 0).all() else _even(drawn)))
        else:
            place = {level: i for i, level in enumerate(levels)}
            values = [place[str(v)] for v in workload.table[choice].to_numpy()[there]]
            texts = [number(level) or "–" for level in levels]
            ends = {"range": [-0.3, len(levels) - 0.7]}
            found.append({"label": choice, "values": values, "tickvals": list(range(len(levels)))})
            found[-1] |= {"ticktext": texts} | ends
    found.append(_reached(workload, there))
    seconds = workload.table["train_seconds"].to_numpy(float)[there]
    if np.isfinite(seconds).all() and (seconds > 0).all():
        found.append({"label": "seconds"} | _decades(seconds))
    return found


def _reached(workload: Workload, there: npt.NDArray[np.int64]) -> dict[str, Any]:
    """Return the axis of the measure, best on top; of an accuracy, by the logarithm of what is wrong."""
    measure, mean = workload.measure, workload.table["mean"].to_numpy(float)[there]
    title = measure.title
    if measure.counted:
        wrong = np.maximum(1 - mean, max(workload.step / 2, 1e-6))
        axis = _decades(wrong)
        axis["ticktext"] = [f"{1 - t:.6g}" for t in 10.0 ** np.array(axis["tickvals"])]
        return {"label": title} | axis | {"range": axis["range"][::-1]}
    if not measure.higher and (mean > 0).all():
        axis = _decades(mean)
        return {"label": title} | axis | {"range": axis["range"][::-1]}
    axis = _even(mean)
    return {"label": title} | axis | {"range": axis["range"] if measure.higher else axis["range"][::-1]}


def _even(values: npt.NDArray[np.float64]) -> dict[str, Any]:
    """Return a dimension of values as they are."""
    low, high = float(values.min()), float(values.max())
    return {"values": values, "range": [low, high if high > low else low + 1e-9]}


def _decades(values: npt.NDArray[np.float64]) -> dict[str, Any]:
    """Return a dimension of the logarithms of positive values."""
    x = np.log10(values)
    low, high = float(x.min()), float(x.max())
    low, high = low - 0.02 * (high - low) - 0.01, high + 0.02 * (high - low) + 0.01
    factors = (1, 2, 5) if high - low < charts.WIDE_DECADES else (1,)
    ticks = [f * 10.0**p for p in range(int(np.floor(low)), int(np.ceil(high)) + 1) for f in factors]
    ticks = [t for t in ticks if low <= np.log10(t) <= high]
    if len(ticks) < 2:
        ticks = [10.0**low, 10.0**high]
    text = [f"{t:.3g}" for t in ticks]
    return {"values": x, "range": [low, high], "tickvals": np.log10(ticks).tolist(), "ticktext": text}


def _chart(axes: list[dict[str, Any]], colours: npt.NDArray[np.float64], there: npt.NDArray[np.int64]) -> charts.Chart:
    texts = [[charts.label(t, 18) for t in axis["ticktext"]] if "ticktext" in axis else None for axis in axes]
    shown = [
        axis | {"label": charts.label(axis["label"], 24)} | ({"ticktext": text} if text else {})
        for axis, text in zip(axes, texts, strict=True)
    ]
    trace = {
        "type": "parcoords",
        "dimensions": shown,
        "customdata": there,
        "line": {"color": colours, "colorscale": charts.ORDER, "cmin": 0, "cmax": 1},
        "unselected": {"line": {"color": "#888888", "opacity": 0.06}},
        "labelfont": {"color": charts.INK},
        "tickfont": {"color": charts.INK},
        "rangefont": {"color": "rgba(0,0,0,0)"},
    }
    left = 40 + 6 * max(map(len, texts[0] or [""]))
    meta = {"panels": 1, "columns": 1, "height": 340, "least": 90 * len(axes) + 60, "linked": True}
    return {"data": [trace], "layout": {"meta": meta, "margin": {"l": left, "r": 50, "t": 50, "b": 24}}}


def _draw(figure: Figure, axes: list[dict[str, Any]], colours: npt.NDArray[np.float64]) -> None:
    ax = figure.subplots()
    spread = np.empty((len(axes), len(colours)))
    for i, axis in enumerate(axes):
        low, high = axis["range"]
        spread[i] = (np.asarray(axis["values"], float) - low) / (high - low)
        at = np.asarray(axis.get("tickvals", [low, high]), float)
        texts = axis.get("ticktext", [f"{low:.4g}", f"{high:.4g}"])
        ax.axvline(i, color="0.3", lw=0.8)
        if len(at) <= 12:
            for y, text in zip((at - low) / (high - low), texts, strict=True):
                ax.annotate(short(text, 14), (i, y), xytext=(3, 0), textcoords="offset points", fontsize=6, va="center")
    lines = [np.column_stack([np.arange(len(axes)), spread[:, k]]) for k in np.argsort(colours)]
    ax.add_collection(LineCollection(lines, colors=ORDER(np.sort(colours)), linewidths=0.8, alpha=0.7))
    ax.set_xticks(range(len(axes)), [short(axis["label"], 20) for axis in axes])
    ax.set_yticks([])
    ax.set_xlim(-0.1, len(axes) - 0.6)
    ax.spines[:].set_visible(False)
    ax.grid(visible=False)
