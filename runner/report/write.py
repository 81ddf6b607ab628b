"""``optbench report``: from a folder of records to the answer and its files."""

import csv
import json
import math
import re
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from tqdm import tqdm

from runner.errors import ConfigError, RecordError, closest
from runner.measures import title
from runner.report import (
    classified,
    grids,
    histories,
    layers,
    parallel,
    ranking,
    scaling,
    sensitivity,
    target,
    text,
    trouble,
)
from runner.report.across import across
from runner.report.answer import Answer, Place, answer
from runner.report.figures import render
from runner.report.load import Records, as_number, load
from runner.report.page import page
from runner.report.page_tables import FIRST_COLUMNS
from runner.report.sections import Section, Table
from runner.report.settings import Workload, workloads
from runner.run.job import OUTPUTS
from runner.run.record import write_whole, writing

INDEX = "index.csv"


@dataclass(frozen=True)
class Asked:
    """What a report is asked for."""

    metric: str | None = None
    better: str | None = None
    target: float | None = None
    axes: tuple[str, str] | None = None
    within_percent: float = 1.0
    config_dir: str | None = None


@dataclass(frozen=True)
class Report:
    """An answer, and how to write it down."""

    text: str
    """What the terminal shows."""
    commands: tuple[str, ...]
    """The recommended command line of each data set."""
    write: Callable[[], str]
    """Writes the page, plots and tables, and says where they are; raises RecordError if it cannot."""


def report(folder: str | Path, asked: Asked | None = None) -> Report:
    """Draw the answer from a sweep's or a run's folder.

    Raises:
        ConfigError: if the folder holds no runs, or what is asked for is not there.
        RecordError: if it cannot be read.
    """
    with np.errstate(all="ignore"):
        return _report(Path(folder), asked or Asked())


def _report(folder: Path, asked: Asked) -> Report:
    records = load(folder)
    found = workloads(records, asked.metric, asked.better)
    if asked.axes is not None:
        _check_axes(asked.axes, found)
    place = _place(folder, single=folder in records.places.values())
    built = [(answer(w, records, place, asked.config_dir), _sections(w, records, asked)) for w in found]
    if len(built) > 1:
        built = [(a, [_prefixed(s, f"{i}-") for s in sections]) for i, (a, sections) in enumerate(built, 1)]
        together = across(found, records, asked.within_percent)
        if together is not None:
            built[-1][1].append(together)
    summary = _summary(records, found)
    lines = [summary, ""]
    for a, sections in built:
        lines += [text.answer_text(a), *(f"{section.terminal}\n" for section in sections if section.terminal)]
    care = [*records.caveats, *(c for w in found for c in w.caveats)]
    lines += [text.bullets("Read with care", care)] if care else []

    def write() -> str:
        with np.errstate(all="ignore"):
            count = _write(folder, folder.resolve().name, summary, built, care)
        return f"{folder / 'report.html'} shows it all; {count} files of plots and tables are in {folder / 'report'}\n"

    return Report("\n".join(lines) + "\n", tuple(a.command for a, _ in built if a.command is not None), write)


def _place(folder: Path, single: bool) -> Place:
    """Return where a sweep's runs lie: its name, and the folder to start from where that is another one."""
    sweep = folder.resolve().parent if single else folder.resolve()
    here = (OUTPUTS / sweep.name).resolve() == sweep
    beside = sweep.parent.name == OUTPUTS.name
    return Place(sweep.name, str(sweep.parent.parent) if beside and not here else None, here or beside)


def _check_axes(axes: tuple[str, str], found: Sequence[Workload]) -> None:
    valid = list(dict.fromkeys(a for w in found for a in w.axes))
    for axis in axes:
        if axis not in valid:
            raise ConfigError(
                f"--axes {','.join(axes)}: {axis} does not vary here{closest(axis, valid)}\n"
                f"valid: {', '.join(valid) or 'none'}"
            )
    if axes[0] == axes[1]:
        raise ConfigError(f"--axes {','.join(axes)}: give two different axes of {', '.join(valid)}")


def _summary(records: Records, found: Sequence[Workload]) -> str:
    runs = len(records.runs)
    if runs == 1:
        return f"1 run in {records.folder}"
    of = []
    for w in found:
        crossed = " × ".join(f"{a} {len(w.levels(a))}" for a in w.axes)
        seeds = f"{len(w.replicates)} {w.replicate_word}{'s' * (len(w.replicates) > 1)}"
        settings = f"{len(w.table)} setting{'s' * (len(w.table) > 1)}"
        of.append((f"{w.name}: " if w.name else "") + f"{settings}{f' ({crossed})' if crossed else ''}, {seeds}")
    return f"{runs:,} runs in {records.folder}: {'; '.join(of)}"


def _sections(workload: Workload, records: Records, asked: Asked) -> list[Section]:
    several = len(workload.table) > 1
    found = [
        ranking.ranking(workload) if several else None,
        grids.heat_maps(workload, asked.axes if asked.axes and set(asked.axes) <= set(workload.axes) else None),
        sensitivity.sensitivity(workload, asked.within_percent) if several else None,
        histories.learning_curves(workload, records),
        layers.layers(workload, records),
        layers.sharpness(workload, records),
        classified.classified(workload, records),
        target.time_to_target(workload, records, asked.target, asked.within_percent),
        scaling.scaling(workload, records) if several else None,
        trouble.explained(workload) if several else None,
        _settings(workload) if several else None,
        trouble.trouble(workload, records),
        _in_full(workload, records),
    ]
    return [section for section in found if section is not None]


def _settings(workload: Workload) -> Section:
    said = (
        f"Best first, by mean {workload.measure.title} over seeds; settings with a diverged or failed seed come last, "
        "and their mean is over the runs that survived. The difference is to the best, in pairs of the same seed, with "
        "its 95 % interval; p is of the paired t-test and p exact of the sign-flip test, both corrected for all "
        "pairs of settings (Holm); the last three say how often the best is the better one (above 0.75 is meaningful)."
    )
    axes = workload.axes
    shown = (*axes[: len(axes) if len(axes) < 5 else 4], "mean", "low", "high", "verdict", "n", "test_mean", "sd")
    table = Table(
        "settings",
        "Every setting",
        workload.table.drop(columns="contends"),
        names=len(axes),
        first=shown[:FIRST_COLUMNS],
    )
    plot = parallel.parallel(workload)
    return Section("Every setting", (said,), () if plot is None else (plot,), (table,))


def _in_full(workload: Workload, records: Records) -> Section | None:
    """Show a run as it was: every choice, and every number of its summary."""
    if workload.best is None:
        return None
    row = workload.row(0)
    columns = [c for c in map(str, records.runs) if row[c] != ""]
    choices = pd.DataFrame({"choice": c, "value": row[c]} for c in columns if c in records.choices)
    measured = [c for c in columns if c not in records.choices]
    parts = [c.removeprefix("final_val_") for c in measured if c.startswith("final_val_")]
    results = pd.DataFrame(
        {
            "measure": title(f"_{p}").strip(),
            **{part: as_number(row.get(f"{key}_{p}", "")) for part, key in _PARTS.items()},
        }
        for p in parts
    )
    numbers = pd.DataFrame({"of the run": c, "value": row[c]} for c in measured)
    which = "The run" if len(workload.runs) == 1 else "A run of the best setting"
    return Section(
        f"{which} in full",
        (f"Run {row['run_id']}: {row['status']}.",),
        (),
        (
            Table("results", "Results", results),
            Table("choices", "Every choice", choices, folded=True),
            Table("summary", "Every number", numbers, folded=True),
        ),
    )


_PARTS = {"train": "final_train", "validation": "final_val", "test": "test"}


def _prefixed(section: Section, prefix: str) -> Section:
    return replace(
        section,
        plots=tuple(replace(p, name=prefix + p.name) for p in section.plots),
        tables=tuple(replace(t, name=prefix + t.name) for t in section.tables),
    )


def _write(
    folder: Path, name: str, summary: str, built: Sequence[tuple[Answer, Sequence[Section]]], care: Sequence[str]
) -> int:
    """Write the page, every plot and table, and the list of them; return how many files there are."""
    place = folder / "report"
    if place.is_symlink():
        raise RecordError(f"cannot write {place}: it is a link to somewhere else; remove it first")
    with writing(place):
        place.mkdir(exist_ok=True)
    index: list[tuple[str, str]] = []
    plots = [p for _, sections in built for s in sections for p in s.plots]
    pictures: dict[str, bytes] = {}
    for plot in tqdm(plots, desc="drawing", unit="plot", disable=not sys.stderr.isatty(), leave=False):
        drawn = render(plot)
        pictures |= {plot.name: drawn["svg"]} if plot.chart is None else {}
        for kind, content in drawn.items():
            write_whole(place / f"{plot.name}.{kind}", content)
            index.append((f"{plot.name}.{kind}", plot.title))
    for table in (t for _, sections in built for s in sections for t in s.tables):
        write_whole(place / f"{table.name}.csv", table.frame.map(_guarded).to_csv(index=False, lineterminator="\n"))
        index.append((f"{table.name}.csv", table.title))
    write_whole(place / "answer.json", json.dumps([_json(a) for a, _ in built], indent=2, allow_nan=False) + "\n")
    index.append(("answer.json", "The answer"))
    _forget_earlier(place, {file for file, _ in index})
    lines = pd.DataFrame(index, columns=["file", "shows"])
    write_whole(place / INDEX, lines.to_csv(index=False, lineterminator="\n"))
    write_whole(folder / "report.html", page(name, summary, built, care, pictures))
    return len(index)


def _guarded(value: object) -> object:
    """Keep a spreadsheet from taking a text for a formula."""
    return f"'{value}" if isinstance(value, str) and re.match(r"[=+@\t\r]|-\D", value) else value


def _forget_earlier(place: Path, kept: set[str]) -> None:
    """Remove what an earlier report wrote and this one did not, as its own list names it."""
    path = place / INDEX
    if not path.is_file():
        return
    with path.open(encoding="utf-8", errors="replace", newline="") as file:
        named = [row.get("file") or "" for row in csv.DictReader(file)]
    for name in set(named) - kept:
        if re.fullmatch(r"[\w-]+\.(png|svg|pdf|csv|json)", name):
            (place / name).unlink(missing_ok=True)


def _json(a: Answer) -> dict[str, Any]:
    workload = a.workload
    return {
        "workload": workload.name,
        "command": a.command,
        "doubt": a.doubt,
        "metric": workload.measure.name,
        "measures": {
            e.title: {
                "mean": _finite(e.interval.mean),
                "interval": [_finite(e.low), _finite(e.high)],
                "new_seed": [_finite(e.next_low), _finite(e.next_high)],
                "seeds": e.interval.n,
            }
            for e in a.estimates
        },
        "verdict": a.verdict,
        "tied_with": a.tied,
        "tied": [{axis: workload.table.at[s, axis] for axis in workload.axes} for s in workload.tied],
        "notes": list(a.notes),
        "surer": [{"what": reason, "command": command} for reason, command in a.surer],
    }


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
