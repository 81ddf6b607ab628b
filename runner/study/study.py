"""What a study is, and how one is run: sweep → records → judgement → verdict. Nothing of it trains by itself."""

import csv
import json
import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pandas as pd

from runner.config.chosen import chosen
from runner.config.compose import Composer
from runner.config.identity import identity
from runner.errors import ConfigError, OptbenchError, RecordError
from runner.report.drawing.figures import render
from runner.report.evaluations import FIRST
from runner.report.load import Records, load
from runner.report.section import Plot
from runner.run import files, launches, record
from runner.run.job import OUTPUTS, Job, read_source
from runner.run.lock import holding
from runner.run.outcome import finished
from runner.run.record import write_whole
from runner.sweep.launch import run_all
from runner.sweep.launch.processes import launch, number_of_workers
from runner.sweep.plan import Grid, plan, spell_out_seeds, split_parts


@dataclass(frozen=True)
class Judgement:
    """What a study's records say."""

    holds: bool | None
    """Whether the finding was reproduced; None where the records leave it open."""
    numbers: pd.DataFrame
    """What was measured beside what was expected, a row each."""
    plot: Plot


@dataclass(frozen=True)
class Study:
    """A finding and how it is tested."""

    name: str
    finding: str
    source: str
    kind: str
    """``theory`` must hold to its tolerance, ``ordering`` compares, mostly by 95 % intervals."""
    rule: str
    """When it counts as reproduced, fixed before the run."""
    seconds: int
    """About how long it takes on 2 cores."""
    sweep: tuple[str, ...]
    """Overrides, as after ``optbench train -m``; a lone plus joins grids."""
    judge: Callable[[Records], Judgement]
    then: Callable[[Sequence[Job]], Sequence[str]] | None = None
    """Overrides of a second sweep, given the jobs of the first, which have ended: it begins where they did."""
    refuse: Callable[[], None] | None = None
    """Raises a ConfigError where what the judgement needs is not installed, before anything is trained."""

    @property
    def folder(self) -> Path:
        """Where its runs and its verdict lie."""
        return OUTPUTS / f"study-{self.name}"


@dataclass(frozen=True)
class Verdict:
    """What became of a study, as ``verdict.json`` holds it."""

    study: Study
    verdict: str
    """``reproduced``, ``not_reproduced`` or ``inconclusive``."""
    numbers: pd.DataFrame
    runs: int
    """How many were judged."""
    train_seconds: float
    """Of all of them together, one thread each."""
    versions: dict[str, str]
    """By which the runs were made."""

    def as_json(self) -> dict[str, Any]:
        """Return the contents of ``verdict.json``."""
        return {
            "study": self.study.name,
            "class": self.study.kind,
            "verdict": self.verdict,
            "finding": self.study.finding,
            "rule": self.study.rule,
            "source": self.study.source,
            "runs": self.runs,
            "train_seconds": round(self.train_seconds, 1),
            "date": datetime.now(UTC).date().isoformat(),
            "versions": self.versions,
            "numbers": rows_of(self.numbers),
        }


VERDICT = ("verdict.json", "numbers.csv", "plot.png", "plot.svg")
WORDS = {True: "reproduced", False: "not_reproduced", None: "inconclusive"}
"""Verdicts, by whether the finding holds."""


def run(study: Study, say: Callable[[str], None]) -> Verdict:
    """Run a study's sweep, what is finished skipped; judge its records; write the verdict, its numbers and its plot.

    Args:
        study: what to run.
        say: is told of each run that is trained again, as its records are damaged.

    Raises:
        ConfigError: if what it needs is not installed.
        OptbenchError: if a run failed or was interrupted: there is no verdict then.
    """
    if study.refuse is not None:
        study.refuse()
    composer = Composer.over()

    def begins() -> None:
        for name in VERDICT:  # none is left of a study that does not end
            (study.folder / name).unlink(missing_ok=True)

    command = f"optbench study {study.name}"
    jobs = train(composer, overrides_of(study, study.sweep, composer), command, say, begins)
    if study.then is not None:
        jobs += train(composer, overrides_of(study, study.then(jobs), composer), command, say, begins)
    record.rebuild_runs_csv(study.folder)  # what is judged is what the folders hold
    records = load(study.folder)
    own = {job.run_id for job in jobs}  # an earlier version's runs may lie there too
    records.runs = records.runs[records.runs["run_id"].isin(own)].reset_index(drop=True)
    judgement = study.judge(records)
    seconds = float(records.number("train_seconds").sum())
    verdict = Verdict(study, WORDS[judgement.holds], judgement.numbers, len(records.runs), seconds, _versions(records))
    write_verdict(study.folder, verdict.as_json(), judgement)
    return verdict


def rows_of(numbers: pd.DataFrame) -> list[dict[str, Any]]:
    """Return a verdict's numbers as ``verdict.json`` holds them: NaN is null."""
    found: list[dict[str, Any]] = json.loads(numbers.to_json(orient="records", double_precision=15))
    return found


def write_verdict(folder: Path, verdict: Mapping[str, Any], judgement: Judgement) -> Path:
    """Write a verdict with its numbers and its plot, and return where it lies.

    Raises:
        RecordError: if it cannot be written.
    """
    with record.writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
    for kind, drawn in render(judgement.plot, ("png", "svg")).items():
        write_whole(folder / f"plot.{kind}", drawn)
    write_whole(folder / "numbers.csv", judgement.numbers.to_csv(index=False, lineterminator="\n"))
    write_whole(folder / "verdict.json", json.dumps(verdict, indent=2) + "\n")
    return folder / "verdict.json"


def overrides_of(study: Study, sweep: Sequence[str], composer: Composer) -> list[list[str]]:
    """Return the overrides of each run of one of a study's sweeps."""
    shared, *parts = split_parts(spell_out_seeds([f"name=study-{study.name}", *sweep]))
    return Grid(tuple(shared), tuple(map(tuple, parts))).jobs(composer)


def train(
    composer: Composer,
    overrides: Sequence[Sequence[str]],
    command: str,
    say: Callable[[str], None],
    begins: Callable[[], None] = lambda: None,
) -> list[Job]:
    """Train the runs of one folder, what is finished skipped; return them, their records whole.

    Args:
        composer: composes them.
        overrides: of each run, the same ``name=`` in all.
        command: what asks for them.
        say: is told of each run that is trained again, as its records are damaged.
        begins: is called where any is left to be trained.

    Raises:
        OptbenchError: if a run failed or was interrupted.
    """
    jobs = plan(composer, overrides)
    for job in jobs:
        if damage(job) is not None:
            _set_aside(job, say)
    if any(finished(job) is None for job in jobs):
        begins()
    launches.note(jobs[0].folder.parent, command, [job.run_id for job in jobs])
    outcomes = run_all(jobs, launch, number_of_workers(jobs), lambda outcome: None)
    troubled = [o for o in outcomes if o.summary["status"] in ("failed", "interrupted")]
    if troubled:
        first = troubled[0]
        if any(o.summary.get("stop_reason") == "interrupted" for o in troubled):
            raise KeyboardInterrupt
        status, reason = first.summary["status"], first.summary.get("stop_reason")
        raise OptbenchError(f"{command.split()[2]}: {first.job} {status}: {reason}")
    for job in jobs:
        if (found := damage(job)) is not None:
            raise RecordError(f"{job.folder}: {found}; the same command trains this run again")
    return jobs


def read_verdict(study: Study) -> dict[str, Any] | None:
    """Return what ``verdict.json`` holds, or None of a study that was not run, or by another rule."""
    try:
        found = json.loads((study.folder / "verdict.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    whole = isinstance(found, dict) and {"verdict", "rule", "numbers", "runs", "train_seconds"} <= found.keys()
    return found if whole and found["rule"] == study.rule else None


def _versions(records: Records) -> dict[str, str]:
    """Return the versions by which runs were made, several where they differ."""
    named = {name: f"{name}_version" for name in ("optbench", "torch", "python")}
    return {
        name: " and ".join(sorted(map(str, records.runs[column].unique())))
        for name, column in named.items()
        if column in records.runs
    }


def _set_aside(job: Job, say: Callable[[str], None]) -> None:
    """Move a damaged run's folder away, unless another process is training it anew already."""
    with record.writing(job.lock), holding(job.lock) as held:
        if held and (found := damage(job)) is not None:
            say(f"{job.folder}: {found}; it is trained again, what was there is in {record.keep_aside(job.folder)}")


def damage(job: Job) -> str | None:
    """Say what of a finished run's records does not hold what its summary says; None of one that is whole or to come.

    A run that is judged by fewer rows than it made would be another run.
    """
    summary = files.read_summary(job.folder)
    if summary is None:
        return "summary.json cannot be read" if (job.folder / "summary.json").exists() else None
    if summary["status"] not in files.FINISHED:
        return None
    try:
        if identity(files.read_config(job.folder), "", {}) != identity(job.config, "", {}, job.known):
            return "config.yaml is of another run"
        rows = _rows(job.folder / "metrics.csv", FIRST)
        every, epochs = summary["eval_every"], summary["epochs"]
        evaluations = 1 + math.ceil(summary["steps"] / every if every else epochs)
        steps = [int(row["step"]) for row in rows]
        if len(rows) != evaluations or steps != sorted({0, *steps, summary["steps"]}):
            return f"metrics.csv has {len(rows)} of {evaluations} rows up to step {summary['steps']}"
        if job.config["diagnostics"]:
            found = Counter(int(row["step"]) for row in _rows(job.folder / "layers.csv", LAYERS))
            evaluated = [int(row["step"]) for row in rows if row["val_loss"]]
            if list(found) != evaluated or len(set(found.values())) > 1:
                return f"layers.csv has not every layer at {len(evaluated)} evaluations"
        if job.config["save"] in ("last", "best") and summary["saved"] != "none":
            weights_of(job.folder)
    except (ConfigError, RecordError) as error:
        return str(error)
    except (KeyError, TypeError, ValueError, csv.Error) as error:
        return f"its records cannot be read: {type(error).__name__}: {error}"
    return None


LAYERS = ("activation_second_moment", "output_variance", "gradient_second_moment", "dead_fraction")
"""What judgements read of ``layers.csv``."""


def _rows(path: Path, columns: Sequence[str]) -> list[dict[str, str]]:
    """Return a run's rows, of which every cell is a number or says nothing, but for a layer's name and a status.

    Raises:
        ValueError: naming the file, if a column or a cell is missing, or a cell holds something else.
    """
    rows = files.read_csv(path)
    for number, row in enumerate(rows, 1):
        if not {"step", *columns} <= row.keys() or not all(isinstance(cell, str) for cell in row.values()):
            raise ValueError(f"row {number} of {path.name} does not have its columns")
        try:
            [float(cell) for name, cell in row.items() if cell and name not in ("layer", "status")]
        except ValueError as error:
            raise ValueError(f"row {number} of {path.name}: {error}") from error
    return rows


def job_of(place: Path) -> Job:
    """Return the job of a run that has ended, to build its model and data once more."""
    config = files.read_config(place)
    return Job(config, chosen(config), read_source(config, ()), "", frozenset())


def weights_of(place: Path) -> dict[str, Any]:
    """Return the weights that a run ended with, by name."""
    from runner.engine import checkpoint

    found: dict[str, Any] = checkpoint.load_weights(place / "checkpoint.pt")["model"]
    return found
