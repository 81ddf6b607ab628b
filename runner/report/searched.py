"""A search's folder: what ``optbench tune`` proposed and whom its finals chose, read from their files. Needs no Optuna.

``search.json`` says which settings were proposed and ``finals.json`` which runs judged the best few; neither holds a
result. Those are in the runs' rows.
"""

import json
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from runner.report.load import Records
from runner.report.measure import Measure
from runner.report.settings import BAD, GOOD, Workload, workload_of
from runner.statistics.scores import Array

STUDY, FINALS = "search.json", "finals.json"
NUMBER = re.compile(r"(\S+) from (\S+) to (\S+?)(?:,? (?:in steps of \S+|whole))?(, evenly in the logarithm)?")
"""How a study describes a number that is drawn."""
ALL_AT_RANDOM = ("random", "qmc")
STARTUP = 10
"""So many random draws Optuna's other samplers begin with."""
BETWEEN = " | "
"""Stands between the options of a choice there."""


@dataclass(frozen=True)
class Drawn:
    """What a search draws: a choice, or a number."""

    name: str
    options: tuple[str, ...]
    """Of a choice; none of a number."""
    low: float = 0.0
    high: float = 1.0
    log: bool = False

    def unit(self, values: Array) -> Array:
        """Return numbers from 0 to 1 on their own scale."""
        low, high, x = self.low, self.high, values
        if self.log:
            low, high, x = math.log(low), math.log(high), np.log(values)
        return np.asarray(np.clip((x - low) / (high - low), 0.0, 1.0))

    def shown(self, value: float) -> str:
        """Return a value in words."""
        return _without_key(self.options[int(value)]) if self.options else f"{value:g}"


@dataclass(frozen=True)
class Trial:
    """A setting that was proposed."""

    drawn: dict[str, float]
    runs: tuple[str, ...]
    """Their ids."""


@dataclass(frozen=True)
class Finalist:
    """One of the best trials, run with new seeds; ids of its runs."""

    trial: tuple[str, ...]
    raced: tuple[str, ...]
    judged: tuple[str, ...]


@dataclass(frozen=True)
class Finals:
    """Whom the finals chose."""

    metric: str
    chosen: int
    can_be_best: tuple[int, ...]
    regret: float | None
    """By how much the best of them may be better than the chosen one (95 %); None without a race."""
    finalists: tuple[Finalist, ...]
    defaults: tuple[str, ...]
    """Runs of the defaults with the seeds that judged the chosen one."""
    trials: int
    """After how many."""

    @property
    def runs(self) -> frozenset[str]:
        """The finalists' runs with new seeds."""
        return frozenset(run for one in self.finalists for run in (*one.raced, *one.judged))


@dataclass(frozen=True)
class Search:
    """A search as its folder tells it."""

    sampler: str
    seed: int
    metric: str | None
    generations: int
    at_random: int
    """So many of the first trials are drawn independently of each other, as a random search does."""
    drawn: tuple[Drawn, ...]
    trials: tuple[Trial, ...]
    """In the order in which they were proposed."""
    finals: Finals | None
    """None where there are none, or they are not over."""

    def ended(self, records: Records) -> list[Trial]:
        """Return the trials whose runs have all ended."""
        rows = records.runs.set_index("run_id")["status"]
        over = {str(run) for run in rows.index[rows.isin([*GOOD, *BAD])]}
        return [trial for trial in self.trials if over.issuperset(trial.runs)]

    @property
    def runs(self) -> frozenset[str]:
        """Every run that is a part of it."""
        found = {run for trial in self.trials for run in trial.runs}
        return frozenset(found | (set() if self.finals is None else {*self.finals.runs, *self.finals.defaults}))


def read(records: Records) -> Search | None:
    """Return the search whose folder was read; None where it is none's. What cannot be read is among the caveats."""
    if records.folder in records.places.values() or not (records.folder / STUDY).is_file():
        return None
    try:
        found = json.loads((records.folder / STUDY).read_text(encoding="utf-8"))
        study, generations = found["study"], found["generations"]
        trials = [Trial(dict(t["drawn"]), _ids(t["folders"])) for g in generations for t in g["trials"]]
        drawn = tuple(_drawn(name, text) for name, text in study["space"].items())
        finals = _finals(records.folder / FINALS)
        sampler = str(study["sampler"])
        parts = (sampler, int(study["seed"]), study["metric"], len(generations), _at_random(sampler, generations))
    except (OSError, ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError) as error:
        records.caveats.append(
            f"{STUDY} or {FINALS} cannot be read ({error}): its runs are taken for those of a sweep; its command "
            "says what is wrong"
        )
        return None
    return Search(*parts, drawn, tuple(trials), finals)


def _at_random(sampler: str, generations: Sequence[dict[str, Any]]) -> int:
    """Return how many of the first trials are random draws.

    Optuna's samplers that learn begin with ten; of those drawn twice only the first is a trial.
    """
    if sampler in ALL_AT_RANDOM:
        return sum(len(g["trials"]) for g in generations)
    if not generations:
        return 0
    first = generations[0]
    drawn_again = int(first["asked"]) - len(first["trials"])
    return max(0, min(STARTUP, len(first["trials"])) - max(0, drawn_again))


def _finals(path: Path) -> Finals | None:
    if not path.is_file():
        return None
    found = json.loads(path.read_text(encoding="utf-8"))
    finalists = [Finalist(_ids(f["trial"]), _ids(f["raced"]), _ids(f["judged"])) for f in found["finalists"]]
    chosen = int(found["chosen"])
    if not 0 <= chosen < len(finalists):
        raise ValueError(f"chosen is {chosen} of {len(finalists)} finalists")
    return Finals(
        str(found["metric"]),
        chosen,
        tuple(map(int, found["can_be_best"])),
        None if found["regret"] is None else float(found["regret"]),
        tuple(finalists),
        _ids(found["defaults"]["judged"]),
        int(found["trials"]),
    )


def _ids(folders: Sequence[str]) -> tuple[str, ...]:
    return tuple(str(folder).rpartition("-")[2] for folder in folders)


def _drawn(name: str, text: str) -> Drawn:
    """Return what is drawn, as a study describes it."""
    if BETWEEN in text:
        return Drawn(name, tuple(text.split(BETWEEN)))
    found = NUMBER.fullmatch(text)
    if found is None:
        raise ValueError(f"{name}: {text!r} describes nothing that is drawn")
    return Drawn(name, (), float(found[2]), float(found[3]), found[4] is not None)


def _without_key(option: str) -> str:
    """Return an option's name: ``he`` of ``init=he``; one of several overrides as it is."""
    return option if " " in option else option.partition("=")[2] or option


def values_of(records: Records, measure: Measure, trials: Sequence[Sequence[str]]) -> Array:
    """Return the mean of a measure over the runs of each of some settings, NaN where one of them has no value.

    Args:
        records: of the folder.
        measure: what is asked.
        trials: each setting's runs by their ids.
    """
    values = records.number(measure.column).where(records.runs["status"].isin(GOOD))
    by_run = dict(zip(records.runs["run_id"], values, strict=True))
    return np.array([float(np.mean([by_run.get(run, math.nan) for run in runs] or [math.nan])) for runs in trials])


def judged_by_finals(search: Search, records: Records, found: Sequence[Workload]) -> tuple[list[Workload], Workload]:
    """Return workloads with the finalists in the place of the whole search, the chosen one first; and that search.

    The finalists are held against each other by the seeds they raced on, which all had alike: the trials' picked them,
    and the newer ones the chosen one alone has. Where the finals are not over, or are of another measure than what the
    report judges by, the workloads stay as they are.
    """
    whole = max(found, key=lambda w: len(search.runs.intersection(w.runs["run_id"])))
    finals = search.finals
    if finals is None or whole.measure.name != finals.metric or not finals.runs.issubset(whole.runs["run_id"]):
        return list(found), whole
    chosen = finals.finalists[finals.chosen]
    raced = {run for one in finals.finalists for run in one.raced} or set(chosen.judged)  # one finalist has no race
    runs = records.runs[records.runs["run_id"].isin(raced)]
    picked = frozenset((*chosen.raced, *chosen.judged))
    workload = workload_of(whole.name, records, runs, finals.metric, None, picked)
    return [workload if one is whole else one for one in found], whole


def judged_alone(search: Search, records: Records, workload: Workload) -> Workload:
    """Return the chosen setting by itself, with the runs that chose nothing: what it is held against others by."""
    assert search.finals is not None, "it was picked by them"
    judged = search.finals.finalists[search.finals.chosen].judged
    runs = records.runs[records.runs["run_id"].isin(judged)]
    return workload_of(workload.name, records, runs, search.finals.metric, None)
