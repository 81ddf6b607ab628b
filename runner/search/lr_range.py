"""Smith's range test (2017, §3.3): the loss while the learning rate rises from far too small to far too large."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from runner.engine import loop
from runner.engine.hooks import Hook, overrides
from runner.engine.state import State, start
from runner.errors import ConfigError
from runner.run.build import build
from runner.run.job import Job

SMOOTHING = 0.9
"""Of the loss over steps, corrected for its start as Adam's moments are."""
TOO_FAR = 4.0
"""The test ends where the smoothed loss is so many times the best."""
BEGUN = 0.1
"""The axis begins where the loss has fallen by this share of its whole fall."""
PER_DECADE = 2


@dataclass(frozen=True)
class Range:
    """What the test found."""

    steps: tuple[tuple[float, float, float], ...]
    """Learning rate, loss and smoothed loss of each step."""
    axis: tuple[float, ...]
    """Learning rates worth a sweep, two a decade."""
    diverged: bool
    """Whether the loss rose before the largest rate: otherwise that may still be too small."""


def lr_range(job: Job, lowest: float, highest: float, steps: int) -> Range:
    """Train a job for a while, its learning rate rising evenly in the logarithm; nothing is recorded.

    Args:
        job: the run; its schedule and length are set aside.
        lowest: learning rate of the first step.
        highest: of the last.
        steps: how many.

    Raises:
        ConfigError: if the loss is not finite at first, or falls nowhere.
    """
    run = build(job)
    ratio = highest / lowest

    def schedule(step: int) -> float:
        return float(lowest * ratio ** (step / (steps - 1)))

    run = replace(
        run,
        schedule=schedule,
        steps=steps,
        eval_every=steps,
        hooks={name: hook for name, hook in run.hooks.items() if not _steers(hook)},
    )
    found: list[tuple[float, float, float]] = []
    mean, best = 0.0, math.inf
    state = start(run)
    # Parameters whose rate is set apart from optim.lr keep it, as they would in a run at each rate; muP's are scaled.
    scaled = [] if run.optim.scaled else [g for g in state.optimizer.param_groups if "lr_scale" in g]
    apart = [(g, g["lr_scale"] * job.config["optim"]["lr"]) for g in scaled]

    def hold_apart(step: int) -> None:
        for group, rate in apart:
            group["lr_scale"] = rate / schedule(step)

    def pulse(state: State, loss: float) -> bool:
        nonlocal mean, best
        hold_apart(state.step)
        mean = SMOOTHING * mean + (1 - SMOOTHING) * loss
        smoothed = mean / (1 - SMOOTHING ** (len(found) + 1))
        best = min(best, smoothed)
        found.append((schedule(state.step - 1), loss, smoothed))
        return len(found) > 10 and smoothed > TOO_FAR * best

    hold_apart(0)
    for _ in loop.train(state, pulse, hold=1):
        pass
    if not found:
        raise ConfigError("the loss is not finite from the first step: try another init, or data.normalize=standard")
    diverged = state.step < steps or state.first_nonfinite_step is not None
    return Range(tuple(found), _axis(found), diverged)


def _steers(hook: Hook) -> bool:
    """Say whether a hook has a say in how a run goes on or ends, or measures more of it."""
    events = ("batch_size", "learning_rate", "limit", "judged", "columns", "layers")
    return any(overrides(type(hook), event) for event in events)


def _axis(found: Sequence[tuple[float, float, float]]) -> tuple[float, ...]:
    """Return rates from where the loss has begun to fall to where it was lowest."""
    smoothed = [s for _, _, s in found]
    lowest = min(range(len(smoothed)), key=smoothed.__getitem__)
    fall = smoothed[0] - smoothed[lowest]
    if fall <= 0.01 * abs(smoothed[0]):
        raise ConfigError("the loss falls at no learning rate tried: try --highest, or another optim or init")
    begun = next(i for i, s in enumerate(smoothed) if s < smoothed[0] - BEGUN * fall)
    low, high = math.log10(found[begun][0]), math.log10(found[lowest][0])
    first, last = math.floor(low * PER_DECADE), math.ceil(high * PER_DECADE)
    return tuple(float(f"{10 ** (i / PER_DECADE):.1g}") for i in range(first, last + 1))
