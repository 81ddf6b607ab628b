"""Running a contest's shards: trials, then the finals of what they chose, then everything packed into one file.

A shard that is killed goes on: its runs are ordinary ones, and those that have ended are not trained again.
"""

import os
import platform
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from itertools import groupby
from typing import Any

import pandas as pd

import runner
from runner.run.job import Job
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
    waiting = packed.missing(contest, plan.shard(contest, number, of), held)
    name = f"{contest.name}-{number:02d}of{of:02d}"
    if not waiting:
        say(f"{name}: every part of it is packed")
        return
    began, rows, seconds = time.monotonic(), list[dict[str, object]](), dict[str, float]()
    for (workload, schedule), group in groupby(waiting, lambda part: part.key[:2]):
        cell_began, before = time.monotonic(), len(rows)
        rows += _cell(contest, list(group), say)
        seconds[f"{workload} {schedule}"] = round(time.monotonic() - cell_began, 1)
        say(f"{workload}, {schedule}: {len(rows) - before} runs in {seconds[f'{workload} {schedule}']:.0f} s")
    about = {"seconds": round(time.monotonic() - began, 1), "runs": len(rows), "cells": seconds, **_versions()}
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
    return rows + (rows_of(contest, alone, say, "engine=loop") if alone else [])


def rows_of(contest: Contest, runs: Sequence[Run], say: Say, *more: str) -> list[dict[str, object]]:
    """Train runs of one workload and schedule, what is finished skipped; return what is kept of each.

    Args:
        contest: whose.
        runs: which.
        say: is told of what goes wrong.
        more: overrides of all of them that change nothing of what they find.
    """
    workload, schedule, _ = runs[0].part.key
    folder = f"name=study-{contest.name}-{workload}-{schedule}"
    asked = [[folder, "baselines=false", *more, *run.overrides] for run in runs]
    jobs = train(plan.composer(), asked, f"optbench study {contest.name}", say)
    by_overrides: dict[tuple[str, ...], Job] = {tuple(job.overrides): job for job in jobs}
    return [packed.row(contest, run, by_overrides[tuple(one)]) for run, one in zip(runs, asked, strict=True)]


def again(contest: Contest, frame: pd.DataFrame, seeds: Iterable[int], say: Say) -> pd.DataFrame:
    """Return packed records with the finals run anew on other seeds; what the trials chose stays chosen.

    Args:
        contest: whose.
        frame: its packed runs.
        seeds: that no packed run has.
        say: is told how far it is.
    """
    other = replace(contest, seeds=tuple(seeds))
    held = [part for part in plan.parts(contest) if part not in packed.missing(contest, [part], frame)]
    rows: list[dict[str, object]] = []
    for _, group in groupby(held, lambda part: part.key[:2]):
        runs: list[Run] = []
        for part in group:
            own = frame[(frame[packed.KEY] == part.key).all(axis=1) & (frame["role"] == plan.TRIAL)]
            runs += plan.finals(other, part, [chosen(own, budget) for budget in contest.budgets])
        say(f"{runs[0].part.key[0]}, {runs[0].part.key[1]}: {len(runs)} runs")
        rows += rows_of(other, runs, say)
    kept = frame[~frame["role"].isin([plan.FINAL, plan.LENGTH])]
    return pd.concat([kept, pd.DataFrame(rows, columns=list(packed.COLUMNS))], ignore_index=True)


def _versions() -> dict[str, Any]:
    import torch

    found = {"optbench": runner.__version__, "torch": torch.__version__, "python": platform.python_version()}
    return {**found, "day": time.strftime("%Y-%m-%d"), "processors": os.cpu_count()}
