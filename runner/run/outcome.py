"""What became of a job, and which finished runs need not be trained again. Never imports torch."""

from dataclasses import dataclass
from typing import Any

from runner.run import record
from runner.run.job import Job


@dataclass(frozen=True)
class Outcome:
    """What became of a job."""

    job: Job
    summary: dict[str, Any]
    trained: bool
    """False where a finished run was found in its place."""


def begun_alone(job: Job) -> bool:
    """Say whether the reference engine was stopped in a run, which goes on with it whatever engine is asked for."""
    if not (job.folder / "checkpoint.pt").exists():
        return False
    summary = record.read_summary(job.folder)  # of a finished run it holds the weights
    return summary is None or summary["status"] not in record.FINISHED


def finished(job: Job, save: str = "none") -> dict[str, Any] | None:
    """Return the summary of a run that need not be trained, or trained on, or None.

    Args:
        job: the run.
        save: the weights wanted where the config leaves it open: last, best or none.
    """
    summary = record.read_summary(job.folder)
    if summary is None or job.config["force"]:
        return None
    if summary["status"] == "paused":
        return summary if _is_paused_there(job, summary) else None
    if summary["status"] not in record.ENDED:
        return None
    if summary["status"] == "failed":
        return summary if job.config["retry"] == "none" else None
    return summary if _holds_what_is_asked(job, job.config["save"] or save, summary) else None


def _is_paused_there(job: Job, summary: dict[str, Any]) -> bool:
    at, steps = job.config["pause_at"], summary.get("steps")
    return at is not None and isinstance(steps, int) and steps >= at and summary.get("asked") == asked(job)


def _holds_what_is_asked(job: Job, save: str, summary: dict[str, Any]) -> bool:
    config, diverged = job.config, summary["status"] == "diverged"
    if job.target is not None and summary.get("target") != job.target:
        return False
    # Where nobody said which weights, those of the best evaluation will do.
    enough = (save,) if config["save"] is not None else ("last", "best")
    if save != "none" and summary.get("saved") not in enough and not diverged:
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
    return [*(job.config[key] for key in ("metrics", "diagnostics", "sharpness", "eval_every")), job.target]
