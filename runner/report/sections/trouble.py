"""What went wrong, what each choice explains, and what everything cost: nothing is dropped silently."""

from functools import lru_cache
from itertools import product

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from scipy import stats

from runner.report.drawing import charts
from runner.report.drawing.figures import short
from runner.report.drawing.looks import COLOURS
from runner.report.load import Records
from runner.report.section import SINGLE, Plot, Section, Table
from runner.report.sections import classified
from runner.report.settings import GOOD, Workload
from runner.statistics.variance import variance_explained

MOST_FACTORS = 5
NEARLY = 0.8
"""From this share on, what is not there is called missing: a sweep may have meant no whole grid."""


def trouble(workload: Workload, records: Records) -> Section:
    """Count and name what diverged, failed, was interrupted, is missing, or has one seed only."""
    runs, table = workload.runs, workload.table
    counts = runs["status"].value_counts()
    said = [f"{n} {status}" for status, n in counts.items()]
    bad = runs[~runs["status"].isin(GOOD)]
    columns = [*workload.axes, "seed", "status", "stop_reason", "first_nonfinite_step", "run_id"]
    listed = bad[[c for c in columns if c in bad]]
    text = [f"{len(runs)} run{'s' * (len(runs) != 1)}: {', '.join(said)}."]
    tables = (
        [Table("not-completed", "Runs that did not complete", listed, names=len(workload.axes))] if len(listed) else []
    )
    missing = _missing(workload)
    if len(missing):
        text.append(f"{len(missing)} runs of the grid are missing; the command that started it goes on with it.")
        tables.append(Table("missing", "Missing runs of the grid", missing, names=len(workload.axes)))
    alone = int((table["n"] == 1).sum())
    if alone and len(table) > 1:
        of = f"{alone} of {len(table)} settings have one {workload.replicate_word} only"
        text.append(f"{of}: no interval{', and they cannot lead' if (table['n'] > 1).any() else ''}.")
    text += [*([unknown] if (unknown := classified.missing(workload, records)) else []), *workload.caveats]
    return Section("What went wrong?", tuple(text), (), tuple(tables))


def _missing(workload: Workload) -> pd.DataFrame:
    """Return what is missing of a nearly whole grid: seeds that most settings have, settings of most crossings."""
    axes, table, runs = workload.axes, workload.table, workload.runs
    counts = runs.groupby("replicate")["setting"].nunique()
    usual = [int(r) for r in counts.index[counts >= NEARLY * len(table)]]
    present = {(int(s), int(r)) for s, r in zip(runs["setting"], runs["replicate"], strict=True)}
    lines = [
        {**{a: table.at[setting, a] for a in axes}, "replicate": workload.replicates[r]}
        for setting in table.index
        for r in usual
        if (setting, r) not in present
    ]
    levels = [workload.levels(a) for a in axes]
    everything = int(np.prod([len(level) for level in levels])) if axes else 1
    if NEARLY <= len(table) / everything < 1:
        there = {tuple(row) for row in table[axes].astype(str).to_numpy()}
        absent = [dict(zip(axes, c, strict=True)) for c in product(*levels) if c not in there]
        lines += [{**line, "replicate": workload.replicates[r]} for line in absent for r in usual]
    return pd.DataFrame(lines)


def _varied(workload: Workload, runs: pd.DataFrame) -> list[str]:
    return [axis for axis in workload.axes if runs[axis].nunique() > 1]


@lru_cache(maxsize=8)  # the text asks, then the page
def shares_explained(workload: Workload) -> pd.DataFrame | None:
    """Return the share of the runs' ranks that each choice and pair explains, most first; None where runs are few.

    On ranks, so that diverged runs count.
    """
    runs = workload.runs[workload.runs["value"].notna() | (workload.runs["status"] == "diverged")]
    factors = _varied(workload, runs)[:MOST_FACTORS]
    if len(runs["replicate"].unique()) > 1:
        factors.append("seed" if runs["seed"].nunique() > 1 else "replicate")
    levels = sum(runs[f].nunique() for f in factors)
    if len(factors) < 2 or len(runs) < 2 * levels or levels > 200:
        return None
    score = (runs["value"] * workload.measure.sign).fillna(-np.inf)
    ranks = stats.rankdata(score.to_numpy())
    found = variance_explained([runs[f].astype(str).tolist() for f in factors], ranks, runs["replicate"].tolist())
    names = [*factors, *(f"{factors[j]} × {factors[i]}" for i in range(len(factors)) for j in range(i))]
    rows = [{"choice": n, "share": s.mean, "low": s.low, "high": s.high} for n, s in zip(names, found, strict=True)]
    return pd.DataFrame(rows).sort_values("share", ascending=False)


def explained(workload: Workload) -> Section | None:
    """Say how much of the differences between runs each choice explains."""
    table = shares_explained(workload)
    if table is None:
        return None
    said = (
        f"Share of the variance of the runs' ranks by {workload.measure.title} that each choice, and each pair beyond "
        "its two, explains (ANOVA of type II; diverged runs rank last; 95 % intervals of the jackknife over seeds). "
        "Shares need not add up to one."
    )
    if left_out := _varied(workload, workload.runs)[MOST_FACTORS:]:
        said += f" Left out, as more than {MOST_FACTORS} choices vary: {', '.join(left_out)}."
    plot = Plot(
        "variance-explained",
        "Variance explained",
        f"Bars of the share of variance explained; most by {table['choice'].iloc[0]}.",
        lambda figure: _draw(figure, table.head(12)),
        width=SINGLE,
        height=0.7 + 0.22 * min(12, len(table)),
        chart=lambda: _chart(table.head(12)),
    )
    return Section(
        "Which choice matters?", (said,), (plot,), (Table("variance-explained", "Variance explained", table),)
    )


def _chart(table: pd.DataFrame) -> charts.Chart:
    rows = table.iloc[::-1]
    share, low, high = (rows[c].to_numpy(float) for c in ("share", "low", "high"))
    known = np.isfinite(low) & np.isfinite(high)
    said = [
        f"{s:.2f} ({a:.2f} to {b:.2f})" if k else f"{s:.2f}" for s, a, b, k in zip(share, low, high, known, strict=True)
    ]
    bars = {
        "type": "bar",
        "orientation": "h",
        "x": share,
        "y": list(range(len(rows))),
        "marker": {"color": COLOURS[5]},
        "customdata": said,
        "hovertemplate": "%{customdata}<extra></extra>",
        "error_x": {
            "type": "data",
            "symmetric": False,
            "array": np.where(known, high - share, 0.0),
            "arrayminus": np.where(known, share - low, 0.0),
            "color": charts.INK,
            "thickness": 1.5,
        },
    }
    names = [f"{charts.label(str(n), 36)}  <b>{s:.2f}</b>" for n, s in zip(rows["choice"], share, strict=True)]
    y = charts.named("", tickvals=list(range(len(names))), ticktext=names, showgrid=False)
    x = charts.named("share of variance explained", range=[0, 1.02])
    return {"data": [bars], "layout": charts.layout([""], [x], [y], 1, 80 + 30 * len(names), legend=False)}


def _draw(figure: Figure, table: pd.DataFrame) -> None:
    ax = figure.subplots()
    shares, names = table["share"].to_numpy(float)[::-1], [short(n) for n in table["choice"]][::-1]
    ax.barh(names, shares, color=COLOURS[5])
    low, high = (table[c].to_numpy(float)[::-1] for c in ("low", "high"))
    for y, (share, a, b) in enumerate(zip(shares, low, high, strict=True)):
        if np.isfinite(a) and np.isfinite(b):
            ax.plot([a, b], [y, y], color="#222222", lw=1)
        ax.annotate(f" {share:.2f}", (max(share, b if np.isfinite(b) else 0), y), va="center", fontsize=7)
    ax.set_xlim(0, 1.08)
    ax.set_xlabel("share of variance explained")
    ax.grid(axis="y", visible=False)
