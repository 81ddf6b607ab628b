"""Several workloads together: which choices are good on all of them. Seeds are not workloads."""

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import stats

from runner.report.drawing.columns import aligned
from runner.report.load import Records
from runner.report.section import Section, Table
from runner.report.sections import pool_plots
from runner.report.sections.target import default_target, times
from runner.report.settings import BAD, LR, Workload
from runner.report.workloads import identity
from runner.statistics import pools
from runner.statistics import scores as statistics
from runner.statistics.scores import Array

MOST_LINES = 8
SHOWN = 5
"""The terminal shows so many choices."""
FEW_SEEDS = 5


@dataclass(frozen=True)
class _On:
    """One workload, as the choices that are compared."""

    steps: Array | None
    """``[choices, replicates]`` to the target, infinite where it was never reached; None where no run has rows."""
    scores: list[Array]
    """Of each choice's runs, ``[runs]`` each: 0 is an untrained network, 1 the best choice's mean."""
    order: Array
    """What choices are ranked by, ``[choices]``: less where runs diverged or failed."""


def across(found: Sequence[tuple[Workload, Records]], percent: float) -> Section | None:
    """Hold the choices that all workloads share against each other over them.

    Each workload's target is the value within ``percent`` of its best setting; a choice stands, in each workload, for
    its own best setting of everything else.

    Args:
        found: the workloads, and where each comes from.
        percent: what counts as near the best.
    """
    pool, left_out = _distinct(found)
    shared = _shared([w for w, _ in pool])
    without = [w for w, _ in pool if not set(shared) <= set(w.axes)]
    pool = [one for one in pool if one[0] not in without]
    if len(pool) < 2 or not shared:
        return None
    workloads = [w for w, _ in pool]
    left_out += [f"{w.name} compares no {' and '.join(shared)}, and has no part in it." for w in without]
    best = [w.best_of(shared) for w in workloads]
    choices = sorted(set.intersection(*(set(b) for b in best)))
    if len(choices) < 2:
        return None
    if some := len(set.union(*(set(b) for b in best))) - len(choices):
        which = (
            "choice that only some workloads have has" if some == 1 else "choices that only some workloads have have"
        )
        left_out.append(f"{some} {which} no part in it.")
    on = [_on(w, records, [b[c] for c in choices], percent) for (w, records), b in zip(pool, best, strict=True)]
    table, rho, alike = _table(on, shared, choices)
    frame = table.drop(columns="at")
    order = table["at"].to_numpy(int)
    names = [", ".join(choices[i]) for i in order]
    plots = [pool_plots.ranks(names, frame["mean_rank"].to_numpy(float), alike)]
    if rho is not None:
        plots = [pool_plots.profile(names[:MOST_LINES], rho[order[:MOST_LINES]]), *plots]
    several = f"Across {len(pool)} workloads"
    heading = f"{several}: score of the performance profile, interquartile mean of scores, mean rank"
    columns = [c for c in (*shared, "score", "iqm", "mean_rank", "group") if c in frame]
    return Section(
        "Across workloads",
        (*_said(on, shared, choices, percent, alike is not None), *left_out),
        tuple(plots),
        (Table("across", "Across workloads", frame),),
        f"{heading}:\n{aligned(frame[columns].head(SHOWN))}",
    )


def _distinct(found: Sequence[tuple[Workload, Records]]) -> tuple[list[tuple[Workload, Records]], list[str]]:
    """Return workloads of which no two are of the same data, model and length, and say which are left out here.

    The same one twice would count twice. The one with more runs stays.
    """
    by: dict[tuple[frozenset[str], ...], list[tuple[Workload, Records]]] = {}
    for one in (one for one in found if one[0].best is not None):
        by.setdefault(identity(one[0]), []).append(one)
    kept = [max(same, key=lambda one: len(one[0].runs)) for same in by.values()]
    said = [
        f"{w.name} is of the same data, model and length as {one[0].name}, which has as many runs or more: "
        "it is one workload, and the latter stands for it here."
        for one, same in zip(kept, by.values(), strict=True)
        for w, _ in same
        if w is not one[0]
    ]
    return kept, said


def _shared(workloads: Sequence[Workload]) -> list[str]:
    """Return the axes to compare by: initializers and optimizers, or what else most workloads vary."""
    having = Counter(a for w in workloads for a in w.axes if a != LR)
    most = max(having.values(), default=0)
    if most < 2:
        return []
    pool = [w for w in workloads if any(having[a] == most for a in w.axes)]
    of_all = [a for a in having if all(a in w.axes for w in pool)] or [a for a in having if having[a] == most][:1]
    return [a for a in ("init", "optim") if a in of_all] or of_all


def _on(workload: Workload, records: Records, settings: Sequence[int], percent: float) -> _On:
    """Return what a workload says of some settings, one a choice."""
    table, runs = workload.table, workload.runs
    mean = table["mean"].to_numpy(float) * workload.measure.sign
    known = [workload.scores[s][np.isfinite(workload.scores[s])] for s in settings]
    bad = [int(runs.loc[runs["setting"] == s, "status"].isin(BAD).sum()) for s in settings]
    means = np.array([float(mean[s]) if table.at[s, "n"] else -math.inf for s in settings])
    tied = np.array([float(f"{mean:.12g}") for mean in means])  # what differs by rounding alone is the same
    order = np.where(np.array(bad) > 0, -math.inf, tied)
    finite = means[np.isfinite(means)]
    best = float(finite.max()) if len(finite) else math.nan
    zero = _untrained(workload, records)
    zero = zero if math.isfinite(zero) else float(finite.min()) if len(finite) else math.nan
    scores = [np.concatenate([pools.normalized(x, zero, best), np.zeros(n)]) for x, n in zip(known, bad, strict=True)]
    when = times(workload, records, default_target(workload, percent))
    if not len(when):
        return _On(None, scores, order)
    steps = np.full((len(settings), len(workload.replicates)), math.nan)
    for i, setting in enumerate(settings):
        its = when[(when["setting"] == setting) & (when["reached"] | when["ended"])]  # of others nobody knows
        steps[i, its["replicate"].to_numpy(int)] = np.maximum(its["step"].where(its["reached"], math.inf), 1.0)
    return _On(steps, scores, order)


def _untrained(workload: Workload, records: Records) -> float:
    """Return the median score before training; NaN where no run has a row of it."""
    rows = records.curves
    if workload.measure.name not in rows:
        return math.nan
    first = rows[(rows["step"] == 0) & rows["run_id"].isin(workload.runs["run_id"])]
    return float(first[workload.measure.name].median()) * workload.measure.sign


def _table(
    on: Sequence[_On], shared: Sequence[str], choices: Sequence[tuple[str, ...]]
) -> tuple[pd.DataFrame, Array | None, "np.ndarray[tuple[int, int], np.dtype[np.bool_]] | None"]:
    """Return a row a choice, best first; every choice's profile; and which rows are not told apart, if a test can."""
    ranks = np.stack([stats.rankdata(-one.order) for one in on], axis=1)
    iqm = [pools.interquartile_mean([one.scores[i] for one in on]) for i in range(len(choices))]
    timed = [one.steps for one in on if one.steps is not None]
    score = pools.profile_scores(timed) if timed else None
    rho = None
    if timed:
        rho, _ = statistics.performance_profile(
            np.stack([pools.median_times(t) for t in timed], axis=1), pool_plots.RATIOS
        )
    rows = []
    for i, choice in enumerate(choices):
        row: dict[str, object] = {"at": i, **dict(zip(shared, choice, strict=True))}
        if score is not None:
            reached = sum(bool(np.isfinite(pools.median_times(t[i]))) for t in timed)
            row |= {"score": score[i].mean, "score_low": score[i].low, "score_high": score[i].high}
            row |= {"targets_reached": reached}
        row |= {"iqm": iqm[i].mean, "iqm_low": iqm[i].low, "iqm_high": iqm[i].high, "mean_rank": ranks[i].mean()}
        rows.append(row)
    table = pd.DataFrame(rows).sort_values(
        [*(["score"] if score is not None else []), "iqm", "mean_rank"],
        ascending=[*([False] if score is not None else []), False, True],
        kind="stable",
    )
    if len(on) < pools.fewest_workloads(len(choices)):
        return table, rho, None
    at = table["at"].to_numpy(int)
    means = np.array([[one.scores[i].mean() if len(one.scores[i]) else math.nan for one in on] for i in at])
    alike = ~(pools.pairwise(means) <= 1 - statistics.LEVEL)
    of = pools.groups(alike)
    table["group"] = [", ".join(str(n) for n, group in enumerate(of, 1) if i in group) for i in range(len(at))]
    return table, rho, alike


def _said(
    on: Sequence[_On], shared: Sequence[str], choices: Sequence[tuple[str, ...]], percent: float, tested: bool
) -> list[str]:
    n, k = len(on), len(choices)
    said = [f"{k} choices of {' and '.join(shared)} on {n} workloads, each at its own best of everything else there."]
    timed = sum(one.steps is not None for one in on)
    if timed:
        said.append(
            "Score: ⅓∫₁⁴ρ(τ)dτ of the performance profile ρ, the share of workloads on which the median time, in "
            f"steps, to within {percent:g} % of the best is at most τ times the fastest choice's (AlgoPerf); its "
            "interval is of drawing seeds anew."
            + (f" {n - timed} of the workloads have no rows to read times from, and no part in it." * (timed < n))
        )
    else:
        said.append("No workload has rows to read times from: there is no performance profile.")
    said.append(
        "IQM: the mean of the middle half of all runs' scores, each workload's scaled so that the untrained network is "
        "0 (where it was not recorded, the worst choice) and the best choice's mean 1; what is below is 0, and so are "
        "runs that diverged or failed. Its interval draws runs anew within each workload (Agarwal et al. 2021)."
    )
    if min(len(x) for one in on for x in one.scores) < FEW_SEEDS:
        said.append(f"With fewer than {FEW_SEEDS} seeds a workload both intervals are too narrow.")
    needed = pools.fewest_workloads(k)
    if tested:
        said.append(
            "Groups: choices of which no two are told apart over workloads, by Wilcoxon's signed-rank test of their "
            f"mean scores, corrected for all {pools.number_of_pairs(k)} pairs (Holm). Seeds are not workloads."
        )
    else:
        said.append(
            f"With {n} workloads no test over workloads can tell {k} choices apart (Wilcoxon's, corrected for all "
            f"{pools.number_of_pairs(k)} pairs); it takes {needed}."
        )
    return [*said, "All of it depends on the pool: on which workloads and choices there are."]
