"""Several data sets together: which choices are good on all of them. Seeds are not workloads."""

import math
from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from scipy import stats

from runner.report import charts
from runner.report.figures import clean, legend_below
from runner.report.load import Records
from runner.report.looks import COLOURS, DASHES, Look
from runner.report.sections import Plot, Section, Table
from runner.report.settings import LR, Workload
from runner.report.target import default_target, times
from runner.statistics import scores as statistics
from runner.statistics.scores import Array

RATIOS = np.linspace(1.0, 4.0, 121)
MOST_LINES = 8
FEWEST_WORKLOADS = 6
"""With fewer, no exact test of pairs of workloads can reach p = 0.05."""


def across(workloads: Sequence[Workload], records: Records, percent: float) -> Section | None:
    """Score what all workloads have in common by time to target, as AlgoPerf does, and by rank.

    Each workload's target is the value within ``percent`` of its best setting; a choice stands, in each workload, for
    its own best setting of everything else, and its time is the median over seeds.
    """
    shared = [a for a in ("init", "optim") if all(a in w.axes for w in workloads)]
    shared = shared or [a for a in workloads[0].axes if a != LR and all(a in w.axes for w in workloads)]
    if len(workloads) < 2 or not shared:
        return None
    best = [w.best_of(shared) for w in workloads]
    choices = sorted(set.intersection(*(set(b) for b in best)))
    if len(choices) < 2:
        return None
    steps = np.full((len(choices), len(workloads)), math.inf)
    scores = np.full((len(choices), len(workloads)), -math.inf)
    for j, (workload, found) in enumerate(zip(workloads, best, strict=True)):
        when = times(workload, records, default_target(workload, percent))
        for i, choice in enumerate(choices):
            its = when[when["setting"] == found[choice]] if len(when) else when
            if len(its):
                steps[i, j] = _median(its["step"].where(its["reached"], np.inf))
            row = workload.table.loc[found[choice]]
            if row["n"] and not row["bad"]:
                scores[i, j] = row["mean"] * workload.measure.sign
    reached = np.isfinite(steps).any(0)
    if not reached.any():
        return None
    rho, score = statistics.performance_profile(np.maximum(steps[:, reached], 1.0), RATIOS)
    ranks = np.stack([stats.rankdata(-column) for column in scores.T], axis=1)
    order = np.lexsort((ranks.mean(1), -score))
    rows = [
        {
            **dict(zip(shared, choices[i], strict=True)),
            "score": score[i],
            "mean_rank": ranks[i].mean(),
            "targets_reached": int(np.isfinite(steps[i]).sum()),
            **({"p": p} if (p := _p(scores, i, int(order[0]), len(choices) - 1)) is not None else {}),
        }
        for i in order
    ]
    said = [
        f"{len(choices)} choices of {' and '.join(shared)} on {len(workloads)} data sets, each at its own best of "
        "everything else. Score: ⅓∫₁⁴ρ(τ)dτ of the performance profile ρ, the share of data sets on which the median "
        f"time to within {percent:g} % of the best is at most τ times the fastest choice's. Both depend on the pool."
    ]
    if len(workloads) < FEWEST_WORKLOADS:
        said.append(
            f"With {len(workloads)} data sets no test over data sets can tell choices apart; {FEWEST_WORKLOADS} could."
        )
    shown = [int(i) for i in order[:MOST_LINES]]
    plot = Plot(
        "performance-profile",
        "Performance profile",
        f"Share of data sets solved within a ratio of the fastest; first is {', '.join(choices[shown[0]])}.",
        lambda figure: _draw(figure, [choices[i] for i in shown], rho[shown]),
        height=3.0,
        chart=lambda: _chart([choices[i] for i in shown], rho[shown]),
    )
    return Section("Across data sets", tuple(said), (plot,), (Table("across", "Across data sets", pd.DataFrame(rows)),))


def _median(steps: "pd.Series[float]") -> float:
    """Return the step by which half of the seeds are there."""
    return float(np.quantile(steps, 0.5, method="inverted_cdf"))


def _p(scores: Array, one: int, first: int, comparisons: int) -> float | None:
    """Return the Wilcoxon p of a choice against the first over workloads, corrected for their number (Bonferroni)."""
    if scores.shape[1] < FEWEST_WORKLOADS or one == first:
        return None if scores.shape[1] < FEWEST_WORKLOADS else math.nan
    a, b = scores[first], scores[one]
    both = np.isfinite(a) & np.isfinite(b)
    if both.sum() < FEWEST_WORKLOADS or (a[both] == b[both]).all():
        return math.nan
    return min(1.0, comparisons * float(stats.wilcoxon(a[both], b[both]).pvalue))


def _chart(choices: Sequence[tuple[str, ...]], rho: Array) -> charts.Chart:
    lines = [
        charts.line(RATIOS, share, ", ".join(choice), Look(COLOURS[i], i), hovertemplate="%{x:.3~g} times: %{y:.0%}")
        for i, (choice, share) in enumerate(zip(choices, rho, strict=True))
    ]
    for one in lines:
        one["line"] |= {"shape": "hv"}
    x = charts.named("ratio to the fastest choice's time")
    y = charts.named("share of data sets", range=[-0.03, 1.03], tickformat=".0%", zeroline=False)
    return {"data": lines, "layout": charts.layout([""], [x], [y], 1, 340)}


def _draw(figure: Figure, choices: Sequence[tuple[str, ...]], rho: Array) -> None:
    ax = figure.subplots()
    for number, (choice, share) in enumerate(zip(choices, rho, strict=True)):
        ax.step(RATIOS, share, where="post", color=COLOURS[number], ls=DASHES[number], label=clean(", ".join(choice)))
    ax.set_xlabel("ratio to the fastest choice's time")
    ax.set_ylabel("share of data sets")
    ax.set_ylim(-0.03, 1.03)
    legend_below(figure, [ax])
