"""What a contest's packed records say: its verdict, as a study's, and how much of it is packed."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from runner.errors import ConfigError
from runner.report.drawing.figures import render
from runner.run.job import OUTPUTS
from runner.run.record import write_whole
from runner.study.contest import crowded, modern, packed, plan
from runner.study.contest.plan import Contest
from runner.study.study import Judgement

JUDGES: dict[str, Callable[[Contest, pd.DataFrame], Judgement]] = {
    "modern": modern.judge,
    "crowded": crowded.judge,
    "crowded-large": crowded.judge,
}
WORDS = {True: "reproduced", False: "not_reproduced", None: "inconclusive"}


def write(contest: Contest) -> tuple[dict[str, Any], pd.DataFrame, Path]:
    """Judge what is packed of a contest; write verdict, numbers and plot, and return the first two and where they lie.

    Raises:
        ConfigError: if nothing is packed.
    """
    frame, told = packed.read(contest)
    if not len(frame):
        count = len(plan.cells(contest))
        raise ConfigError(
            f"{contest.name}: nothing of it was run yet: it has {count} shards, optbench study {contest.name} "
            f"--shard 1/{count} runs the first, in about {hours(contest)} all together"
        )
    judgement = JUDGES[contest.name](contest, frame)
    held = len(plan.parts(contest)) - len(packed.missing(contest, plan.parts(contest), frame))
    verdict = {
        "study": contest.name,
        "class": "ordering",
        "verdict": WORDS[judgement.holds],
        "finding": contest.finding,
        "rule": contest.rule,
        "source": contest.source,
        "runs": len(frame),
        "train_seconds": round(sum(float(one["seconds"]) for one in told), 1),
        "parts": held,
        "parts_in_all": len(plan.every_part(contest)),
        "numbers": json.loads(judgement.numbers.to_json(orient="records", double_precision=15)),
    }
    folder = OUTPUTS / f"study-{contest.name}"
    folder.mkdir(parents=True, exist_ok=True)
    for kind, drawn in render(judgement.plot, ("png", "svg")).items():
        write_whole(folder / f"plot.{kind}", drawn)
    write_whole(folder / "numbers.csv", judgement.numbers.to_csv(index=False, lineterminator="\n"))
    write_whole(folder / "verdict.json", json.dumps(verdict, indent=2) + "\n")
    return verdict, judgement.numbers, folder / "verdict.json"


def hours(contest: Contest) -> str:
    """Return about how long a contest takes one thread, by what runs of its workloads took."""
    seconds = sum(plan.seconds(contest, part) for part in plan.parts(contest))
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def said(contest: Contest) -> list[str]:
    """Return which parts no shard holds, a line a cell, with the command that runs it; and what is no option."""
    return said_of(contest, packed.read(contest)[0], {})


def said_of(contest: Contest, frame: pd.DataFrame, measured: Mapping[str, float]) -> list[str]:
    """Return the same of some packed runs.

    Args:
        contest: whose.
        frame: its packed runs.
        measured: seconds of a run on a workload, where they are known better.
    """
    lines = []
    every = plan.cells(contest)
    for number, cell in enumerate(every, 1):
        left = packed.missing(contest, plan.shard(contest, number, len(every)), frame)
        if not left:
            continue
        seconds = sum(
            plan.runs_of(contest, part) * measured.get(part.workload.name, part.workload.seconds) for part in left
        )
        which = "all" if len(left) == len(plan.shard(contest, number, len(every))) else f"{len(left)} optimizers, "
        names = which if which == "all" else which + ", ".join(part.contender.name for part in left)
        command = f"optbench study {contest.name} --shard {number}/{len(every)}"
        lines.append(f"not run: {', '.join(cell)}: {names}; about {seconds:.0f} s: `{command}`")
    if gone := plan.absent(contest):
        lines.append(f"no options here, and so not run: {', '.join(gone)}")
    return lines
