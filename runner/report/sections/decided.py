"""Which parameters decided a search, and where in each of them, and in two at once, the good trials lie."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from matplotlib.figure import Figure
from scipy import stats

from runner.report.drawing import charts
from runner.report.drawing.columns import filled
from runner.report.drawing.figures import ORDER, log_axis, short
from runner.report.drawing.looks import COLOURS
from runner.report.drawing.wrong import above, wrong
from runner.report.load import Records
from runner.report.searched import Drawn, Search, Trial
from runner.report.section import DOUBLE, SINGLE, Plot, Section, Table
from runner.report.sections.bought import trial_scores
from runner.report.settings import Workload
from runner.statistics.importance import Importance, Parameter, importance
from runner.statistics.scores import Array, Interval
from runner.statistics.variance import variance_explained

BINS = 3
"""Numbers are as many levels, by how many trials each holds."""
GROUPS = 10
"""Every tenth trial is left out in turn."""
MOST_SLICES, MOST_CONTOURS = 6, 3
NAMED = 4
"""Parameters, on the terminal."""
FEWEST_TOGETHER = 12
"""Trials that have both of two numbers, for a contour of them."""
CELLS = 30
FAR = 0.18
"""From any trial, in units of the space, where a contour says nothing."""


@dataclass(frozen=True)
class Trials:
    """What the trials that have ended drew, and came to."""

    drawn: tuple[Drawn, ...]
    values: dict[str, Array]
    """Of each parameter, ``[trials]``: of a choice its option's place; NaN where a trial does not have it."""
    scores: Array
    """``[trials]``, more is better, -∞ where there is no value."""

    def unit(self, of: Drawn) -> Array:
        """Return a number's values from 0 to 1."""
        return of.unit(self.values[of.name])


def decided(search: Search, records: Records, workload: Workload) -> Section | None:
    """Show how much each parameter decided, and where its good values lie; None where the trials are too few."""
    trials = _trials(search, search.ended(records), trial_scores(search, records, workload))
    values = {p.name: trials.values[p.name] if p.options else trials.unit(p) for p in search.drawn}
    found = importance({p.name: Parameter(values[p.name], len(p.options)) for p in search.drawn}, trials.scores)
    if not found or not np.isfinite(trials.scores).any():
        return None
    table = _table(trials, found)
    first = next(iter(found))
    above_chance = [name for name, one in found.items() if one.share > one.chance]
    said = [
        "The share by which each parameter, by itself, decided which trials are among the best tenth (PED-ANOVA, "
        "Watanabe et al. 2023); one that only some trials have counts within those. Chance is what a parameter that "
        "decides nothing stays below in 95 % of searches. Beside it stands the report's own measure: the share of the "
        "variance of all trials' ranks (ANOVA of type II, numbers in thirds, jackknife). The one asks what makes a "
        "trial one of the best, the other what makes any trial better.",
        "Both are over the trials that this search made, which lie where it hoped for good ones.",
    ]
    told = f"Above chance: {', '.join(above_chance)}." if above_chance else "None is above chance."
    order = [next(p for p in search.drawn if p.name == name) for name in found]
    plots = [_importance_plot(table), _slices_plot(workload, trials, order[:MOST_SLICES])]
    if pairs := _pairs(trials, order):
        plots.append(_contours_plot(workload, trials, pairs))
    most = ", ".join(f"{name} {100 * one.share:.0f} %" for name, one in list(found.items())[:NAMED])
    terminal = filled(f"What decided the search (PED-ANOVA): {most}. {told}")
    tables = (Table("search-importance", f"Most by {first}", table),)
    return Section("Which parameters decided the search?", (*said, told), tuple(plots), tables, terminal)


def _trials(search: Search, ended: Sequence[Trial], scores: Array) -> Trials:
    values = {p.name: np.array([float(trial.drawn.get(p.name, math.nan)) for trial in ended]) for p in search.drawn}
    for parameter in (p for p in search.drawn if p.options):  # of a union some samplers draw what is not used
        known = values[parameter.name]
        values[parameter.name] = np.where(known < len(parameter.options), known, np.nan)
    return Trials(search.drawn, values, scores)


def _table(trials: Trials, found: dict[str, Importance]) -> pd.DataFrame:
    explained = _explained(trials, list(found))
    nothing = Interval(math.nan, math.nan, math.nan, 0)
    rows = []
    for name, one in found.items():
        share = explained.get(name, nothing)
        rows.append(
            {"parameter": name, "ped_anova": one.share, "chance": one.chance, "trials": one.trials}
            | {"variance_explained": share.mean, "low": share.low, "high": share.high}
        )
    return pd.DataFrame(rows)


def _explained(trials: Trials, names: Sequence[str]) -> dict[str, Interval]:
    """Return the share of the variance of ranks that the first parameters explain, as many as the trials can tell."""
    factors: dict[str, list[str]] = {}
    levels, n = 0, len(trials.scores)
    for name in names:
        labels = _labels(trials.values[name], next(p for p in trials.drawn if p.name == name))
        count = len(set(labels))
        if count > 1 and levels + count <= n / 2:
            factors[name], levels = labels, levels + count
    if len(factors) < 2:
        return {}
    ranks = stats.rankdata(trials.scores)
    groups = [str(i % GROUPS) for i in range(n)]
    found = variance_explained(list(factors.values()), ranks, groups, pairs=False)
    return dict(zip(factors, found, strict=True))


def _labels(values: Array, of: Drawn) -> list[str]:
    """Return each trial's level: an option, a third of the numbers, or nothing where it does not have it."""
    if of.options:
        return ["" if math.isnan(v) else str(int(v)) for v in values]
    known = values[np.isfinite(values)]
    edges = np.quantile(known, np.arange(1, BINS) / BINS) if len(known) else np.zeros(BINS - 1)
    return ["" if math.isnan(v) else str(int(np.searchsorted(edges, v, side="left"))) for v in values]


# ---- how much each decided


def _importance_plot(table: pd.DataFrame) -> Plot:
    shown = table.head(12).iloc[::-1]
    names = [str(n) for n in shown["parameter"]]
    ped, chance, own = (shown[c].to_numpy(float) for c in ("ped_anova", "chance", "variance_explained"))

    def draw(figure: Figure) -> None:
        ax, y = figure.subplots(), np.arange(len(names))
        ax.barh(y + 0.2, ped, 0.38, color=COLOURS[0], label="PED-ANOVA")
        ax.barh(y - 0.2, np.nan_to_num(own), 0.38, color=COLOURS[5], label="variance explained")
        ax.plot(chance, y + 0.2, "|", color="#222222", ms=9, label="by chance, at most (95 %)")
        ax.set_yticks(y, [short(n) for n in names])
        ax.set_xlabel("share")
        ax.grid(axis="y", visible=False)
        figure.legend(loc="outside lower center", ncols=1)

    def chart() -> charts.Chart:
        base: dict[str, Any] = {"type": "bar", "orientation": "h", "y": [charts.label(n, 36) for n in names]}
        hover = {"hovertemplate": "%{y}: %{x:.3f}"}
        bars = [
            base | hover | {"x": np.nan_to_num(own), "name": "variance explained", "marker": {"color": COLOURS[5]}},
            base | hover | {"x": ped, "name": "PED-ANOVA", "marker": {"color": COLOURS[0]}},
        ]
        marks: dict[str, Any] = {
            "type": "scatter",
            "mode": "markers",
            "x": chance,
            "y": base["y"],
            "name": "by chance, at most (95 %)",
        }
        marks |= {"marker": {"symbol": "line-ns-open", "size": 14, "color": charts.INK, "line": {"width": 2}}} | hover
        x, y = charts.named("share", rangemode="tozero"), charts.named("")
        layout = charts.layout([""], [x], [y], 1, 130 + 38 * len(names))
        return {"data": [*bars, marks], "layout": layout | {"barmode": "group"}}

    first = names[-1]
    return Plot(
        "search-importance",
        "How much each parameter decided",
        f"Bars of the share by which each parameter decided; most by {first}.",
        draw,
        width=SINGLE,
        height=1.1 + 0.3 * len(names),
        chart=chart,
    )


# ---- where the good values lie


def _drawn(workload: Workload, scores: Array) -> tuple[Array, bool, str]:
    """Return the trials' values as they are drawn, whether on a logarithmic scale, and what they are."""
    what = wrong(workload.measure, workload.measure.name)
    values = what.of(np.where(np.isfinite(scores), workload.measure.sign * scores, np.nan))
    floor = what.floor([values])
    return above(values, floor), floor is not None, what.title


def _slices_plot(workload: Workload, trials: Trials, shown: Sequence[Drawn]) -> Plot:
    y, logarithmic, title = _drawn(workload, trials.scores)
    number, columns = np.arange(1, len(y) + 1), min(3, len(shown))

    def draw(figure: Figure) -> None:
        axes = figure.subplots(math.ceil(len(shown) / columns), columns, sharey=True, squeeze=False)
        for ax in axes.flat[len(shown) :]:
            ax.set_visible(False)
        for ax, one in zip(axes.flat, shown, strict=False):
            x = trials.values[one.name]
            there = np.isfinite(x) & np.isfinite(y)
            ax.scatter(x[there], y[there], c=number[there], s=8, cmap="viridis")
            if one.options:
                ax.set_xticks(range(len(one.options)), [short(one.shown(i), 14) for i in range(len(one.options))])
                ax.tick_params(axis="x", rotation=30)
            elif one.log:
                log_axis(ax, [one.low, one.high], "x")
            ax.set_title(short(one.name))
        if logarithmic and np.isfinite(y).any():
            log_axis(axes.flat[0], y[np.isfinite(y)], "y")
        for row in axes:
            row[0].set_ylabel(title)

    def chart() -> charts.Chart:
        traces, x_axes = [], []
        for panel, one in enumerate(shown):
            x = trials.values[one.name]
            there = np.isfinite(x) & np.isfinite(y)
            words = [
                f"{one.shown(a)}: {workload.measure.sign * s:.5g}, trial {n}"
                for a, s, n in zip(x[there], trials.scores[there], number[there], strict=True)
            ]
            marker = {"color": number[there], "colorscale": "Viridis", "cmin": 1, "cmax": len(y), "size": 7}
            traces.append(
                {"type": "scatter", "mode": "markers", "x": x[there], "y": y[there], "marker": marker}
                | {"text": list(map(charts.label, words)), "hovertemplate": "%{text}<extra></extra>"}
                | {"xaxis": charts.axis(panel, "x"), "yaxis": charts.axis(panel, "y"), "showlegend": False}
            )
            x_axes.append(_axis_of(one))
        of_y = charts.logarithmic("", y) if logarithmic else charts.named("")
        y_axes = [of_y, *[of_y | {"matches": "y"} for _ in shown[1:]]]
        titles = [f"{one.name}: {title}" for one in shown]
        return {"data": traces, "layout": charts.layout(titles, x_axes, y_axes, columns, 290, legend=False)}

    names = ", ".join(one.name for one in shown)
    return Plot(
        "search-slices",
        "Every trial over each parameter, early ones dark, late ones bright",
        f"{title} of every trial over {names}.",
        draw,
        width=DOUBLE,
        height=0.6 + 1.9 * math.ceil(len(shown) / columns),
        chart=chart,
    )


def _axis_of(one: Drawn) -> dict[str, Any]:
    if one.options:
        texts = [charts.label(one.shown(i), 16) for i in range(len(one.options))]
        return charts.named("", tickvals=list(range(len(texts))), ticktext=texts)
    return charts.logarithmic("", [one.low, one.high]) if one.log else charts.named("")


# ---- two numbers at once


def _pairs(trials: Trials, order: Sequence[Drawn]) -> list[tuple[Drawn, Drawn]]:
    """Return pairs of numbers that enough trials have both of, those that decided most first."""
    found = []
    for one, other in combinations([p for p in order if not p.options], 2):
        both = np.isfinite(trials.values[one.name] + trials.values[other.name]) & np.isfinite(trials.scores)
        if both.sum() >= FEWEST_TOGETHER:
            found.append((one, other))
    return found[:MOST_CONTOURS]


def _surface(trials: Trials, one: Drawn, other: Drawn) -> tuple[Array, Array, Array, npt.NDArray[np.bool_]]:
    """Return a grid's ``x``, ``y`` and smoothed shares of trials that are worse ``[y, x]``, NaN far from any trial.

    Ranks, averaged by Gaussian weights whose width follows from how many trials there are.
    """
    u, v = trials.unit(one), trials.unit(other)
    there = np.isfinite(u) & np.isfinite(v) & np.isfinite(trials.scores)
    u, v, n = u[there], v[there], int(there.sum())
    ranks = (stats.rankdata(trials.scores[there]) - 1) / max(1, n - 1)
    at = np.linspace(0, 1, CELLS)
    away = (at[None, :, None] - u) ** 2 + (at[:, None, None] - v) ** 2
    weights = np.exp(-0.5 * away / (0.35 * n ** (-1 / 6)) ** 2)
    smooth = (weights @ ranks) / np.maximum(weights.sum(2), 1e-300)
    ends = [
        np.asarray(np.exp(math.log(p.low) + at * math.log(p.high / p.low)) if p.log else p.low + at * (p.high - p.low))
        for p in (one, other)
    ]
    far = away.min(2) > FAR**2
    return ends[0], ends[1], np.asarray(np.where(far, np.nan, smooth)), there


def _contours_plot(workload: Workload, trials: Trials, pairs: Sequence[tuple[Drawn, Drawn]]) -> Plot:
    surfaces = [(one, other, *_surface(trials, one, other)) for one, other in pairs]

    def draw(figure: Figure) -> None:
        axes = figure.subplots(1, len(pairs), squeeze=False)
        for ax, (one, other, x, y, z, there) in zip(axes.flat, surfaces, strict=True):
            ax.contourf(x, y, np.ma.masked_invalid(z), levels=np.linspace(0, 1, 9), cmap=ORDER)
            ax.plot(trials.values[one.name][there], trials.values[other.name][there], ".", color="#222222", ms=3)
            for which, p in (("x", one), ("y", other)):
                if p.log:
                    log_axis(ax, [p.low, p.high], which)
            ax.set_xlabel(short(one.name))
            ax.set_ylabel(short(other.name))

    def chart() -> charts.Chart:
        traces, x_axes, y_axes = list[charts.Chart](), [], []
        for panel, (one, other, x, y, z, there) in enumerate(surfaces):
            place = {"xaxis": charts.axis(panel, "x"), "yaxis": charts.axis(panel, "y"), "showlegend": False}
            levels = {"start": 0, "end": 1, "size": 0.125}
            traces.append(
                {"type": "contour", "x": x, "y": y, "z": z, "colorscale": charts.ORDER, "zmin": 0, "zmax": 1}
                | {"contours": levels, "showscale": panel == 0, "hoverinfo": "skip", "connectgaps": False}
                | {"colorbar": {"tickvals": [0, 1], "ticktext": ["worst", "best"], "thickness": 12}, **place}
            )
            words = [f"{workload.measure.sign * s:.5g}" for s in trials.scores[there]]
            dots: charts.Chart = {
                "type": "scatter",
                "mode": "markers",
                "marker": {"color": "#1b1f24", "size": 5},
                "text": words,
            }
            dots |= {"x": trials.values[one.name][there], "y": trials.values[other.name][there], **place}
            traces.append(dots | {"hovertemplate": "%{x:.4g}, %{y:.4g}: %{text}<extra></extra>"})
            x_axes.append(_axis_of(one) | {"title": {"text": charts.label(one.name)}})
            y_axes.append(_axis_of(other) | {"title": {"text": charts.label(other.name)}})
        layout = charts.layout([""] * len(pairs), x_axes, y_axes, len(pairs), 330, legend=False)
        return {"data": traces, "layout": layout}

    named = "; ".join(f"{one.name} and {other.name}" for one, other in pairs)
    return Plot(
        "search-contours",
        "Two numbers at once: where the good trials lie, smoothed ranks; white where there is no trial near",
        f"Contours of the trials' ranks over {named}.",
        draw,
        width=SINGLE if len(pairs) == 1 else DOUBLE,
        height=2.8,
        chart=chart,
    )
