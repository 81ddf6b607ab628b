"""Learning-rate schedules: pure functions of the step, one an option.

A shape gives the share of the learning rate at ``step`` of ``steps`` (0 ≤ step < steps), warm-up already taken off.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

from runner.engine.hooks import Going, Hook, Judged
from runner.engine.rules import Schedule, whole_steps

Shape = Callable[[int, int], float]


def constant(step: int, steps: int) -> float:
    """1 throughout."""
    return 1.0


def linear(step: int, steps: int, *, end_factor: float) -> float:
    """1 at step 0, falling evenly to end_factor at step ``steps`` (Defazio 2023)."""
    return 1.0 + (end_factor - 1.0) * step / steps


def cosine(step: int, steps: int, *, end_factor: float) -> float:
    """1 at step 0, falling on half a cosine to end_factor at step ``steps`` (Loshchilov & Hutter 2017, eq. 5)."""
    return _half_cosine(step / steps, 1.0, end_factor)


def step(step: int, steps: int, *, every: float, factor: float) -> float:
    """factor^⌊step/every⌋."""
    return float(factor ** (step // whole_steps(every, steps)))


def multistep(step: int, steps: int, *, milestones: list[float], factor: float) -> float:
    """factor to the number of milestones reached (He et al. 2016, §4.2)."""
    return float(factor ** sum(step >= whole_steps(milestone, steps) for milestone in milestones))


def exponential(step: int, steps: int, *, end_factor: float) -> float:
    """end_factor^(step/steps); end_factor is above 0, which no exponential reaches."""
    return float(end_factor ** (step / steps))


def polynomial(step: int, steps: int, *, power: float, end_factor: float) -> float:
    """end_factor + (1 - end_factor)·(1 - step/steps)^power."""
    return float(end_factor + (1.0 - end_factor) * (1.0 - step / steps) ** power)


def inverse_sqrt(step: int, steps: int, *, timescale: float) -> float:
    """√(timescale/(timescale + step)), 1 at the end of the warm-up (Vaswani et al. 2017, eq. 3, shifted there)."""
    scale = whole_steps(timescale, steps)
    return math.sqrt(scale / (scale + step))


def warm_restarts(step: int, steps: int, *, first: float, growth: float, end_factor: float) -> float:
    """Half a cosine over each cycle, the i-th of length first·growth^i (Loshchilov & Hutter 2017, eq. 5)."""
    length = whole_steps(first, steps)
    if growth == 1:
        return _half_cosine(step % length / length, 1.0, end_factor)
    # A restart that rounding puts just behind its step is at its step.
    cycle = math.floor(math.log1p(step * (growth - 1) / length) / math.log(growth) + 1e-12)
    start = length * (growth**cycle - 1) / (growth - 1)
    return _half_cosine(max(0.0, step - start) / (length * growth**cycle), 1.0, end_factor)


def cyclic(step: int, steps: int, *, period: float, end_factor: float) -> float:
    """A triangle from end_factor to 1 and back within each period (Smith 2017, §3.1)."""
    length = whole_steps(period, steps)
    share = step % length / length
    return end_factor + (1.0 - end_factor) * (1.0 - abs(2.0 * share - 1.0))


def one_cycle(step: int, steps: int, *, rise: float, start_factor: float, end_factor: float) -> float:
    """Half a cosine from start_factor up to 1 over ``rise`` of the run, one to end_factor (Smith & Topin 2018)."""
    top = rise * steps
    if step < top:
        return _half_cosine(step / top, start_factor, 1.0)
    return _half_cosine((step - top) / (steps - top), 1.0, end_factor)


def wsd(step: int, steps: int, *, decay: float, end_factor: float) -> float:
    """1, then evenly to end_factor over the last ``decay`` (Hu et al. 2024; Hägele et al. 2024).

    Raises:
        ValueError: if the fall is longer than the run.
    """
    fall = whole_steps(decay, steps)
    if fall > steps:
        raise ValueError(f"scheduler.decay={decay:g} is {fall} steps, but the run has {steps} after its warm-up")
    return 1.0 + (end_factor - 1.0) * max(0, step - (steps - fall)) / fall


@dataclass
class Plateau(Hook):
    """A share of the learning rate that falls at evaluations, in place of a shape over steps."""

    patience: int
    factor: float
    min_delta: float
    end_factor: float
    left: float = 1.0
    """Of the learning rate."""
    loss: float = math.inf
    """Validation loss at its last fall."""
    evaluations: int = 0
    """Since then, or since the last drop."""
    state: ClassVar[tuple[str, ...]] = ("left", "loss", "evaluations")

    def learning_rate(self, lr: float) -> float:
        """Return what is left of it."""
        return lr * self.left

    def judged(self, at: Going, found: Judged) -> None:
        """Count evaluations since the last fall; step 0 is none."""
        if at.rows <= 1:
            return
        fell = found.val["loss"] < self.loss - self.min_delta
        self.loss = found.val["loss"] if fell else self.loss
        self.evaluations = 0 if fell else self.evaluations + 1
        if self.evaluations >= self.patience:
            self.left, self.evaluations = max(self.left * self.factor, self.end_factor), 0


def plateau(*, patience: int, factor: float, min_delta: float, end_factor: float) -> Hook:
    """A drop after ``patience`` evaluations in which the validation loss did not fall by more than ``min_delta``."""
    return Plateau(patience, factor, min_delta, end_factor)


def _half_cosine(share: float, start: float, end: float) -> float:
    return end + (start - end) * 0.5 * (1.0 + math.cos(math.pi * share))


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
