"""Data that changed between runs that belong together. Never imports torch."""

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from runner.config.identity import choices
from runner.config.part_names import PART
from runner.config.scope import TASK
from runner.errors import ConfigError
from runner.run.files import read_csv
from runner.run.job import Job
from runner.run.record import cell

UNFINISHED = ("interrupted", "paused", "running")


def refuse_runs_of_other_data(jobs: Sequence[Job], now: Collection[str]) -> None:
    """Refuse jobs that go on with others of their sweep's folder, where these were trained on other data.

    Those are a run that was begun under the very same choices, and the other folds of a cross-validation.

    Args:
        jobs: which are to be run.
        now: the fingerprints of their data.

    Raises:
        ConfigError: naming the run and both fingerprints.
    """
    for folder in dict.fromkeys(job.folder.parent for job in jobs):
        ours = [job for job in jobs if job.folder.parent == folder]
        rows = [row for row in read_csv(folder / "runs.csv") if row.get("data_fingerprint", "") not in ("", *now)]
        for job in ours if rows else ():
            _refuse(job, rows, folder)


def _refuse(job: Job, rows: Sequence[Mapping[str, Any]], folder: Path) -> None:
    """Refuse a job that one of some runs on other data belongs with."""
    columns = {key: str(cell(value)) for key, value in choices(job.config).items()}
    for row in rows if "data" in job.config else ():
        differ = {key for key, value in columns.items() if key in row and row[key] != value}
        differ -= {key for key in differ if row[key] == PART and f"{key}.target" in columns}  # of an older version
        differ |= {TASK} if row.get(TASK, "") != columns.get(TASK, "") else set()
        begun = not differ and row.get("status") in UNFINISHED
        fold = differ <= {"data.fold"} and job.config["data"]["folds"] is not None
        if begun or fold:
            what = "it was begun" if begun else f"fold {row.get('data.fold')} was trained"
            raise ConfigError(
                f"{job}: the data has changed since {what} in {folder}: its fingerprint was "
                f"{row['data_fingerprint']}, now it is {job.source.fingerprint} (run {row['run_id']}); "
                "put the old data back, or give the new runs another name=…"
            )
