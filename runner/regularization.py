"""Regularization: each option's function returns the part of a run that it adds; any number may be combined.

The kinds of parts are the places in a step at which something can act.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from runner.model import Drop, keep
from runner.noise import uniform


@dataclass(frozen=True)
class Penalty:
    """``strength`` times a function of the weights that decay reaches, added to the loss."""

    strength: float
    of: Callable[[Sequence[Tensor]], Tensor]


@dataclass(frozen=True)
class Decay:
    """Each step multiplies the weights by 1 - lr·rate, before the optimizer's update."""

    rate: float


@dataclass(frozen=True)
class Dropout:
    """The share of hidden units dropped; in a stack a tensor, one for each run."""

    p: float | Tensor

    def at(self, key: Tensor) -> Drop:
        """Return the dropping of the step that the key belongs to: kept units are scaled by 1/(1 - p)."""
        p = self.p
        if not isinstance(p, Tensor) and p == 0:
            return keep

        def drop(hidden: Tensor, place: int) -> Tensor:
            kept = uniform(key, place, hidden.shape) >= (p.float() if isinstance(p, Tensor) else p)
            scale = (1 - p).to(hidden.dtype) if isinstance(p, Tensor) else 1 - p
            return hidden * kept.to(hidden.dtype) / scale

        return drop


@dataclass(frozen=True)
class Clip:
    """The largest Euclidean norm of the gradient that an update sees."""

    max_norm: float

    def apply(self, parameters: Sequence[Tensor]) -> None:
        """Scale the parameters' gradients down to it where they are larger."""
        torch.nn.utils.clip_grad_norm_(parameters, self.max_norm)


@dataclass(frozen=True)
class EarlyStopping:
    """When to end a run whose validation loss no longer falls."""

    patience: int
    min_delta: float
    restore_best: bool


@dataclass(frozen=True)
class Projection:
    """Applied to the weights that decay reaches after each step, each number by itself."""

    apply: Callable[[Sequence[Tensor]], object]


Part = Penalty | Decay | Dropout | Clip | EarlyStopping | Projection


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


def grad_clip(*, max_norm: float) -> Part:
    """Scale the gradient to ``max_norm`` where its Euclidean norm is larger (Pascanu 2013, algorithm 1)."""
    return Clip(max_norm)


def early_stopping(*, patience: int, min_delta: float, restore_best: bool) -> Part:
    """End after ``patience`` evaluations without a fall of more than ``min_delta`` (Prechelt 1998)."""
    return EarlyStopping(patience, min_delta, restore_best)
