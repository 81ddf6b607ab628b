"""Hydra's door to optbench's sweeps: a sweeper that checks every job first, and a launcher that runs them.

Hydra imports this module whenever it starts, so nothing heavy is imported at its top.
"""

from collections.abc import Sequence
from typing import Any

from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.config_store import ConfigStore
from hydra.core.utils import JobReturn, JobStatus
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig


class OptbenchSweeper(BasicSweeper):
    """Hydra's basic sweeper, with all jobs composed and checked before anything is written or launched."""

    def __init__(self) -> None:
        super().__init__(max_batch_size=None)

    def sweep(self, arguments: list[str]) -> Any:
        """Launch every distinct job of the grid once, and return what became of each."""
        from runner.compose import Composer
        from runner.sweep import outcomes_of, plan

        assert self.hydra_context is not None and self.launcher is not None
        composer = Composer(self.hydra_context.config_loader)
        jobs = plan(composer, composer.expand(arguments))
        self.launcher.launch([list(job.overrides) for job in jobs], initial_job_idx=0)
        return self.launcher.outcomes if isinstance(self.launcher, OptbenchLauncher) else outcomes_of(jobs)


class OptbenchLauncher(Launcher):
    """Runs jobs in this process, one after another."""

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        """Keep what Hydra hands to every launcher."""
        self.hydra_context, self.config = hydra_context, config

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
        """Run the jobs; a failing one is recorded as such and stops none of the others."""
        from runner.cli import report_outcome
        from runner.compose import Composer
        from runner.sweep import plan, run_jobs

        jobs = plan(Composer(self.hydra_context.config_loader), job_overrides)
        self.outcomes = run_jobs(jobs, report_outcome)
        returned = []
        for outcome in self.outcomes:
            job_return = JobReturn(overrides=list(outcome.job.overrides), status=JobStatus.COMPLETED)
            job_return.return_value = outcome.summary.get("final_val_loss")
            returned.append(job_return)
        return returned


ConfigStore.instance().store(
    group="hydra/sweeper", name="optbench", node={"_target_": "hydra_plugins.optbench.OptbenchSweeper"}
)
ConfigStore.instance().store(
    group="hydra/launcher", name="optbench", node={"_target_": "hydra_plugins.optbench.OptbenchLauncher"}
)
