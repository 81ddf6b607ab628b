"""Which runs can be trained together, as a stack of the fused engine's."""

import json
import sys
from typing import TYPE_CHECKING, Any, NamedTuple

from runner.config import check
from runner.config.chosen import Config
from runner.config.imports import named_by_user
from runner.errors import ConfigError
from runner.run.devices import is_spread
from runner.run.job import Job

if TYPE_CHECKING:
    from runner.engine.run import Run

NUMBERS = ("seed", "init.", "optim.", "scheduler.", "regularization.", "stop.")
"""Choices in which the runs of a stack may differ; ``model`` and all others decide what a step computes."""
REPLAYED_FLOPS = 1e11
"""Of a step on CUDA, below which it takes no longer than its launches do (``scripts/bench_cuda.py``)."""


def is_stackable(job: Job, asked: bool) -> bool:
    """Say whether a job may be trained in a stack as far as its code goes.

    A training function of one's own is never stacked, nor what several processes train; what of one's own acts in a
    step is where a stack is ``asked`` for. Data of one's own are tensors by then, as all data.
    """
    of = traits(job)
    return not of.alone and (asked or not of.acts)


def is_replayed(job: Job, run: "Run") -> bool:
    """Say whether a run that is trained by itself is a stack of one: on CUDA, where its step is replayed as a graph.

    A small step costs its launches, whatever the model; a graph is one.
    """
    if run.device.type != "cuda" or not is_stackable(job, asked=False) or refusal(job, run) is not None:
        return False
    from runner.engine import fused
    from runner.engine.fused.members import stack
    from runner.run.flops import step_flops

    members = stack([run])
    return fused.graph_of(members) is not None and step_flops(members.states[0]) <= REPLAYED_FLOPS


class Traits(NamedTuple):
    """All of a job that decides with which others it is stacked."""

    alone: bool
    """Whether it is trained by a function of the user's, or by several processes."""
    acts: bool
    """Whether something of the user's acts in a step."""
    signature: str
    """What runs must have in common to be stacked; empty where it is trained alone."""
    kind: str
    """What decides whether a run of this signature can be stacked."""
    order: tuple[int, str]
    """Its place in a stack: runs of one seed see the same batches, those of one optimizer step together."""
    refusal: str | None
    """Why it cannot be stacked, as far as that is known without building it."""


def traits(job: Job) -> Traits:
    """Return what decides with which others a job is stacked."""
    return job.remembered(traits_of)


def traits_of(job: Job) -> Traits:
    """Work them out."""
    config = job.config
    if job.is_own or is_spread(job):
        return Traits(True, True, "", "", (0, ""), "several processes train it, or a function of your own")
    same, optim = _signature(job), without_rate(config["optim"])
    parts = [optim, config["regularization"], sorted(config["stop"].items()), config["scheduler"]]
    kind = json.dumps([same, _without_sizes(parts)], sort_keys=True)
    acts = any(not key.startswith("data.") for key in named_by_user(config))
    order = (int(config["seed"]), sys.intern(str(optim)))
    return Traits(False, acts, sys.intern(same), sys.intern(kind), order, _refused_by(config))


def _refused_by(config: Config) -> str | None:
    if config["compile"]:
        return "compile=true compiles the model of one run"
    return "deterministic=true is for one run at a time" if config["deterministic"] else None


def _signature(job: Job) -> str:
    leaves = check.leaves(job.config)
    in_all = {key for key, setting in job.known.settings.items() if setting.same}
    may_differ = (*NUMBERS, *(key for key, setting in job.known.settings.items() if setting.a_run))
    same = {k: v for k, v in leaves.items() if k in in_all or not k.startswith(may_differ)}
    drawn = [job.config["seed"]] if job.config["data"]["generated"] else []  # each seed's samples are its own
    return json.dumps([same, job.source.fingerprint, *drawn], sort_keys=True)


def without_rate(optim: dict[str, Any]) -> dict[str, Any]:
    """Return the settings of an optimizer but the learning rate, which each run of a stack has for itself."""
    return {k: v for k, v in optim.items() if k != "lr"}


def refusal(job: Job, run: "Run | None" = None) -> str | None:
    """Return why a run cannot be stacked, or None; where it is not given, the first of a kind is built."""
    of = traits(job)
    if of.refusal is not None:
        return of.refusal
    from runner.engine import fused
    from runner.run.build import build

    if of.kind not in _tried:
        _tried[of.kind] = fused.refusal(run or build(job))
    return _tried[of.kind]


def _without_sizes(settings: Any) -> Any:
    """Return settings with each real number replaced by its sign and whether it is below 1, a share of the run.

    Whether a run can be stacked depends on these, not on how large a rate or a penalty is.
    """
    if isinstance(settings, dict):
        return {key: _without_sizes(value) for key, value in settings.items()}
    if isinstance(settings, list | tuple):
        return [_without_sizes(value) for value in settings]
    if isinstance(settings, float):
        return [(settings > 0) - (settings < 0), abs(settings) < 1]
    return settings


_tried: dict[str, str | None] = {}
"""Why runs of a kind cannot be stacked, by their kind: tried out once a process."""


def refuse(job: Job, run: "Run") -> None:
    """Refuse a job that asks for ``engine=fused`` and cannot have it.

    Raises:
        ConfigError: with the reason.
    """
    if job.config["engine"] == "fused" and (reason := refusal(job, run)) is not None:
        raise ConfigError(f"engine=fused cannot train this run: {reason}; use engine=auto or engine=loop")
