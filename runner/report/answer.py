"""The answer: what to use, how good it is, what can be the best as well, and what would make that surer."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from runner.measures import title
from runner.report import rates
from runner.report.command import Translator, override, split_shared, sweep, train
from runner.report.equivalent import CHEAPER, MEMORY, SECONDS, cheapest, equivalents, recommended, seeds_for
from runner.report.evaluations import as_number
from runner.report.load import Records, data_root
from runner.report.measure import Measure
from runner.report.sections.matters import sentences
from runner.report.settings import LR, Workload
from runner.statistics import scores as statistics

MOST_FOLLOWED = 8
"""So many of the settings that can be the best are followed up with more seeds."""
MOST_SEEDS = 20
"""More are not asked for: what so many do not tell apart is equal in practice."""
COARSE = 4.0
"""Between rates whose ratio is larger, a finer one is proposed."""
FIRST_SEEDS = 5
"""So many are asked for where one seed says nothing of how much they vary."""


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

    @classmethod
    def of(cls, measure: Measure, name: str, mean: float, half: float, n: int) -> "Estimate":
        """Return the estimate of a mean of n runs, whose interval reaches ``half`` to both sides.

        One more run is expected within √(n + 1) times that: its own spread comes on top of the mean's.
        """

        def around(half: float) -> statistics.Interval:
            return statistics.Interval(mean, mean - half, mean + half, n)

        following = around(half * math.sqrt(n + 1))
        return cls(title(name), around(half), *measure.clip(around(half)), *measure.clip(following))


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
    """In a sentence: whether it won, and what is clearly worse."""
    rivals: str
    """What can be the best as well, and what of it is as good for less."""
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
    chosen = recommended(workload)
    row = workload.row(chosen)
    root = data_root(records.places.get(str(row["run_id"])))
    replicates = workload.varying if len(workload.replicates) > 1 else []
    # Without them the command would train on other samples than any run that was judged: it names the row's.
    columns = [c for c in records.choices if c not in replicates or c in ("data.fold", "data.bootstrap")]
    translator = Translator(columns, workload.axes, root, config_dir)
    found = translator.overrides(row)
    doubt = None
    if found.doubt:
        doubt = f"This command could not be checked: {found.doubt}."
        if config_dir is None:
            doubt += " With YAMLs of your own, give report their --config-dir too."
    return Answer(
        workload,
        train(found.given),
        doubt,
        _estimates(workload, records, chosen),
        _verdict(workload, chosen),
        _rivals(workload, chosen),
        tuple(_notes(workload)),
        () if doubt else tuple(_surer(workload, translator, place)),
        matters=() if workload.is_picked else sentences(workload),
    )


def _estimates(workload: Workload, records: Records, chosen: int) -> tuple[Estimate, ...]:
    """Return the recommended setting's means, with the intervals of its row of the table."""
    measure, line = workload.measure, workload.table.iloc[chosen]
    its = workload.runs[(workload.runs["setting"] == chosen) & workload.runs["value"].notna()].index
    found = []
    for name, column, prefix in ((measure.name, measure.column, ""), (measure.test, measure.test, "test_")):
        values = records.number(column).loc[its].dropna()
        if len(values):
            mean, half = float(line[f"{prefix}mean"]), float(line[f"{prefix}half"])
            found.append(Estimate.of(measure, name, mean, half, len(values)))
    return tuple(found)


def _verdict(workload: Workload, chosen: int) -> str:
    table, word, measure = workload.table, workload.replicate_word, workload.measure
    n, everything = int(table["n"].iloc[0]), len(table)
    if everything == 1:
        if workload.is_picked:
            return "It was chosen by the search; there was no other finalist to compare it with."
        return "There was nothing to compare it with: only one setting was run."
    if workload.known == 1:
        others = "other setting has" if everything == 2 else f"{everything - 1} other settings have"
        return f"There is nothing to compare it with yet: the {others} no value."
    if n < 2:
        return f"One {word} only: it came first of {workload.known} settings, which may be chance."
    count = {v: int((table["verdict"] == v).sum()) for v in ("worse", "diverges or fails", "no value yet", "untested")}
    members = 1 + len(workload.rivals)
    of = f"of the {everything} finalists" if workload.is_picked else f"of {workload.known} settings"
    if members == 1:
        said = f"It is the best {of} (95 % confidence)."
    elif chosen:
        said = f"{members} {of} can be the best (95 %). This one is the cheapest that is as good as the leader."
    else:
        leads = "this one was chosen" if workload.is_picked else "this one leads"
        said = f"{members} {of} can be the best (95 %); {leads}."
    if count["worse"]:
        first = int(np.flatnonzero(table["verdict"] == "worse")[0])
        sign = -measure.sign
        low, high = sorted(sign * workload.of(first, f"difference_{end}") for end in ("low", "high"))
        by = measure.by(sign * workload.of(first, "difference"), low, high)
        if count["worse"] == 1:
            said += f" Clearly worse is {workload.words(first)}, by {by}."
        else:
            said += f" {count['worse']} are clearly worse; the nearest is {workload.words(first)}, by {by}."
    if count["diverges or fails"]:
        said += f" {count['diverges or fails']} diverged or failed more often."
    if count["untested"]:
        said += f" {count['untested']} of those that can be the best {_have(count['untested'])} one {word} only."
    if count["no value yet"]:
        said += f" {count['no value yet']} of the others {_have(count['no value yet'])} no value yet."
    return said


def _have(count: int) -> str:
    return "have" if count > 1 else "has"


def _rivals(workload: Workload, chosen: int) -> str:
    """Name what can be the best as well, which choices are among it, and what costs less."""
    table, rivals, which = workload.table, workload.rivals, []
    if not rivals or workload.of(0, "n") < 2:
        return ""
    for axis in (a for a in workload.axes if a != LR):
        values = workload.levels(axis)
        there = [v for v in values if v in set(table.loc[[0, *rivals], axis])]
        if len(there) == len(values):
            which.append(f"any {axis}")
        else:
            which.append(f"{axis} {', '.join(there)}{' alone' * (len(there) == 1)}")
    others = [s for s in (0, *rivals) if s != chosen]
    few = "; ".join(workload.words(s) for s in others[:3]) + (f" and {len(others) - 3} more" if len(others) > 3 else "")
    said = f"Also possible: {few}."
    said += f" Among them all: {'; '.join(which)}." if len(rivals) > 1 and which else ""
    return f"{said} {_as_good(workload, chosen)}".strip()


def _as_good(workload: Workload, chosen: int) -> str:
    """Say what is equivalent to the leader, or what is the cheapest and how many seeds would tell."""
    margin = workload.margin
    if margin is None:
        return "Without a margin nothing can be called as good as the leader: give --margin."
    within = f"within {workload.measure.amount(margin)}"
    if alike := equivalents(workload):
        few = "; ".join(workload.words(s) for s in alike[:3]) + (
            f" and {len(alike) - 3} more" if len(alike) > 3 else ""
        )
        said = f"As good as the leader, {within}: {few}."
        return f"{said} It takes {_costs(workload, chosen)}." if chosen else said
    cheap = cheapest(workload, workload.rivals)
    asked = cheap or workload.rivals[0]
    seeds = seeds_for(workload, asked)
    tell = f"about {seeds} {workload.replicate_word}s" if seeds else "more seeds than are worth it"
    said = f"None is known to be as good yet, {within}."
    if cheap:
        said += f" The cheapest is {workload.words(cheap)}, {_costs(workload, cheap)}:"
        return (
            f"{said} it takes {tell} to say whether it is as good." if workload.of(cheap, "n") > 1 else said[:-1] + "."
        )
    return said if workload.of(asked, "n") < 2 else f"{said} For {workload.words(asked)} it takes {tell} to say."


def _costs(workload: Workload, setting: int) -> str:
    """Say what a cheaper setting takes and what the leader does: seconds where they tell, else memory."""
    seconds, of_leader = (workload.of(s, SECONDS) for s in (setting, 0))
    if seconds < CHEAPER * of_leader:
        return f"{seconds:.3g} s of training against {of_leader:.3g} s"
    memory, held = (workload.of(s, MEMORY) / 2**20 for s in (setting, 0))
    return f"{memory:.3g} MiB of memory against {held:.3g} MiB, in the same time"


def _notes(workload: Workload) -> list[str]:
    table, measure, word = workload.table, workload.measure, workload.replicate_word
    n, notes = int(table["n"].iloc[0]), []
    if n > 1 and workload.contenders > 1:
        notes.append(
            f"Compared with {workload.contenders - 1} other setting{'s' * (workload.contenders > 2)}: a setting is "
            "clearly worse if some other beats it by more than Dunnett's critical value, on the scale on which "
            f"variances over {word}s are alike, and in a plain test of the two. Variances are moderated and floored by "
            "those of the settings still in the running, so that a few alike results prove nothing. Each truly best "
            "setting is missed in at most 5 % of sweeps."
        )
    if workload.margin is not None and workload.rivals and n > 1:
        notes.append(
            "As good means: two one-sided tests put the difference to the leader within "
            f"{measure.amount(workload.margin)}."
        )
    if workload.contenders > 1 and n > 1 and math.isfinite(workload.bias) and not workload.is_picked:
        honest = float(table["mean"].iloc[0]) - measure.sign * workload.bias
        notes.append(
            f"Picked as the best of {workload.contenders}, the leader may look better than it is: chosen on all "
            f"{word}s but one and judged on that one, its {measure.title} is {honest:.4g}. The test set had no part in "
            "it."
        )
    if workload.step > 0:
        notes.append(f"The {measure.title} moves in steps of {workload.step:.2g}: smaller differences mean nothing.")
    if n > 1 and workload.step == 0 and table["sd"].iloc[0] == 0:
        notes.append(f"Its {word}s give identical results: the {word} changes nothing here, and the interval is empty.")
    if table["bad"].iloc[0]:
        notes.append(f"{table['bad'].iloc[0]} of its runs diverged or failed; the mean is over those that survived.")
    return notes


FOUND_BELOW_OUTPUTS = "all are trained, as DIR does not lie below an outputs folder, where they would be found"


def _surer(workload: Workload, translator: Translator, place: Place) -> list[tuple[str, str]]:
    """Offer more replicates of what is not told apart, and a wider or finer learning-rate axis.

    Replicates are asked for from the first on, those that are there included, which the sweep skips: so all of the
    settings followed end with the same ones.
    """
    table, found = workload.table, []
    name = [] if place.name == "default" else [override("name", place.name)]
    where = f" (from {place.start})" if place.start else ""
    again = "finished runs are skipped" if place.below_outputs else FOUND_BELOW_OUTPUTS
    levels = {c: _whole_numbers(workload.runs[c]) for c in workload.varying}
    if math.prod(map(len, levels.values())) != len(workload.replicates):
        return []  # replicates that are no crossing of seeds, splits and folds cannot be asked for as one
    if "data.fold" in levels and len(levels) == 1:  # there are no more folds: split again (Kohavi 1995)
        splits = workload.runs.get("data.split_seed", pd.Series(["0"]))
        levels = {"data.split_seed": _whole_numbers(splits), **levels}
    first, *fixed = levels
    given = [o for o in translator.overrides(workload.row(0)).given if o.partition("=")[0] not in levels]
    followed = [0, *workload.rivals][:MOST_FOLLOWED]
    wanted = _wanted(workload, followed)
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
        reason = (
            f"{_of_more(workload, followed)}, run {len(every) * of_each} {workload.replicate_word}s ({again}){where}"
        )
        axis = f"{first}={','.join(map(str, every))}"
        found.append((reason, sweep([*name, *shared, *kept, axis], parts)))
    if workload.is_picked:
        return found  # a search asks for rates by itself
    replicates = [*kept, f"{first}={','.join(map(str, levels[first] or [0]))}"]
    at_lr = [o for o in given if not o.startswith(f"{LR}=")]

    def rates_of(values: Sequence[float]) -> str:
        written = ",".join(f"{rate:g}" for rate in rates.rounded(values))
        return sweep([*name, *at_lr], [[f"{LR}={written}", *replicates]])

    curve = next((c for c in rates.curves(workload) if 0 in c.settings), None) if LR in workload.axes else None
    at_edge = rates.edge(curve, workload.measure.higher) if curve is not None else None
    rate = as_number(workload.row(0).get(LR, ""))
    if at_edge is not None:
        found.append(
            (f"The best learning rate is the {at_edge[0]} tried, so widen the axis{where}", rates_of(at_edge[1]))
        )
    elif LR not in workload.axes and rate > 0:
        around = (rate / 10, rate / 3, rate * 3, rate * 10)
        found.append((f"Only one learning rate was tried, so vary it{where}", rates_of(around)))
    elif curve is not None and (between := _between(curve)):
        found.append((f"To refine the learning rate around {rate:g}{where}", rates_of(between)))
    return found


def _of_more(workload: Workload, followed: Sequence[int]) -> str:
    """Return what more replicates of the settings followed are for."""
    members = 1 + len(workload.rivals)
    if members == 1:
        return "To be surer of the best"
    of = f"the {members} that can be the best"
    return f"To separate {of if members == len(followed) else f'the best {len(followed)} of {of}'}"


def _wanted(workload: Workload, followed: Sequence[int]) -> int:
    """Return with how many replicates those followed are expected to be told apart, or to be called as good."""
    if workload.table["n"].iloc[0] < 2:
        return FIRST_SEEDS
    known = [FIRST_SEEDS if workload.of(s, "n") < 2 else seeds_for(workload, s) or MOST_SEEDS for s in followed[1:]]
    return min(MOST_SEEDS, max([*known, int(workload.table["n"].iloc[0])]))


def _whole_numbers(column: "pd.Series[str]") -> list[int]:
    """Return a column's seeds, in order; what is none is left out."""
    found = pd.to_numeric(column, errors="coerce")
    return sorted({int(v) for v in found[(found >= 0) & (found < 2**31) & (found % 1 == 0)]})


def _between(curve: rates.Curve) -> list[float]:
    """Return rates halfway, by their logarithm, between the best and neighbours that are far from it."""
    at = list(curve.settings).index(0)
    near = [float(curve.lr[i]) for i in (at - 1, at + 1) if 0 <= i < len(curve.lr)]
    best = float(curve.lr[at])
    return [math.sqrt(best * rate) for rate in near if max(best, rate) > COARSE * min(best, rate)]


def best_of_each(workload: Workload, axis: str, columns: Sequence[str]) -> pd.DataFrame:
    """Return the best setting of each of an axis's values, best first."""
    return workload.table.loc[sorted(workload.best_of([axis]).values()), list(columns)]
