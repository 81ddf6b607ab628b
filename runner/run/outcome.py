"""What became of a job, and which finished runs need not be trained again. Never imports torch."""

import functools
import json
from dataclasses import dataclass
from typing import Any

from runner.config.check import mistake
from runner.config.conflicts import version_of
from runner.data import Source
from runner.data.split import scales_rounding
from runner.run import files, packs
from runner.run.job import Job, parts_of

NORMALIZES_WELL = (0, 2, 0)
"""The version from which on a feature that is constant but for rounding is not scaled."""


@dataclass(frozen=True)
class Outcome:
    """What became of a job."""

    job: Job
    summary: dict[str, Any]
    trained: bool
    """False where a finished run was found in its place."""


def begun_alone(job: Job) -> bool:
    """Say whether an interrupted run was started by the loop engine: it resumes there, whatever engine is asked for."""
    place = job.folder / "checkpoint.pt"
    if not place.exists() or files.status_of(job.folder) in files.FINISHED:  # of a finished run it holds the weights
        return False
    # Those are all that a run of a stack leaves there; it writes them just before it has ended.
    return place.with_name(f"{place.name}.previous").exists() or not packs.left_a_checkpoint(job)


def finished(job: Job, save: str = "none") -> dict[str, Any] | None:
    """Return the summary of a run that need not be trained, or trained on, or None.

    Args:
        job: the run.
        save: the weights wanted where the config leaves it open: last, best or none.
    """
    summary = files.read_summary(job.folder)
    if summary is None or job.config["force"]:
        return None
    if summary["status"] == "paused":
        return summary if _is_paused_there(job, summary) else None
    if summary["status"] not in files.ENDED:
        return None
    if summary["status"] == "failed":
        return summary if job.config["retry"] == "none" else None
    if outdated(job, summary) is not None:
        return None
    return summary if _holds_what_is_asked(job, job.config["save"] or save, summary) else None


def outdated(job: Job, summary: dict[str, Any]) -> str | None:
    """Return why a finished run is trained again, or None: an older version made it wrongly, or names changed."""
    if summary.get("data_names") not in (None, job.source.names):
        return "the classes or columns of its data are called otherwise now"
    version = summary.get("optbench_version")
    if not isinstance(version, str):
        return None
    if (known := mistake(job.config, job.known, version)) is not None:
        return known
    data = job.config.get("data")
    if data and version_of(version) < NORMALIZES_WELL and _scaled_rounding(job.source, json.dumps(data)):
        return "a feature that is constant but for rounding was scaled by its rounding"
    return None


@functools.lru_cache(maxsize=16)  # the runs of a sweep share their data
def _scaled_rounding(source: Source, settings: str) -> bool:
    if source.samples.x.dtype == "uint8":  # of which no feature is nearly constant
        return False
    data = json.loads(settings)
    return scales_rounding(parts_of({"data": data}, source, "float64").train, data["normalize"])


def _is_paused_there(job: Job, summary: dict[str, Any]) -> bool:
    at, steps = job.config["pause_at"], summary.get("steps")
    return at is not None and isinstance(steps, int) and steps >= at and summary.get("asked") == asked(job)


def _holds_what_is_asked(job: Job, save: str, summary: dict[str, Any]) -> bool:
    if job.is_own:  # all that it records decides its id
        return True
    config, diverged = job.config, summary["status"] == "diverged"
    if job.target is not None and summary.get("target") != job.target:
        return False
    # Where nobody said which weights, those of the best evaluation will do.
    enough = (save,) if config["save"] is not None else ("last", "best")
    if save != "none" and summary.get("saved") not in enough and not diverged:
        return False
    if config["snapshots"] is not None and summary.get("snapshots") != config["snapshots"] and not diverged:
        return False
    if config["diagnostics"] and not summary.get("diagnostics"):
        return False
    if config["sharpness"] and "final_sharpness" not in summary:
        return False
    if any(f"final_train_{path.rpartition('.')[2]}" not in summary for path in config["metrics"]) and not diverged:
        return False
    epoch = summary.get("steps_per_epoch")
    asked, held = (every or epoch for every in (config["eval_every"], summary.get("eval_every")))
    return isinstance(asked, int) and isinstance(held, int) and asked % held == 0


def asked(job: Job) -> list[Any]:
    """Return what decides a run's rows, or what its summary counts, and is no part of its identity."""
    if job.is_own:
        return []
    return [*(job.config[key] for key in ("metrics", "diagnostics", "sharpness", "eval_every")), job.target]
