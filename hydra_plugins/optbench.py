"""What optbench adds to Hydra: a source of configs, a sweeper that checks every job first, and launchers that run them.

Hydra imports this module whenever it starts, so nothing heavy is imported at its top.
"""

import shlex
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hydra.core.config_store import ConfigStore
from hydra.core.object_type import ObjectType
from hydra.core.plugins import Plugins
from hydra.core.utils import JobReturn, JobStatus
from hydra.plugins.config_source import ConfigLoadError, ConfigResult, ConfigSource
from hydra.plugins.launcher import Launcher
from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, OmegaConf

if TYPE_CHECKING:
    from runner.run.job import Job
    from runner.run.outcome import Outcome
    from runner.sweep.launch.chosen import Launching


class ShippedConfigs(ConfigSource):
    """A folder of YAMLs that do not change, ``optbench:///path/to/configs``: each is read once, by libyaml.

    Hydra reads a file anew for each combination of choices, by a reader written in Python, which is most of what
    composing a run takes.
    """

    @staticmethod
    def scheme() -> str:
        """Return the word before ``://``."""
        return "optbench"

    def load_config(self, config_path: str) -> ConfigResult:
        """Return what a file holds, without what only optbench reads."""
        from runner.config.options import composed

        path = self._file(config_path)
        if not path.is_file():
            raise ConfigLoadError(f"Config not found : {path}")
        with path.open(encoding="utf-8") as text:
            header = self._get_header_dict(text.read(512))
        return ConfigResult(self.provider, self.full_path(), OmegaConf.create(composed(path)), header)

    def available(self) -> bool:
        """Say whether the folder is there."""
        return self.is_group("")

    def is_group(self, config_path: str) -> bool:
        """Say whether that is a folder."""
        return Path(self.path, config_path).is_dir()

    def is_config(self, config_path: str) -> bool:
        """Say whether that is a file."""
        return self._file(config_path).is_file()

    def list(self, config_path: str, results_filter: ObjectType | None) -> list[str]:
        """Return the names in a folder, of groups, options or both."""
        found: list[str] = []
        for name in sorted(path.name for path in Path(self.path, config_path).iterdir()):
            self._list_add_result(found, str(Path(config_path, name)), name, results_filter)
        return sorted(set(found))

    def _file(self, config_path: str) -> Path:
        return Path(self.path, self._normalize_file_name(config_path))


def _note(config: DictConfig | None, jobs: "Sequence[Job]") -> None:
    """Record which runs a command asks for."""
    from runner.config.hydra_door import unpack
    from runner.run import launches

    assert config is not None  # each was set up
    given = [*config.hydra.overrides.task, *config.hydra.overrides.hydra]
    given = [override for override in given if not override.startswith("hydra.sweeper.unions=")]
    unions = unpack(config.hydra.sweeper.unions) if "unions" in config.hydra.sweeper else []
    parts = [word for union in unions for word in ("+", *shlex.split(union))]
    command = shlex.join(["optbench", "train", "-m", *given, *parts])
    launches.note(jobs[0].folder.parent, command, [job.run_id for job in jobs])


def _refuse_beside_another(job: "Job") -> None:
    """Refuse what a launcher of another package cannot do."""
    from runner.errors import ConfigError
    from runner.run.devices import is_spread

    odd = "parallel" if is_spread(job) else "fail_fast=true" if job.config["fail_fast"] else None
    if odd is None and job.config["workers"] is not None:
        odd = f"workers={job.config['workers']}"
    if odd is not None:
        raise ConfigError(
            f"{odd} beside a hydra/launcher of another package, which trains each run by itself and has settings of "
            "its own: leave one of them out, or take optbench_slurm or optbench_ray"
        )


def _error(returned: JobReturn | None) -> str | None:
    """Return what a job raised in a launcher of another package, as text."""
    try:
        _ = None if returned is None else returned.return_value
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    return None


class OptbenchSweeper(Sweeper):
    """Every combination of values, all of them composed and checked before anything is written or launched."""

    def __init__(self, params: dict[str, Any], unions: list[str]) -> None:
        self._params = params

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        """Keep what Hydra hands to every sweeper, and instantiate the launcher."""
        from runner.config.hydra_door import unpack

        self._unions = unpack(config.hydra.sweeper.unions)  # as they were given, where Hydra hands over resolved ones
        self.config, self.hydra_context = config, hydra_context
        self._loader = hydra_context.config_loader
        self._launcher = Plugins.instance().instantiate_launcher(
            hydra_context=hydra_context, task_function=task_function, config=config
        )

    def sweep(self, arguments: list[str]) -> Any:
        """Launch every distinct job once; return what became of each, or with ``dry_run`` what would be done."""
        from runner.config.compose import Composer
        from runner.run import baselines
        from runner.sweep.launch.processes import number_of_workers
        from runner.sweep.plan import Grid, describe, outcomes_of, plan
        from runner.sweep.terminal import report_doubts, report_left_out

        composer = Composer.of(self._loader)
        jobs = plan(composer, Grid.of(self._params, self._unions, arguments).jobs(composer), report_left_out)
        report_doubts(jobs)
        ours = self._launcher if isinstance(self._launcher, OptbenchLauncher) else None
        if not ours:
            _refuse_beside_another(jobs[0])
        at_a_time = ours.workers(jobs) if ours else number_of_workers(jobs)
        if jobs[0].config["dry_run"]:
            return describe(jobs, at_a_time)
        if ours:
            ours.check()
        _note(self.config, jobs)
        baselines.beside(jobs)
        if ours:
            return ours.run(jobs)
        returned = self._launcher.launch([composer.for_launcher(job.overrides) for job in jobs], initial_job_idx=0)
        return outcomes_of(jobs, [_error(of_job) for of_job in returned])


class OptbenchLauncher(Launcher):
    """Runs jobs in worker processes on this machine."""

    def __init__(self, **settings: Any) -> None:
        known = SETTINGS.get(type(self).__name__, ())
        if odd := sorted(settings.keys() - set(known)):  # added with a +
            valid = f"\nvalid: {', '.join(known)}" if known else ": it has no settings"
            raise TypeError(f"{odd[0]} is no setting of {type(self).__name__}{valid}")
        self._launching: Launching | None = None

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        """Keep what Hydra hands to every launcher."""
        self.config, self.hydra_context = config, hydra_context

    def check(self) -> None:
        """Refuse what cannot be launched, before anything is written."""
        self.launching().check()

    def workers(self, jobs: "Sequence[Job]") -> int:
        """Return how many packs are trained at a time."""
        return self.launching().at_a_time(jobs)

    def run(self, jobs: "Sequence[Job]") -> "list[Outcome]":
        """Run planned jobs and return what became of each."""
        from runner.sweep.launch import run_all
        from runner.sweep.terminal import reporter

        return run_all(jobs, self.launching().launch, self.workers(jobs), reporter(len(jobs)))

    def launching(self) -> "Launching":
        """Return what runs the jobs, as the config of ``hydra.launcher`` says."""
        if self._launching is None:
            from runner.config.hydra_door import plain
            from runner.sweep.launch.chosen import chosen

            assert self.config is not None  # it was set up
            self._launching = chosen(plain(self.config.hydra.launcher), self.config.get("workers"))
        return self._launching

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
        """Run what another sweeper asks for; each job returns its final validation loss, infinite where it has none."""
        from runner.config.compose import Composer
        from runner.errors import ConfigError
        from runner.run import baselines
        from runner.sweep.launch import RunFailed
        from runner.sweep.plan import plan

        composer = Composer.of(self.hydra_context.config_loader)
        returned = []
        planned = [plan(composer, [overrides])[0] for overrides in job_overrides]
        if any(job.config["skip_invalid"] for job in planned):
            raise ConfigError("skip_invalid=true is for optbench's own sweeper: leave it out")
        if any(job.config["dry_run"] for job in planned):
            raise ConfigError("dry_run=true is for optbench's own sweeper: leave it out")
        self.check()
        _note(self.config, planned)
        baselines.beside(planned)
        found = {
            outcome.job.run_id: outcome for outcome in self.run(list({job.run_id: job for job in planned}.values()))
        }
        for job in planned:
            summary = found[job.run_id].summary
            if summary["status"] == "interrupted":
                raise KeyboardInterrupt
            answer = JobReturn(overrides=list(job.overrides), status=JobStatus.COMPLETED)
            loss = summary.get("final_val_loss")
            answer.return_value = float("inf") if loss is None else float(loss)
            if summary["status"] == "failed":
                answer.status = JobStatus.FAILED
                answer.return_value = RunFailed(f"{job}: {summary['stop_reason']}")
            returned.append(answer)
        return returned


class InlineLauncher(OptbenchLauncher):
    """Runs jobs one after another in this process."""


class SlurmLauncher(OptbenchLauncher):
    """Has jobs run by the tasks of a Slurm array, which join the sweep."""


class RayLauncher(OptbenchLauncher):
    """Has jobs run by actors of Ray, which join the sweep."""


@dataclass
class OptbenchSweeperConfig:
    """``hydra.sweeper``: an experiment's own axes, and sets of further values that are joined."""

    _target_: str = "hydra_plugins.optbench.OptbenchSweeper"
    params: dict[str, Any] = field(default_factory=dict)
    unions: list[str] = field(default_factory=list)


@dataclass
class OptbenchLauncherConfig:
    """``hydra.launcher``."""

    _target_: str = "hydra_plugins.optbench.OptbenchLauncher"


@dataclass
class InlineLauncherConfig:
    """``hydra.launcher`` of ``hydra/launcher=inline``."""

    _target_: str = "hydra_plugins.optbench.InlineLauncher"


@dataclass
class SlurmLauncherConfig:
    """``hydra.launcher`` of ``hydra/launcher=optbench_slurm``, in submitit's words; what is null is left to Slurm."""

    _target_: str = "hydra_plugins.optbench.SlurmLauncher"
    workers: int = 1
    """Tasks of the array; ``workers`` without ``hydra.launcher`` is how many processes each has."""
    partition: str | None = None
    qos: str | None = None
    account: str | None = None
    constraint: str | None = None
    exclude: str | None = None
    nodelist: str | None = None
    gres: str | None = None
    comment: str | None = None
    timeout_min: int = 60
    """A task that reaches it checkpoints and is queued again."""
    cpus_per_task: int | None = None
    """None: one a process."""
    gpus_per_worker: int = 0
    mem_gb: float | None = None
    signal_delay_s: int = 90
    """So long before its limit a task is told to checkpoint."""
    setup: list[str] = field(default_factory=list)
    """Lines of the script before the worker, such as ``module load …``."""
    additional_parameters: dict[str, Any] = field(default_factory=dict)
    """More of sbatch's."""
    python: str | None = None
    """Of the workers; None: this one."""


@dataclass
class RayLauncherConfig:
    """``hydra.launcher`` of ``hydra/launcher=optbench_ray``, in Ray's words."""

    _target_: str = "hydra_plugins.optbench.RayLauncher"
    address: str = "auto"
    workers: int = 1
    num_cpus: float | None = None
    """Of each worker; None: one a process."""
    num_gpus: float = 0.0
    memory_gb: float | None = None
    resources: dict[str, float] = field(default_factory=dict)


SETTINGS = {
    "SlurmLauncher": tuple(key for key in SlurmLauncherConfig.__dataclass_fields__ if key != "_target_"),
    "RayLauncher": tuple(key for key in RayLauncherConfig.__dataclass_fields__ if key != "_target_"),
}
"""What ``hydra.launcher`` takes, by the launcher's name; the others take nothing."""

ConfigStore.instance().store(group="hydra/sweeper", name="optbench", node=OptbenchSweeperConfig)
ConfigStore.instance().store(group="hydra/launcher", name="optbench", node=OptbenchLauncherConfig)
ConfigStore.instance().store(group="hydra/launcher", name="inline", node=InlineLauncherConfig)
ConfigStore.instance().store(group="hydra/launcher", name="optbench_slurm", node=SlurmLauncherConfig)
ConfigStore.instance().store(group="hydra/launcher", name="optbench_ray", node=RayLauncherConfig)
