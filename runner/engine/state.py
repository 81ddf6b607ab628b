"""Everything about a run that changes while it trains, explicit and serializable."""

import contextlib
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.swa_utils import update_bn

from runner.engine.optimizers import ParameterGroups, evaluating
from runner.engine.run import Run

BATCH_NORM_SAMPLES = 512
"""Of a batch in which running statistics are measured anew."""
COUNTERS = (
    "step",
    "epoch",
    "offset",
    "samples_seen",
    "rows",
    "train_seconds",
    "loss_sum",
    "loss_count",
    "patience_loss",
    "evaluations_since_fall",
    "best",
    "first_nonfinite_step",
    "stop_reason",
    "skipped_steps",
    "lr_factor",
    "plateau_loss",
    "evaluations_on_plateau",
    "stop_loss",
    "evaluations_without_progress",
    "steps_to_target",
    "seconds_to_target",
    "batch_size",
    "gradient_noise",
    "gradient_signal",
)


@dataclass
class State:
    """A run on its way; ``state_dict`` and ``load_state_dict`` carry all of it."""

    model: nn.Module
    parameters: ParameterGroups
    optimizer: Optimizer
    scaler: torch.amp.GradScaler | None
    step: int = 0
    """Optimizer steps taken."""
    epoch: int = 0
    """Whole passes over the training set."""
    offset: int = 0
    """Samples of the present pass already used."""
    samples_seen: int = 0
    rows: int = 0
    """Evaluations done."""
    train_seconds: float = 0.0
    loss_sum: float = 0.0
    """Of the batches since the last evaluation."""
    loss_count: int = 0
    patience_loss: float = math.inf
    """Validation loss at its last fall, as early stopping counts falls."""
    evaluations_since_fall: int = 0
    best: dict[str, float] = field(default_factory=dict)
    """Best value of each validation measure so far."""
    best_weights: dict[str, Tensor] | None = None
    first_nonfinite_step: int | None = None
    stop_reason: str | None = None
    """Why the run ended; None while it goes on."""
    skipped_steps: int = 0
    """Steps that the loss scaler skipped."""
    lr_factor: float = 1.0
    """What falls at evaluations have left of the schedule's learning rate."""
    plateau_loss: float = math.inf
    """Validation loss at its last fall, as the learning rate's falls count them."""
    evaluations_on_plateau: int = 0
    stop_loss: float = math.inf
    """Training loss at its last fall, as ``stop=plateau`` counts falls."""
    evaluations_without_progress: int = 0
    steps_to_target: int | None = None
    """Steps made before the first evaluation that reached the target; None while none has."""
    seconds_to_target: float | None = None
    """``train_seconds`` there."""
    batch_size: int | None = None
    """What ``batch=adaptive`` has come to; None before its first change."""
    gradient_noise: float = 0.0
    """Average of estimates of tr(Σ), of each sample's gradient, from 0 on as Adam's moments."""
    gradient_signal: float = 0.0
    """Average of estimates of |G|², of the mean gradient, alike: their ratio needs no correction."""
    optimized_together: int = 1
    """Runs that share the optimizer."""
    stack_size: int = 0
    """Runs that the fused engine began to train together; 0 under the reference engine."""

    averages: dict[str, Tensor] | None = None
    """Of the weights, and of batch norm's statistics, which evaluations judge in their place."""
    averages_are_fresh: bool = False
    """The averages' own batch-norm statistics are those of the training set."""
    measure_batch_norm: Callable[[nn.Module], object] | None = None
    """Measures them, where averages are to have their own."""

    @property
    def noise_scale(self) -> float | None:
        """The gradient noise scale tr(Σ)/|G|², infinite where no signal stands out; None before any estimate."""
        if self.gradient_noise == 0 and self.gradient_signal == 0:
            return None
        return max(0.0, self.gradient_noise / self.gradient_signal) if self.gradient_signal > 0 else math.inf

    @contextlib.contextmanager
    def evaluating(self) -> Iterator[None]:
        """Put the model into evaluation mode, with the weights that are judged where those are not the stepped ones."""
        with evaluating(self.optimizer):
            self._swap_averages()
            if self.averages is not None and self.measure_batch_norm and not self.averages_are_fresh:
                self.measure_batch_norm(self.model)
                self.averages_are_fresh = True
            self.model.eval()
            try:
                yield
            finally:
                self.model.train()
                self._swap_averages()

    @torch.no_grad()
    def _swap_averages(self) -> None:
        """Exchange the model's numbers with the averages, where there are any."""
        for name, tensor in _numbers(self.model).items() if self.averages is not None else ():
            average = self.averages[name]  # type: ignore[index]
            held = tensor.clone()
            tensor.copy_(average)
            average.copy_(held)

    @torch.no_grad()
    def average(self, share: float | None) -> None:
        """Take the present weights into the averages with a share; None leaves those as they are."""
        if share is None:
            return
        if self.averages is None:
            self.averages = {name: tensor.clone() for name, tensor in _numbers(self.model).items()}
        for name, tensor in _numbers(self.model).items():
            self.averages[name].lerp_(tensor, share)
        self.averages_are_fresh = False

    def weights(self) -> dict[str, Tensor]:
        """Return a copy of the weights that evaluations judge."""
        with self.evaluating():
            return {k: v.detach().clone() for k, v in self.model.state_dict().items()}

    def state_dict(self) -> dict[str, Any]:
        """Return tensors and plain values, as ``torch.save`` and ``weights_only`` loading take them."""
        return {
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "scaler": self.scaler.state_dict() if self.scaler else None,
            "best_weights": self.best_weights,
            "averages": self.averages,
            "counters": {name: getattr(self, name) for name in COUNTERS},
        }

    def load_state_dict(self, saved: dict[str, Any]) -> None:
        """Go on from what ``state_dict`` returned."""
        self.model.load_state_dict(saved["model"])
        self.optimizer.load_state_dict(saved["optimizer"])
        if self.scaler:
            self.scaler.load_state_dict(saved["scaler"])
        self.best_weights = saved["best_weights"]
        self.averages, self.averages_are_fresh = saved["averages"], False
        for name in COUNTERS:
            setattr(self, name, saved["counters"][name])


def _numbers(model: nn.Module) -> dict[str, Tensor]:
    """Return the weights and running statistics, which can be averaged."""
    return {name: t.detach() for name, t in model.state_dict().items() if t.is_floating_point()}


def start(run: Run) -> State:
    """Return a run at step 0: initial weights and a fresh optimizer."""
    model = run.construct()
    parameters = run.parameter_groups(model)
    scaler = torch.amp.GradScaler(run.device.type) if run.loss_scaling else None
    state = State(model, parameters, run.optimizer(parameters), scaler)
    if run.hooks.averaging and run.hooks.averaging.fresh_batch_norm:
        state.measure_batch_norm = partial(update_bn, torch.split(run.train.x, BATCH_NORM_SAMPLES))
    elif run.hooks.averaging:
        state.average(1.0)
    return state
