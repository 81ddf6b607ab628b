"""How a run goes forward: the size of its batches, its length, its learning rates, and what ends it early."""

import functools
import json
from functools import partial

from runner import scheduler, stop
from runner.config.imports import accepts, bind
from runner.engine.rules import Plateau, Schedule, Stop, Strategy
from runner.errors import ConfigError
from runner.run.job import Job


def strategy_of(job: Job, samples: int) -> Strategy:
    """Return how many of the training ``samples`` each step takes."""
    function = job.part(job.config["batch"], "shuffle", "micro")
    steps = {"max_steps": job.config["max_steps"]} if accepts(function, "max_steps") else {}
    strategy: Strategy = function(samples, job.config["epochs"], **steps)
    return strategy


def count_steps(batch_size: Strategy, samples: int, epochs: int) -> int:
    """Return the steps of so many epochs."""
    return sum(-(-samples // batch_size(epoch)) for epoch in range(epochs))


def schedule_of(job: Job, steps: int) -> tuple[Schedule, Plateau | None]:
    """Return a job's learning rate at each step of so many, and what lowers it at evaluations."""
    return _schedule(json.dumps(job.config["scheduler"]), job.config["optim"]["lr"], steps, job.allow)


@functools.lru_cache(maxsize=1024)  # a stack asks each schedule once, for all of its members that have it
def _schedule(settings: str, lr: float, steps: int, allow: frozenset[str]) -> tuple[Schedule, Plateau | None]:
    option = json.loads(settings)
    function, arguments = bind(option, allow, "warmup")
    part = partial(function, **arguments)
    plateau = None if accepts(part, "step") else part()
    shape = scheduler.constant if plateau else part
    warmup = scheduler.warmup_steps(option["warmup"], steps)
    shape(0, steps - warmup)  # what it refuses, it refuses here
    return scheduler.schedule(lr, shape, warmup, steps), plateau


def stop_of(job: Job) -> Stop:
    """Return what ends a job before its length.

    Raises:
        ConfigError: if a function of one's own gives something else.
    """
    limits = [job.part(option)() for option in job.config["stop"].values()]
    for limit in limits:
        if not isinstance(limit, Stop):
            raise ConfigError(f"a stop's function must return a runner.engine.rules.Stop, got {type(limit).__name__}")
    return stop.together(limits)
