"""Many optimizers, few of which are told apart: the best of their defaults against one that is tuned."""

from collections.abc import Iterator, Mapping

import numpy as np
import pandas as pd

from runner.report.section import Plot
from runner.statistics.best import SHARE, best_set
from runner.statistics.scores import Array, resolution
from runner.study.contest import rules
from runner.study.contest.choice import final_loss, finals
from runner.study.contest.contenders import BASELINE
from runner.study.contest.plan import TRIAL, Contest
from runner.study.judging import Curves, Rows, compared, interval, lines
from runner.study.study import Judgement

Parts = Mapping[str, pd.DataFrame]


def cells(contest: Contest, frame: pd.DataFrame) -> Iterator[tuple[str, Parts]]:
    """Yield each workload with a schedule on which every optimizer was run, by its name, and each optimizer's rows."""
    names = [contender.name for contender in contest.contenders]
    for (workload, schedule), rows in frame.groupby(["workload", "schedule"], sort=False):
        parts = {name: rows[rows["optimizer"] == name] for name in names}
        if all(len(part) for part in parts.values()):
            yield f"{workload}, {schedule}", parts


def best_of_defaults(parts: Parts) -> str:
    """Return the optimizer whose defaults, the first trial, end at the lowest validation loss."""
    losses = {}
    for name, part in parts.items():
        first = part[(part["role"] == TRIAL) & (pd.to_numeric(part["trial"]) == 0)]
        losses[name] = float(final_loss(first).mean())
    return min(losses, key=lambda name: losses[name])


def compared_parts(contest: Contest, frame: pd.DataFrame) -> set[tuple[str, ...]]:
    """Return the keys of the parts that the verdict compares: each cell's best of the defaults, and its baseline."""
    found = set[tuple[str, ...]]()
    for name, parts in cells(contest, frame):
        workload, schedule = name.split(", ")
        found |= {(workload, schedule, optimizer) for optimizer in (best_of_defaults(parts), BASELINE)}
    return found


def points(part: pd.DataFrame, budget: int) -> Array:
    """Return the test accuracies of what a budget chose, in points, by seed; 0 of a run that diverged."""
    runs = finals(part, budget)
    bad = (runs["status"] == "diverged").to_numpy(bool)
    return np.where(bad, 0.0, 100 * np.nan_to_num(runs["test_accuracy"].to_numpy(float)))


def can_be_best(parts: Parts, budget: int) -> tuple[str, ...]:
    """Return which optimizers can have the highest mean test accuracy (95 %), the best first."""
    names = list(parts)
    scores = np.stack([points(parts[name], budget) / 100 for name in names])
    found = best_set(scores, resolution(scores), SHARE)
    order = np.argsort(-found.mean, kind="stable")
    return tuple(names[i] for i in order if found.inside[i])


def judge(contest: Contest, frame: pd.DataFrame) -> Judgement:
    """Judge packed runs by ``rules.CROWDED_RULE``."""
    budget = max(contest.budgets)
    rows: Rows = []
    by_cell: dict[str, Array] = {}
    sets: dict[str, tuple[str, ...]] = {}
    found = dict(cells(contest, frame))
    for name, parts in found.items():
        best = best_of_defaults(parts)
        by_cell[name] = points(parts[best], 1) - points(parts[BASELINE], budget)
        rows.append(compared(f"{name}: {best} at its defaults", *interval(by_cell[name]), "reported", True))
        sets[name] = can_be_best(parts, budget)
    plot = _plot(contest, found)
    if not by_cell:
        return Judgement(None, pd.DataFrame(rows), plot)
    mean, low, high = interval(np.mean(list(by_cell.values()), axis=0))
    inside, outside = low > -rules.MARGIN and high < rules.MARGIN, low > rules.MARGIN or high < -rules.MARGIN
    expected = f"within ± {rules.MARGIN:g}"
    rows.insert(0, compared("all: best of defaults less tuned AdamW", mean, low, high, expected, inside))
    alone = sum(len(one) == 1 for one in sets.values())
    several = float(np.mean([len(one) for one in sets.values()]))
    for what, n in (
        ("optimizers that can be the best of a cell, mean", several),
        ("cells of one best optimizer", alone),
    ):
        rows.append(compared(what, n, n, n, "reported", True))
    workloads = {name.partition(",")[0] for name in by_cell}
    holds = True if inside else False if outside else None
    return Judgement(holds if len(workloads) >= rules.LEAST_WORKLOADS else None, pd.DataFrame(rows), plot)


def by_budget(contest: Contest, frame: pd.DataFrame) -> pd.DataFrame:
    """Return a row an optimizer: its mean test accuracy over cells and seeds after each budget of trials, best first.

    The last column: in how many cells it can be the best after the largest.
    """
    found = list(cells(contest, frame))
    rows = []
    for contender in contest.contenders:
        parts = [of_cell[contender.name] for _, of_cell in found]
        means = {f"best_of_{budget}": float(np.mean([points(p, budget) for p in parts])) for budget in contest.budgets}
        best = sum(contender.name in can_be_best(of_cell, max(contest.budgets)) for _, of_cell in found)
        row: dict[str, object] = {"optimizer": contender.name, **means, "can_be_best": best}
        rows.append(row)
    order = f"best_of_{max(contest.budgets)}"
    return pd.DataFrame(rows).sort_values(order, ascending=False, kind="stable") if found else pd.DataFrame()


def _plot(contest: Contest, found: Mapping[str, Parts]) -> Plot:
    """Return mean test accuracies over cells after each budget."""
    budgets = np.array(contest.budgets, float)
    curves: Curves = {}
    means = {
        c.name: np.array([np.mean([points(parts[c.name], b) for parts in found.values()]) for b in contest.budgets])
        for c in contest.contenders
        if found
    }
    for name in sorted(means, key=lambda n: -means[n][-1])[:8]:
        curves[name] = (budgets, means[name])
    axes = ("trials", "test accuracy, %")
    return lines("budgets", "Mean test accuracy after so many trials", axes, curves or _nothing(), log=False)


def _nothing() -> Curves:
    return {"nothing was run": (np.zeros(1), np.zeros(1))}
