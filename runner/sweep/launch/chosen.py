"""Which launcher a config of ``hydra.launcher`` names: what runs the queue of a sweep or of a search."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from runner.errors import ConfigError
from runner.run.job import Job
from runner.sweep.launch import Launch, inline, processes, spread
from runner.sweep.launch.cluster import launch_on
from runner.sweep.launch.ray import Ray
from runner.sweep.launch.slurm import TEXTS, Slurm

LEAST = {"workers": 1, "timeout_min": 1, "cpus_per_task": 1, "gpus_per_worker": 0, "signal_delay_s": 1}
LEAST |= dict.fromkeys(("mem_gb", "memory_gb", "num_cpus", "num_gpus"), 0)
"""The least value of each setting that is a number."""
EARLY_SECONDS = 60
"""Slurm may send the signal before the limit so much earlier than it is asked to (sbatch(1), --signal)."""


@dataclass(frozen=True)
class Launching:
    """Runs what a queue holds."""

    launch: Launch
    at_a_time: Callable[[Sequence[Job]], int]
    """How many packs are trained at a time."""
    check: Callable[[], None] = lambda: None
    """Refuses what cannot be launched, before anything is written."""


HERE = Launching(processes.launch, processes.number_of_workers)
"""Worker processes of this machine."""


def chosen(settings: Mapping[str, Any], workers: int | None) -> Launching:
    """Return the launcher that ``hydra.launcher`` describes.

    Args:
        settings: of ``hydra.launcher``.
        workers: the sweep's own key: how many processes are asked for, on this machine or for each worker of a cluster.

    Raises:
        ConfigError: for a value out of its range, or a launcher of another package.
    """
    package, _, name = str(settings.get("_target_", "")).rpartition(".")
    ours = package == "hydra_plugins.optbench"
    if ours and name == "OptbenchLauncher":
        return HERE
    if ours and name == "InlineLauncher":
        return Launching(inline.launch, lambda jobs: 1)
    if not ours or name not in ("SlurmLauncher", "RayLauncher"):
        raise ConfigError(f"hydra/launcher: {name} is of another package, and runs grids alone: use optbench_slurm")
    for key, least in LEAST.items():
        value = settings.get(key)
        if value is not None and value < least:
            raise ConfigError(f"hydra.launcher.{key} must be ≥ {least}, got {value}")
    cluster = _slurm(settings, workers) if name == "SlurmLauncher" else _ray(settings, workers)
    return Launching(
        launch_on(cluster), lambda jobs: cluster.workers * spread.at_a_time(cluster.processes, jobs), cluster.check
    )


def _slurm(settings: Mapping[str, Any], workers: int | None) -> Slurm:
    cores, gpus = settings["cpus_per_task"], settings["gpus_per_worker"]
    each = workers or gpus or cores or 1
    texts = {key: str(settings[key]) for key in TEXTS if settings[key] is not None}
    limit, before = settings["timeout_min"], settings["signal_delay_s"]
    if limit < (least := (before + EARLY_SECONDS) // 60 + 1):
        raise ConfigError(
            f"hydra.launcher.timeout_min={limit} with hydra.launcher.signal_delay_s={before}: a worker would be told "
            f"to end as it begins, as Slurm may do that a minute earlier: timeout_min must be ≥ {least}, or "
            "signal_delay_s smaller"
        )
    return Slurm(
        workers=settings["workers"],
        processes=each,
        timeout_min=limit,
        cpus_per_task=cores or each,
        gpus_per_worker=gpus,
        mem_gb=settings["mem_gb"],
        signal_delay_s=before,
        texts=texts,
        additional_parameters=settings["additional_parameters"],
        setup=settings["setup"],
        python=settings["python"],
    )


def _ray(settings: Mapping[str, Any], workers: int | None) -> Ray:
    cores, gpus = settings["num_cpus"], settings["num_gpus"]
    each = workers or int(gpus) or int(cores or 1) or 1
    return Ray(
        workers=settings["workers"],
        processes=each,
        address=settings["address"],
        num_cpus=each if cores is None else cores,
        num_gpus=gpus,
        memory_gb=settings["memory_gb"],
        resources=settings["resources"],
    )
