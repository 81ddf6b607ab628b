"""What a search bought: its choice against the defaults, simple models, and random search with as many trials."""

import math
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import stats

from runner.report.answer import Estimate
from runner.report.load import Records
from runner.report.searched import ALL_AT_RANDOM, Search, values_of
from runner.report.sections.baselines import Baselines
from runner.report.settings import GOOD, Workload
from runner.statistics.scores import LEVEL, Array, Interval, expected_best, mean_interval

FEWEST_AT_RANDOM = 4


@dataclass(frozen=True)
class Against:
    """The search's choice beside something else."""

    what: str
    value: float
    ahead: Interval
    """By how much the choice is better; less than 0 where it is worse."""
    how: str


@dataclass(frozen=True)
class Bought:
    """What there is to hold a search against."""

    chosen: Interval | None
    """The chosen setting on seeds that chose nothing; None without finals."""
    against: tuple[Against, ...]
    scores: Array
    """Of the trials that have ended, ``[trials]``, more is better, -∞ of one that diverged or failed."""
    sayings: tuple[str, ...]


def trial_scores(search: Search, records: Records, workload: Workload) -> Array:
    """Return what the trials that have ended came to, in their order; more is better, -∞ where there is no value."""
    values = values_of(records, workload.measure, [trial.runs for trial in search.ended(records)])
    return np.nan_to_num(workload.measure.sign * values, nan=-math.inf)


def bought(search: Search, records: Records, workload: Workload, baselines: Baselines | None) -> Bought:
    """Return what the search's choice is held against.

    Args:
        search: the search.
        records: of its folder.
        workload: whose leader it chose.
        baselines: simple models beside it.
    """
    scores = trial_scores(search, records, workload)
    sayings, against = list[str](), list[Against]()
    chosen = None
    if search.finals is not None and workload.is_picked:
        judged = search.finals.finalists[search.finals.chosen].judged
        ours = values_of(records, workload.measure, [[run] for run in judged])
        chosen = mean_interval(ours[np.isfinite(ours)], workload.step)
        sayings.append(_of_finals(search, workload))
        found = _defaults(search, records, workload, ours)
        if isinstance(found, str):
            sayings.append(found)
        else:
            against.append(found)
            sayings.append(_of_defaults(workload, chosen, found))
    elif search.finals is None:
        sayings.append(
            "No finals judged it: the best trial is the luckiest of many, and nothing says by how much. The search's "
            "command, without --finalists 0, runs the best few, and the defaults, with new seeds."
        )
    against += [
        Against(one.words, one.value, one.ahead, "on the same splits")
        for one in (() if baselines is None else baselines.known)
    ]
    if said := _of_random(search, workload, scores):
        sayings.append(said)
    return Bought(chosen, tuple(against), scores, tuple(sayings))


def fresh_estimates(search: Search, records: Records, workload: Workload) -> tuple[Estimate, ...]:
    """Return what the chosen setting comes to on the seeds that chose nothing, validation and test."""
    assert search.finals is not None, "it was picked by them"
    judged = search.finals.finalists[search.finals.chosen].judged
    its = records.runs["run_id"].isin(judged) & records.runs["status"].isin(GOOD)
    measure, found = workload.measure, []
    for name, column, step in (
        (measure.name, measure.column, workload.step),
        (measure.test, measure.test, workload.test_step),
    ):
        values = records.number(column)[its].dropna().to_numpy(float)
        if len(values):
            interval = mean_interval(values, step)
            half = interval.high - interval.mean
            found.append(Estimate.of(measure, name, interval.mean, half, len(values)))
    return tuple(found)


def _of_finals(search: Search, workload: Workload) -> str:
    finals, measure = search.finals, workload.measure
    assert finals is not None, "it was picked by them"
    said = (
        f"The {len(finals.finalists)} best of {finals.trials} trials were run with new seeds, and the chosen one with "
        "newer ones, which chose nothing."
    )
    if finals.regret is None:
        return said
    if finals.regret == 0:
        return f"{said} It is the best of them (95 %): no other is better by anything."
    alike = len(finals.can_be_best)
    first = f"{alike} of them can be the best (95 %)" if alike > 1 else "It is the best of them (95 %)"
    return (
        f"{said} {first}; the regret, by which the best of them is better than the chosen one, is at most "
        f"{measure.amount(finals.regret)} (95 %)."
    )


def _defaults(search: Search, records: Records, workload: Workload, ours: Array) -> Against | str:
    """Return the choice beside the defaults, seed by seed; or why there is no comparison."""
    assert search.finals is not None, "the defaults are run in the finals"
    runs = search.finals.defaults
    if not runs:
        return "The defaults cannot be run beside what all settings share: there is nothing to say against them."
    theirs = values_of(records, workload.measure, [[run] for run in runs])
    if not np.isfinite(theirs).any():
        return "The defaults diverged or failed with every seed, or were not run."
    both = ours - theirs if len(ours) == len(theirs) else np.full(1, math.nan)
    paired = workload.measure.sign * both[np.isfinite(both)]
    ahead = mean_interval(paired, workload.step)
    bad = int((~np.isfinite(theirs)).sum())
    how = "with the seeds that judged the choice" + (f"; {bad} runs of them diverged or failed" if bad else "")
    return Against("the defaults", float(np.nanmean(theirs)), ahead, how)


def _of_defaults(workload: Workload, chosen: Interval, against: Against) -> str:
    measure, ahead = workload.measure, against.ahead
    said = f"With those seeds its {measure.title} is {chosen.mean:.4g}, and that of the defaults {against.value:.4g}"
    if not ahead.known:
        return f"{said}."
    by = f"{measure.amount(ahead.mean)} {measure.span(ahead.low, ahead.high)}"
    if ahead.low > 0:
        return f"{said}: the search bought {by}."
    if ahead.high < 0:
        return f"{said}: the defaults are better, by {measure.amount(-ahead.mean)} " + (
            f"{measure.span(-ahead.high, -ahead.low)}."
        )
    return f"{said}: whether the search bought anything is not told, {by}."


def _of_random(search: Search, workload: Workload, scores: Array) -> str:
    """Say what random search comes to with as many trials, as far as the random ones among the trials tell."""
    n, measure = len(scores), workload.measure
    at_random = scores[: search.at_random]
    few = len(at_random)
    if few < FEWEST_AT_RANDOM or not np.isfinite(at_random).any():
        return ""
    sound = np.maximum(at_random, at_random[np.isfinite(at_random)].min())
    best = measure.sign * float(scores.max())
    if search.sampler in ALL_AT_RANDOM:
        half = max(1, n // 2)
        fewer = measure.sign * expected_best(sound, half)
        kind = "was random search" if search.sampler == "random" else "is random search, spread more evenly"
        return (
            f"The search itself {kind}: its best trial came to {best:.4g}, and the best of {half} such trials is "
            f"expected at {fewer:.4g} (Dodge 2019), so that twice as many bring "
            f"{measure.amount(measure.sign * (best - fewer))}."
        )
    expected = measure.sign * expected_best(sound, few)
    reached = int((at_random >= scores.max()).sum())
    above = float(stats.binomtest(reached, few, alternative="less").proportion_ci(LEVEL).high)
    return (
        f"Random search: the first {few} trials were drawn at random, as {search.sampler} begins, and the best of so "
        f"many is expected at {expected:.4g} (Dodge 2019); the best of all {n} trials is {best:.4g}. At most "
        f"{100 * above:.0f} % of random draws reach that (95 %): more is not known from {few}, "
        f"and --sampler random, under a name of its own, would tell what {n} of them come to."
    )


def table_of(workload: Workload, found: Bought) -> pd.DataFrame:
    """Return a row for each thing that the choice is held against."""
    name = workload.measure.name
    rows = [
        {"against": one.what, name: one.value, "ahead": one.ahead.mean}
        | {"ahead_low": one.ahead.low, "ahead_high": one.ahead.high, "runs": one.ahead.n, "how": one.how}
        for one in found.against
    ]
    return pd.DataFrame(rows)
