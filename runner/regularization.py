"""Regularization: each option's function returns the part of a run that it adds; any number may be combined.

The kinds of parts are the places in a step at which something can act.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

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

    def at(self, key: Tensor, first: int = 0, samples: int = 1) -> Drop:
        """Return the dropping of the step that the key belongs to: kept units are scaled by 1/(1 - p).

        Of ``samples`` from the batch's ``first`` on it drops what it drops of them in the whole batch.
        """
        p = self.p
        if not isinstance(p, Tensor) and p == 0:
            return keep

        def drop(hidden: Tensor, place: int) -> Tensor:
            kept = uniform(key, place, hidden.shape, hidden.numel() * first // samples) >= (
                p.float() if isinstance(p, Tensor) else p
            )
            scale = (1 - p).to(hidden.dtype) if isinstance(p, Tensor) else 1 - p
            return hidden * kept.to(hidden.dtype) / scale

        return drop


@dataclass(frozen=True)
class Clip:
    """The largest magnitude, and then the largest Euclidean norm, of the gradient that an update sees."""

    max_norm: float
    max_value: float

    def apply(self, parameters: Sequence[Tensor]) -> None:
        """Cut the parameters' gradients down to them where they are larger."""
        if self.max_value < math.inf:
            torch.nn.utils.clip_grad_value_(parameters, self.max_value)
        if self.max_norm < math.inf:
            torch.nn.utils.clip_grad_norm_(parameters, self.max_norm)


@dataclass(frozen=True)
class Smoothing:
    """The share of each target's probability that is spread over all classes."""

    epsilon: float


@dataclass(frozen=True)
class Averaging:
    """Which weights evaluations judge in the place of the last ones: an average of those of many steps."""

    weight: Callable[[int, int], float | None]
    """Share of the weights after step 1, 2, … of so many in the average; None leaves it as it is."""
    fresh_batch_norm: bool
    """The average's own running statistics are measured on the training set."""


@dataclass(frozen=True)
class Parametrization:
    """Applied to a model that has its initial weights: they are trained in another form."""

    apply: Callable[[nn.Module], object]


@dataclass(frozen=True)
class Adversary:
    """How far inputs are moved to raise the loss."""

    epsilon: float
    steps: int
    share: float

    def moved(self, x: Tensor, loss: Callable[[Tensor], Tensor], key: Tensor, first: int = 0) -> Tensor:
        """Return inputs within epsilon of ``x`` at which ``loss`` is higher; the weights' gradients stay untouched.

        ``x`` are the samples of a batch from its ``first`` on.
        """
        reach = self.epsilon if self.steps == 1 else 2.5 * self.epsilon / self.steps
        found = x.detach()
        if self.steps > 1:
            drawn = uniform(key, NOISE_OF_THE_ADVERSARY, x.shape, x[:1].numel() * first)
            found = found + self.epsilon * (2 * drawn.to(x.dtype) - 1)
        for _ in range(self.steps):
            found.requires_grad_(True)
            (slope,) = torch.autograd.grad(loss(found), found)
            found = found.detach() + reach * slope.sign()
            found = torch.minimum(torch.maximum(found, x - self.epsilon), x + self.epsilon)
        return found


NOISE_OF_THE_ADVERSARY = 1_000_003
"""The place of its random start, apart from dropout's places."""


@dataclass(frozen=True)
class Teacher:
    """A trained run whose predictions are targets too."""

    run: str
    temperature: float
    share: float

    def lesson(self, outputs: Tensor, taught: Tensor) -> Tensor:
        """Return temperature² · KL(teacher ‖ student) of logits ``[n, classes]``, the mean over samples."""
        student = (outputs / self.temperature).log_softmax(-1).flatten(0, -2)
        teacher = (taught / self.temperature).log_softmax(-1).flatten(0, -2)
        divergence = torch.nn.functional.kl_div(student, teacher, reduction="batchmean", log_target=True)
        return self.temperature**2 * divergence


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


def spread(outputs: Tensor) -> Tensor:
    """Return the cross-entropy of logits ``[n, …, classes]`` against the even distribution, the mean over samples."""
    return (outputs.logsumexp(-1) - outputs.mean(-1)).mean()


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
