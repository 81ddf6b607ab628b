"""The answer: what to use, how good it is, what it is tied with, and what would make that surer."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from runner.measures import title
from runner.report import rates, statistics
from runner.report.command import Overrides, Translator, split_shared, sweep, train
from runner.report.load import Records, data_root
from runner.report.settings import LR, Workload

MOST_FOLLOWED = 8
"""So many of the tied settings are followed up with more seeds."""
MOST_SEEDS = 20
USUAL_SEEDS = 5


@dataclass(frozen=True)
class Estimate:
    """One measure of the recommended setting."""

    title: str
    interval: statistics.Interval
    """Of the mean over seeds."""
    low: float
    high: float
    """The same, kept to what the measure can be."""
    next_low: float
    next_high: float
    """Where one more seed is expected."""


@dataclass(frozen=True)
class Answer:
    """What one workload's runs say."""

    workload: Workload
    command: str | None
    """The recommended command line; None where no run has a value."""
    estimates: tuple[Estimate, ...]
    verdict: str
    """In a sentence: whether it won."""
    tied: str
    """What it is tied with."""
    notes: tuple[str, ...]
    surer: tuple[tuple[str, str], ...]
    """What would make the answer surer, and the command for it."""


def answer(workload: Workload, records: Records, sweep_name: str) -> Answer:
    """Draw the conclusion from a workload's runs.

    Args:
        workload: its settings.
        records: where they come from.
        sweep_name: the folder below outputs/ that holds the runs: follow-ups land there too.
    """
    if workload.best is None:
        verdict = "No run has ended with a value yet: there is nothing to recommend."
        return Answer(workload, None, (), verdict, "", (), ())
    row = workload.row(0)
    root = data_root(records.places.get(str(row["run_id"])))
    translator = Translator(records.choices, workload.axes, root)
    recommended = translator.overrides(row)
    notes = []
    if recommended.doubt:
        notes.append(f"The command may need more than it says: {recommended.doubt}.")
    return Answer(
        workload,
        train(recommended.given),
        _estimates(workload, records),
        _verdict(workload),
        _tied(workload),
        (*notes, *_notes(workload)),
        tuple(_surer(workload, translator, recommended, sweep_name)),
    )


def _estimates(workload: Workload, records: Records) -> tuple[Estimate, ...]:
    measure = workload.measure
    its = workload.runs[(workload.runs["setting"] == 0) & workload.runs["value"].notna()].index
    found = []
    for name, column in ((measure.name, measure.column), (measure.test, measure.test)):
        everything = records.number(column)
        values = everything.loc[its].dropna().to_numpy(float)
        if len(values):
            step = statistics.resolution(everything.loc[workload.runs.index].to_numpy(float))
            interval, following = (f(values, step) for f in (statistics.mean_interval, statistics.next_interval))
            found.append(Estimate(title(name), interval, *measure.clip(interval), *measure.clip(following)))
    return tuple(found)


def _verdict(workload: Workload) -> str:
    table, others = workload.table, len(workload.table) - 1
    tied = workload.tied
    seeds = int(table["n"].iloc[0])
    if others == 0:
        return "There was nothing to compare it with: only one setting was run."
    if seeds < 2:
        return f"One seed only: it came first of {others + 1} settings, which may be chance."
    if not tied and (table["verdict"] != "untested")[1:].all():
        return f"It is better than each of the {others} other settings beyond what its {seeds} seeds leave to chance."
    if not tied:
        untested = int((table["verdict"] == "untested").sum())
        return f"It leads, but {untested} of the {others} other settings share no two seeds with it: they are untested."
    return f"No clear winner: {len(tied)} of the {others} other settings cannot be told from it."


def _tied(workload: Workload) -> str:
    """Name what the leader is tied with, and which choices are among it."""
    table, tied, which = workload.table, workload.tied, []
    if not tied:
        return ""
    for axis in (a for a in workload.axes if a != LR):
        levels = workload.levels(axis)
        there = [v for v in levels if v in set(table.loc[tied, axis]) | {table.at[0, axis]}]
        if len(there) == len(levels):
            which.append(f"any {axis}")
        else:
            which.append(f"{axis} {', '.join(there)}{' alone' * (len(there) == 1)}")
    few = "; ".join(workload.words(s) for s in tied[:3]) + (f" and {len(tied) - 3} more" if len(tied) > 3 else "")
    among = f" Among them: {'; '.join(which)}." if len(tied) > 1 and which else ""
    return f"Tied with {few}.{among}"


def _notes(workload: Workload) -> list[str]:
    table, measure = workload.table, workload.measure
    compared = int((table["verdict"].isin(["tied", "worse"])).sum())
    seeds, notes = int(table["n"].iloc[0]), []
    if compared:
        pairs = int(table["pairs"][table["verdict"].isin(["tied", "worse"])].max())
        note = (
            f"Compared seed by seed with {compared} settings: paired t-tests, which take differences to be about "
            "normal, corrected for their number (Holm)."
        )
        exact = int((table["p_exact"] <= 1 - statistics.LEVEL).sum())
        fewest = statistics.fewest_pairs(compared)
        if pairs < fewest:
            note += " The exact sign-flip test, which takes nothing for granted, can tell nothing among so many: "
            note += f"it needs {fewest} seeds."
        else:
            note += f" The exact sign-flip test finds {exact} of them worse."
        notes.append(note)
    if workload.contenders > 1 and seeds > 1 and math.isfinite(workload.bias):
        honest = float(table["mean"].iloc[0]) - measure.sign * workload.bias
        notes.append(
            f"Picked as the best of {workload.contenders}, it may look better than it is: chosen on all seeds but one "
            f"and judged on that one, its {measure.title} is {honest:.4g}. The test set had no part in the choice."
        )
    if workload.step > 0:
        notes.append(f"The {measure.title} moves in steps of {workload.step:.2g}: smaller differences are nothing.")
    tied = [0, *workload.tied]
    cost = table["train_seconds"]
    if len(tied) > 1 and cost[tied].notna().all():
        fastest = tied[int(np.argmin(cost[tied]))]
        if fastest != 0 and cost[fastest] < 0.8 * cost[0]:
            notes.append(
                f"The fastest of those tied: {workload.words(fastest)}, {cost[fastest]:.3g} s of training "
                f"against {cost[0]:.3g} s."
            )
    if table["bad"].iloc[0]:
        notes.append(f"{table['bad'].iloc[0]} of its seeds diverged or failed; the mean is over those that survived.")
    return notes


def _surer(
    workload: Workload, translator: Translator, recommended: Overrides, sweep_name: str
) -> list[tuple[str, str]]:
    name = [] if sweep_name == "default" else [f"name={sweep_name}"]
    numbers = pd.to_numeric(workload.runs["seed"], errors="coerce").dropna()
    seeds = sorted(set(numbers.astype(int))) or [0]
    tied, found = workload.tied, []
    ran = int(workload.table["n"].iloc[0])
    followed = [0, *tied[: MOST_FOLLOWED - 1]]
    wanted = statistics.fewest_pairs(len(followed) - 1) if tied else ran + USUAL_SEEDS
    wanted = min(MOST_SEEDS, max(wanted, USUAL_SEEDS, ran + 1))
    more = ",".join(str(seeds[-1] + i) for i in range(1, wanted - ran + 1))
    if more:
        shared, parts = split_shared([translator.overrides(workload.row(s)).given for s in followed])
        several = f"the {len(followed)} best of those tied" if len(tied) + 1 > len(followed) else "those tied"
        whose = several if tied else "the best, fresh ones, which had no part in the choice"
        reason = f"{wanted - ran} more seeds of {whose}"
        found.append((reason, sweep([*name, *shared, f"seed={more}"], parts)))
    curve = next((c for c in rates.curves(workload) if 0 in c.settings), None) if LR in workload.axes else None
    at_edge = rates.edge(curve, workload.measure.higher) if curve is not None else None
    kept = [o for o in recommended.given if not o.startswith(f"{LR}=")]
    seed = ",".join(map(str, seeds))
    if at_edge is not None:
        values = ",".join(f"{v:g}" for v in at_edge[1])
        reason = f"a wider learning-rate axis: the best is the {at_edge[0]} tried"
        found.append((reason, sweep([*name, *kept], [[f"{LR}={values}", f"seed={seed}"]])))
    elif LR not in workload.axes:
        rate = float(workload.row(0).get(LR) or 0)
        if rate > 0:
            values = ",".join(f"{v:.2g}" for v in (rate / 10, rate / 3, rate * 3, rate * 10))
            found.append(
                (
                    "a learning-rate axis: only one was tried",
                    sweep([*name, *kept], [[f"{LR}={values}", f"seed={seed}"]]),
                )
            )
    elif curve is not None and (ratio := _coarseness(curve)) > 4:
        rate = float(curve.lr[list(curve.settings).index(0)])
        values = ",".join(f"{v:.2g}" for v in (rate / math.sqrt(ratio), rate * math.sqrt(ratio)))
        found.append(
            (f"a finer learning-rate axis around {rate:g}", sweep([*name, *kept], [[f"{LR}={values}", f"seed={seed}"]]))
        )
    return found


def _coarseness(curve: rates.Curve) -> float:
    """Return the largest ratio of neighbouring rates beside the best."""
    at = list(curve.settings).index(0)
    near = curve.lr[max(0, at - 1) : at + 2]
    return float(np.max(near[1:] / near[:-1])) if len(near) > 1 else 1.0


def best_of_each(workload: Workload, axis: str, columns: Sequence[str]) -> pd.DataFrame:
    """Return the best setting of each of an axis's values, best first."""
    return workload.table.loc[sorted(workload.best_of([axis]).values()), list(columns)]
