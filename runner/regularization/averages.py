"""Averages of the weights of many steps, which evaluations judge in the place of the last ones."""

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import ClassVar, Self

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from runner.engine.hooks import AtStep, Going, Hook, Tried
from runner.errors import ConfigError

BATCH_NORM_SAMPLES = 512
"""At least so many, where there are as many, go through the model at a time to measure running statistics anew."""


@dataclass
class Averaging(Hook):
    """An average of the weights, and of batch norm's statistics."""

    share: Callable[[int, int], float | None]
    """Of the weights after step 1, 2, … of so many in the average; None leaves it as it is."""
    fresh_batch_norm: bool
    """The average's own running statistics are measured on the training set."""
    begins: Callable[[int], int] = lambda steps: 0
    """The first step whose weights are taken in, of a run of so many."""
    averages: dict[str, Tensor] | None = None
    """None before any weights were taken in."""
    state: ClassVar[tuple[str, ...]] = ("averages",)
    _going: Going | None = field(default=None, repr=False)
    _statistics_are_fresh: bool = False

    @property
    def alone(self) -> str:
        """Why a stack has none."""
        return "ema and swa keep the averages of one run"

    def check(self, tried: Tried) -> None:
        """Refuse an average that would never begin."""
        if (first := self.begins(tried.steps)) > tried.steps:
            raise ConfigError(f"regularization.swa.start={first} lies behind the run's end, {tried.steps} steps")

    def begin(self, at: Going) -> Self:
        """Begin with the initial weights, or with none where the first share says when."""
        begun = super().begin(at)
        begun._going = at
        if not self.fresh_batch_norm:
            begun._take(at.model, 1.0)
        return begun

    def after_step(self, at: AtStep, epoch_ends: bool) -> None:
        """Take the present weights in."""
        assert self._going is not None, "it has begun"
        share = None if at.skipped else self.share(at.step, self._going.steps)
        if share is not None:
            self._take(self._going.model, share)

    @torch.no_grad()
    def _take(self, model: nn.Module, share: float) -> None:
        numbers = _numbers(model)
        if self.averages is None:
            self.averages = {name: tensor.clone() for name, tensor in numbers.items()}
        for name, tensor in numbers.items():
            self.averages[name].lerp_(tensor, share)
        self._statistics_are_fresh = False

    @contextlib.contextmanager
    def evaluating(self, at: Going) -> Iterator[None]:
        """Put the averages, where there are any, in the place of the weights."""
        if self.averages is None:
            yield
            return
        self._swap(at.model, self.averages)
        if self.fresh_batch_norm and not self._statistics_are_fresh:
            measure_batch_norm(at.model, at.inputs)
            self._statistics_are_fresh = True
        try:
            yield
        finally:
            self._swap(at.model, self.averages)

    @staticmethod
    @torch.no_grad()
    def _swap(model: nn.Module, averages: dict[str, Tensor]) -> None:
        for name, tensor in _numbers(model).items():
            held = tensor.clone()
            tensor.copy_(averages[name])
            averages[name].copy_(held)

    def restored(self, at: Going) -> None:
        """Let the averages go: the best weights were averages."""
        self.averages = None

    def load_state_dict(self, saved: dict[str, object]) -> None:  # type: ignore[override]
        """Go on, statistics to be measured again."""
        super().load_state_dict(saved)
        self._statistics_are_fresh = False


@torch.no_grad()
def measure_batch_norm(model: nn.Module, x: Tensor) -> None:
    """Set batch norm's running statistics to those of all samples ``[n, …]``, each counted alike.

    They go through the model in parts of nearly one size, so that none is left alone.
    """
    norms = [module for module in model.modules() if isinstance(module, _BatchNorm)]
    before = [norm.momentum for norm in norms]
    for norm in norms:
        norm.reset_running_stats()
    was_training, seen = model.training, 0
    model.train()
    for part in x.tensor_split(max(1, len(x) // BATCH_NORM_SAMPLES)):
        seen += len(part)
        for norm in norms:
            norm.momentum = len(part) / seen
        model(part)
    for norm, momentum in zip(norms, before, strict=True):
        norm.momentum = momentum
    model.train(was_training)


def _numbers(model: nn.Module) -> dict[str, Tensor]:
    """Return the weights and running statistics, which can be averaged."""
    return {name: t.detach() for name, t in model.state_dict().items() if t.is_floating_point()}


def ema(*, decay: float) -> Hook:
    """a ← d·a + (1 - d)·w after each step, d = min(decay, (1 + step)/(10 + step)), from the initial weights."""
    return Averaging(lambda step, steps: 1 - min(decay, (1 + step) / (10 + step)), fresh_batch_norm=False)


def swa(*, start: float, every: int) -> Hook:
    """The mean of the weights after each ``every`` steps from ``start`` on (Izmailov et al. 2018, algorithm 1)."""

    def begins(steps: int) -> int:
        return max(1, int(start) if start >= 1 else round(start * steps))

    def share(step: int, steps: int) -> float | None:
        first = begins(steps)
        if step < first or (step - first) % every:
            return None
        return 1 / (1 + (step - first) // every)

    return Averaging(share, fresh_batch_norm=True, begins=begins)
