"""``optbench report``: from a folder of records to the answer and its files."""

import functools
import json
import math
import re
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from runner.errors import ConfigError, closest
from runner.report import searched
from runner.report.answer import Answer, answer
from runner.report.drawing.figures import FORMATS, render
from runner.report.equivalent import default_margin, equivalents, with_margin
from runner.report.load import Records
from runner.report.measure import Measure
from runner.report.render import output, text
from runner.report.render.latex import for_papers
from runner.report.render.page import page
from runner.report.render.tensorboard import write_events
from runner.report.section import Section
from runner.report.sections import (
    baselines,
    classified,
    grids,
    histories,
    in_full,
    layers,
    matters,
    ranking,
    scaling,
    sensitivity,
    target,
    trouble,
)
from runner.report.sections.across import across
from runner.report.sections.bought import fresh_estimates
from runner.report.sections.decided import decided
from runner.report.sections.searching import searching
from runner.report.settings import Workload
from runner.report.sources import Source, check, read
from runner.run.forked import in_processes
from runner.run.record import write_whole


@dataclass(frozen=True)
class Asked:
    """What a report is asked for."""

    metric: str | None = None
    better: str | None = None
    target: float | None = None
    axes: tuple[str, str] | None = None
    within_percent: float = 1.0
    config_dir: str | None = None
    margin: float | None = None
    """Settings within it of the leader are as good, in the metric's units."""
    into: str | None = None
    """Where the page and its files go; None: into the folder, or beside several."""

    def __post_init__(self) -> None:
        """Refuse what no runs are needed to refuse.

        Raises:
            ConfigError: naming the option.
        """
        if self.better not in (None, "higher", "lower"):
            raise ConfigError(f"--better must be higher or lower, got {self.better!r}")
        if self.axes is not None and len(self.axes) != 2:
            raise ConfigError(f"--axes takes two axes, such as init,optim, got {','.join(self.axes)!r}")
        if not 0 < self.within_percent < 100:
            raise ConfigError(f"--within must be > 0 and < 100, in percent of the best, got {self.within_percent:g}")
        if self.margin is not None and not 0 < self.margin < math.inf:
            raise ConfigError(f"--margin must be > 0 and finite, in the metric's units, got {self.margin:g}")


@dataclass(frozen=True)
class Report:
    """An answer, and how to write it down."""

    text: str
    """What the terminal shows."""
    commands: tuple[str, ...]
    """The recommended command line of each workload."""
    answers: tuple[dict[str, Any], ...]
    """Each workload's answer, as ``report/answer.json`` holds it."""
    page: Path
    """Where ``write`` puts the page; plots and tables are in ``report/`` beside it."""
    write: Callable[[], str]
    """Writes the page, plots and tables, and says where they are; raises RecordError if it cannot."""
    write_events: Callable[[Path], str]
    """Writes the runs for TensorBoard, and says where they are; raises as ``runner.report.render.tensorboard`` does."""


def report(folders: str | Path | Sequence[str | Path], asked: Asked | None = None) -> Report:
    """Draw the answer from the folder of a sweep or a run, or from several sweeps' together.

    Raises:
        ConfigError: if a folder holds no runs, or what is asked for is not there.
        RecordError: if it cannot be read.
    """
    given = [folders] if isinstance(folders, str | Path) else folders
    with np.errstate(all="ignore"):
        return _report([Path(folder) for folder in given], asked or Asked())


@dataclass(frozen=True)
class _Part:
    """One workload's share of a report."""

    answer: Answer
    records: Records
    beside: Section | None
    """Simple baselines; of this section and the next the terminal shows something."""
    scaling: Section | None
    whole: Workload
    """All runs beside the answer's: of a search its trials too."""
    search: tuple[Section, ...] = ()
    """What is to be said of the search that the runs are of."""


def _report(folders: Sequence[Path], asked: Asked) -> Report:
    check(folders)
    into = output.target(folders, asked.into)
    sources, left_out = read(folders, asked.metric, asked.better)
    found = [(w, source) for source in sources for w in source.workloads]
    if asked.axes is not None:
        _check_axes(asked.axes, [w for w, _ in found])
    _check_shares(asked, [w.measure for w, _ in found])
    found = [(_with_margin(w, source.records, asked), source) for w, source in found]
    parts = [_part(w, source, asked.config_dir) for w, source in found]
    together = across([(w, source.records) for w, source in found], asked.within_percent)
    summary = _summary(sources)
    told = _care(sources, left_out)
    lines = [summary, "", *(f"{line}\n" for line in text.wrapped(_first(sources)))]
    for part in parts:
        lines.append(text.answer_text(part.answer))
        lines += [line for s in (*part.search, part.beside, part.scaling) for line in _of_terminal(s)]
    lines += _of_terminal(together)
    lines += [text.bullets("Read with care", told)] if told else []

    def write() -> str:
        with np.errstate(all="ignore"):
            built = [(part.answer, _sections(part, asked)) for part in parts]
            if len(built) > 1:
                built = [(a, [_prefixed(s, f"{i}-") for s in sections]) for i, (a, sections) in enumerate(built, 1)]
            if together is not None:
                built[-1][1].append(together)
            care = _care(sources, left_out)  # what was read meanwhile has caveats too
            names = ", ".join(folder.resolve().name for folder in folders)
            count = _write(into, names, summary, built, (_first(sources), care))
        more = text.printable(text.bullets("Read the curves with care", [line for line in care if line not in told]))
        return (
            f"{more}{into / 'report.html'} shows it all; {count} files of plots and tables are in {into / 'report'}\n"
        )

    commands = tuple(part.answer.command for part in parts if part.answer.command is not None)
    answers, events = tuple(_json(part.answer) for part in parts), functools.partial(write_events, sources[0].records)
    return Report(text.printable("\n".join(lines) + "\n"), commands, answers, into / output.PAGE, write, events)


def _of_terminal(section: Section | None) -> list[str]:
    return [f"{section.terminal}\n"] if section is not None and section.terminal else []


def _first(sources: Sequence[Source]) -> list[str]:
    """Return what is said before every answer; with its folder where there are several."""
    said = [(_of(source, sources), line) for source in sources for line in source.records.warnings]
    return [f"{folder}{line}" if folder else f"{line[:1].upper()}{line[1:]}" for folder, line in said]


def _care(sources: Sequence[Source], left_out: Sequence[str]) -> list[str]:
    """Return what a reader must know before believing anything."""
    found = list(left_out)
    for source in sources:
        caveats = [*source.records.caveats, *(c for w in source.workloads for c in w.caveats)]
        found += [f"{_of(source, sources)}{line}" for line in caveats]
    return found


def _of(source: Source, sources: Sequence[Source]) -> str:
    return f"{source.records.folder}: " if len(sources) > 1 else ""


def _with_margin(workload: Workload, records: Records, asked: Asked) -> Workload:
    if asked.margin is not None:
        return with_margin(workload, asked.margin)
    # An accuracy's margin needs no baseline, which may have to be read from every run's rows.
    trivial = None if workload.measure.counted else baselines.trivial_value(workload, records)
    return with_margin(workload, default_margin(workload, trivial))


def _part(workload: Workload, source: Source, config_dir: str | None) -> _Part:
    """Draw up a workload's answer, first of all what is to be said of simple baselines."""
    records = source.records
    search = source.search_of(workload)
    picked = search is not None and workload.is_picked
    judged = searched.judged_alone(search, records, workload) if search is not None and picked else workload
    beside = baselines.beside(judged, records)
    if (unread := baselines.unread(records)) is not None:
        workload.caveats.append(unread)
    elif beside is None and workload.best is not None:
        workload.caveats.append(baselines.MISSING_OF_OWN if records.all_own else baselines.MISSING)
    found = answer(workload, records, source.place, config_dir)
    if search is not None and picked:
        found = replace(found, estimates=fresh_estimates(search, records, workload) or found.estimates)
    told = (searching(search, records, workload, beside), decided(search, records, workload)) if search else ()
    return _Part(
        replace(found, warnings=baselines.warnings(judged, records, beside)),
        records,
        baselines.section(judged, beside),
        scaling.scaling(workload, records) if len(workload.table) > 1 and not workload.is_picked else None,
        source.whole if workload.is_picked and source.whole is not None else workload,
        tuple(section for section in told if section is not None),
    )


def _check_axes(axes: tuple[str, str], found: Sequence[Workload]) -> None:
    gridded = [w.axes for w in found if not w.is_picked]  # finalists are no grid
    if not gridded:
        raise ConfigError(f"--axes {','.join(axes)}: this report is of a search's finalists, which are no grid")
    valid = list(dict.fromkeys(a for of_one in gridded for a in of_one))
    for axis in axes:
        if axis not in valid:
            raise ConfigError(
                f"--axes {','.join(axes)}: {axis} does not vary here{closest(axis, valid)}\n"
                f"valid: {', '.join(valid) or 'none'}"
            )
    if axes[0] == axes[1]:
        raise ConfigError(f"--axes {','.join(axes)}: give two different axes of {', '.join(valid)}")
    if not any(set(axes) <= set(of_one) for of_one in gridded):
        raise ConfigError(f"--axes {','.join(axes)}: no workload varies both")


def _check_shares(asked: Asked, measures: Sequence[Measure]) -> None:
    """Refuse a target that no measure of the report can have, and a margin that is all that one can differ by."""
    if not measures or not all(measure.share for measure in measures):
        return
    title = measures[0].title
    if asked.target is not None and not 0 <= asked.target <= 1:
        raise ConfigError(f"--target {asked.target:g}: {title} lies between 0 and 1")
    if asked.margin is not None and asked.margin >= 1:
        raise ConfigError(f"--margin {asked.margin:g}: {title} lies between 0 and 1; 0.01 is a point")


def _summary(sources: Sequence[Source]) -> str:
    runs = sum(len(source.records.runs) for source in sources)
    folders = ", ".join(str(source.records.folder) for source in sources)
    if runs == 1:
        return f"1 run in {folders}"
    of = []
    for w in (w for source in sources for w in source.workloads):
        crossed = " × ".join(f"{a} {len(w.levels(a))}" for a in w.axes)
        seeds = f"{len(w.replicates)} {w.replicate_word}{'s' * (len(w.replicates) > 1)}"
        settings = f"{len(w.table)} setting{'s' * (len(w.table) > 1)}"
        of.append((f"{w.name}: " if w.name else "") + f"{settings}{f' ({crossed})' if crossed else ''}, {seeds}")
    return f"{runs:,} runs in {folders}: {'; '.join(of)}"


def _sections(part: _Part, asked: Asked) -> list[Section]:
    workload, records = part.answer.workload, part.records
    several = len(workload.table) > 1
    crossed = several and not workload.is_picked  # finalists are no grid
    found = [
        *part.search,
        part.beside,
        ranking.ranking(workload) if several else None,
        None if workload.is_picked else grids.heat_maps(workload, _shown_axes(workload, asked)),
        sensitivity.sensitivity(workload, asked.within_percent) if crossed else None,
        histories.learning_curves(workload, records),
        layers.layers(workload, records),
        layers.sharpness(workload, records),
        classified.classified(workload, records),
        target.time_to_target(workload, records, asked.target, asked.within_percent),
        part.scaling,
        matters.matters(workload) if crossed else None,
        trouble.explained(workload) if crossed else None,
        in_full.settings(part.whole) if len(part.whole.table) > 1 else None,
        trouble.trouble(part.whole, records),
        in_full.in_full(workload, records),
    ]
    return [section for section in found if section is not None]


def _shown_axes(workload: Workload, asked: Asked) -> tuple[str, str] | None:
    return asked.axes if asked.axes and set(asked.axes) <= set(workload.axes) else None


def _prefixed(section: Section, prefix: str) -> Section:
    return replace(
        section,
        plots=tuple(replace(p, name=prefix + p.name) for p in section.plots),
        tables=tuple(replace(t, name=prefix + t.name) for t in section.tables),
    )


def _write(
    folder: Path,
    name: str,
    summary: str,
    built: Sequence[tuple[Answer, Sequence[Section]]],
    said: tuple[Sequence[str], Sequence[str]],
) -> int:
    """Write the page, every plot and table, and the list of them; return how many files there are."""
    plots = [p for _, sections in built for s in sections for p in s.plots]
    tables = [t for _, sections in built for s in sections for t in s.tables]
    index = [(f"{plot.name}.{kind}", plot.title) for plot in plots for kind in FORMATS]
    index += [*((f"{table.name}.csv", table.title) for table in tables), ("answer.json", "The answer")]
    papers = [paper for a, sections in built for paper in for_papers(a.workload, sections)]
    index += [(f"{stem}.tex", shows) for stem, shows, _ in papers]
    place = folder / output.FILES
    earlier = output.begin(folder, index)
    found = in_processes(render, plots)
    drawn = tqdm(found, "drawing", len(plots), unit="plot", disable=not sys.stderr.isatty(), leave=False)
    for plot, files in zip(plots, drawn, strict=True):
        for kind, content in files.items():
            write_whole(place / f"{plot.name}.{kind}", content)
    for table in tables:
        write_whole(place / f"{table.name}.csv", table.frame.map(_guarded).to_csv(index=False, lineterminator="\n"))
    for stem, _, tex in papers:
        write_whole(place / f"{stem}.tex", tex)
    write_whole(place / "answer.json", json.dumps([_json(a) for a, _ in built], indent=2, allow_nan=False) + "\n")
    output.forget(place, earlier - {file for file, _ in index})
    output.finish(place, index)
    write_whole(folder / output.PAGE, page(name, summary, built, said[1], said[0]))
    return len(index)


def _guarded(value: object) -> object:
    """Keep a spreadsheet from taking a text for a formula."""
    return f"'{value}" if isinstance(value, str) and re.match(r"[=+@\t\r]|-\D", value) else value


def _json(a: Answer) -> dict[str, Any]:
    workload = a.workload
    return {
        "workload": workload.name or workload.about,
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
        "rivals": a.rivals,
        "can_be_best": [_named(workload, s) for s in ([0, *workload.rivals] if workload.best is not None else [])],
        "margin": workload.margin,
        "equivalent": [_named(workload, s) for s in equivalents(workload)],
        "matters": list(a.matters),
        "warnings": list(a.warnings),
        "notes": list(a.notes),
        "caveats": list(workload.caveats),
        "surer": [{"what": reason, "command": command} for reason, command in a.surer],
    }


def _named(workload: Workload, setting: int) -> dict[str, str]:
    return {axis: str(workload.table.at[setting, axis]) for axis in workload.axes}


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
