"""Learning-rate schedules: pure functions of the step, one an option.

A shape gives the share of the learning rate at ``step`` of ``steps`` (0 ≤ step < steps), warm-up already taken off.
"""

import math
from collections.abc import Callable

Shape = Callable[[int, int], float]
Schedule = Callable[[int], float]
"""Learning rate of step 0, 1, …"""


def constant(step: int, steps: int) -> float:
    """1 throughout."""
    return 1.0


def linear(step: int, steps: int, *, end_factor: float) -> float:
    """1 at step 0, falling evenly to end_factor at step ``steps`` (Defazio 2023)."""
    return 1.0 + (end_factor - 1.0) * step / steps


def cosine(step: int, steps: int, *, end_factor: float) -> float:
    """1 at step 0, falling on half a cosine to end_factor at step ``steps`` (Loshchilov & Hutter 2017, eq. 5)."""
    return end_factor + (1.0 - end_factor) * 0.5 * (1.0 + math.cos(math.pi * step / steps))


def warmup_steps(warmup: float, steps: int) -> int:
    """Return whole warm-up steps: ``warmup`` itself, or the share of the run it is where below 1.

    Raises:
        ValueError: if nothing of the run would be left.
    """
    whole = int(warmup) if warmup >= 1 else round(warmup * steps)
    if whole >= steps and whole > 0:
        raise ValueError(f"scheduler.warmup={warmup:g} is {whole} steps, but the run has {steps}")
    return whole


def schedule(lr: float, shape: Shape, warmup: int, steps: int) -> Schedule:
    """Return the learning rate of each step: lr·(step + 1)/warmup while warming up, then the shape."""

    def at(step: int) -> float:
        if step < warmup:
            return lr * (step + 1) / warmup
        return lr * shape(step - warmup, steps - warmup)

    return at
