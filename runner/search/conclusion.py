"""What the finals of a search came to, as ``outputs/<name>/finals.json``: which runs they are, and whom they chose.

A report reads it. It follows from ``search.json`` and the runs, and every call of the search's command writes it anew.
"""

import json
from typing import Any

from runner.report.searched import FINALS
from runner.run.job import Job
from runner.run.record import write_whole
from runner.search.finals import JUDGING, MOST_SEEDS, Finals
from runner.search.study import measure_of
from runner.search.tune import Search


def run(search: Search) -> None:
    """Search until it ends or is interrupted, and write what the finals came to; raises as ``Search.run`` does."""
    search.run()
    write(search)


def write(search: Search) -> None:
    """Write what the finals came to, or take away what an earlier call wrote where they are not over."""
    path = search.study.folder / FINALS
    if not search.study.generations:
        return
    found = search.finals()
    if found is None or not found.over or found.chosen is None:
        path.unlink(missing_ok=True)
        return
    write_whole(path, json.dumps(_content(search, found, found.chosen), indent=1) + "\n")


def _content(search: Search, found: Finals, chosen: int) -> dict[str, Any]:
    column = search.study.measure(search.trials())
    assert column is not None, "who was chosen has a value"
    measure = measure_of(column)
    raced = found.raced(measure)
    can_be_best = [found.raced_to_the_end[i] for i in range(len(raced.inside)) if raced.inside[i]] if raced else []
    finalists = [
        {
            "setting": trial.setting,
            "trial": trial.folders,
            "raced": _ended(search, [job for n in range(MOST_SEEDS) for job in search.with_new_seed(trial, n)]),
            "judged": _ended(search, [job for n in JUDGING for job in search.with_new_seed(trial, n)])
            if place == chosen
            else [],
        }
        for place, trial in enumerate(search.finalists())
    ]
    return {
        "metric": measure.name,
        "trials": len([trial for trial in search.trials() if search.study.summaries(trial) is not None]),
        "chosen": chosen,
        "can_be_best": can_be_best or [chosen],
        "dropped": list(found.dropped),
        "regret": found.regret(measure),
        "finalists": finalists,
        "defaults": {"setting": list(search.space.fixed), "judged": _ended(search, search.defaults())},
    }


def _ended(search: Search, jobs: list[Job]) -> list[str]:
    return [job.folder.name for job in jobs if search.study.has_ended(job.folder.name)]
