"""Plots of choices over several workloads: the performance profile, and mean ranks with what is not told apart."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.figure import Figure

from runner.report.drawing import charts
from runner.report.drawing.figures import clean, legend_below, short
from runner.report.drawing.looks import COLOURS, DASHES
from runner.report.section import Plot
from runner.statistics import pools
from runner.statistics.scores import Array

RATIOS = np.linspace(1.0, 4.0, 121)
RATIO = "ratio to the fastest choice's time"
SHARE = "share of workloads"
RANK = "mean rank over workloads (1 is best)"
MOST_RANKED = 20


def profile(names: Sequence[str], rho: Array) -> Plot:
    """Return the performance profile of some choices.

    Args:
        names: the choices.
        rho: ``[choices, len(RATIOS)]``.
    """
    return Plot(
        "performance-profile",
        "Performance profile",
        f"Share of workloads solved within a ratio of the fastest; first is {names[0]}.",
        lambda figure: _draw_profile(figure, names, rho),
        height=4.6,
        chart=lambda: _profile_chart(names, rho),
    )


def _draw_profile(figure: Figure, names: Sequence[str], rho: Array) -> None:
    ax = figure.subplots()
    for number, (name, share) in enumerate(zip(names, rho, strict=True)):
        ax.step(RATIOS, share, where="post", color=COLOURS[number], ls=DASHES[number], label=clean(name))
    ax.set_xlabel(RATIO)
    ax.set_ylabel(SHARE)
    ax.set_ylim(-0.03, 1.03)
    legend_below(figure, [ax])


def _profile_chart(names: Sequence[str], rho: Array) -> Mapping[str, Any]:
    lines = [
        {"type": "scatter", "mode": "lines", "name": charts.label(name), "x": RATIOS.tolist(), "y": share.tolist()}
        | {"line": {"shape": "hv", "color": COLOURS[number]}}
        for number, (name, share) in enumerate(zip(names, rho, strict=True))
    ]
    return {"data": lines, "layout": charts.layout([""], [charts.named(RATIO)], [charts.named(SHARE)])}


def ranks(names: Sequence[str], mean: Array, alike: "npt.NDArray[np.bool_] | None") -> Plot:
    """Return the choices' mean ranks; those of a group that is not told apart are joined by a bar.

    Args:
        names: the choices.
        mean: their ranks.
        alike: ``[choices, choices]``, which are not told apart; None where no test can tell.
    """
    order = np.argsort(mean, kind="stable")[:MOST_RANKED]
    shown, at = [names[i] for i in order], mean[order]
    bars = [] if alike is None else [g for g in pools.groups(alike[np.ix_(order, order)]) if len(g) > 1]
    joined = " Bars join choices that are not told apart." if bars else ""
    return Plot(
        "mean-ranks",
        "Mean ranks",
        f"Mean rank over workloads of {len(shown)} choices; best is {shown[0]}.{joined}",
        lambda figure: _draw_ranks(figure, shown, at, bars),
        height=1.4 + 0.36 * len(shown),
        chart=lambda: _ranks_chart(shown, at, bars),
    )


def _bars(at: Array, bars: Sequence[Sequence[int]]) -> list[tuple[float, int, int]]:
    """Return where each group's bar stands, right of all points, and the first and last choice that it spans."""
    width = max(float(at.max() - at.min()), 1.0)
    return [(float(at.max()) + 0.06 * width * (1 + i), min(g), max(g)) for i, g in enumerate(bars)]


def _draw_ranks(figure: Figure, names: Sequence[str], at: Array, bars: Sequence[Sequence[int]]) -> None:
    ax = figure.subplots()
    ax.plot(at, range(len(names)), "o", color=COLOURS[0])
    for (x, first, last), group in zip(_bars(at, bars), bars, strict=True):
        ax.plot([x, x], [first, last], color="#666666", lw=1.5)
        ax.plot([x] * len(group), list(group), "o", color="#666666", ms=4)
    ax.set_yticks(range(len(names)), [short(clean(name)) for name in names])
    ax.invert_yaxis()
    ax.set_xlabel(RANK)


def _ranks_chart(names: Sequence[str], at: Array, bars: Sequence[Sequence[int]]) -> Mapping[str, Any]:
    names = [charts.label(name) for name in names]
    points = {"type": "scatter", "mode": "markers", "x": at.tolist(), "y": names, "name": "mean rank"}
    joined = [
        {"type": "scatter", "mode": "lines+markers", "x": [x] * len(group), "y": [names[i] for i in group]}
        | {"name": f"group {number}: not told apart", "line": {"color": "#666666"}, "marker": {"size": 6}}
        for number, ((x, _, _), group) in enumerate(zip(_bars(at, bars), bars, strict=True), 1)
    ]
    y = {"autorange": "reversed", "type": "category", "automargin": True}
    layout = charts.layout([""], [charts.named(RANK)], [y], height=max(220, 40 * len(names)), legend=bool(bars))
    return {"data": [points | {"marker": {"color": COLOURS[0]}}, *joined], "layout": layout}
