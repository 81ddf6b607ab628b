"""The best settings beside each other, each with its interval, and which of them can be best."""

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from runner.report.drawing import charts
from runner.report.drawing.figures import log_axis, short
from runner.report.drawing.looks import looks_of_settings
from runner.report.drawing.wrong import above, wrong
from runner.report.section import DOUBLE, Plot, Section
from runner.report.settings import Workload
from runner.statistics.scores import Array

MOST_SHOWN = 10
KEY = "#777777"
CAN, CANNOT = "can be best", "worse, or cannot be compared"


def ranking(workload: Workload) -> Section | None:
    """Draw the best settings' means with their intervals, those that can be best filled."""
    shown = workload.table[workload.table["n"] > 0].head(MOST_SHOWN)
    if len(shown) < 2:
        return None
    measure, inside = workload.measure, int(workload.table["in_set"].sum())
    said = (
        f"The mean {measure.title} over {workload.replicate_word}s with its 95 % interval. "
        f"Filled: {inside} of {workload.known:,} settings can be best. Whether intervals overlap does not decide "
        "it: differences are tested, for all settings together."
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
    names = [charts.wrapped(workload.words(s), 22) for s in settings]
    traces, (drawn, logarithmic) = [], _drawn(workload, shown)
    for title, mask in ((CAN, shown["in_set"].to_numpy(bool)), (CANNOT, ~shown["in_set"].to_numpy(bool))):
        at = np.flatnonzero(mask)
        part = shown.iloc[at]
        colours = [looks[settings[i]].colour for i in at]
        said = [f"{m:.5g} ({low:.4g} to {high:.4g})" for m, low, high in part[["mean", "low", "high"]].to_numpy(float)]
        traces += [_interval(drawn[i, 1:], int(i), colours[k]) for k, i in enumerate(at)]
        marker = {
            "size": 11,
            "color": colours,
            "symbol": "circle" if title == CAN else "circle-open",
            "line": {"width": 2, "color": colours},
        }
        dots = {"type": "scatter", "mode": "markers", "x": drawn[at, 0], "y": at, "name": title, "marker": marker}
        if len(at):
            told = {"text": said, "hovertemplate": "%{text}<extra>%{fullData.name}</extra>", "showlegend": False}
            key = {"x": [None], "y": [None], "marker": marker | {"color": KEY, "line": {"width": 2, "color": KEY}}}
            traces += [dots | told, dots | key]  # the legend is grey: colours are the settings' own
    low, high = len(names) - 0.5, -0.5
    y = charts.named("", tickvals=list(range(len(names))), ticktext=names, range=[low, high], zeroline=False)
    what = wrong(workload.measure, workload.measure.name)
    ends = drawn.ravel()
    if not logarithmic:
        margin = 0.04 * (np.nanmax(ends) - np.nanmin(ends)) or 1e-6
        x = charts.named(workload.measure.title, range=[np.nanmin(ends) - margin, np.nanmax(ends) + margin])
    else:
        low, high = float(np.log10(np.nanmin(ends))) - 0.03, float(np.log10(np.nanmax(ends))) + 0.03
        x = charts.logarithmic(workload.measure.title, ends, wide=1.7)
        x |= {"range": [high, low]} if what.from_one else {"range": [low, high]}
        x["ticktext"] = [f"{1 - t:.6g}" if what.from_one else f"{t:g}" for t in x["tickvals"]]
    return {"data": traces, "layout": charts.layout([""], [x], [y], 1, 90 + 36 * len(names))}


def _drawn(workload: Workload, shown: pd.DataFrame) -> tuple[Array, bool]:
    """Return each setting's mean and both ends of its interval as they are drawn, and whether on a logarithmic scale.

    There, an accuracy is what is wrong.
    """
    what, numbers = wrong(workload.measure, workload.measure.name), shown[["mean", "low", "high"]].to_numpy(float)
    values = what.of(numbers)
    floor = what.floor([values[:, 0]])
    return (numbers, False) if floor is None else (above(values, floor), True)


def _interval(ends: Array, at: int, colour: str) -> charts.Chart:
    line = {"type": "scatter", "mode": "lines", "x": ends, "y": [at, at], "hoverinfo": "skip"}
    return line | {"showlegend": False, "line": {"color": colour, "width": 3}}


def _draw(figure: Figure, workload: Workload, shown: pd.DataFrame) -> None:
    ax = figure.subplots()
    settings = [int(s) for s in shown.index]
    looks = looks_of_settings(workload, settings)
    (numbers, logarithmic), what = _drawn(workload, shown), wrong(workload.measure, workload.measure.name)
    for at, (setting, (mean, low, high)) in enumerate(zip(settings, numbers, strict=True)):
        colour, inside = looks[setting].colour, bool(shown.at[setting, "in_set"])
        ax.plot([low, high], [at, at], color=colour, lw=1.5)
        ax.plot(mean, at, marker="o", ms=5, color=colour, mfc=colour if inside else "white", ls="")
    for title, fill in ((CAN, "0.4"), (CANNOT, "white")):
        ax.plot([], [], marker="o", ls="", color="0.4", mfc=fill, label=title)
    ax.set_yticks(range(len(settings)), [short(workload.words(s), 48) for s in settings])
    ax.invert_yaxis()
    ax.set_xlabel(workload.measure.title)
    if logarithmic:
        known = numbers[np.isfinite(numbers)]
        log_axis(ax, known, "x")
        if what.from_one:
            ax.invert_xaxis()
            ax.xaxis.set_major_formatter(lambda value, _: f"{1 - value:.6g}")
            all_of_them = known.max() < 3 * known.min()
            ax.xaxis.set_minor_formatter(
                lambda value, _: f"{1 - value:.6g}" if all_of_them or f"{value:e}"[0] in "25" else ""
            )
    figure.legend(loc="outside lower center", ncols=2)
