"""A run as an engine needs it: objects alone, no config and no option."""

import contextlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from runner.engine.hooks import Augmenting, Hooks
from runner.engine.optimizers import ParameterGroups
from runner.engine.rules import Adaptive, EarlyStopping, Plateau, Schedule, Stop, Strategy, Target
from runner.metrics import Metric
from runner.noise import generator


@dataclass(frozen=True)
class Split:
    """Samples as tensors on the device."""

    x: Tensor
    y: Tensor


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
    test: Split
    construct: Callable[[], nn.Module]
    """Returns the model with its initial weights, on the device."""
    parameter_groups: Callable[[nn.Module], ParameterGroups]
    mup: bool
    """The parameters' learning rates are scaled each by its own factor."""
    optimizer: partial[Optimizer]
    """Makes it of parameter groups; runs of one function and equal keywords have equal optimizers."""
    linear_in_lr: bool
    """Its step is the learning rate times something that does not depend on it."""
    own_decay: str | None
    """The keyword of its that multiplies the weights by 1 - lr·value before its step, as AdamW's weight_decay does."""
    takes_closure: bool
    """Each step is handed the function that evaluates its batch anew."""
    schedule: Schedule
    plateau: Plateau | None
    """Falls of the learning rate at evaluations, over those of the schedule."""
    batch_size: Strategy
    adaptive: Adaptive | None
    """The strategy, where the run itself decides on its sizes."""
    micro: int | None
    """Samples of a batch that are processed at a time."""
    shuffle: bool
    """Each epoch in an order of its own."""
    steps_per_epoch: int
    """Of the first epoch."""
    steps: int
    """Length of the run in optimizer steps; where sizes adapt in a run of epochs, of the first size."""
    eval_every: int | None
    """Steps between evaluations; None is once an epoch."""
    augment: Augmenting
    """What each batch goes through before its step; evaluations see the samples as they are."""
    loss: Callable[[Tensor, Any], Tensor]
    """Of outputs against targets, in training also against ``Mixed`` ones."""
    metrics: Mapping[str, Metric]
    """What every evaluation measures."""
    final_metrics: Mapping[str, Metric]
    """What is measured of the weights that the run ends with."""
    hooks: Hooks
    """What acts on its steps."""
    early_stopping: EarlyStopping | None
    target: Target | None
    """What counts as reached; it ends the run where ``stop`` says so."""
    stop: Stop
    keep_best: bool
    """Hold on to the weights of the best evaluation."""
    diagnostics: bool
    """Measure every layer at every evaluation."""
    sharpness: bool
    """Measure the largest curvature of the training loss at every evaluation."""
    own_model: bool
    """The model is a user's or torchvision's, and may draw from the global generator."""
    interface: dict[str, Any]
    """What using the weights takes: input shape, outputs, classes, and the normalization of raw inputs."""

    def order(self, epoch: int) -> Tensor:
        """Return the order of an epoch's samples, a function of the seed and the epoch alone."""
        n = len(self.train.y)
        if not self.shuffle:
            return torch.arange(n, device=self.device)
        return torch.randperm(n, generator=generator(self.seed, "order", epoch)).to(self.device)

    def planned_step(self, step: int, epoch: int, offset: int) -> int:
        """Return the step at which the run would be had its batches kept their first size.

        Schedules are functions of it, and it ends the run: where sizes adapt, both go by the samples seen.
        """
        if self.adaptive is None or self.adaptive.in_steps:
            return step
        return epoch * self.steps_per_epoch + offset // self.adaptive.size
