"""A sweep as settings: what varies, how good each setting is over its seeds, which of them can be the best."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt
import pandas as pd

from runner.config.chosen import GROUPS
from runner.config.identity import REPLICATES, outside_identity
from runner.report.load import Records
from runner.report.measure import Measure, choose_measure, steps_of
from runner.statistics import scores as statistics
from runner.statistics.best import BestSet, best_set, half_widths, seed_effects
from runner.statistics.scores import Array

OBEYED = {"target.metric": "target", "target.value": "target"}
"""Choices that decide what a run finds where this way to stop reads them, and are mere notes where none does."""
BAD = ("diverged", "failed")
GOOD = ("completed", "stopped_early")
IN_SET = ("best", "equivalent", "open", "untested")
"""Verdicts of settings that can be the best."""
LR, TICKET = "optim.lr", "compress.ticket.run"  # of which each seed may have its own: then it is no axis


@dataclass(frozen=True, eq=False)
class Workload:
    """The runs on one data set, of one model family and length, as settings × replicates."""

    name: str
    measure: Measure
    runs: pd.DataFrame
    """As in ``Records``, with ``setting``, ``replicate`` (numbers) and ``value`` (the measure, or NaN)."""
    axes: list[str]
    """The choices that vary by themselves, replicates left out."""
    replicates: list[str]
    """Each replicate, in words such as ``seed=0``."""
    table: pd.DataFrame
    """A row a setting, best first: axes, then ``n, bad, pending, mean, sd, low, high, test_mean, …``."""
    scores: Array
    """``[settings, replicates]``, NaN where there is no value; more is better."""
    step: float
    """In what steps the measure is counted, 0 if in none."""
    test_step: float
    """The same of the test measure."""
    seed_effects: Array
    """What each replicate adds to every setting's score, ``[replicates]``; 0 where every setting has every one."""
    varying: list[str]
    """The replicates' choices that vary: ``seed``, or the split, the resample, or the fold."""
    caveats: list[str]
    margin: float | None = None
    """Settings within it of the leader are as good, in the measure's units; None where it is not known."""
    is_picked: bool = False
    """Whether the leader was picked by a search's finals, and is what is recommended, whatever else costs less."""

    @property
    def best(self) -> int | None:
        """The setting that leads, if any has a value: the first row of ``table``."""
        return 0 if len(self.table) and self.table["n"].iloc[0] > 0 else None

    @cached_property
    def comparisons(self) -> statistics.Comparisons:
        """The leader against every setting, itself included, seed by seed."""
        return statistics.compare(self.scores[0], self.scores, self.step)

    @cached_property
    def best_set(self) -> BestSet:
        """Which of the contenders can be the best; they are the first of the table."""
        scores = self.scores[: self.contenders]
        return best_set(scores - self.seed_effects, self.step, self.measure.scale(scores), leader=0)

    @cached_property
    def bias(self) -> float:
        """How much better the best is expected to look than it is, having been picked."""
        return statistics.selection_bias(self.scores[: self.contenders])

    @property
    def known(self) -> int:
        """How many settings have a value, or are known to have none."""
        return int((self.table["verdict"] != "no value yet").sum())

    @property
    def contenders(self) -> int:
        """How many settings can be compared with the leader; they are the first of the table."""
        return int(self.table["contends"].sum())

    @property
    def rivals(self) -> list[int]:
        """The settings that can be the best as well as the leader, best first."""
        return [int(i) for i in np.flatnonzero(self.table["in_set"]) if i != 0]

    @property
    def replicate_word(self) -> str:
        """What replicates are called: seeds, splits, resamples or folds."""
        names = {"seed": "seed", "data.split_seed": "split", "data.bootstrap": "resample", "data.fold": "fold"}
        return names[self.varying[0]] if len(self.varying) == 1 else "replicate"

    @property
    def about(self) -> str:
        """On what was trained: data · model · length, as far as all runs share them."""
        said = []
        for column in ("data", "task", "model", "epochs", "max_steps"):
            values = set(self.runs[column]) - {"", "None"} if column in self.runs else set()
            if len(values) == 1:
                value = number(str(values.pop()))
                said.append({"epochs": f"{value} epochs", "max_steps": f"{value} steps"}.get(column, value))
        return " · ".join(said)

    def of(self, setting: int, column: str) -> float:
        """Return a number of the table."""
        return float(self.table[column].iloc[setting])

    def words(self, setting: int) -> str:
        """Name a setting by what varies."""
        return ", ".join(words_of(axis, str(self.table.at[setting, axis])) for axis in self.axes) or "the only setting"

    def row(self, setting: int) -> "pd.Series[str]":
        """Return one of a setting's runs, with a value if there is one."""
        its = self.runs[self.runs["setting"] == setting]
        valued = its[its["value"].notna()]
        return (valued if len(valued) else its).iloc[0]

    def levels(self, axis: str) -> list[str]:
        """Return an axis's values in order: numbers by size, names by the alphabet."""
        return ordered(self.table[axis].unique())

    def best_of(self, axes: Sequence[str]) -> dict[tuple[str, ...], int]:
        """Return for each combination of some axes the setting that is best over all the others."""
        firsts = self.table.drop_duplicates(list(axes)) if axes else self.table.iloc[:1]
        return {
            tuple(str(v) for v in row): int(i)
            for i, row in zip(firsts.index, firsts[list(axes)].to_numpy(), strict=True)
        }


def ordered(values: Sequence[str] | npt.NDArray[np.object_]) -> list[str]:
    """Return values in order: numbers by size, names by the alphabet, nothing first."""

    def key(value: str) -> tuple[int, float, str]:
        try:
            number = float(value)
        except ValueError:
            return (1 if value else 0), 0.0, value
        return (1, 0.0, value) if math.isnan(number) else (0, number, value)

    return sorted(map(str, values), key=key)


def words_of(axis: str, value: str) -> str:
    """Name a choice by its value: an option by itself, a number with its key."""
    return f"{axis}={number(value) or '–'}" if "." in axis or axis not in GROUPS else value or "–"


def number(value: str) -> str:
    """Return a number's text in its usual short form, such as 0.001; a whole one and any other text as it is."""
    if value.removeprefix("-").isdecimal():
        return value
    try:
        return f"{float(value):g}" if value.strip() else value
    except ValueError:
        return value


def workload_of(
    name: str,
    records: Records,
    runs: pd.DataFrame,
    asked: str | None,
    better: str | None,
    picked: frozenset[str] = frozenset(),
) -> Workload:
    """Draw up a workload from some of a folder's runs; a ConfigError says that none has what is to be judged by.

    The setting of the ``picked`` runs leads, whatever its mean; without them the best mean does.
    """
    part = Records(records.folder, runs, records.choices, records.places)
    measure = choose_measure(part, asked, better)
    caveats: list[str] = []
    runs = runs.copy()
    runs["value"] = _values(part, measure)
    axes = axes_of(runs, records.choices)
    if measure.name == "val_loss" and "loss" in axes:
        caveats.append("losses of several kinds are compared by their value: give --metric")
    which = [c for c in REPLICATES if c in runs and runs[c].nunique() > 1] or ["seed"]
    caveats += _of_replicates(runs, which)
    runs["seed"] = runs["seed"] if "seed" in runs else runs["run_id"]
    runs["setting"] = runs.groupby(axes, sort=False).ngroup() if axes else 0
    labels = (which[0] + "=") + runs[which[0]]
    for column in which[1:]:
        labels = labels + f", {column}=" + runs[column]
    replicates = ordered_replicates(runs, which, labels)
    runs["replicate"] = pd.Categorical(labels, categories=replicates).codes
    twice = runs.duplicated(["setting", "replicate"], keep="last")
    part.caveat(
        "{runs} left out that another run with the same choices replaces: data or parts of your own have changed",
        runs.loc[twice, "run_id"].tolist(),
    )
    runs = runs[~twice]
    leads = runs.loc[runs["run_id"].isin(picked), "setting"].unique()
    table, scores, effects, step, test_step = _table(runs, part, axes, measure, len(replicates), leads)
    runs = runs.assign(setting=runs["setting"].map({old: new for new, old in enumerate(table["setting"])}))
    table = table.drop(columns="setting")
    workload = Workload(
        name,
        measure,
        runs,
        axes,
        replicates,
        table,
        scores,
        step,
        test_step,
        effects,
        which,
        [*part.caveats, *caveats],
        is_picked=bool(picked),
    )
    _judge(workload)
    return workload


def _of_replicates(runs: pd.DataFrame, which: Sequence[str]) -> list[str]:
    """Return what is to be said of means over these replicates."""
    found: list[str] = []
    if "data.fold" in which:
        found.append(
            "folds share most of their training data, so their runs are less independent than seeds' runs and splits': "
            "intervals and tests over them are surer than they should be (Bengio & Grandvalet 2004)"
        )
    if "data.bootstrap" in which and (runs["data.bootstrap"] == "").any():
        found.append("runs on a resampled training set are averaged with runs on the whole one")
    return found


def _values(part: Records, measure: Measure) -> "pd.Series[float]":
    """Return what each run that ended well reached, NaN where there is nothing that it can have reached."""
    values, good = part.number(measure.column), part.runs["status"].isin(GOOD)
    impossible = measure.counted & ~values.fillna(0.0).between(0.0, 1.0)
    lacking = good & values.isna()
    for mask, what in (
        (impossible, f"{{runs}} with {measure.title} outside 0 to 1, not counted"),
        (lacking, f"{{runs}} ended without {measure.title}, not counted"),
    ):
        part.caveat(what, part.runs.loc[mask, "run_id"].tolist())
    return values.where(good & ~impossible)


def ordered_replicates(runs: pd.DataFrame, which: Sequence[str], labels: "pd.Series[str]") -> list[str]:
    """Return the replicates' labels by their numbers."""
    keys = runs[list(which)].apply(pd.to_numeric, errors="coerce").fillna(math.inf)
    frame = keys.assign(label=labels).drop_duplicates("label")
    return [str(v) for v in frame.sort_values([*which, "label"])["label"]]


def axes_of(runs: pd.DataFrame, choices: Sequence[str]) -> list[str]:
    """Return the choices that vary by themselves: not those that merely follow from the options chosen."""
    ways = {name for cell in (runs["stop"].unique() if "stop" in runs else []) for name in str(cell).split("+")}
    outside = outside_identity() - {
        *("init.run", "init.path", "model.weights"),
        *(t for t in [TICKET] if {t, "seed"} <= set(runs) and (runs.groupby("seed")[t].nunique() > 1).any()),
        *(c for c, way in OBEYED.items() if way in ways),
    }
    candidates = [c for c in choices if c not in REPLICATES and c not in outside]
    varying = [c for c in candidates if runs[c].nunique() > 1]
    axes = [c for c in varying if c in GROUPS]
    for column in varying:
        if column in axes:
            continue
        if not axes or (runs.groupby(axes)[column].nunique() > 1).any():
            axes.append(column)
    order = {"init": 0, "optim": 1, LR: 2}
    return sorted(axes, key=lambda c: order.get(c, 3))


def _table(
    runs: pd.DataFrame,
    records: Records,
    axes: Sequence[str],
    measure: Measure,
    replicates: int,
    leads: npt.NDArray[np.int64],
) -> tuple[pd.DataFrame, Array, Array, float, float]:
    settings = int(runs["setting"].max()) + 1
    at = (runs["setting"].to_numpy(), runs["replicate"].to_numpy())
    scores = np.full((settings, replicates), np.nan)
    scores[at] = runs["value"].to_numpy() * measure.sign
    test = np.full((settings, replicates), np.nan)
    test[at] = records.number(measure.test).loc[runs.index].where(runs["value"].notna()).to_numpy()
    grouped = runs.groupby("setting")
    table = grouped[list(axes)].first() if axes else pd.DataFrame(index=range(settings))
    table = table.reset_index(names="setting") if axes else table.assign(setting=range(settings))
    statuses = runs["status"]
    for name, mask in (
        ("n", runs["value"].notna()),
        ("bad", statuses.isin(BAD)),
        ("diverged", statuses == "diverged"),
        ("pending", statuses.isin(["running", "interrupted", "paused"])),
    ):
        table[name] = mask.groupby(runs["setting"]).sum().to_numpy()
    step, test_step = (
        steps_of(measure, lambda column: records.number(column).loc[runs.index], part, np.abs(v))
        for part, v in (("val", scores), ("test", test))
    )
    _means(table, scores, test, measure, (step, test_step))
    for column, values in (
        ("train_seconds", records.number("train_seconds")),
        ("memory_bytes", _memory(records)),
        ("parameters", records.number("parameters")),
        ("final_val_loss", records.number("final_val_loss")),
    ):
        of_all = values.loc[runs.index]
        sound = of_all.where(runs["value"].notna()).groupby(runs["setting"]).mean()  # a run that diverged may end early
        table[column] = sound.fillna(of_all.groupby(runs["setting"]).mean()).to_numpy()
    share = table["diverged"] / (table["n"] + table["diverged"]).clip(lower=1)
    enough = table["n"] >= max(1, min(2, table["n"].max()))
    table["contends"] = (table["n"] > 0) & (share <= share[enough].min() if enough.any() else False)
    table["contends"] |= table["setting"].isin(leads)
    # Finalists are held against each other as the finals did, by what they came to.
    some = scores[table["contends"].to_numpy()]
    effects = np.zeros(scores.shape[1]) if len(leads) else seed_effects(some, measure.scale(some))
    order = {
        "after": ~table["setting"].isin(leads),
        "last": ~table["contends"],
        "none": table["n"] == 0,
        "few": ~enough,
        "bad": share,
    }
    means = pd.DataFrame(scores - effects).mean(axis=1)
    tied = (-means).map(lambda mean: float(f"{mean:.9g}"))  # but for rounding
    order |= {"score": tied, "loss": table.pop("final_val_loss")}
    index = pd.DataFrame(order).sort_values(list(order), kind="stable").index
    return table.loc[index].reset_index(drop=True), scores[index.to_numpy()], effects, step, test_step


def _memory(records: Records) -> "pd.Series[float]":
    """Return what each run needs beside its data: its peak on a GPU; elsewhere, where a peak is the whole process's,
    its weights and its optimizer's state."""
    width = 8 if "dtype" in records.runs and (records.runs["dtype"] == "float64").all() else 4
    state = records.number("optimizer_state_bytes") + width * records.number("parameters")
    if "actual_device" not in records.runs:
        return state
    return state.mask(records.runs["actual_device"] == "cuda", records.number("peak_memory_bytes"))


def _means(table: pd.DataFrame, scores: Array, test: Array, measure: Measure, steps: tuple[float, float]) -> None:
    """Add each setting's mean over its seeds, validation and test, with intervals."""
    some = np.isfinite(scores).any(1)
    for prefix, values, step, sign in (("", scores, steps[0], measure.sign), ("test_", test, steps[1], 1.0)):
        there = some & np.isfinite(values).any(1)
        mean, half = (np.full(len(table), math.nan) for _ in range(2))
        mean[there] = [row[np.isfinite(row)].mean() * sign for row in values[there]]
        n = np.isfinite(values).sum(1)
        of_scores = values[there] * (measure.sign if prefix else 1.0)
        half[there] = half_widths(values[there], step, measure.scale(of_scores))
        table[f"{prefix}mean"], table[f"{prefix}half"] = mean, half
        if not prefix:
            table["sd"] = [_deviation(row[np.isfinite(row)]) for row in values]
        table[[f"{prefix}low", f"{prefix}high"]] = [
            measure.clip(statistics.Interval(m, m - h, m + h, int(k))) for m, h, k in zip(mean, half, n, strict=True)
        ]


def _deviation(values: Array) -> float:
    """Return the standard deviation over seeds, 0 where they differ by rounding alone."""
    if len(values) < 2:
        return math.nan
    found = float(values.std(ddof=1))
    return 0.0 if found < 1e-12 * float(np.abs(values).max()) else found


def _judge(workload: Workload) -> None:
    """Say of each setting whether it can be the best, and how far it is from the leader."""
    table, found, sign = workload.table, workload.comparisons, workload.measure.sign
    able, several = np.arange(len(table)) < workload.contenders, (table["n"] > 1).to_numpy()
    verdict = np.full(len(table), "diverges or fails", object)
    verdict[(table["n"] == 0).to_numpy() & (table["bad"] == 0).to_numpy()] = "no value yet"
    difference, low, high = (np.full(len(table), math.nan) for _ in range(3))
    if workload.best is not None:
        chosen = workload.best_set
        verdict[able] = np.where(chosen.inside, np.where(several[able], "open", "untested"), "worse")
        verdict[0] = "best"
        ends = (-chosen.difference * sign, -chosen.low * sign, -chosen.high * sign)
        difference[able], low[able], high[able] = ends[0], np.minimum(*ends[1:]), np.maximum(*ends[1:])
    table["verdict"] = verdict
    table["in_set"] = np.isin(verdict.astype(str), IN_SET)
    table["difference"], table["difference_low"], table["difference_high"] = difference, low, high
    table["p_leader_better"] = found.better
    table["p_leader_better_low"], table["p_leader_better_high"] = found.better_low, found.better_high
    table.loc[0, [c for c in table if str(c).startswith(("difference", "p_leader"))]] = math.nan
