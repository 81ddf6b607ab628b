"""What a study is, and how one is run: sweep → records → judgement → verdict. Nothing of it trains by itself."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from runner.errors import OptbenchError
from runner.job import OUTPUTS
from runner.record import write_whole
from runner.report.figures import render
from runner.report.load import Records, load
from runner.report.parts import Plot


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
    """``theory`` must hold to its tolerance, ``ordering`` with its confidence interval."""
    rule: str
    """When it counts as reproduced, fixed before the run."""
    seconds: int
    """About how long it takes on 2 cores."""
    sweep: tuple[str, ...]
    """Overrides, as after ``optbench train -m``; a lone plus joins grids."""
    judge: Callable[[Records], Judgement]

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

    def as_json(self) -> dict[str, Any]:
        """Return the contents of ``verdict.json``."""
        return {
            "study": self.study.name,
            "class": self.study.kind,
            "verdict": self.verdict,
            "finding": self.study.finding,
            "rule": self.study.rule,
            "source": self.study.source,
            "numbers": json.loads(self.numbers.to_json(orient="records", double_precision=15)),
        }


def run(study: Study) -> Verdict:
    """Run a study's sweep, what is finished skipped; judge its records; write the verdict, its numbers and its plot.

    Raises:
        OptbenchError: if a run failed or was interrupted: there is no verdict then.
    """
    from runner.compose import Composer, start_hydra
    from runner.sweep.plan import Grid, plan, spell_out_seeds, split_parts
    from runner.sweep.workers import run_jobs

    (study.folder / "verdict.json").unlink(missing_ok=True)  # none is left of a study that does not end
    composer = Composer(start_hydra().config_loader)
    shared, *parts = split_parts(spell_out_seeds([f"name=study-{study.name}", *study.sweep]))
    grid = Grid(tuple(shared), tuple(map(tuple, parts)))
    jobs = plan(composer, grid.jobs(composer))
    outcomes = run_jobs(jobs, lambda outcome: None)
    troubled = [o for o in outcomes if o.summary["status"] in ("failed", "interrupted")]
    if troubled:
        first = troubled[0]
        if any(o.summary.get("stop_reason") == "interrupted" for o in troubled):
            raise KeyboardInterrupt
        raise OptbenchError(f"{study.name}: {first.job} {first.summary['status']}: {first.summary.get('stop_reason')}")
    records = load(study.folder)
    own = {job.run_id for job in jobs}  # an earlier version's runs may lie there too
    records.runs = records.runs[records.runs["run_id"].isin(own)].reset_index(drop=True)
    judgement = study.judge(records)
    word = {True: "reproduced", False: "not_reproduced", None: "inconclusive"}[judgement.holds]
    verdict = Verdict(study, word, judgement.numbers)
    png, svg = render(judgement.plot)
    write_whole(study.folder / "plot.png", png)
    write_whole(study.folder / "plot.svg", svg)
    write_whole(study.folder / "numbers.csv", judgement.numbers.to_csv(index=False, lineterminator="\n"))
    write_whole(study.folder / "verdict.json", json.dumps(verdict.as_json(), indent=2) + "\n")
    return verdict


def weights_of(place: Path) -> dict[str, Any]:
    """Return the weights that a run ended with, by name."""
    from runner.engine import checkpoint

    found: dict[str, Any] = checkpoint.load(place / "checkpoint.pt")["model"]
    return found
