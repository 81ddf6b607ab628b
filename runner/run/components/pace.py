"""How a run goes forward: the size of its batches, its length, its learning rates."""

import functools
import json
import math
from functools import partial
from typing import SupportsFloat

from runner import scheduler
from runner.config.imports import accepts, bind
from runner.engine.hooks import Hook
from runner.engine.rules import Schedule, Strategy
from runner.run.job import Job


def strategy_of(job: Job, samples: int) -> Strategy:
    """Return how many of the training ``samples`` each step takes."""
    function = job.part(job.config["batch"], "shuffle", "drop_last", "micro")
    told = {"max_steps": job.config["max_steps"], "drop_last": job.config["batch"]["drop_last"]}
    told = {key: value for key, value in told.items() if accepts(function, key)}
    strategy: Strategy = function(samples, job.config["epochs"], **told)
    return strategy


def count_steps(batch_size: Strategy, samples: int, epochs: int, drop_last: bool) -> int:
    """Return the steps of so many epochs; ``drop_last``, without last batches that are smaller than the others."""
    if drop_last:
        return sum(max(1, samples // batch_size(epoch)) for epoch in range(epochs))
    return sum(-(-samples // batch_size(epoch)) for epoch in range(epochs))


def schedule_of(job: Job, steps: int) -> tuple[Schedule, Hook | None]:
    """Return a job's learning rate at each step of so many, and what changes it by what evaluations find."""
    function, arguments = bind(job.config["scheduler"], job.allow, "warmup")
    parts = (function, arguments.get("target"))  # one that was edited is another
    return _schedule(json.dumps(job.config["scheduler"]), job.config["optim"]["lr"], steps, job.allow, parts)


@functools.lru_cache(maxsize=1024)  # a stack asks each schedule once, for all of its members that have it
def _schedule(
    settings: str, lr: float, steps: int, allow: frozenset[str], parts: tuple[object, ...]
) -> tuple[Schedule, Hook | None]:
    option = json.loads(settings)
    function, arguments = bind(option, allow, "warmup")
    part = partial(function, **arguments)
    hook: Hook | None = None if accepts(part, "step") else part()
    shape = _unchanged if hook else part
    warmup = scheduler.warmup_steps(option["warmup"], steps)
    for step in {0, (steps - warmup) // 2, max(steps - warmup - 1, 0)}:  # what it refuses, it refuses here
        share = shape(step, steps - warmup)
        if not isinstance(share, SupportsFloat) or not math.isfinite(share):
            raise ValueError(
                f"scheduler={option['_option_']} gives {share} at step {step} of {steps - warmup}: it is to give a "
                "share of the learning rate, a finite number"
            )
    return scheduler.schedule(lr, shape, warmup, steps), hook


def _unchanged(step: int, steps: int) -> float:
    """Return the whole learning rate, at every step."""
    return 1.0
