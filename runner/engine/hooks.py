"""What options hand an engine to act on its steps, and what an engine asks of a model.

Each kind is a place in a step: the inputs, the loss, the gradient, the weights.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor

from runner.noise import uniform

Drop = Callable[[Tensor, int], Tensor]
"""Drops some of a model's hidden units at a numbered place."""


def keep(hidden: Tensor, place: int) -> Tensor:
    """Drop nothing."""
    return hidden


@dataclass(frozen=True)
class Mixed:
    """Classes of a batch of which each sample is ``share`` of class ``y`` and 1 - ``share`` of class ``other``."""

    y: Tensor
    other: Tensor
    share: float

    def __len__(self) -> int:
        return len(self.y)


class Augmenting(Protocol):
    """What the batches of a run go through before its steps."""

    @property
    def parts(self) -> Mapping[str, object]:
        """By option, in the order in which they act; without any, batches stay as they are."""

    def __call__(self, x: Tensor, y: Tensor, step: int) -> tuple[Tensor, Tensor | Mixed]:
        """Return a step's samples and targets changed and mixed; those given stay as they are."""


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


def spread(outputs: Tensor) -> Tensor:
    """Return the cross-entropy of logits ``[n, …, classes]`` against the even distribution, the mean over samples."""
    return (outputs.logsumexp(-1) - outputs.mean(-1)).mean()


@dataclass(frozen=True)
class Averaging:
    """Which weights evaluations judge in the place of the last ones: an average of those of many steps."""

    weight: Callable[[int, int], float | None]
    """Share of the weights after step 1, 2, … of so many in the average; None leaves it as it is."""
    fresh_batch_norm: bool
    """The average's own running statistics are measured on the training set."""


NOISE_OF_THE_ADVERSARY = 1_000_003
"""The place of its random start, apart from dropout's places."""


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
class Projection:
    """Applied to the weights that decay reaches after each step, each number by itself."""

    apply: Callable[[Sequence[Tensor]], object]


@dataclass(frozen=True)
class Hooks:
    """What acts on a run's steps, by its place in them; the defaults do nothing."""

    penalties: tuple[Penalty, ...] = ()
    decay: float = 0.0
    """Of all ``Decay`` together."""
    dropout: Dropout = Dropout(0.0)
    clip: Clip | None = None
    projections: tuple[Projection, ...] = ()
    smoothing: float = 0.0
    """Of all ``Smoothing`` together, in training."""
    averaging: Averaging | None = None
    adversary: Adversary | None = None
    teacher: Teacher | None = None
    taught: Callable[[Tensor], Tensor] | None = None
    """Returns the teacher's logits of inputs."""


Weights = Mapping[str, Tensor]
"""Parameters and buffers of a stack of models by name, each ``[runs, …]``."""


class StackedPass(Protocol):
    """One pass through the models of a stack: forward, and where it was kept, back."""

    def forward(self, x: Tensor, shared: bool, kept: bool) -> Tensor:
        """Return the outputs ``[runs, n, …]``, outside of autograd's graph.

        Args:
            x: ``[n, …]`` where all runs see the same samples (``shared``), else ``[runs, n, …]``.
            shared: see x.
            kept: keep what ``backward`` needs.
        """

    def backward(self, slopes: Tensor) -> None:
        """Leave in ``grad`` of every weight the gradient of a sum whose slopes by the outputs are given."""


@runtime_checkable
class WrittenOut(Protocol):
    """A model that can write out the pass of a stack of its kind, faster than ``vmap`` and autograd would make it."""

    def stacked_pass(self, weights: Weights, drop: Drop = keep) -> StackedPass | None:
        """Return a pass with the weights of all runs; None where this model's layers are not as they were built.

        It is as this model is, in training or not, whose own weights are not read.
        """
