"""The table of newer optimizers: each one's speed-up over tuned AdamW as claimed, at its defaults and tuned."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from runner.report.section import Plot
from runner.report.sections import pool_plots
from runner.statistics import pools
from runner.statistics.best import LOSS, best_set
from runner.statistics.scores import Array, performance_profile
from runner.study.contest import rules, speed
from runner.study.contest.choice import final_loss, finals
from runner.study.contest.contenders import BASELINE
from runner.study.contest.plan import Contest
from runner.study.study import Judgement

SHOWN = 8
"""Optimizers in the plot, those with the best scores."""


@dataclass(frozen=True)
class OnWorkload:
    """What was measured on one workload."""

    name: str
    parts: Mapping[str, pd.DataFrame]
    """Each optimizer's rows."""
    tuned: Mapping[str, Array]
    """Speed-ups in each draw of seeds; so ``defaults``."""
    defaults: Mapping[str, Array]
    target: float
    times: Mapping[str, Array]
    """Steps to the target of each seed, tuned; infinite where it never got there."""
    best: tuple[str, ...]
    """Optimizers that can be the best by test loss, tuned, the best mean first."""


def on_workloads(contest: Contest, frame: pd.DataFrame) -> list[OnWorkload]:
    """Return what packed runs say of each workload on which the baseline was run."""
    found = []
    budget = max(contest.budgets)
    for place, workload in enumerate(contest.workloads):
        rows = frame[frame["workload"] == workload.name]
        parts = {c.name: rows[rows["optimizer"] == c.name] for c in contest.contenders}
        parts = {name: part for name, part in parts.items() if len(part)}
        if BASELINE not in parts:
            continue
        of = speed.baseline(parts[BASELINE], budget)
        drawn = speed.draws(of.losses.shape[1], place)
        tuned = {name: finals(part, budget) for name, part in parts.items()}
        loss = speed.target(parts[BASELINE], budget)
        found.append(
            OnWorkload(
                workload.name,
                parts,
                {name: speed.speed_ups(of, final_loss(runs), drawn) for name, runs in tuned.items()},
                {name: speed.speed_ups(of, final_loss(finals(p, 1)), drawn) for name, p in parts.items()},
                loss,
                {name: speed.times(runs, loss) for name, runs in tuned.items()},
                can_be_best({name: runs["test_loss"].to_numpy(float) for name, runs in tuned.items()}),
            )
        )
    return found


def can_be_best(losses: Mapping[str, Array]) -> tuple[str, ...]:
    """Return which optimizers can have the lowest mean loss (95 %), the best first; one that diverged cannot."""
    able = {name: values for name, values in losses.items() if np.isfinite(values).all()}
    if not able:
        return ()
    names = list(able)
    found = best_set(-np.stack([able[name] for name in names]), 0.0, LOSS)
    order = np.argsort(-found.mean, kind="stable")
    return tuple(names[i] for i in order if found.inside[i])


def table(contest: Contest, found: list[OnWorkload]) -> pd.DataFrame:
    """Return a row an optimizer: its speed-up as claimed, at its defaults and tuned, over the workloads that it has."""
    rows = []
    for contender in contest.contenders:
        on = [one for one in found if contender.name in one.parts]
        if not on:
            continue
        tuned, defaults = (
            np.exp(np.mean([np.log(getattr(one, kind)[contender.name]) for one in on], axis=0))
            for kind in ("tuned", "defaults")
        )
        row: dict[str, object] = {"optimizer": contender.name, "workloads": len(on)}
        row["claimed"] = math.nan if contender.claimed is None else contender.claimed
        for kind, values in (("defaults", defaults), ("tuned", tuned)):
            ends = speed.interval(values, len(contest.seeds))
            row |= dict(zip((kind, f"{kind}_low", f"{kind}_high"), ends, strict=True))
        row["can_be_best"] = sum(contender.name in one.best for one in on)
        row["reached"] = sum(math.isfinite(float(pools.median_times(one.times[contender.name]))) for one in on)
        shrinks = contender.claimed is not None and float(str(row["tuned_high"])) < contender.claimed
        row["holds"] = shrinks if contender.claimed is not None else None
        rows.append(row)
    return pd.DataFrame(rows)


def judge(contest: Contest, frame: pd.DataFrame) -> Judgement:
    """Judge packed runs by ``rules.MODERN_RULE``; the numbers are those of ``table``."""
    found = on_workloads(contest, frame)
    numbers = table(contest, found)
    plot = profile_plot(found)
    if not len(numbers):
        return Judgement(None, numbers, plot)
    claims = numbers[numbers["claimed"].notna() & (numbers["workloads"] >= rules.LEAST_WORKLOADS)]
    if len(claims) < rules.LEAST_CLAIMS:
        return Judgement(None, numbers, plot)
    share = float(claims["holds"].astype(float).mean())
    holds = True if share >= rules.MOST_SHRINK else False if share < rules.FEW_SHRINK else None
    return Judgement(holds, numbers, plot)


def profile(found: list[OnWorkload], seconds: bool = False) -> pd.DataFrame:
    """Return a row for each optimizer that all workloads have: its performance profile's score, with its interval.

    Args:
        found: of ``on_workloads``.
        seconds: of seconds to the target rather than steps.
    """
    names = _everywhere(found)
    if not names:
        return pd.DataFrame(columns=["optimizer", "score", "low", "high"])
    times = [np.stack([_times(one, name, seconds) for name in names]) for one in found]
    scores = pools.profile_scores(times)
    rows = [{"optimizer": n, "score": s.mean, "low": s.low, "high": s.high} for n, s in zip(names, scores, strict=True)]
    return pd.DataFrame(rows).sort_values("score", ascending=False, kind="stable")


def profile_plot(found: list[OnWorkload]) -> Plot:
    """Return the performance profile of steps to the target, of the optimizers that all workloads have."""
    order = [str(name) for name in profile(found)["optimizer"]][:SHOWN]
    if not order:
        return pool_plots.profile(["none"], np.zeros((1, len(pool_plots.RATIOS))))
    every = _everywhere(found)
    medians = np.stack([[float(pools.median_times(one.times[name])) for name in every] for one in found], axis=1)
    rho, _ = performance_profile(medians, pool_plots.RATIOS)
    return pool_plots.profile(order, rho[[every.index(name) for name in order]])


def _everywhere(found: list[OnWorkload]) -> list[str]:
    return [name for name in (found[0].parts if found else ()) if all(name in one.parts for one in found)]


def _times(one: OnWorkload, name: str, seconds: bool) -> Array:
    return one.times[name] * (speed.seconds_a_step(one.parts[name]) if seconds else 1.0)
