"""A search on the page: how good its trials were in their order, what the finals chose, and what that bought."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from runner.report.drawing import charts
from runner.report.drawing.columns import filled
from runner.report.drawing.figures import legend_below, log_axis
from runner.report.drawing.looks import COLOURS, Look
from runner.report.drawing.wrong import above, wrong
from runner.report.load import Records
from runner.report.searched import Search, values_of
from runner.report.section import DOUBLE, Plot, Section, Table
from runner.report.sections.baselines import Baselines
from runner.report.sections.bought import Bought, bought, table_of
from runner.report.settings import Workload
from runner.statistics.scores import Array

BEST, LUCK = "best so far", "one trial"


def searching(search: Search, records: Records, workload: Workload, baselines: Baselines | None) -> Section | None:
    """Show the search's history, and what it bought; None where no trial has ended."""
    ended = search.ended(records)
    if not ended:
        return None
    found = bought(search, records, workload, baselines)
    lines = _lines(workload, found)
    bad = int((~np.isfinite(found.scores)).sum())
    many = f"{len(ended)} trials in {search.generations} generation{'s' * (search.generations > 1)}"
    said = f"{many}, proposed by {search.sampler} with seed {search.seed}"
    said += f"; {bad} diverged or failed." if bad else "."
    measure = workload.measure
    plot = Plot(
        "search-history",
        f"The search: {measure.title} of each trial",
        f"{measure.title} of {len(ended)} trials in their order, with the best so far.",
        lambda figure: _draw(figure, workload, found.scores, lines),
        width=DOUBLE,
        height=3.0,
        chart=lambda: _chart(workload, found.scores, lines),
    )
    tables = [Table("search-trials", "Every trial", _trials(search, records, workload, found.scores), folded=True)]
    if found.against:
        tables.insert(0, Table("search-against", "What the search bought", table_of(workload, found)))
    if search.finals is not None and workload.is_picked:
        tables.insert(1, Table("search-finals", "The finals", _finals(search, records, workload)))
    text = (said, *found.sayings)
    terminal = "\n".join(map(filled, [f"The search: {said}", *found.sayings]))
    return Section("What did the search find?", text, (plot,), tuple(tables), terminal)


@dataclass(frozen=True)
class Line:
    """A level to hold trials against."""

    name: str
    value: float
    look: Look


def _lines(workload: Workload, found: Bought) -> list[Line]:
    known = [(one.what, one.value) for one in found.against if math.isfinite(one.value)]
    if found.chosen is not None:
        known.insert(0, ("the chosen one, on new seeds", found.chosen.mean))
    return [Line(name, value, Look(COLOURS[(i + 1) % 8], i + 1)) for i, (name, value) in enumerate(known)]


def _trials(search: Search, records: Records, workload: Workload, scores: Array) -> pd.DataFrame:
    """Return a row a trial, in their order."""
    rows = []
    for number, (trial, score) in enumerate(zip(search.ended(records), scores, strict=True), 1):
        value = workload.measure.sign * float(score) if math.isfinite(score) else math.nan
        drawn = {one.name: one.shown(trial.drawn[one.name]) for one in search.drawn if one.name in trial.drawn}
        rows.append({"trial": number, workload.measure.name: value, **drawn, "runs": " ".join(trial.runs)})
    columns = ["trial", workload.measure.name, *(one.name for one in search.drawn), "runs"]
    return pd.DataFrame(rows).reindex(columns=columns)


def _finals(search: Search, records: Records, workload: Workload) -> pd.DataFrame:
    """Return a row a finalist: what its trial came to, and what it comes to with new seeds."""
    assert search.finals is not None, "a search without finals has no table of them"
    rows, measure = [], workload.measure
    for place, one in enumerate(search.finals.finalists):
        trial, raced, judged = (
            values_of(records, measure, [[run] for run in runs]) for runs in (one.trial, one.raced, one.judged)
        )
        verdict = "chosen" if place == search.finals.chosen else "worse"
        verdict = "can be the best" if verdict == "worse" and place in search.finals.can_be_best else verdict
        setting = workload.runs.loc[workload.runs["run_id"].isin(one.raced or one.judged), "setting"]
        rows.append(
            {"finalist": workload.words(int(setting.iloc[0])) if len(setting) else "–", "verdict": verdict}
            | {"in the search": _mean(trial), "with new seeds": _mean(raced), "seeds": len(raced)}
            | {"with newer seeds": _mean(judged)}
        )
    return pd.DataFrame(rows)


def _mean(values: Array) -> float:
    return float(np.mean(values)) if len(values) else math.nan


def _drawn(workload: Workload, scores: Array, lines: Sequence[Line]) -> tuple[Array, Array, list[float], float | None]:
    """Return each trial's value and the best so far as they are drawn, the lines', and what stands for 0, if it does.

    A trial without a value is NaN.
    """
    what, sign = wrong(workload.measure, workload.measure.name), workload.measure.sign
    best = np.maximum.accumulate(scores)
    values, reached = (np.where(np.isfinite(s), sign * s, np.nan) for s in (scores, best))
    levels = [what.of(np.array([line.value]))[0] for line in lines]
    floor = what.floor([what.of(values), np.array(levels)])
    raised = [float(above(np.array([level]), floor)[0]) for level in levels]
    return above(what.of(values), floor), above(what.of(reached), floor), raised, floor


def _chart(workload: Workload, scores: Array, lines: Sequence[Line]) -> charts.Chart:
    values, best, levels, floor = _drawn(workload, scores, lines)
    at, title = np.arange(1, len(scores) + 1), wrong(workload.measure, workload.measure.name).title
    told = {"text": [f"{v:.5g}" for v in workload.measure.sign * scores], "hovertemplate": "trial %{x}: %{text}"}
    dots = charts.line(at, values, LUCK, Look("#7f7f7f", 0)) | {"mode": "markers", **told}
    dots["marker"] = {"size": 6, "color": "#7f7f7f", "opacity": 0.7}
    reached = charts.line(at, best, BEST, Look(COLOURS[0], 0))
    reached["line"] = reached["line"] | {"shape": "hv", "width": 3}
    traces = [dots, reached]
    if len(bad := at[~np.isfinite(values)]):
        worst = float(np.nanmax(values) if floor is not None or not workload.measure.higher else np.nanmin(values))
        crosses = charts.line(bad, np.full(len(bad), worst), "diverged or failed", Look(COLOURS[1], 1))
        traces.append(crosses | {"mode": "markers", "marker": {"symbol": "x-thin", "size": 8, "line": {"width": 2}}})
    ends = np.array([1, max(2, len(scores))])
    traces += [
        charts.line(ends, [level] * 2, line.name, line.look)
        | {"text": [f"{line.value:.5g}"] * 2, "hovertemplate": "%{text}"}
        for line, level in zip(lines, levels, strict=True)
    ]
    every = np.concatenate([values, best, levels])
    y = charts.logarithmic(title, every) if floor is not None else charts.named(title)
    layout = charts.layout([""], [charts.named("trial")], [y], 1, 340)
    return {"data": traces, "layout": layout}


def _draw(figure: Figure, workload: Workload, scores: Array, lines: Sequence[Line]) -> None:
    values, best, levels, floor = _drawn(workload, scores, lines)
    ax, at = figure.subplots(), np.arange(1, len(scores) + 1)
    ax.plot(at, values, "o", color="#7f7f7f", ms=3, alpha=0.7, label=LUCK)
    ax.step(at, best, where="post", color=COLOURS[0], lw=1.8, label=BEST)
    for line, level in zip(lines, levels, strict=True):
        ax.axhline(level, color=line.look.colour, ls=line.look.dash, lw=1, label=line.name)
    if floor is not None:
        every = np.concatenate([values, best, levels])
        log_axis(ax, every[np.isfinite(every)], "y")
    ax.set_xlabel("trial")
    ax.set_ylabel(wrong(workload.measure, workload.measure.name).title)
    legend_below(figure, [ax], columns=3)
