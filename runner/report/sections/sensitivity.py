"""Learning-rate sensitivity, drawn: a panel an optimizer, a line an initializer."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from runner.report.drawing import charts
from runner.report.drawing.figures import clean, legend_below, log_axis, short
from runner.report.drawing.looks import Look, looks_of_levels
from runner.report.drawing.wrong import above, wrong
from runner.report.rates import Curve, curves, edge_warnings, lines_of, points, robustness
from runner.report.section import DOUBLE, Plot, Section, Table
from runner.report.settings import LR, Workload
from runner.statistics.scores import Array

MOST_PANELS = 9
MOST_LINES = 8


def sensitivity(workload: Workload, percent: float) -> Section | None:
    """Draw the learning rate's curve of every initializer and optimizer, and say how robust each is."""
    if LR not in workload.axes:
        return None
    found, by, measure = curves(workload), lines_of(workload), workload.measure
    rows = [robustness(workload, curve, by, percent) for curve in found]
    every_point = [point for curve in found for point in points(curve, by)]
    warnings = edge_warnings(workload, found)
    what = wrong(measure, measure.name)
    said = [
        f"Mean {what.title} over seeds at each learning rate, with its 95 % interval; × marks rates at which a seed "
        f"diverged or failed. The wider the range within {percent:g} % of the best, the less the rate matters."
    ]
    drawn = _best(workload, found, by)
    if len(drawn) < len(found):
        said.append(f"{len(drawn)} of {len(found)} curves are drawn, those of the best of each choice.")
    if warnings:
        said.append(f"On the edge of what was tried: {'; '.join(warnings[:6])}.")
    plot = Plot(
        "learning-rate",
        f"Learning-rate sensitivity: {measure.title}",
        f"{measure.title} against the learning rate for {len(drawn)} combinations of {' and '.join(by) or 'choices'}.",
        lambda figure: _draw(figure, workload, drawn, by),
        width=DOUBLE,
        height=0.9 + 1.7 * math.ceil(len(_panels(drawn, by)) / 3),
        chart=lambda: _chart(workload, drawn, by),
    )
    order = pd.DataFrame(rows).sort_values("mean", ascending=not measure.higher, na_position="last")
    return Section(
        "How much does the learning rate matter?",
        tuple(said),
        (plot,),
        (
            Table("learning-rate", "Robustness to the learning rate", order, names=len(by)),
            Table(
                "learning-rate-points",
                "Every point of the plot",
                pd.DataFrame(every_point),
                folded=True,
                names=len(by) + 1,
            ),
        ),
    )


def _best(workload: Workload, found: Sequence[Curve], by: Sequence[str]) -> list[Curve]:
    """Return the curves that can be drawn: those of the best values of each axis."""
    kept = list(found)
    for place, (axis, most) in enumerate(zip(by, (MOST_LINES, MOST_PANELS), strict=False)):
        values = {value for (value,) in list(workload.best_of([axis]))[:most]}
        kept = [curve for curve in kept if curve.group[place] in values]
    return kept


def _panels(found: Sequence[Curve], by: Sequence[str]) -> dict[str, list[Curve]]:
    panels: dict[str, list[Curve]] = {}
    for curve in found:
        panels.setdefault(curve.group[1] if len(by) == 2 else "", []).append(curve)
    return panels


def _lines(workload: Workload, found: Sequence[Curve], by: Sequence[str]) -> dict[str, Look]:
    """Return how the first axis's values look."""
    levels = sorted({curve.group[0] if curve.group else "" for curve in found})
    return looks_of_levels(workload, by[0] if by else "", levels)


@dataclass(frozen=True)
class Drawn:
    """A curve as it is drawn: of an accuracy, what is wrong."""

    curve: Curve
    look: Look
    label: str
    mean: Array
    low: Array
    high: Array

    def said(self, at: int) -> str:
        """Return what a pointer on one of its rates says."""
        curve = self.curve
        said = f"{curve.mean[at]:.5g} ({curve.low[at]:.4g} to {curve.high[at]:.4g})"
        return said + (f"; {curve.bad[at]} diverged or failed" if curve.bad[at] else "")


def _drawn(workload: Workload, found: Sequence[Curve], by: Sequence[str]) -> tuple[dict[str, list[Drawn]], bool]:
    """Return the curves of each panel as they are drawn, and whether on a logarithmic scale."""
    what, looks = wrong(workload.measure, workload.measure.name), _lines(workload, found, by)
    floor = what.floor(what.of(c.mean) for c in found)
    panels: dict[str, list[Drawn]] = {}
    for panel, curves_there in _panels(found, by).items():
        panels[panel] = []
        for curve in curves_there:
            level = curve.group[0] if curve.group else ""
            ends = [above(what.of(v), floor) for v in (curve.mean, curve.low, curve.high)]
            label = level or workload.measure.title
            panels[panel].append(Drawn(curve, looks[level], label, ends[0], np.fmin(*ends[1:]), np.fmax(*ends[1:])))
    return panels, floor is not None


def _worst(panels: Mapping[str, Sequence[Drawn]], higher: bool) -> float:
    """Return the worst of what is drawn, where the crosses of failures stand."""
    means = np.concatenate([d.mean for there in panels.values() for d in there])
    means = means[np.isfinite(means)]
    return float(means.min() if higher else means.max()) if len(means) else 1.0


def _chart(workload: Workload, found: Sequence[Curve], by: Sequence[str]) -> charts.Chart:
    panels, logarithmic = _drawn(workload, found, by)
    what, traces, named = wrong(workload.measure, workload.measure.name), [], set()
    worst = _worst(panels, workload.measure.higher and not what.from_one)
    for panel, there in enumerate(panels.values()):
        for d in there:
            traces.append(charts.band(d.curve.lr, d.low, d.high, d.label, d.look, panel))
            shown = {"mode": "lines+markers", "marker": {"symbol": d.look.symbol, "size": 8, "color": d.look.colour}}
            hover = {"text": [d.said(i) for i in range(len(d.mean))], "hovertemplate": "lr %{x:g}: %{text}"}
            first = d.label not in named
            traces.append(charts.line(d.curve.lr, d.mean, d.label, d.look, panel, first, **shown, **hover))
            named.add(d.label)
            if (d.curve.bad > 0).any():
                traces.append(_failures(d, worst, panel))
    every = np.concatenate([v for there in panels.values() for d in there for v in (d.mean, d.low, d.high)])
    y = charts.logarithmic("", every) if logarithmic else charts.named("")
    x = charts.logarithmic(LR, np.concatenate([c.lr for c in found]), wide=1.5)
    y_axes = [y, *[y | {"matches": "y"} for _ in list(panels)[1:]]]
    titles = [f"{panel}: {what.title}" if panel else what.title for panel in panels]
    layout = charts.layout(titles, [x] * len(panels), y_axes, 3 if len(panels) != 2 else 2, 290)
    return {"data": traces, "layout": layout | {"showlegend": len(named) > 1}}


def _failures(d: Drawn, worst: float, panel: int) -> charts.Chart:
    """Return crosses at the rates at which a seed diverged or failed."""
    x, bad = d.curve.lr[d.curve.bad > 0], d.curve.bad[d.curve.bad > 0]
    crosses = charts.line(x, np.full(len(x), worst), d.label, d.look, panel, False)
    marker = {"symbol": "x-thin", "size": 10, "line": {"width": 3, "color": d.look.colour}}
    hover = {"text": [str(n) for n in bad], "hovertemplate": "lr %{x:g}: %{text} diverged or failed"}
    return crosses | {"mode": "markers", "marker": marker} | hover


def _draw(figure: Figure, workload: Workload, found: Sequence[Curve], by: Sequence[str]) -> None:
    panels, logarithmic = _drawn(workload, found, by)
    what = wrong(workload.measure, workload.measure.name)
    worst = _worst(panels, workload.measure.higher and not what.from_one)
    columns = min(3, len(panels))
    axes = figure.subplots(math.ceil(len(panels) / columns), columns, sharey=True, sharex=True, squeeze=False)
    for ax in axes.flat[len(panels) :]:
        ax.set_visible(False)
    for ax, (panel, there) in zip(axes.flat, panels.items(), strict=False):
        for d in there:
            look, lr = d.look, d.curve.lr
            ax.plot(lr, d.mean, color=look.colour, ls=look.dash, marker=look.marker, label=clean(d.label))
            ax.fill_between(lr, d.low, d.high, color=look.colour, alpha=0.15, lw=0)
            bad = lr[d.curve.bad > 0]
            ax.plot(bad, np.full(len(bad), worst), color=look.colour, marker="x", ms=6, mew=1.5, ls="")
        ax.set_title(short(panel))
        ax.set_xlabel(LR)
    log_axis(axes.flat[0], np.concatenate([c.lr for c in found]), "x")
    every = np.concatenate([d.mean for there in panels.values() for d in there])
    if logarithmic:
        log_axis(axes.flat[0], every[np.isfinite(every)], "y")
    for row in axes:
        row[0].set_ylabel(what.title)
    if len({d.label for there in panels.values() for d in there}) > 1:
        legend_below(figure, axes.flat, columns=4)
