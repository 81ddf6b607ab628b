"""What is measured of a run: of a step, and of the weights that it has come to."""

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from runner.engine.run import Run, Split
from runner.engine.spread import Spread, norm_of
from runner.engine.state import State
from runner.metrics import Metric, value

EVALUATION_BATCH = 2048
"""Samples a forward pass in evaluation: large enough to be fast, small enough for any model's memory."""
EVALUATION_BATCH_ON_CPU = 256
"""Likewise; what a convolution makes of 2048 images lies in no cache, and takes nearly three times as long."""
LOSSES_HELD_ON_CUDA = 64
"""Steps after which losses are read from a device that would have to be waited for."""


@torch.no_grad()
def evaluate(state: State, part: Split, metrics: Mapping[str, Metric] | None = None) -> dict[str, float]:
    """Return the loss and the metrics of a part of the data, the model in evaluation mode; nothing of an empty one."""
    if not len(part.y):
        return {}
    return _measured(state.run, outputs(state, part), part, state.run.metrics if metrics is None else metrics)


@torch.no_grad()
def judge(state: State) -> tuple[dict[str, float], dict[str, float]]:
    """Return loss and metrics of the fixed part of train and of the validation set; the outputs stay with the state."""
    run, found = state.run, list[dict[str, float]]()
    for name, part in (("probe", run.probe), ("val", run.val)):
        state.judged[name] = outputs(state, part) if len(part.y) else part.y
        found.append(_measured(run, state.judged[name], part, run.metrics) if len(part.y) else {})
    return found[0], found[1]


def outputs(state: State, part: Split) -> Tensor:
    """Return what the model, in evaluation mode, gives for a part of the data."""
    size = EVALUATION_BATCH_ON_CPU if state.run.device.type == "cpu" else EVALUATION_BATCH
    with state.evaluating(), state.run.autocast():
        return torch.cat([state.model(x) for x in torch.split(part.x, size)]).to(state.run.dtype)


def _measured(run: Run, outputs: Tensor, part: Split, metrics: Mapping[str, Metric]) -> dict[str, float]:
    measured = {"loss": value(run.loss, outputs, part.y, part.x), **{k: m(outputs, part.y) for k, m in metrics.items()}}
    return {name: float(found) for name, found in measured.items()}


@torch.no_grad()
def finish(state: State, seen: Callable[[Tensor], object] = lambda outputs: None) -> dict[str, float]:
    """Return what the weights that the run ends with reach, on the test set too: the one time that it is read.

    Args:
        state: the run, which has ended.
        seen: called with the outputs for the validation set, where there is one, unless the run has diverged.
    """
    run = state.run
    if state.first_nonfinite_step is not None:
        return {}
    known = state.judged or {
        name: outputs(state, p) for name, p in (("probe", run.probe), ("val", run.val)) if len(p.y)
    }
    final = {f"final_train_{k}": v for k, v in _measured(run, known["probe"], run.probe, run.metrics).items()}
    if len(run.val.y):
        seen(known["val"])
        final |= {f"final_val_{k}": v for k, v in _measured(run, known["val"], run.val, run.final_metrics).items()}
    began = time.perf_counter()
    test = evaluate(state, run.test, run.final_metrics)
    synchronize(run)
    seconds = (time.perf_counter() - began) / len(run.test.y)
    return final | {f"test_{k}": v for k, v in test.items()} | {"inference_seconds_per_sample": seconds}


def synchronize(run: Run) -> None:
    """Wait for the device."""
    if run.device.type == "cuda":
        torch.cuda.synchronize(run.device)
    elif run.device.type == "mps":
        torch.mps.synchronize()


@dataclass
class Measured:
    """What is measured of the step before an evaluation alone."""

    grad_norm: float | None = None
    update_ratio: float | None = None
    update_ratios: dict[str, float] = field(default_factory=dict)
    """Of each parameter, by name."""
    _before: dict[str, Tensor] = field(default_factory=dict)

    def before_update(self, model: nn.Module, spread: Spread | None) -> None:
        """Note the gradient's norm, before any clipping, and where the parameters are."""
        trained = {name: p for name, p in model.named_parameters() if p.requires_grad}
        self.grad_norm = _norm([p.grad for p in trained.values() if p.grad is not None], spread)
        self._before = {name: p.detach().clone() for name, p in trained.items()}

    def after_update(self, model: nn.Module, spread: Spread | None, each: bool) -> None:
        """Note how far the parameters moved relative to their size; with ``each``, one by one too."""
        moved = {n: p.detach() - self._before[n] for n, p in model.named_parameters() if n in self._before}
        self.update_ratio = ratio(_norm(list(moved.values()), spread), _norm(list(self._before.values()), spread))
        if each:
            self.update_ratios = {
                n: ratio(_norm([d], spread), _norm([self._before[n]], spread)) for n, d in moved.items()
            }
        self._before = {}


def _norm(tensors: list[Tensor], spread: Spread | None) -> float:
    return norm_of(spread, tensors).item()


def ratio(moved: float, size: float) -> float:
    """Return how far weights of a size moved, relative to it; of 0, infinity where they moved at all."""
    return moved / size if size > 0 else math.inf if moved > 0 else 0.0
