"""The best settings beside each other, each with its interval, and which of them can be best."""

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from runner.report import charts
from runner.report.figures import short
from runner.report.looks import looks_of_settings
from runner.report.sections import DOUBLE, Plot, Section
from runner.report.settings import Workload

MOST_SHOWN = 10
CAN, CANNOT = "can be best", "worse, or cannot be compared"


def ranking(workload: Workload) -> Section | None:
    """Draw the best settings' means with their intervals, those that can be best filled."""
    shown = workload.table[workload.table["n"] > 0].head(MOST_SHOWN)
    if len(shown) < 2:
        return None
    measure, inside = workload.measure, int(workload.table["in_set"].sum())
    said = (
        f"The mean {measure.title} over {workload.replicate_word}s with its 95 % interval. "
        f"Filled: {inside} of {len(workload.table):,} settings can be best. Intervals that overlap do not decide it: "
        f"settings are compared {workload.replicate_word} by {workload.replicate_word}."
    )
    plot = Plot(
        "ranking",
        f"The {len(shown)} best settings: {measure.title}",
        f"{measure.title} of the {len(shown)} best settings with intervals; first is {workload.words(0)}.",
        lambda figure: _draw(figure, workload, shown),
        width=DOUBLE,
        height=0.8 + 0.24 * len(shown),
        chart=lambda: _chart(workload, shown),
    )
    return Section("The best settings", (said,), (plot,))


def _chart(workload: Workload, shown: pd.DataFrame) -> charts.Chart:
    settings = [int(s) for s in shown.index]
    looks = looks_of_settings(workload, settings)
    names = [charts.wrapped(workload.words(s), 30) for s in settings]
    traces = []
    for title, mask in ((CAN, shown["in_set"].to_numpy(bool)), (CANNOT, ~shown["in_set"].to_numpy(bool))):
        at = np.flatnonzero(mask)
        part = shown.iloc[at]
        mean = part["mean"].to_numpy(float)
        colours = [looks[settings[i]].colour for i in at]
        said = [f"{m:.5g} ({low:.4g} to {high:.4g})" for m, low, high in part[["mean", "low", "high"]].to_numpy(float)]
        traces += [_interval(part.iloc[k], int(i), colours[k]) for k, i in enumerate(at)]
        marker = {
            "size": 11,
            "color": colours,
            "symbol": "circle" if title == CAN else "circle-open",
            "line": {"width": 2, "color": colours},
        }
        dots = {"type": "scatter", "mode": "markers", "x": mean, "y": at, "name": title, "marker": marker}
        if len(at):
            traces.append(dots | {"text": said, "hovertemplate": "%{text}<extra>%{fullData.name}</extra>"})
    low, high = len(names) - 0.5, -0.5
    y = charts.named("", tickvals=list(range(len(names))), ticktext=names, range=[low, high], zeroline=False)
    ends = shown[["mean", "low", "high"]].to_numpy(float)
    margin = 0.04 * (np.nanmax(ends) - np.nanmin(ends)) or 1e-6
    x = charts.named(workload.measure.title, range=[np.nanmin(ends) - margin, np.nanmax(ends) + margin], zeroline=False)
    return {"data": traces, "layout": charts.layout([""], [x], [y], 1, 90 + 36 * len(names))}


def _interval(row: "pd.Series[float]", at: int, colour: str) -> charts.Chart:
    line = {"type": "scatter", "mode": "lines", "x": [row["low"], row["high"]], "y": [at, at], "hoverinfo": "skip"}
    return line | {"showlegend": False, "line": {"color": colour, "width": 3}}


def _draw(figure: Figure, workload: Workload, shown: pd.DataFrame) -> None:
    ax = figure.subplots()
    settings = [int(s) for s in shown.index]
    looks = looks_of_settings(workload, settings)
    numbers = shown[["mean", "low", "high"]].to_numpy(float)
    for at, (setting, (mean, low, high)) in enumerate(zip(settings, numbers, strict=True)):
        colour, inside = looks[setting].colour, bool(shown.at[setting, "in_set"])
        ax.plot([low, high], [at, at], color=colour, lw=1.5)
        ax.plot(mean, at, marker="o", ms=5, color=colour, mfc=colour if inside else "white", ls="")
    for title, fill in ((CAN, "0.4"), (CANNOT, "white")):
        ax.plot([], [], marker="o", ls="", color="0.4", mfc=fill, label=title)
    ax.set_yticks(range(len(settings)), [short(workload.words(s), 48) for s in settings])
    ax.invert_yaxis()
    ax.set_xlabel(workload.measure.title)
    figure.legend(loc="outside lower center", ncols=2)
