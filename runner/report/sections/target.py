"""Time to a target that is named after the fact, in steps and in seconds of training."""

import math
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from runner.report.drawing import charts
from runner.report.drawing.figures import clean, legend_below
from runner.report.drawing.looks import looks_of_settings
from runner.report.load import Records
from runner.report.section import DOUBLE, Plot, Section, Table
from runner.report.sections.histories import CLOCKS, shown_settings
from runner.report.settings import BAD, GOOD, Workload
from runner.statistics import scores as statistics
from runner.statistics.scores import Array, TimeToTarget

Estimates = Mapping[int, Mapping[str, TimeToTarget]]
"""By the setting and the clock."""


def default_target(workload: Workload, percent: float) -> float:
    """Return the value within ``percent`` of the best setting's mean."""
    best = float(workload.table["mean"].iloc[0])
    return float(f"{best - workload.measure.sign * abs(best) * percent / 100:.4g}")


def times(workload: Workload, records: Records, target: float) -> pd.DataFrame:
    """Return for each run that has rows when it first reached the target, or how long it is known not to have.

    A run that diverged or failed never reaches it: it is censored at the longest time of all, so that it stays among
    those that have not.

    Returns:
        A row a run: ``setting, replicate, reached, ended``, then for each clock the time.
    """
    measure, sign = workload.measure.name, workload.measure.sign
    rows = records.curves
    if measure not in rows:
        return pd.DataFrame()
    rows = rows[rows["run_id"].isin(workload.runs["run_id"])]
    if not len(rows):
        return pd.DataFrame()
    reached = rows[rows[measure] * sign >= target * sign].groupby("run_id", observed=True)[list(CLOCKS)].first()
    last = rows.groupby("run_id", observed=True)[list(CLOCKS)].max()
    runs = workload.runs.set_index(workload.runs["run_id"].astype(str))
    bad = runs["status"].isin(BAD)
    found = runs.loc[runs.index.isin(last.index.astype(str)) | bad, ["setting", "replicate"]].copy()
    reached.index, last.index = reached.index.astype(str), last.index.astype(str)
    found["reached"] = found.index.isin(reached.index) & ~bad.loc[found.index]
    found["ended"] = runs.loc[found.index, "status"].isin((*GOOD, *BAD))
    for clock in CLOCKS:
        longest = float(last[clock].max())
        at = reached[clock].reindex(found.index)
        until = last[clock].reindex(found.index).mask(bad.loc[found.index], longest)
        found[clock] = at.where(found["reached"], until)
    return found.loc[np.isfinite(found[list(CLOCKS)].to_numpy(float)).all(axis=1)]


def time_to_target(workload: Workload, records: Records, asked: float | None, percent: float) -> Section | None:
    """Say how long each setting took to the target, in steps and seconds, and how many of its runs got there."""
    target = default_target(workload, percent) if asked is None else asked
    found = times(workload, records, target)
    if not len(found) or not math.isfinite(target):
        return None
    horizons = {clock: float(found[clock].max()) for clock in CLOCKS}
    estimates: dict[int, dict[str, TimeToTarget]] = {}
    for setting, runs in found.groupby("setting"):
        estimates[int(str(setting))] = {
            clock: statistics.time_to_target(
                runs[clock].to_numpy(float), runs["reached"].to_numpy(bool), horizons[clock]
            )
            for clock in CLOCKS
        }
    rows = []
    for setting, by_clock in estimates.items():
        line: dict[str, object] = {a: workload.table.at[setting, a] for a in workload.axes}
        line |= {"runs": by_clock["step"].runs, "reached": by_clock["step"].reached}
        for clock, title in CLOCKS.items():
            one = by_clock[clock]
            unit = title.partition(" ")[0]
            median = one.median if math.isfinite(one.median) else math.nan
            line |= {
                f"median_{unit}": median,
                f"restricted_mean_{unit}": one.restricted_mean,
                f"par10_{unit}": one.par10,
            }
        rows.append(line)
    table = pd.DataFrame(rows).sort_values(["restricted_mean_steps", "par10_seconds"])
    sign = "at least" if workload.measure.higher else "at most"
    n = int(found["reached"].sum())
    timeless = len(workload.runs) - len(found)
    said = [
        f"Target: {workload.measure.title} of {sign} {target:g}"
        + (f", within {percent:g} % of the best (another: --target VALUE)." if asked is None else "."),
        f"{n} of {len(found)} runs reached it. A run that ended before is censored there, one that diverged or failed "
        "at the longest time of all; none is dropped. The restricted mean is the mean time up to that longest time, "
        "PAR-10 counts a run that never got there ten times as long.",
        *([f"{timeless} runs without times of their own are not counted here."] if timeless else []),
    ]
    shown = list(dict.fromkeys([*shown_settings(workload), *(int(str(i)) for i in _fastest(estimates))]))[:8]
    shown = [s for s in shown if s in estimates]
    plot = Plot(
        "time-to-target",
        f"Time to {workload.measure.title} {target:g}",
        f"Share of runs that reached {workload.measure.title} {target:g} against time, for {len(shown)} settings.",
        lambda figure: _draw(figure, workload, estimates, shown, horizons),
        width=DOUBLE,
        height=2.9,
        chart=lambda: _chart(workload, estimates, shown, horizons),
    )
    tables = (Table("time-to-target", "Time to the target", table, names=len(workload.axes)),)
    return Section("How long to a target?", tuple(said), (plot,), tables)


def _fastest(estimates: Estimates) -> list[int]:
    return sorted(estimates, key=lambda s: estimates[s]["step"].restricted_mean)[:2]


def _steps(one: TimeToTarget, horizon: float) -> tuple[Array, Array]:
    """Return the share of runs that reached the target, as a curve over time that ends at the horizon."""
    x = np.concatenate([[0.0], one.times, [horizon]])
    return x, 1 - np.concatenate([[1.0], one.survival, one.survival[-1:]])


def _chart(
    workload: Workload, estimates: Estimates, shown: Sequence[int], horizons: Mapping[str, float]
) -> charts.Chart:
    looks, lines = looks_of_settings(workload, shown), []
    for panel, clock in enumerate(CLOCKS):
        for setting in shown:
            x, y = _steps(estimates[setting][clock], horizons[clock])
            line = charts.line(x, y, workload.words(setting), looks[setting], panel, panel == 0)
            line["line"] |= {"shape": "hv"}
            lines.append(line | {"hovertemplate": "%{x:.4~g}: %{y:.0%}"})
    y_axis = charts.named("", range=[-0.03, 1.03], tickformat=".0%", zeroline=False)
    titles = ["share of runs that reached it"] * 2
    x_axes = [charts.named(title, rangemode="tozero") for title in CLOCKS.values()]
    return {"data": lines, "layout": charts.layout(titles, x_axes, [y_axis, y_axis])}


def _draw(
    figure: Figure, workload: Workload, estimates: Estimates, shown: Sequence[int], horizons: Mapping[str, float]
) -> None:
    looks = looks_of_settings(workload, shown)
    for ax, (clock, title) in zip(figure.subplots(1, 2, sharey=True), CLOCKS.items(), strict=True):
        for setting in shown:
            x, y = _steps(estimates[setting][clock], horizons[clock])
            look, label = looks[setting], clean(workload.words(setting))
            ax.step(x, y, where="post", color=look.colour, ls=look.dash, label=label)
        ax.set_xlabel(title)
        ax.set_ylim(-0.03, 1.03)
    figure.axes[0].set_ylabel("share of runs that reached it")
    legend_below(figure, [figure.axes[0]])
