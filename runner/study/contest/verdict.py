"""What a contest's packed records say: its verdict, as a study's, and how much of it is packed."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from runner.errors import ConfigError
from runner.run.job import OUTPUTS
from runner.study.contest import crowded, modern, packed, plan
from runner.study.contest.plan import Contest
from runner.study.study import WORDS, Judgement, rows_of, write_verdict

JUDGES: dict[str, Callable[[Contest, pd.DataFrame], Judgement]] = {
    "modern": modern.judge,
    "crowded": crowded.judge,
    "crowded-large": crowded.judge,
}


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
    every = plan.parts(contest)
    verdict = {
        "study": contest.name,
        "class": "ordering",
        "verdict": WORDS[judgement.holds],
        "finding": contest.finding,
        "rule": contest.rule,
        "source": contest.source,
        "runs": len(frame),
        "seconds": round(sum(float(one["seconds"]) for one in told), 1),
        "parts": len(every) - len(packed.missing(every, frame)),
        "parts_in_all": len(plan.every_part(contest)),
        "numbers": rows_of(judgement.numbers),
    }
    return verdict, judgement.numbers, write_verdict(OUTPUTS / f"study-{contest.name}", verdict, judgement)


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
        of_cell = plan.shard(contest, number, len(every))
        left = packed.missing(of_cell, frame)
        if not left:
            continue
        seconds = sum(
            plan.runs_of(contest, part) * measured.get(part.workload.name, part.workload.seconds) for part in left
        )
        few = f"{len(left)} optimizers, {', '.join(part.contender.name for part in left)}"
        names = "all" if len(left) == len(of_cell) else few
        command = f"optbench study {contest.name} --shard {number}/{len(every)}"
        lines.append(f"not run: {', '.join(cell)}: {names}; about {seconds:.0f} s: `{command}`")
    if gone := plan.absent(contest):
        lines.append(f"no options here, and so not run: {', '.join(gone)}")
    return lines
