"""Which runs can be trained together, as a stack of the fused engine's."""

import json
from typing import TYPE_CHECKING, Any

from runner.config import check
from runner.errors import ConfigError
from runner.run.job import Job

if TYPE_CHECKING:
    from runner.engine.run import Run

NUMBERS = ("seed", "init.", "optim.", "scheduler.", "regularization.", "stop.")
"""Choices in which the runs of a stack may differ; ``model`` and all others decide what a step computes."""


def signature(job: Job) -> str:
    """Return what runs must have in common to be stacked."""
    leaves = check.leaves(job.config)
    in_all = {key for key, setting in job.known.settings.items() if setting.same}
    same = {k: v for k, v in leaves.items() if k in in_all or not k.startswith(NUMBERS)}
    return json.dumps([same, job.source.fingerprint], sort_keys=True)


def without_rate(optim: dict[str, Any]) -> dict[str, Any]:
    """Return the settings of an optimizer but the learning rate, which each run of a stack has for itself."""
    return {k: v for k, v in optim.items() if k != "lr"}


def refusal(job: Job, run: "Run | None" = None) -> str | None:
    """Return why a run cannot be stacked, or None; where it is not given, the first of a kind is built."""
    if job.config["compile"]:
        return "compile=true compiles the model of one run"
    if job.config["deterministic"]:
        return "deterministic=true is for one run at a time"
    from runner.engine import fused
    from runner.run.build import build

    parts = [without_rate(job.config["optim"]), job.config["regularization"], sorted(job.config["stop"].items())]
    kind = json.dumps([signature(job), *parts], sort_keys=True)
    if kind not in _tried:
        _tried[kind] = fused.refusal(run or build(job))
    return _tried[kind]


_tried: dict[str, str | None] = {}
"""Why runs of a kind cannot be stacked, by their kind: tried out once a process."""


def refuse(job: Job, run: "Run") -> None:
    """Refuse a job that asks for ``engine=fused`` and cannot have it.

    Raises:
        ConfigError: with the reason.
    """
    if job.config["engine"] == "fused" and (reason := refusal(job, run)) is not None:
        raise ConfigError(f"engine=fused cannot train this run: {reason}; use engine=auto or engine=loop")
