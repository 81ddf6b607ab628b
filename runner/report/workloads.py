"""The runs of a folder, divided into workloads: one data set, model family and length each.

What one command varied is an axis, be it the model or the length; what several commands gave is compared only where
they share all three. Data is never an axis.
"""

from collections.abc import Iterable, Sequence
from itertools import combinations
from typing import Any

import pandas as pd

from runner.config.identity import REPLICATES, outside_identity
from runner.errors import ConfigError
from runner.report.load import Records
from runner.report.settings import Workload, number, words_of, workload_of

SHARED_BY_WORKLOADS = (*REPLICATES, "data.normalize", "data.fraction", "data.generated")
"""Settings of the data in which runs may differ and still be compared."""
CONTENT = "data_fingerprint"
"""The column that tells data apart which are read from the same place."""
DRAWN_BY = "data_drawn_by"
"""The column of what draws data that follow the seed: each seed has others, and all settings of a seed the same."""
FAMILY = ("task", "task.target", "model", "model.name", "model.target")
"""What tells families of models, or training functions, apart; width, depth and the like are settings of one."""
LENGTH = {"epochs": "epochs", "max_steps": "steps"}
CROSSED = 0.5
"""Where no command is recorded, two kinds are of one grid if they share so much of the settings of the larger one."""

Kind = tuple[str, ...]
"""A model family and a length."""


def workloads(records: Records, asked: str | None, better: str | None) -> list[Workload]:
    """Divide a folder's runs into workloads; one that has no value yet is left out, and named.

    Raises:
        ConfigError: if none has a value.
    """
    runs, keys = _told_apart(records)
    found, empty = [], list[tuple[str, ConfigError]]()
    for data, of_data in runs.groupby(keys, sort=True) if keys else [((), runs)]:
        names = [
            words_of(k, str(v)) for k, v in zip(keys, data, strict=True) if "." not in k or not _follows(records, k)
        ]
        for kind, part in _by_kind(of_data, records):
            name = " · ".join(filter(None, (", ".join(names), kind)))
            try:
                found.append(workload_of(name, records, part, asked, better))
            except ConfigError as error:  # none of its runs has what is to be judged by
                empty.append((name, error))
    if not found:
        raise empty[0][1]
    records.caveats += [f"left out: {name}: {str(error).splitlines()[0]}" for name, error in empty]
    return found


def _told_apart(records: Records) -> tuple[pd.DataFrame, list[str]]:
    """Return the runs, and the columns that tell their data apart; say first if data has changed.

    Data that are read from several places and are the same by their fingerprint are one.
    """
    _warn_of_other_draws(records)
    keys = [c for c in records.choices if c.partition(".")[0] == "data" and c not in SHARED_BY_WORKLOADS]
    runs = _one_place(records.runs, [c for c in keys if records.runs[c].nunique() > 1])
    keys = [c for c in keys if runs[c].nunique() > 1]
    content = _content(runs, keys)
    if content is not None:
        counts = content.value_counts()
        which = ", ".join(f"{name or 'unknown'} ({n} run{'s' * (n > 1)})" for name, n in counts.items())
        records.warnings.append(
            f"the data changed while these runs were made: there are {len(counts)} contents, told apart by "
            f"their fingerprints, {which}; runs on different ones are not compared, and a command trains on what is "
            "there now"
        )
        runs, keys = runs.assign(**{CONTENT: content}), [*keys, CONTENT]
    return runs, keys


def _one_place(runs: pd.DataFrame, keys: Sequence[str]) -> pd.DataFrame:
    """Return the runs with one place for the same content, such as a table that was moved."""
    places = [k for k in keys if k in outside_identity()]
    if not places or CONTENT not in runs:
        return runs
    content = _contents(runs)
    known = content != ""
    by = [runs.loc[known, k] for k in keys if k not in places]
    first = runs.loc[known].groupby([*by, content[known]])[places].transform("first")
    return runs.assign(**{k: first[k].reindex(runs.index).fillna(runs[k]) for k in places})


def _content(runs: pd.DataFrame, keys: Sequence[str]) -> "pd.Series[str] | None":
    """Return each run's fingerprint of its data, where runs of the same choices of data have several; or None.

    A run that has recorded none counts among those with the most common one.
    """
    if CONTENT not in runs:
        return None
    alike = runs[list(keys)].apply(tuple, axis=1) if keys else pd.Series("", index=runs.index)
    content = _contents(runs)
    known = content.where(content != "")
    by_choice = known.groupby(alike)
    if (by_choice.nunique() <= 1).all():
        return None
    return known.fillna(alike.map(by_choice.agg(lambda found: next(iter(found.mode()), "")))).astype(str)


def _contents(runs: pd.DataFrame) -> "pd.Series[str]":
    """Return what tells each run's data apart: their content, or of data that follow the seed what draws them."""
    if DRAWN_BY not in runs:
        return runs[CONTENT]
    return runs[DRAWN_BY].where(runs[DRAWN_BY] != "", runs[CONTENT])


def _warn_of_other_draws(records: Records) -> None:
    """Say where a function of the seed gave several data for one seed: then settings were not compared on the same."""
    runs = records.runs
    if DRAWN_BY not in runs or CONTENT not in runs or "seed" not in runs:
        return
    drawn = runs[runs[DRAWN_BY] != ""]
    if (several := int((drawn.groupby([DRAWN_BY, "seed"])[CONTENT].nunique() > 1).sum())) > 0:
        records.warnings.append(
            f"the function of the data gave other samples for the same seed ({several} seeds): it must follow from its "
            "arguments and the seed alone, or settings are compared on different data"
        )


def _follows(records: Records, column: str) -> bool:
    return bool((records.runs.groupby("data")[column].nunique() <= 1).all())


def _by_kind(runs: pd.DataFrame, records: Records) -> list[tuple[str, pd.DataFrame]]:
    """Divide runs on one data set by model family and length, those joined that one command varied; name each part."""
    columns = [c for c in (*FAMILY, *LENGTH) if c in records.choices and runs[c].nunique() > 1]
    if not columns:
        return [("", runs)]
    kind = pd.Series(list(map(tuple, runs[columns].astype(str).to_numpy())), index=runs.index)
    groups = _joined(kind.unique(), [*_of_commands(runs, kind, records), *_of_grids(runs, kind, records)])
    if len(groups) == 1:
        return [("", runs)]
    parts = [(group, runs[kind.isin(group)]) for group in groups]
    differ = [c for c in columns if len({frozenset(part[c]) for _, part in parts}) > 1]
    differ = [c for c in differ if not (c.endswith(".target") and c.partition(".")[0] in differ)]  # which names it too
    return [(" · ".join(filter(None, (_said(c, part) for c in differ))), part) for _, part in parts]


def _of_commands(runs: pd.DataFrame, kind: "pd.Series[Any]", records: Records) -> list[list[Kind]]:
    """Return the kinds that each command varied."""
    return [list(kind[runs["run_id"].isin(launch)].unique()) for launch in records.launches]


def _of_grids(runs: pd.DataFrame, kind: "pd.Series[Any]", records: Records) -> list[tuple[Kind, Kind]]:
    """Return the pairs of kinds that look crossed with the other choices, among runs that no recorded command gave."""
    known = frozenset[str]().union(*records.launches)
    runs = runs[~runs["run_id"].isin(known)]
    beside = {*REPLICATES, *LENGTH, *outside_identity()}
    others = [c for c in records.choices if c.partition(".")[0] not in ("model", "data") and c not in beside]
    others = [c for c in others if runs[c].nunique() > 1]
    rows = pd.Series(list(map(tuple, runs[others].astype(str).to_numpy())), index=runs.index)
    settings = {of: set(its) for of, its in rows.groupby(kind.loc[runs.index])}
    pairs = combinations(settings, 2)
    return [
        (a, b) for a, b in pairs if len(settings[a] & settings[b]) >= CROSSED * max(len(settings[a]), len(settings[b]))
    ]


def _joined(kinds: Iterable[Kind], together: Iterable[Sequence[Kind]]) -> list[set[Kind]]:
    """Return the kinds in groups: those that are named together, directly or by way of others."""
    groups = [{kind} for kind in kinds]
    for named in together:
        met = [group for group in groups if group & set(named)]
        if len(met) > 1:
            groups = [group for group in groups if group not in met] + [set().union(*met)]
    return sorted(groups, key=lambda group: sorted([(len(v), v) for v in kind] for kind in group))


def _said(column: str, part: pd.DataFrame) -> str:
    """Name what a part is by one column: ``5 epochs``, or ``5, 10 epochs``, or the model's name."""
    values = ", ".join(number(v) for v in sorted(set(part[column]), key=lambda v: (len(v), v)) if v not in ("", "None"))
    return f"{values} {LENGTH[column]}" if values and column in LENGTH else values


def identity(workload: Workload) -> tuple[frozenset[str], ...]:
    """Return what makes two workloads one: their data's fingerprints, or its choices, the family and the length."""
    runs = workload.runs
    known = frozenset(_contents(runs)) - {""} if CONTENT in runs else frozenset[str]()
    of_data = [c for c in map(str, runs) if c.partition(".")[0] == "data" and c not in SHARED_BY_WORKLOADS]
    inside = [c for c in of_data if not (known and c in outside_identity())]
    kinds = [c for c in (*FAMILY, *LENGTH) if c in runs]
    return (known, *(frozenset(f"{c}={v}" for v in set(runs[c])) for c in (*inside, *kinds)))
