"""Regularization: each option's function returns the part of a run that it adds; any number may be combined.

Most parts are hooks of the engine's (``runner.engine.hooks``): places in a step at which something can act.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from runner.engine.hooks import (
    Adversary,
    Averaging,
    Clip,
    Decay,
    Dropout,
    Penalty,
    Projection,
    Smoothing,
    Teacher,
)
from runner.engine.rules import EarlyStopping


@dataclass(frozen=True)
class Parametrization:
    """Applied to a model that has its initial weights: they are trained in another form."""

    apply: Callable[[nn.Module], object]


Part = (
    Penalty
    | Decay
    | Dropout
    | Clip
    | EarlyStopping
    | Projection
    | Smoothing
    | Averaging
    | Parametrization
    | Adversary
    | Teacher
)


def l1(*, strength: float) -> Part:
    """strength · Σ|w| (Tibshirani 1996)."""
    return Penalty(strength, sum_of_magnitudes)


def sum_of_magnitudes(weights: Sequence[Tensor]) -> Tensor:
    """Return Σ|w|."""
    return torch.stack([w.abs().sum() for w in weights]).sum()


def l2(*, strength: float) -> Part:
    """strength/2 · Σw² (Tikhonov; coupled: its gradient goes through the optimizer)."""
    return Penalty(strength, half_sum_of_squares)


def half_sum_of_squares(weights: Sequence[Tensor]) -> Tensor:
    """Return Σw²/2."""
    return 0.5 * torch.stack([w.square().sum() for w in weights]).sum()


def weight_decay(*, rate: float) -> Part:
    """w ← (1 - lr·rate)·w (Loshchilov & Hutter 2019, algorithm 1)."""
    return Decay(rate)


def box(*, bound: float) -> Part:
    """w ← min(max(w, -bound), bound) after each step: projected gradient descent (Goldstein 1964)."""
    return Projection(lambda weights: [w.data.clamp_(-bound, bound) for w in weights])


def dropout(*, p: float) -> Part:
    """Inverted dropout of hidden units (Srivastava 2014, §10)."""
    return Dropout(p)


def grad_clip(*, max_norm: float | None, max_value: float | None) -> Part:
    """Scale the gradient to ``max_norm`` where its Euclidean norm is larger (Pascanu 2013, algorithm 1).

    Raises:
        ValueError: if neither is given.
    """
    if max_norm is None and max_value is None:
        raise ValueError("regularization.grad_clip needs max_norm or max_value, got null for both")
    return Clip(math.inf if max_norm is None else max_norm, math.inf if max_value is None else max_value)


def label_smoothing(*, epsilon: float) -> Part:
    """Targets (1 - epsilon)·onehot + epsilon/classes (Szegedy et al. 2016, §7)."""
    return Smoothing(epsilon)


def ema(*, decay: float) -> Part:
    """a ← d·a + (1 - d)·w after each step, d = min(decay, (1 + step)/(10 + step)), from the initial weights."""
    return Averaging(lambda step, steps: 1 - min(decay, (1 + step) / (10 + step)), fresh_batch_norm=False)


def swa(*, start: float, every: int) -> Part:
    """The mean of the weights after each ``every`` steps from ``start`` on (Izmailov et al. 2018, algorithm 1)."""

    def weight(step: int, steps: int) -> float | None:
        first = max(1, int(start) if start >= 1 else round(start * steps))
        if step < first or (step - first) % every:
            return None
        return 1 / (1 + (step - first) // every)

    return Averaging(weight, fresh_batch_norm=True)


def weight_norm() -> Part:
    """w = g·v/‖v‖, a length g for each output (Salimans & Kingma 2016, eq. 2)."""
    return Parametrization(_in_lengths_and_directions)


def _in_lengths_and_directions(model: nn.Module) -> None:
    for module in list(model.modules()):
        if isinstance(module, nn.Linear | nn.Conv1d | nn.Conv2d | nn.Conv3d):
            torch.nn.utils.parametrizations.weight_norm(module)


def adversarial(*, epsilon: float, steps: int, share: float) -> Part:
    """(1 - share)·loss(x) + share·loss(x′), x′ = x + epsilon·sign(∇ₓ loss) (Goodfellow et al. 2015, §6), or PGD's."""
    return Adversary(epsilon, steps, share)


def distillation(*, run: str, temperature: float, share: float) -> Part:
    """(1 - share)·loss + share·T²·KL(teacher ‖ student) at temperature T (Hinton et al. 2015, §2)."""
    return Teacher(run, temperature, share)


def early_stopping(*, patience: int, min_delta: float, restore_best: bool) -> Part:
    """End after ``patience`` evaluations without a fall of more than ``min_delta`` (Prechelt 1998)."""
    return EarlyStopping(patience, min_delta, restore_best)
