"""Running a contest's shards: trials, then the finals of what they chose, then everything packed into one file.

A shard that is killed goes on: its runs are ordinary ones, and those that have ended are not trained again.
"""

import os
import platform
import resource
import time
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import replace
from itertools import groupby
from typing import Any

import numpy as np
import pandas as pd

import runner
from runner.run.job import Job, prepare
from runner.study.contest import packed, plan
from runner.study.contest.choice import chosen
from runner.study.contest.plan import Contest, Part, Run
from runner.study.study import train

Say = Callable[[str], None]


def run_shard(contest: Contest, number: int, of: int, say: Say) -> None:
    """Run a shard's parts that no packed shard holds, and pack them.

    Args:
        contest: whose.
        number: of the shard, from 1 on.
        of: how many shards there are.
        say: is told how far it is.

    Raises:
        OptbenchError: if a run failed or was interrupted; the same command goes on.
    """
    held, _ = packed.read(contest)
    waiting = packed.missing(plan.shard(contest, number, of), held)
    name = f"{contest.name}-{number:02d}of{of:02d}"
    if not waiting:
        say(f"{name}: every part of it is packed")
        return
    began, rows, processor = time.monotonic(), list[dict[str, object]](), dict[str, tuple[float, int]]()
    for (workload, schedule), group in groupby(waiting, lambda part: part.key[:2]):
        cell_began, before = _processor_seconds(), len(rows)
        rows += _cell(contest, list(group), say)
        spent, runs = round(_processor_seconds() - cell_began, 1), len(rows) - before
        processor[f"{workload} {schedule}"] = spent, runs
        say(f"{workload}, {schedule}: {runs} runs in {spent:.0f} s of a processor")
    about = {"seconds": round(time.monotonic() - began, 1), "runs": len(rows), "processor": processor, **_versions()}
    say(f"{packed.keep(contest, name, rows, about)}: {len(rows)} runs, {about['seconds']:.0f} s")


def _cell(contest: Contest, parts: Sequence[Part], say: Say) -> list[dict[str, object]]:
    """Train all runs of some parts of one workload and schedule, side by side; return what is kept of them."""
    rows = rows_of(contest, [run for part in parts for run in plan.tuning(contest, part)], say)
    trials = pd.DataFrame(rows)
    finals: list[Run] = []
    for part in parts:
        own = trials[trials["optimizer"] == part.contender.name]
        finals += plan.finals(contest, part, [chosen(own, budget) for budget in contest.budgets])
    rows += rows_of(contest, finals, say)
    alone = [run for part in parts for run in plan.timed(contest, part)]
    return rows + [{**packed.head(contest, run), "status": "timed", "step_seconds": step_seconds(run)} for run in alone]


def step_seconds(run: Run) -> float:
    """Return the seconds of a processor that a step of a run takes by itself, on one thread; evaluations left out.

    It is the median of ten steps at a time: others use the machine, and some optimizers do more in every tenth step.
    """
    import torch

    from runner.engine import loop
    from runner.engine.state import start
    from runner.run.build import build

    torch.set_num_threads(1)
    state = start(build(prepare(plan.composer().compose(["engine=loop", *run.overrides]))))
    marks: list[float] = []

    def over(*of: object) -> bool:
        marks.append(time.process_time())
        return False

    for _ in loop.train(state, over):
        pass
    return float(np.median(np.diff(marks[::10])[2:])) / 10


def _processor_seconds() -> float:
    """Return what this process and its workers that have ended have spent."""
    return sum(sum(resource.getrusage(of)[:2]) for of in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))


def rows_of(contest: Contest, runs: Sequence[Run], say: Say) -> list[dict[str, object]]:
    """Train runs of one workload and schedule, what is finished skipped; return what is kept of each.

    Args:
        contest: whose.
        runs: which.
        say: is told of what goes wrong.
    """
    workload, schedule, _ = runs[0].part.key
    folder = f"name=study-{contest.name}-{workload}-{schedule}"
    asked = [[folder, "baselines=false", *run.overrides] for run in runs]
    jobs = train(plan.composer(), asked, f"optbench study {contest.name}", say)
    by_overrides: dict[tuple[str, ...], Job] = {tuple(job.overrides): job for job in jobs}
    return [packed.row(contest, run, by_overrides[tuple(one)]) for run, one in zip(runs, asked, strict=True)]


def again(
    contest: Contest,
    frame: pd.DataFrame,
    seeds: Iterable[int],
    say: Say,
    which: Collection[tuple[str, ...]] | None = None,
) -> pd.DataFrame:
    """Return packed records with finals run anew on other seeds; what the trials chose stays chosen.

    Args:
        contest: whose.
        frame: its packed runs.
        seeds: that no packed run has.
        say: is told how far it is.
        which: parts, by their keys; None: all. The others stay as they are.
    """
    other = replace(contest, seeds=tuple(seeds))
    every = plan.parts(contest)
    missing = packed.missing(every, frame)
    held = [part for part in every if part not in missing and (which is None or part.key in which)]
    rows: list[dict[str, object]] = []
    for _, group in groupby(held, lambda part: part.key[:2]):
        runs: list[Run] = []
        for part in group:
            own = frame[(frame[packed.KEY] == list(part.key)).all(axis=1) & (frame["role"] == plan.TRIAL)]
            runs += plan.finals(other, part, [chosen(own, budget) for budget in contest.budgets])
        say(f"{runs[0].part.key[0]}, {runs[0].part.key[1]}: {len(runs)} runs")
        rows += rows_of(other, runs, say)
    keys = {part.key for part in held}
    replaced = np.array([key in keys for key in map(tuple, frame[packed.KEY].to_numpy())])
    kept = frame[~(frame["role"].isin([plan.FINAL, plan.LENGTH]) & replaced)]
    return pd.concat([kept, pd.DataFrame(rows, columns=list(packed.COLUMNS))], ignore_index=True)


def _versions() -> dict[str, Any]:
    import torch

    found = {"optbench": runner.__version__, "torch": torch.__version__, "python": platform.python_version()}
    return {**found, "day": time.strftime("%Y-%m-%d"), "processors": os.cpu_count()}
