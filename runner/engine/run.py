"""A run as an engine needs it: objects alone, no config and no option."""

import contextlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from runner.engine.hooks import Hook
from runner.engine.optimizers import ParameterGroups
from runner.engine.rules import Schedule, Strategy, Target
from runner.engine.spread import Spread
from runner.metrics import AnyLoss, Metric, OfInputs
from runner.noise import generator

TrainingLoss = Callable[[Tensor, Any], Tensor] | OfInputs
"""Takes ``Mixed`` and ``Weighted`` targets too."""


@dataclass(frozen=True)
class Split:
    """Samples as tensors on the device."""

    x: Tensor
    y: Tensor
    weights: Tensor | None = None
    """How much each counts in training, ``[n]``; None where all count alike."""


@dataclass(frozen=True)
class Stepping:
    """How a run's parameters are stepped."""

    groups: Callable[[nn.Module], ParameterGroups]
    """Of a model's parameters, as the optimizer takes them."""
    optimizer: partial[Optimizer]
    """Makes it of parameter groups; runs of one function and equal keywords have equal optimizers."""
    scaled: bool
    """The parameters' learning rates are scaled each by its own factor, as muP does."""
    linear_in_lr: bool
    """A step is the learning rate times something that does not depend on it."""
    own_decay: str | None
    """The keyword of the optimizer's that multiplies the weights by 1 - lr·value before its step, as AdamW's does."""
    takes_closure: bool
    """Each step is handed the function that evaluates its batch anew."""


@dataclass(frozen=True)
class Run:
    """Everything an engine needs to train, as objects; built once and never changed."""

    seed: int
    noise_seed: int
    device: torch.device
    autocast: Callable[[], contextlib.AbstractContextManager[Any]]
    loss_scaling: bool
    dtype: torch.dtype
    """Of weights and outputs."""
    train: Split
    probe: Split
    """The fixed subset of train that ``train_loss`` is measured on."""
    val: Split
    """Without samples where nothing is to be selected."""
    test: Split
    construct: Callable[[], nn.Module]
    """Returns the model with its initial weights, on the device."""
    optim: Stepping
    schedule: Schedule
    batch_size: Strategy
    micro: int | None
    """Samples of a batch that are processed at a time."""
    shuffle: bool | str
    """Each epoch in an order of its own; ``once``, all in one."""
    drop_last: bool
    """An epoch ends where fewer samples are left than a batch takes."""
    steps_per_epoch: int
    """Of the first epoch."""
    steps: int
    """Length of the run in optimizer steps; where sizes adapt in a run of epochs, of the first size."""
    eval_every: int | None
    """Steps between evaluations; None is once an epoch."""
    loss: AnyLoss
    """What evaluations measure of outputs against targets."""
    training_loss: TrainingLoss
    """What steps make smaller: the same with the classes' weights, also against ``Mixed`` and ``Weighted`` targets."""
    metrics: Mapping[str, Metric]
    """What every evaluation measures."""
    final_metrics: Mapping[str, Metric]
    """What is measured of the weights that the run ends with."""
    hooks: Mapping[str, Hook]
    """What acts on it, by the name of its group, or of group and option."""
    target: Target | None
    """What counts as reached."""
    keep_best: bool
    """Hold on to the weights of the best evaluation."""
    own_model: bool
    """The model may draw from the global generator."""
    interface: dict[str, Any]
    """What using the weights takes: input shape, outputs, classes, and the normalization of raw inputs."""
    spread: Spread | None = None
    """How several processes train it, each a part; None of a run of one process."""

    def order(self, epoch: int) -> Tensor:
        """Return the order of an epoch's samples, a function of the seed and the epoch alone."""
        n = len(self.train.y)
        if not self.shuffle:
            return torch.arange(n, device=self.device)
        of = epoch if self.shuffle is True else 0
        return torch.randperm(n, generator=generator(self.seed, "order", of)).to(self.device)

    def ends_epoch(self, end: int, size: int) -> bool:
        """Say whether an epoch is over after its samples up to ``end``, its batches being of ``size``."""
        n = len(self.train.y)
        return n - end < min(size, n) if self.drop_last else end >= n
