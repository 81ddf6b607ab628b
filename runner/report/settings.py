"""A sweep as settings: what varies, how good each setting is over its seeds, which is best and what is tied with it."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import numpy.typing as npt
import pandas as pd

from runner.config.chosen import GROUPS
from runner.config.identity import outside_identity
from runner.errors import ConfigError
from runner.report.load import Records
from runner.report.measure import Measure, choose_measure, steps_of
from runner.statistics import scores as statistics
from runner.statistics.scores import Array

REPLICATES = ("seed", "data.split_seed", "data.bootstrap", "data.fold")
"""Choices that make another run of the same setting."""
SHARED_BY_WORKLOADS = (*REPLICATES, "data.normalize", "data.fraction")
"""Settings of the data in which runs may differ and still be compared."""
OBEYED = {"target.metric": "target", "target.value": "target"}
"""Choices that decide what a run finds where this way to stop reads them, and are mere notes where none does."""
BAD = ("diverged", "failed")
GOOD = ("completed", "stopped_early")
LR = "optim.lr"
CONTENT = "data_fingerprint"
"""The column that tells data apart which are read from the same place."""


@dataclass(frozen=True)
class Workload:
    """The runs on one data set, as settings × replicates."""

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
    varying: list[str]
    """The replicates' choices that vary: ``seed``, or the split, the resample, or the fold."""
    caveats: list[str]

    @property
    def best(self) -> int | None:
        """The setting that leads, if any has a value: the first row of ``table``."""
        return 0 if len(self.table) and self.table["n"].iloc[0] > 0 else None

    @cached_property
    def comparisons(self) -> statistics.Comparisons:
        """The leader against every setting, itself included, seed by seed."""
        return statistics.compare(self.scores[0], self.scores, self.step)

    @cached_property
    def bias(self) -> float:
        """How much better the best is expected to look than it is, having been picked."""
        return statistics.selection_bias(self.scores[: self.contenders])

    @property
    def contenders(self) -> int:
        """How many settings could have come first; they are the first of the table."""
        return int(self.table["contends"].sum())

    @property
    def tied(self) -> list[int]:
        """Settings that cannot be told from the leader."""
        return [int(i) for i in np.flatnonzero(self.table["verdict"] == "tied")]

    @property
    def replicate_word(self) -> str:
        """What replicates are called: seeds, splits, resamples or folds."""
        names = {"seed": "seed", "data.split_seed": "split", "data.bootstrap": "resample", "data.fold": "fold"}
        return names[self.varying[0]] if len(self.varying) == 1 else "replicate"

    @property
    def about(self) -> str:
        """On what was trained: data · model · length, as far as all runs share them."""
        said = []
        for column in ("data", "model", "epochs", "max_steps"):
            values = set(self.runs[column]) - {"", "None"} if column in self.runs else set()
            if len(values) == 1:
                value = number(str(values.pop()))
                said.append({"epochs": f"{value} epochs", "max_steps": f"{value} steps"}.get(column, value))
        return " · ".join(said)

    def words(self, setting: int) -> str:
        """Name a setting by what varies."""
        return ", ".join(_words(axis, str(self.table.at[setting, axis])) for axis in self.axes) or "the only setting"

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


def _words(axis: str, value: str) -> str:
    return f"{axis}={number(value) or '–'}" if "." in axis or axis not in GROUPS else value or "–"


def number(value: str) -> str:
    """Return a number's text in its usual short form, such as 0.001; any other text as it is."""
    try:
        return f"{float(value):g}" if value.strip() else value
    except ValueError:
        return value


def workloads(records: Records, asked: str | None, better: str | None) -> list[Workload]:
    """Divide a sweep's runs by their data, as measures of different data cannot be compared."""
    keys = [c for c in records.choices if c.partition(".")[0] == "data" and c not in SHARED_BY_WORKLOADS]
    keys = [c for c in keys if records.runs[c].nunique() > 1]
    content = _content(records, keys)
    if content is not None:
        records = replace(records, runs=records.runs.assign(**{CONTENT: content}))
        records.caveats.insert(
            0,
            f"the data changed while these runs were made: there are {content.nunique()} contents, told apart by "
            "their fingerprints, and runs on different ones are not compared",
        )
        keys.append(CONTENT)
    if not keys:
        return [_workload("", records, records.runs, asked, better)]
    found, empty = [], list[tuple[str, ConfigError]]()
    for values, runs in records.runs.groupby(keys, sort=True):
        names = [
            _words(k, str(v)) for k, v in zip(keys, values, strict=True) if "." not in k or not _follows(records, k)
        ]
        try:
            found.append(_workload(", ".join(names), records, runs, asked, better))
        except ConfigError as error:  # none of its runs has what is to be judged by
            empty.append((", ".join(names), error))
    if not found:
        raise empty[0][1]
    records.caveats += [f"left out: {name}: {str(error).splitlines()[0]}" for name, error in empty]
    return found


def _content(records: Records, keys: Sequence[str]) -> "pd.Series[str] | None":
    """Return each run's fingerprint of its data, where runs of the same choices of data have several; or None.

    A run that has recorded none counts among those with the most common one.
    """
    if CONTENT not in records.runs:
        return None
    alike = records.runs[list(keys)].apply(tuple, axis=1) if keys else pd.Series("", index=records.runs.index)
    known = records.runs[CONTENT].where(records.runs[CONTENT] != "")
    by_choice = known.groupby(alike)
    if (by_choice.nunique() <= 1).all():
        return None
    return known.fillna(alike.map(by_choice.agg(lambda found: next(iter(found.mode()), "")))).astype(str)


def _follows(records: Records, column: str) -> bool:
    return bool((records.runs.groupby("data")[column].nunique() <= 1).all())


def _workload(name: str, records: Records, runs: pd.DataFrame, asked: str | None, better: str | None) -> Workload:
    part = Records(records.folder, runs, records.choices, records.places)
    measure = choose_measure(part, asked, better)
    caveats: list[str] = []
    runs = runs.copy()
    values = part.number(measure.column)
    runs["value"] = values.where(runs["status"].isin(GOOD))
    lacking = runs["status"].isin(GOOD) & values.isna()
    if lacking.any():
        part.caveat(
            int(lacking.sum()), f"{{runs}} ended without {measure.title}, not counted", runs.loc[lacking, "run_id"]
        )
    axes = axes_of(runs, records.choices)
    if measure.name == "val_loss" and "loss" in axes:
        caveats.append("losses of several kinds are compared by their value: give --metric")
    which = [c for c in REPLICATES if c in runs and runs[c].nunique() > 1] or ["seed"]
    if "data.fold" in which:
        caveats.append(
            "folds share most of their training data, so their runs are less independent than seeds' runs and splits': "
            "intervals and tests over them are surer than they should be (Bengio & Grandvalet 2004)"
        )
    if "data.bootstrap" in which and (runs["data.bootstrap"] == "").any():
        caveats.append("runs on a resampled training set are averaged with runs on the whole one")
    runs["seed"] = runs["seed"] if "seed" in runs else runs["run_id"]
    runs["setting"] = runs.groupby(axes, sort=False).ngroup() if axes else 0
    labels = runs[which].apply(lambda row: ", ".join(f"{c}={row[c]}" for c in which), axis=1)
    replicates = ordered_replicates(runs, which, labels)
    runs["replicate"] = pd.Categorical(labels, categories=replicates).codes
    twice = runs.duplicated(["setting", "replicate"], keep="last")
    part.caveat(
        int(twice.sum()),
        "{runs} left out that another run with the same choices replaces: data or parts of your own have changed",
        runs.loc[twice, "run_id"],
    )
    runs = runs[~twice]
    table, scores, step, test_step = _table(runs, part, axes, measure, len(replicates))
    runs = runs.assign(setting=runs["setting"].map({old: new for new, old in enumerate(table["setting"])}))
    table = table.drop(columns="setting")
    workload = Workload(
        name, measure, runs, axes, replicates, table, scores, step, test_step, which, [*part.caveats, *caveats]
    )
    _judge(workload)
    return workload


def ordered_replicates(runs: pd.DataFrame, which: Sequence[str], labels: "pd.Series[str]") -> list[str]:
    """Return the replicates' labels by their numbers."""
    keys = runs[list(which)].apply(pd.to_numeric, errors="coerce").fillna(math.inf)
    frame = keys.assign(label=labels).drop_duplicates("label")
    return [str(v) for v in frame.sort_values([*which, "label"])["label"]]


def axes_of(runs: pd.DataFrame, choices: Sequence[str]) -> list[str]:
    """Return the choices that vary by themselves: not those that merely follow from the options chosen."""
    ways = {name for cell in (runs["stop"].unique() if "stop" in runs else []) for name in str(cell).split("+")}
    outside = outside_identity() - {"init.run", *(c for c, way in OBEYED.items() if way in ways)}
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
    runs: pd.DataFrame, records: Records, axes: Sequence[str], measure: Measure, replicates: int
) -> tuple[pd.DataFrame, Array, float, float]:
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
    means = [statistics.mean_interval(row[np.isfinite(row)] * measure.sign, step) for row in scores]
    table["mean"] = [m.mean for m in means]
    table["sd"] = [_deviation(row[np.isfinite(row)]) for row in scores]
    table[["low", "high"]] = [measure.clip(m) for m in means]
    tests = [statistics.mean_interval(row[np.isfinite(row)], test_step) for row in test]
    table["test_mean"] = [m.mean for m in tests]
    table[["test_low", "test_high"]] = [measure.clip(m) for m in tests]
    for column in ("train_seconds", "parameters", "final_val_loss"):
        values = records.number(column).loc[runs.index]
        table[column] = values.groupby(runs["setting"]).mean().to_numpy()
    share_bad = table["bad"] / (table["n"] + table["bad"]).clip(lower=1)
    enough = table["n"] >= max(1, min(2, table["n"].max()))
    table["contends"] = enough & (share_bad == share_bad[enough].min() if enough.any() else False)
    order = {"last": ~table["contends"], "none": table["n"] == 0, "bad": share_bad, "few": ~enough}
    order |= {"score": pd.Series(-_adjusted(scores)).round(9), "loss": table.pop("final_val_loss")}
    index = pd.DataFrame(order).sort_values(list(order), kind="stable").index
    return table.loc[index].reset_index(drop=True), scores[index.to_numpy()], step, test_step


def _adjusted(scores: Array) -> Array:
    """Return settings' means with their seeds' own effects taken off, so that lucky seeds lift none above the others.

    Least squares of score = setting + seed by alternation; where every setting has every seed, the plain means.
    """
    known = np.isfinite(scores)
    filled, n, m = np.where(known, scores, 0.0), known.sum(1), known.sum(0)
    seeds = np.zeros(scores.shape[1])
    with np.errstate(invalid="ignore", divide="ignore"):
        for _ in range(1 if known.all() else 100):
            settings = np.where(n > 0, (filled - known * seeds).sum(1) / n, 0.0)
            seeds = np.where(m > 0, (filled - known * settings[:, None]).sum(0) / m, 0.0)
            seeds -= seeds.mean()
        return np.where(n > 0, (filled - known * seeds).sum(1) / n, np.nan)


def _deviation(values: Array) -> float:
    """Return the standard deviation over seeds, 0 where they differ by rounding alone."""
    if len(values) < 2:
        return math.nan
    found = float(values.std(ddof=1))
    return 0.0 if found < 1e-12 * float(np.abs(values).max()) else found


def _judge(workload: Workload) -> None:
    """Say of each setting whether it can be told from the leader."""
    table, found = workload.table, workload.comparisons
    tested = (table["contends"] & (table.index > 0) & (found.pairs >= statistics.FEWEST_PAIRS)).to_numpy()
    family = statistics.all_pairs(int(tested.sum()) + 1)
    p, p_flip = (statistics.holm(np.where(tested, x, np.nan), family) for x in (found.p_t, found.p_flip))
    verdict = np.where(
        tested, np.where((p <= 1 - statistics.LEVEL) & (found.difference > 0), "worse", "tied"), "untested"
    ).astype(object)
    verdict[((table["bad"] > 0) & ~table["contends"]).to_numpy()] = "diverges or fails"
    verdict[(table["n"] == 0).to_numpy() & (table["bad"] == 0).to_numpy()] = "no value yet"
    verdict[0] = "best" if workload.best is not None else verdict[0]
    sign = workload.measure.sign
    difference, one, other = -found.difference * sign, -found.low * sign, -found.high * sign
    table["verdict"] = verdict
    table["difference"] = difference
    table["difference_low"], table["difference_high"] = np.minimum(one, other), np.maximum(one, other)
    table["pairs"] = found.pairs
    table["p"], table["p_exact"] = p, p_flip
    table["p_leader_better"] = found.better
    table["p_leader_better_low"], table["p_leader_better_high"] = found.better_low, found.better_high
    unpaired = [
        "difference",
        "difference_low",
        "difference_high",
        "p_leader_better",
        "p_leader_better_low",
        "p_leader_better_high",
    ]
    table.loc[0, unpaired] = math.nan
    table["in_set"] = table["verdict"].isin(["best", "tied"])
