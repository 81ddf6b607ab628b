"""The recommended setting beside models that need no tuning, as ``baselines.csv`` has them; none is computed here."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from runner.measures import BALANCED
from runner.report.drawing import charts
from runner.report.drawing.figures import clean, legend_below
from runner.report.drawing.looks import COLOURS, Look
from runner.report.equivalent import recommended
from runner.report.evaluations import as_number
from runner.report.load import Records
from runner.report.section import Plot, Section, Table
from runner.report.settings import Workload
from runner.run.files import read_csv
from runner.run.job import BASELINES, SPLIT_COLUMNS
from runner.statistics import scores as statistics
from runner.statistics.scores import Interval

WORDS = {
    "majority": "naming the largest class for every sample",
    "mean": "predicting the mean for every sample",
    "logistic": "a logistic regression",
    "ridge": "a ridge regression",
    "trees": "boosted trees",
    "unigram": "counting single characters",
    "bigram": "counting what follows a character",
    "trigram": "counting what follows two characters",
}
NOTABLE = 0.1
"""A share that a model gains over a trivial prediction is worth naming from here on, however few samples there are."""
MISSING = (
    "no simple baselines were measured beside these runs, so it is not known whether they beat a trivial prediction; "
    f"the same command, without baselines=false, measures them ({BASELINES}) and trains nothing again"
)
MISSING_OF_OWN = (
    "simple baselines are not measured beside training functions of one's own: a sweep of one that predicts the "
    "largest class, or the mean, tells what is trivial"
)


@dataclass(frozen=True)
class Baseline:
    """One model, and the recommended setting beside it."""

    name: str
    kind: str
    value: float
    """Of the workload's measure, the mean over the splits that the setting's runs used; NaN where there is none."""
    ahead: Interval
    """By how much the setting's runs are better, each on its own split; less than 0 where they are worse."""
    note: str

    @property
    def words(self) -> str:
        """What it is, within a sentence."""
        return WORDS.get(self.name, self.name)

    @property
    def is_beaten(self) -> bool:
        """Whether the setting is better beyond what its replicates leave to chance; of one alone, whether it is."""
        return self.ahead.low > 0 if self.ahead.known else self.ahead.mean > 0


@dataclass(frozen=True)
class Baselines:
    """What simple models reach on a workload's measure."""

    all: tuple[Baseline, ...]
    """In the order of the file: the trivial one first."""
    splits: int
    """How many splits of the data they are means over."""

    @property
    def known(self) -> list[Baseline]:
        """Those that have a value."""
        return [one for one in self.all if math.isfinite(one.value)]

    @property
    def trivial(self) -> Baseline | None:
        """The one that looks at no input."""
        return next((one for one in self.known if one.kind == "trivial"), None)


def beside(workload: Workload, records: Records) -> Baselines | None:
    """Return the baselines of the splits that the recommended setting's runs used; None where none were measured."""
    rows = _rows(records)
    runs = workload.runs[workload.runs["value"].notna()]
    if workload.best is not None:
        runs = runs[runs["setting"] == recommended(workload)]
    keys = [tuple(str(run.get(column, "")) for column in SPLIT_COLUMNS) for _, run in runs.iterrows()]
    of: dict[tuple[str, ...], dict[str, dict[str, str]]] = {}
    for row in rows:
        of.setdefault(tuple(row.get(column) or "" for column in SPLIT_COLUMNS), {})[row.get("baseline") or ""] = row
    splits = [key for key in dict.fromkeys(keys) if key in of]
    if not splits:
        return None
    names = dict.fromkeys(name for key in splits for name in of[key] if name != "none")
    values, sign = runs["value"].to_numpy(float), workload.measure.sign
    found = []
    for name in names:
        here = [of.get(key, {}).get(name, {}) for key in keys]
        reached = np.array([as_number(row.get(workload.measure.name, "")) for row in here])
        each = [as_number(of[key].get(name, {}).get(workload.measure.name, "")) for key in splits]
        ahead = sign * (values - reached)
        found.append(
            Baseline(
                name,
                next(row["kind"] for row in here if row),
                float(np.nanmean(each)) if np.isfinite(each).any() else math.nan,
                statistics.mean_interval(ahead[np.isfinite(ahead)], workload.step),
                "; ".join(dict.fromkeys(row["note"] for row in here if row.get("note"))),
            )
        )
    return Baselines(tuple(found), len(splits))


def _path(records: Records) -> Path:
    single = records.folder in records.places.values()
    return (records.folder.parent if single else records.folder) / BASELINES


def _rows(records: Records) -> list[dict[str, str]]:
    try:
        rows = read_csv(_path(records))
    except OSError:
        return []
    needed = {*SPLIT_COLUMNS, "baseline", "kind", "note"}
    return [row for row in rows if None not in row and None not in row.values() and needed <= row.keys()]


def unread(records: Records) -> str | None:
    """Say that the file of baselines is there and nothing, or not all, of it can be read."""
    path = _path(records)
    if not path.is_file():
        return None
    lines, good = len(path.read_text(encoding="utf-8", errors="replace").splitlines()) - 1, len(_rows(records))
    if good and good == lines:
        return None
    what = f"{lines - good} of {lines} rows of it cannot be read" if good else "it cannot be read"
    return f"{path}: {what}, and left out; without the file, the sweep's command measures anew"


def trivial_value(workload: Workload, records: Records) -> float | None:
    """Return what a prediction that looks at no input reaches on the workload's measure.

    Where no baseline was measured it is known of some measures, and else it is what networks reach at step 0; None
    where that is not known either.
    """
    found = beside(workload, records)
    if found is not None and found.trivial is not None:
        return found.trivial.value
    name = workload.measure.name
    columns = ("val_samples", "val_classes", "val_largest_class")
    samples, classes, largest = (records.number(c).loc[workload.runs.index].median() for c in columns)
    known = {"val_accuracy": largest / samples, f"val_{BALANCED}": 1 / classes, "val_r2": 0.0}.get(name, math.nan)
    if math.isfinite(known):
        return float(known)
    rows = records.curves
    if name not in rows or "step" not in rows:
        return None
    first = rows[(rows["step"] == 0) & rows["run_id"].isin(workload.runs["run_id"])][name].median()
    return float(first) if math.isfinite(first) else None


def warnings(workload: Workload, records: Records, baselines: Baselines | None) -> tuple[str, ...]:
    """Return what is to be said before all else: where the recommended setting is no better than a simple model."""
    if workload.best is None:
        return ()
    found = [*_of_one_class(workload, records)]
    if baselines is not None:
        found += _of_trivial(workload, baselines)
        found += _of_models(workload, baselines)
    return tuple(found)


def _of_one_class(workload: Workload, records: Records) -> Iterator[str]:
    its = workload.runs[(workload.runs["setting"] == recommended(workload)) & workload.runs["value"].notna()].index
    called, there = (records.number(c).loc[its] for c in ("final_val_predicted_classes", "val_classes"))
    n = int(((called == 1) & (there > 1)).sum())
    if not n:
        return
    who = "The recommended setting predicts"
    who = who if n == len(its) else f"{n} of the recommended setting's {len(its)} runs predict"
    yield f"{who} one and the same class for every validation sample: it tells nothing apart."


def _of_trivial(workload: Workload, baselines: Baselines) -> Iterator[str]:
    trivial, measure = baselines.trivial, workload.measure
    if trivial is None:
        return
    reached = f"its {measure.title} is {_value(workload)}, and {trivial.words} reaches {trivial.value:.4g}"
    if not trivial.is_beaten:
        how = "is not clearly better" if trivial.ahead.mean > 0 else "is no better"
        yield f"The recommended setting {how} than a trivial prediction: {reached}.{_nor(workload, baselines)}"
        if measure.name == "val_r2" and set(workload.runs.get("data.normalize_target", ())) == {"none"}:
            yield (
                "It trains on the targets as they are; where they are large, training takes far longer: "
                "data.normalize_target=standard trains on their standard scores."
            )
    elif workload.step > 0 and baselines.splits == 1 and trivial.ahead.mean <= math.sqrt(workload.step):
        few = f"The {measure.title} moves in steps of {workload.step:.2g}"
        yield (
            f"The recommended setting is little better than a trivial prediction: {reached}. {few}, as few validation "
            "samples of a class decide it: other splits would tell (data.split_seed=0,1,2,3,4)."
        )


def _nor(workload: Workload, baselines: Baselines) -> str:
    """Say whether no other model beats the trivial one either, beyond what the validation samples leave to chance."""
    trivial, others = baselines.trivial, [one for one in baselines.known if one.kind != "trivial"]
    if trivial is None or not others or any(_beats(workload, one, trivial) for one in others):
        return ""
    named = " and ".join(f"{one.words} ({one.value:.4g})" for one in others)
    return f" {_first(named)} {'are' if len(others) > 1 else 'is'} no better: the inputs may not tell the targets."


def _beats(workload: Workload, one: Baseline, trivial: Baseline) -> bool:
    """Say whether a baseline is better than the trivial one by more than a step of the measure, or a sample or two."""
    return workload.measure.sign * (one.value - trivial.value) > min(math.sqrt(workload.step), NOTABLE)


def _of_models(workload: Workload, baselines: Baselines) -> Iterator[str]:
    """Name the models that need no tuning and are as good as the recommended setting; of several n-grams the best."""
    trivial, sign = baselines.trivial, workload.measure.sign
    best: dict[str, Baseline] = {}
    for one in baselines.known:
        if one.kind != "trivial" and (one.kind not in best or sign * (one.value - best[one.kind].value) > 0):
            best[one.kind] = one
    for one in best.values():
        if one.is_beaten or (trivial is not None and not _beats(workload, one, trivial)):
            continue
        said = f"{_first(one.words)} {'reach' if one.name == 'trees' else 'reaches'} {one.value:.4g} on the same data"
        if one.ahead.mean <= 0:
            yield f"{said}, the recommended setting {_value(workload)}: the network is not needed here."
        else:
            yield f"{said}; the recommended setting, {_value(workload)}, does not clearly beat it."


def _value(workload: Workload) -> str:
    row = workload.table.iloc[recommended(workload)]
    if math.isfinite(row["low"]) and math.isfinite(row["high"]):
        return f"{row['mean']:.4g} (95 % interval {row['low']:.4g} to {row['high']:.4g})"
    return f"{row['mean']:.4g}"


def _first(text: str) -> str:
    return text[:1].upper() + text[1:]


def section(workload: Workload, baselines: Baselines | None) -> Section | None:
    """Hold the recommended setting against the baselines."""
    if baselines is None or not baselines.all or workload.best is None:
        return None
    measure, words = workload.measure, "split" if baselines.splits == 1 else f"{baselines.splits} splits"
    said = (
        "Models that need no tuning, fitted on the training part and measured on the validation part of the same "
        f"{words} as the recommended setting's runs; ahead is by how much those runs are better in {measure.title}, "
        f"with the 95 % interval over {workload.replicate_word}s. The test part was not read."
    )
    rows = [
        {
            "baseline": _first(one.words),
            measure.name: one.value,
            "ahead": one.ahead.mean,
            "ahead_low": one.ahead.low,
            "ahead_high": one.ahead.high,
            "note": one.note,
        }
        for one in baselines.all
    ]
    shown = ", ".join(f"{one.words} {one.value:.4g}" for one in baselines.known)
    plots: tuple[Plot, ...] = ()
    if baselines.known:
        plots = (
            Plot(
                "baselines",
                f"{_first(measure.title)} beside simple baselines",
                f"The recommended setting's {measure.title} is {_value(workload)}; {shown}.",
                lambda figure: _draw(figure, workload, baselines),
                height=2.8,
                chart=lambda: _chart(workload, baselines),
            ),
        )
    terminal = f"Simple baselines, {measure.title}: {shown}." if shown else ""
    table = Table("baselines", "Simple baselines", pd.DataFrame(rows))
    return Section("Against simple baselines", (said,), plots, (table,), terminal)


def _reached(workload: Workload) -> tuple[list[float], float, float, float]:
    """Return the recommended setting's values, their mean, and how far its interval goes below and above."""
    runs, row = workload.runs, workload.table.iloc[recommended(workload)]
    values = runs.loc[(runs["setting"] == recommended(workload)) & runs["value"].notna(), "value"].tolist()
    mean = float(row["mean"])
    low, high = (float(row[c]) if math.isfinite(row[c]) else mean for c in ("low", "high"))
    return [float(v) for v in values], mean, max(0.0, mean - low), max(0.0, high - mean)


def _name(workload: Workload) -> str:
    return f"recommended: {workload.words(recommended(workload))}" if workload.axes else "the recommended setting"


def _draw(figure: Figure, workload: Workload, baselines: Baselines) -> None:
    ax = figure.subplots()
    values, mean, below, above = _reached(workload)
    ax.plot(values, [0.0] * len(values), "o", color=COLOURS[0], alpha=0.4, ms=5)
    label = clean(_name(workload))
    ax.errorbar([mean], [0.0], xerr=[[below], [above]], fmt="D", color=COLOURS[0], capsize=4, label=label)
    for number, one in enumerate(baselines.known, 1):
        look = _look(number)
        ax.axvline(one.value, color=look.colour, ls=look.dash, label=_first(one.words))
    ax.set_yticks([])
    ax.set_ylim(-1, 1)
    ax.set_xlabel(workload.measure.title)
    legend_below(figure, [ax])


def _look(number: int) -> Look:
    return Look(COLOURS[number % len(COLOURS)], number)


def _chart(workload: Workload, baselines: Baselines) -> Mapping[str, Any]:
    values, mean, below, above = _reached(workload)
    runs = {"type": "scatter", "mode": "markers", "x": values, "y": [0.0] * len(values), "name": "its runs"}
    leader = {"type": "scatter", "mode": "markers", "x": [mean], "y": [0.0], "name": charts.label(_name(workload))}
    lines = [
        {
            "type": "scatter",
            "mode": "lines",
            "x": [one.value, one.value],
            "y": [-1.0, 1.0],
            "name": charts.label(_first(one.words)),
            "line": {"color": (look := _look(number)).colour, "dash": look.stroke},
        }
        for number, one in enumerate(baselines.known, 1)
    ]
    spread = {"type": "data", "symmetric": False, "array": [above], "arrayminus": [below]}
    marker = {"color": COLOURS[0], "symbol": "diamond", "size": 10}
    data = [{**runs, "marker": {"color": COLOURS[0], "opacity": 0.4}}, {**leader, "marker": marker, "error_x": spread}]
    y = {"visible": False, "range": [-1, 1]}
    return {
        "data": [*data, *lines],
        "layout": charts.layout([""], [charts.named(workload.measure.title)], [y], height=240),
    }
