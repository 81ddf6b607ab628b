"""A sweep: every job composed, checked and named before the first one starts; then each to its end."""

from collections.abc import Callable, Sequence

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

from runner.compose import Composer, from_hydra
from runner.errors import ConfigError, OptbenchError
from runner.job import Job, prepare
from runner.record import read_summary
from runner.train import Interruption, Outcome, finished, run_job


def plan(composer: Composer, job_overrides: Sequence[Sequence[str]]) -> list[Job]:
    """Return the jobs of a sweep, each run once whatever names it was asked by.

    Raises:
        ConfigError: naming the first job that cannot be run; nothing has been written.
    """
    jobs: dict[str, Job] = {}
    for number, overrides in enumerate(job_overrides):
        try:
            job = prepare(composer.compose(overrides))
            if job.run_id not in jobs and finished(job) is None:
                from runner.build import build

                build(job)
        except ConfigError as error:
            if len(job_overrides) == 1:
                raise
            raise ConfigError(f"job {number} of {len(job_overrides)} ({' '.join(overrides)}): {error}") from error
        jobs.setdefault(job.run_id, job)
    names = {job.config["name"] for job in jobs.values()}
    if len(names) > 1:
        raise ConfigError(f"name takes one value a sweep, got {', '.join(sorted(names))}")
    return list(jobs.values())


def run_jobs(jobs: Sequence[Job], report: Callable[[Outcome], None]) -> list[Outcome]:
    """Run jobs one after another; a failing one costs itself only. Stops where one was interrupted."""
    interruption = Interruption()
    outcomes: list[Outcome] = []
    for job in jobs:
        try:
            outcome = run_job(job, save="none", interruption=interruption)
        except OptbenchError as error:
            summary = {"status": "failed", "stop_reason": str(error), "run_id": job.run_id}
            outcome = Outcome(job, summary, trained=True)
        outcomes.append(outcome)
        report(outcome)
        if outcome.summary["status"] == "interrupted":
            break
    return outcomes


def outcomes_of(jobs: Sequence[Job]) -> list[Outcome]:
    """Return what the records say became of jobs; one that never started is ``interrupted``."""
    return [Outcome(job, read_summary(job.folder) or {"status": "interrupted"}, trained=False) for job in jobs]


def task(config: DictConfig) -> float | None:
    """Run one job that another of Hydra's launchers composed; returns its final validation loss."""
    overrides = list(HydraConfig.get().overrides.task)
    outcome = run_job(prepare(from_hydra(config, overrides)), save="none", bar=False)
    loss = outcome.summary.get("final_val_loss")
    return float(loss) if loss is not None else None
