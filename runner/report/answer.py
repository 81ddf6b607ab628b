"""The answer: what to use, how good it is, what it is tied with, and what would make that surer."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from runner.measures import title
from runner.report import rates
from runner.report.command import Overrides, Translator, override, split_shared, sweep, train
from runner.report.load import Records, as_number, data_root
from runner.report.settings import LR, Workload
from runner.statistics import scores as statistics

MOST_FOLLOWED = 8
"""So many of the tied settings are followed up with more seeds."""
MOST_SEEDS = 20
"""More are not asked for: what so many do not tell apart is equal in practice."""


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
    doubt: str | None
    """Why the command may not run as it stands."""
    estimates: tuple[Estimate, ...]
    verdict: str
    """In a sentence: whether it won."""
    tied: str
    """What it is tied with."""
    notes: tuple[str, ...]
    surer: tuple[tuple[str, str], ...]
    """What would make the answer surer, and the command for it."""
    warnings: tuple[str, ...] = ()
    """What is said before everything else, such as a network that predicts one class."""
    matters: tuple[str, ...] = ()
    """A sentence for each axis: what it is worth."""


@dataclass(frozen=True)
class Place:
    """Where the runs lie, and so where follow-ups must be started to land beside them."""

    name: str
    """The folder below outputs/."""
    start: str | None
    """From which folder; None where it is the current one."""
    below_outputs: bool
    """Whether they lie where a sweep would find them again."""


def answer(workload: Workload, records: Records, place: Place, config_dir: str | None) -> Answer:
    """Draw the conclusion from a workload's runs.

    Args:
        workload: its settings.
        records: where they come from.
        place: where the runs lie.
        config_dir: the folder of the user's own YAMLs, if named.
    """
    if workload.best is None:
        verdict = "No run has ended with a value yet: there is nothing to recommend."
        return Answer(workload, None, None, (), verdict, "", (), ())
    row = workload.row(0)
    root = data_root(records.places.get(str(row["run_id"])))
    replicates = workload.varying if len(workload.replicates) > 1 else []
    # Without them the command would train on other samples than any run that was judged: it names the row's.
    columns = [c for c in records.choices if c not in replicates or c in ("data.fold", "data.bootstrap")]
    translator = Translator(columns, workload.axes, root, config_dir)
    recommended = translator.overrides(row)
    doubt = None
    if recommended.doubt:
        doubt = f"This command could not be checked: {recommended.doubt}."
        if config_dir is None:
            doubt += " With YAMLs of your own, give report their --config-dir too."
    return Answer(
        workload,
        train(recommended.given),
        doubt,
        _estimates(workload, records),
        _verdict(workload),
        _tied(workload),
        tuple(_notes(workload)),
        () if doubt else tuple(_surer(workload, translator, recommended, place)),
    )


def _estimates(workload: Workload, records: Records) -> tuple[Estimate, ...]:
    measure = workload.measure
    its = workload.runs[(workload.runs["setting"] == 0) & workload.runs["value"].notna()].index
    found = []
    for name, column in ((measure.name, measure.column), (measure.test, measure.test)):
        everything = records.number(column)
        values = everything.loc[its].dropna().to_numpy(float)
        if len(values):
            step = workload.step if column == measure.column else workload.test_step
            interval, following = (f(values, step) for f in (statistics.mean_interval, statistics.next_interval))
            found.append(Estimate(title(name), interval, *measure.clip(interval), *measure.clip(following)))
    return tuple(found)


def _verdict(workload: Workload) -> str:
    table, others, tied = workload.table, len(workload.table) - 1, workload.tied
    n, word = int(table["n"].iloc[0]), workload.replicate_word
    untested = int((table["verdict"] == "untested").sum())
    beaten = int((table["verdict"] == "worse").sum())
    few = f"share fewer than {statistics.FEWEST_PAIRS} {word}s with it, which tells nothing"
    if others == 0:
        return "There was nothing to compare it with: only one setting was run."
    if n < 2:
        return f"One {word} only: it came first of {others + 1} settings, which may be chance."
    if tied:
        more = f", and {untested} {few}" if untested else ""
        return f"No clear winner: {len(tied)} of the {others} other settings cannot be told from it{more}."
    if untested:
        return f"It leads, but {untested} of the {others} other settings {few}."
    bad, none = (int((table["verdict"] == v).sum()) for v in ("diverges or fails", "no value yet"))
    rest = f" {bad} of the others diverged or failed more often." if bad else ""
    rest += f" {none} of the others {'have' if none > 1 else 'has'} no value yet." if none else ""
    if not beaten:
        return f"No other setting can be compared with it.{rest}"
    them = "the other setting" if others == 1 else f"each of {'the' * (beaten == others)} {beaten} other settings"
    return f"It is better than {' '.join(them.split())}, beyond what {n} {word}s leave to chance.{rest}"


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
    table, measure, word = workload.table, workload.measure, workload.replicate_word
    tested = table["verdict"].isin(["tied", "worse"])
    n, notes = int(table["n"].iloc[0]), []
    if compared := int(tested.sum()):
        pairs, family = int(table["pairs"][tested].max()), statistics.all_pairs(compared + 1)
        note = (
            f"Compared {word} by {word} with {compared} setting{'s' * (compared > 1)}: paired t-tests, which take "
            "differences to be about normal"
            + (f", corrected (Holm) for all {family} pairs of settings, as the best was picked." if family > 1 else ".")
        )
        exact = int((table["p_exact"] <= 1 - statistics.LEVEL).sum())
        fewest = statistics.fewest_pairs(family)
        if pairs < fewest:
            note += " The exact sign-flip test, which takes nothing for granted, can tell nothing here: "
            note += f"it needs {fewest} {word}s."
        else:
            note += f" The exact test (signs flipped) finds {exact} of them worse."
        notes.append(note)
    if workload.contenders > 1 and n > 1 and math.isfinite(workload.bias):
        honest = float(table["mean"].iloc[0]) - measure.sign * workload.bias
        notes.append(
            f"Picked as the best of {workload.contenders}, it may look better than it is: chosen on all {word}s but "
            f"one and judged on that one, its {measure.title} is {honest:.4g}. The test set had no part in the choice."
        )
    if workload.step > 0:
        notes.append(f"The {measure.title} moves in steps of {workload.step:.2g}: smaller differences are nothing.")
    if n > 1 and workload.step == 0 and table["sd"].iloc[0] == 0:
        notes.append(f"Its {word}s give identical results: the {word} changes nothing here, and the interval is empty.")
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
        notes.append(f"{table['bad'].iloc[0]} of its runs diverged or failed; the mean is over those that survived.")
    return notes


def _surer(workload: Workload, translator: Translator, recommended: Overrides, place: Place) -> list[tuple[str, str]]:
    """Offer more replicates of what is not told apart, and a wider or finer learning-rate axis.

    Replicates are asked for from the first on, those that are there included, which the sweep skips: so all of the
    settings followed end with the same ones.
    """
    table, found = workload.table, []
    name = [] if place.name == "default" else [override("name", place.name)]
    where = f" (from {place.start})" if place.start else ""
    again = "those that are there are skipped"
    if not place.below_outputs:
        again = "all are trained, as DIR does not lie below an outputs folder, where they would be found"
    levels = {c: _whole_numbers(workload.runs[c]) for c in workload.varying}
    if math.prod(map(len, levels.values())) != len(workload.replicates):
        return []  # replicates that are no crossing of seeds, splits and folds cannot be asked for as one
    if "data.fold" in levels and len(levels) == 1:  # there are no more folds: split again (Kohavi 1995)
        splits = workload.runs.get("data.split_seed", pd.Series(["0"]))
        levels = {"data.split_seed": _whole_numbers(splits), **levels}
    first, *fixed = levels
    given = [o for o in recommended.given if o.partition("=")[0] not in levels]
    open_ones = [s for s in table.index if table.at[s, "verdict"] in ("best", "tied", "untested") and table.at[s, "n"]]
    followed = [int(s) for s in open_ones[:MOST_FOLLOWED]]
    wanted = statistics.fewest_pairs(statistics.all_pairs(max(2, len(followed))))
    fewest = int(table["n"][followed].min())
    kept = [f"{c}={','.join(map(str, levels[c]))}" for c in fixed]
    of_each = math.prod(len(levels[c]) for c in fixed)
    if levels[first] and fewest < wanted and wanted <= MOST_SEEDS:
        asked = max(-(-wanted // of_each), len(levels[first]))
        every = [*levels[first], *(levels[first][-1] + i for i in range(1, asked))][:asked]
        shared, parts = split_shared(
            [
                [o for o in translator.overrides(workload.row(s)).given if o.partition("=")[0] not in levels]
                for s in followed
            ]
        )
        of = f"the {len(followed)} best that are not told apart" if len(followed) > 1 else "the best"
        reason = f"{len(every) * of_each} {workload.replicate_word}s for {of}; {again}{where}"
        axis = f"{first}={','.join(map(str, every))}"
        found.append((reason, sweep([*name, *shared, *kept, axis], parts)))
    replicates = [*kept, f"{first}={','.join(map(str, levels[first] or [0]))}"]
    at_lr = [o for o in given if not o.startswith(f"{LR}=")]

    def rates_of(values: Sequence[float]) -> str:
        written = ",".join(f"{rate:g}" for rate in rates.rounded(values))
        return sweep([*name, *at_lr], [[f"{LR}={written}", *replicates]])

    curve = next((c for c in rates.curves(workload) if 0 in c.settings), None) if LR in workload.axes else None
    at_edge = rates.edge(curve, workload.measure.higher) if curve is not None else None
    rate = as_number(workload.row(0).get(LR, ""))
    if at_edge is not None:
        found.append((f"a wider learning-rate axis: the best is the {at_edge[0]} tried{where}", rates_of(at_edge[1])))
    elif LR not in workload.axes and rate > 0:
        around = (rate / 10, rate / 3, rate * 3, rate * 10)
        found.append((f"a learning-rate axis: only one was tried{where}", rates_of(around)))
    elif curve is not None and (ratio := _coarseness(curve)) > 4:
        between = (rate / math.sqrt(ratio), rate * math.sqrt(ratio))
        found.append((f"a finer learning-rate axis around {rate:g}{where}", rates_of(between)))
    return found


def _whole_numbers(column: "pd.Series[str]") -> list[int]:
    """Return a column's seeds, in order; what is none is left out."""
    found = pd.to_numeric(column, errors="coerce")
    return sorted({int(v) for v in found[(found >= 0) & (found < 2**31) & (found % 1 == 0)]})


def _coarseness(curve: rates.Curve) -> float:
    """Return the largest ratio of neighbouring rates beside the best."""
    at = list(curve.settings).index(0)
    near = curve.lr[max(0, at - 1) : at + 2]
    return float(np.max(near[1:] / near[:-1])) if len(near) > 1 else 1.0


def best_of_each(workload: Workload, axis: str, columns: Sequence[str]) -> pd.DataFrame:
    """Return the best setting of each of an axis's values, best first."""
    return workload.table.loc[sorted(workload.best_of([axis]).values()), list(columns)]
