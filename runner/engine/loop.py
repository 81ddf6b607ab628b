"""The reference engine: one run after another, each step as one would write it by hand."""

import math
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from runner.engine import accumulate, diagnostics
from runner.engine.hooks import Drop, Mixed, spread
from runner.engine.optimizers import decayed
from runner.engine.run import Run, Split
from runner.engine.sharpness import sharpness
from runner.engine.state import State
from runner.measures import HIGHER_IS_BETTER
from runner.metrics import Metric
from runner.noise import generator, key

Row = dict[str, Any]


@dataclass(frozen=True)
class Evaluation:
    """A row of ``metrics.csv``, and with diagnostics the rows of ``layers.csv``."""

    row: Row
    layers: list[Row]


Pulse = Callable[[State, float], bool]
"""Called after each step with the last loss known; True asks the engine to stop there."""

EVALUATION_BATCH = 2048
"""Samples a forward pass in evaluation: large enough to be fast, small enough for any model's memory."""
LOSSES_HELD_ON_CUDA = 64
"""Steps after which losses are read from a device that would have to be waited for."""


def train(run: Run, state: State, pulse: Pulse) -> Iterator[Evaluation]:
    """Train from the state to the run's end, yielding a row at each evaluation, step 0 included.

    At each yield, and where ``pulse`` stopped it, the state is whole: saved and loaded, it goes on to the same rows.
    """
    if state.rows == 0:
        yield _evaluation(run, state, run.schedule(0), run.batch_size(0), Measured())
    losses = _Losses(state, hold=LOSSES_HELD_ON_CUDA if run.device.type == "cuda" else 1)
    order: Tensor | None = None
    while state.stop_reason is None:
        synchronize(run)
        began = time.perf_counter()
        measured = Measured()
        lr, size = 0.0, 0
        while True:
            if order is None:
                order = order_of(run, state.epoch)
            size = state.batch_size or run.batch_size(state.epoch)
            x, y, end = _batch(run, order, state.offset, size)
            x, targets = run.augment(x, y, state.step)
            lr = run.schedule(planned_step(run, state.step, state.epoch, state.offset)) * state.lr_factor
            epoch_ends = end >= len(run.train.y)
            planned = planned_step(run, state.step + 1, state.epoch + epoch_ends, 0 if epoch_ends else end)
            evaluate = (
                planned == run.steps
                or state.step + 1 == run.stop.steps
                or (epoch_ends if run.eval_every is None else (state.step + 1) % run.eval_every == 0)
            )
            if run.stop.seconds is not None:
                evaluate = evaluate or state.train_seconds + time.perf_counter() - began >= run.stop.seconds
            loss = accumulate.gradient(run, state, x, targets, _loss, measure=len(y) == size)
            if not losses.add(loss, len(y)):
                break
            _update(run, state, x, targets, lr, measured if evaluate else None)
            state.step += 1
            if run.hooks.averaging:
                state.average(run.hooks.averaging.weight(state.step, run.steps))
            state.samples_seen += len(y)
            state.offset = end
            if epoch_ends:
                state.epoch, state.offset, order = state.epoch + 1, 0, None
            if run.adaptive:
                accumulate.adapt(run.adaptive, state, epoch_ends)
            if evaluate or pulse(state, losses.last):
                break
        if state.first_nonfinite_step is None:
            losses.drain()
        synchronize(run)
        state.train_seconds += time.perf_counter() - began
        if state.first_nonfinite_step is not None:
            state.stop_reason = "non-finite loss"
            yield _evaluation(run, state, lr, size, measured, evaluated=False)
        elif evaluate:
            yield _evaluation(run, state, lr, size, measured)
        else:
            return


def finish(run: Run, state: State) -> dict[str, float]:
    """Return what the weights that the run ends with reach, on the test set too: the one time that it is read."""
    if state.first_nonfinite_step is not None:
        return {}
    final = {f"final_train_{k}": v for k, v in evaluate(run, state, run.probe).items()}
    final |= {f"final_val_{k}": v for k, v in evaluate(run, state, run.val, run.final_metrics).items()}
    began = time.perf_counter()
    test = evaluate(run, state, run.test, run.final_metrics)
    synchronize(run)
    seconds = (time.perf_counter() - began) / len(run.test.y)
    return final | {f"test_{k}": v for k, v in test.items()} | {"inference_seconds_per_sample": seconds}


@torch.no_grad()
def evaluate(run: Run, state: State, part: Split, metrics: Mapping[str, Metric] | None = None) -> dict[str, float]:
    """Return the loss and the metrics of a part of the data, the model in evaluation mode."""
    with state.evaluating(), run.autocast():
        outputs = torch.cat([state.model(x) for x in torch.split(part.x, EVALUATION_BATCH)]).to(run.dtype)
    asked = run.metrics if metrics is None else metrics
    measured = {"loss": run.loss(outputs, part.y), **{k: m(outputs, part.y) for k, m in asked.items()}}
    return {name: float(value) for name, value in measured.items()}


def synchronize(run: Run) -> None:
    """Wait for the device."""
    if run.device.type == "cuda":
        torch.cuda.synchronize(run.device)
    elif run.device.type == "mps":
        torch.mps.synchronize()


def order_of(run: Run, epoch: int) -> Tensor:
    """Return the order of an epoch's samples, a function of the seed and the epoch alone."""
    n = len(run.train.y)
    if not run.shuffle:
        return torch.arange(n, device=run.device)
    return torch.randperm(n, generator=generator(run.seed, "order", epoch)).to(run.device)


def planned_step(run: Run, step: int, epoch: int, offset: int) -> int:
    """Return the step at which the run would be had its batches kept their first size.

    Schedules are functions of it, and it ends the run: where sizes adapt, both go by the samples seen.
    """
    if run.adaptive is None or run.adaptive.in_steps:
        return step
    return epoch * run.steps_per_epoch + offset // run.adaptive.size


def _batch(run: Run, order: Tensor, offset: int, size: int) -> tuple[Tensor, Tensor, int]:
    if size >= len(order) and run.adaptive is None:  # whose parts are drawn at random
        return run.train.x, run.train.y, len(order)
    index = order[offset : offset + size]
    return run.train.x[index], run.train.y[index], offset + size


def _loss(run: Run, state: State, x: Tensor, y: Tensor | Mixed, first: int = 0) -> Tensor:
    """Return what a step makes smaller: the batch's loss, and what regularization adds to it.

    Of a part of the batch, which begins at its sample ``first``, it is that part's.
    """
    if run.own_model and first == 0:  # it may draw from the global generator
        torch.manual_seed(run.noise_seed + state.step)
    hooks, drop = run.hooks, None
    if hooks.dropout.p > 0:
        drop = hooks.dropout.at(key(run.noise_seed, state.step, run.device), first, len(x))
    with run.autocast():
        loss = _batch_loss(run, state, x, y, drop)
        if adversary := hooks.adversary:
            noise = key(run.noise_seed, state.step, run.device)
            moved = adversary.moved(x, lambda at: _batch_loss(run, state, at, y, drop), noise, first)
            loss = (1 - adversary.share) * loss + adversary.share * _batch_loss(run, state, moved, y, drop)
    for penalty in hooks.penalties:
        loss = loss + penalty.strength * penalty.of(decayed(state.parameters))
    return loss


def _batch_loss(run: Run, state: State, x: Tensor, y: Tensor | Mixed, drop: Drop | None) -> Tensor:
    outputs = state.model(x, drop) if drop else state.model(x)
    loss = run.loss(outputs, y)
    if smoothing := run.hooks.smoothing:
        loss = (1 - smoothing) * loss + smoothing * spread(outputs)
    if (teacher := run.hooks.teacher) and run.hooks.taught:
        loss = (1 - teacher.share) * loss + teacher.share * teacher.lesson(outputs, run.hooks.taught(x))
    return loss


def _update(run: Run, state: State, x: Tensor, y: Tensor | Mixed, lr: float, measured: "Measured | None") -> None:
    """Take one optimizer step along the gradient in place; where asked, measure its norm and the update's size."""
    optimizer, scaler = state.optimizer, state.scaler
    for group in optimizer.param_groups:
        group["lr"] = lr * group.get("lr_scale", 1.0)
    if scaler:
        scaler.unscale_(optimizer)
    if measured is not None:
        measured.before_update(state.model)
    if run.hooks.clip:
        run.hooks.clip.apply([p for group in state.parameters for p in group["params"]])
    if run.hooks.decay:
        torch._foreach_mul_([p.data for p in decayed(state.parameters)], 1 - lr * run.hooks.decay)
    if scaler:
        scale = scaler.get_scale()
        scaler.step(optimizer)
        scaler.update()
        state.skipped_steps += scaler.get_scale() < scale
    elif run.takes_closure:
        optimizer.step(partial(_evaluated, run, state, x, y))  # type: ignore[arg-type]  # torch says float and takes both
    else:
        optimizer.step()
    for projection in run.hooks.projections:
        projection.apply(decayed(state.parameters))
    if measured is not None:
        measured.after_update(state.model, each=run.diagnostics)


def _evaluated(run: Run, state: State, x: Tensor, y: Tensor | Mixed) -> Tensor:
    """Evaluate a batch anew, its gradients in place: the closure of optimizers that do so several times a step."""
    loss = accumulate.gradient(run, state, x, y, _loss)
    if run.hooks.clip:
        run.hooks.clip.apply([p for group in state.parameters for p in group["params"]])
    return loss


@dataclass
class Measured:
    """What is measured of the step before an evaluation alone."""

    grad_norm: float | None = None
    update_ratio: float | None = None
    update_ratios: dict[str, float] = field(default_factory=dict)
    """Of each parameter, by name."""
    _before: dict[str, Tensor] = field(default_factory=dict)

    def before_update(self, model: nn.Module) -> None:
        """Note the gradient's norm, before any clipping, and where the parameters are."""
        trained = {name: p for name, p in model.named_parameters() if p.requires_grad}
        self.grad_norm = _norm([p.grad for p in trained.values() if p.grad is not None])
        self._before = {name: p.detach().clone() for name, p in trained.items()}

    def after_update(self, model: nn.Module, each: bool) -> None:
        """Note how far the parameters moved relative to their size; with ``each``, one by one too."""
        moved = {n: p.detach() - self._before[n] for n, p in model.named_parameters() if n in self._before}
        self.update_ratio = ratio(_norm(list(moved.values())), _norm(list(self._before.values())))
        if each:
            self.update_ratios = {n: ratio(_norm([d]), _norm([self._before[n]])) for n, d in moved.items()}
        self._before = {}


def _norm(tensors: list[Tensor]) -> float:
    return torch.nn.utils.get_total_norm(tensors).item()


def ratio(moved: float, size: float) -> float:
    """Return how far weights of a size moved, relative to it; of 0, infinity where they moved at all."""
    return moved / size if size > 0 else math.inf if moved > 0 else 0.0


class _Losses:
    """The losses of the steps since the last evaluation, read from the device ``hold`` at a time."""

    def __init__(self, state: State, hold: int) -> None:
        self._state, self._hold = state, hold
        self._held: list[tuple[Tensor, int, int, int, int]] = []
        self.last = math.nan

    def add(self, loss: Tensor, samples: int) -> bool:
        """Take the loss of the step about to be made; False if a non-finite one has come to light."""
        state = self._state
        self._held.append(
            (loss.detach(), state.step + 1, state.epoch, state.offset + samples, state.samples_seen + samples)
        )
        return len(self._held) < self._hold or self.drain()

    def drain(self) -> bool:
        """Read what is held; at a non-finite loss, take the state's counters back to its step."""
        state = self._state
        losses = [held[0] for held in self._held]
        values = torch.stack(losses).tolist() if len(losses) > 1 else [loss.item() for loss in losses]
        for value, (_, step, epoch, offset, samples_seen) in zip(values, self._held, strict=True):
            self.last = value
            state.loss_sum += value
            state.loss_count += 1
            if not math.isfinite(value):
                state.step, state.epoch, state.offset, state.samples_seen = step, epoch, offset, samples_seen
                state.first_nonfinite_step = step
                break
        self._held.clear()
        return state.first_nonfinite_step is None


def _evaluation(
    run: Run,
    state: State,
    lr: float,
    batch_size: int,
    measured: "Measured",
    evaluated: bool = True,
) -> Evaluation:
    if not evaluated:
        return note(run, state, lr, batch_size, measured, None, None)
    return note(run, state, lr, batch_size, measured, evaluate(run, state, run.probe), evaluate(run, state, run.val))


def note(
    run: Run,
    state: State,
    lr: float,
    batch_size: int,
    measured: "Measured",
    train: dict[str, float] | None,
    val: dict[str, float] | None,
) -> Evaluation:
    """Take down an evaluation: keep the best, and decide whether the run is over.

    Args:
        run: the run.
        state: where it is; its losses since the last evaluation are taken from it.
        lr: of the step just made.
        batch_size: of the step just made.
        measured: of the step just made.
        train: measures on the fixed subset of train; None where the run has diverged.
        val: measures on the validation set, likewise.
    """
    names = ["loss", *run.metrics]
    batch_loss = state.loss_sum / state.loss_count if state.loss_count else None
    state.loss_sum, state.loss_count = 0.0, 0
    state.rows += 1
    if train is not None and val is not None:
        _judge(run, state, train["loss"], val, measured.grad_norm)
    layers = diagnostics.measure(run, state, measured.update_ratios) if run.diagnostics and val is not None else []
    row = {
        "step": state.step,
        "epoch": state.epoch + state.offset / len(run.train.y),
        "samples_seen": state.samples_seen,
        "train_seconds": state.train_seconds,
        "lr": lr,
        "batch_size": min(batch_size, len(run.train.y)),
        "batch_loss": batch_loss,
        **{f"train_{k}": v for k, v in (train or dict.fromkeys(names)).items()},
        **{f"val_{k}": v for k, v in (val or dict.fromkeys(names)).items()},
        "grad_norm": measured.grad_norm,
        "update_ratio": measured.update_ratio,
        **({"noise_scale": state.noise_scale} if run.adaptive else {}),
        **({"sharpness": sharpness(run, state) if val is not None else None} if run.sharpness else {}),
        "status": "ok" if state.first_nonfinite_step is None else "diverged",
    }
    return Evaluation(row, layers)


def _judge(run: Run, state: State, train_loss: float, val: dict[str, float], grad_norm: float | None) -> None:
    """Note a best evaluation and whether the run ends here, and why."""
    if not (math.isfinite(val["loss"]) and math.isfinite(train_loss)):
        state.first_nonfinite_step, state.stop_reason = state.step, "non-finite loss"
        return
    if run.keep_best and val["loss"] < state.best.get("loss", math.inf):
        state.best_weights = state.weights()
    for name, value in val.items():
        if name in HIGHER_IS_BETTER:  # of a user's own measure nobody knows which way is better
            better = max if HIGHER_IS_BETTER[name] else min
            state.best[name] = better(state.best.get(name, value), value)
    if (plateau := run.plateau) and state.rows > 1:  # step 0 is judged by nothing yet
        fell = val["loss"] < state.plateau_loss - plateau.min_delta
        state.plateau_loss = val["loss"] if fell else state.plateau_loss
        state.evaluations_on_plateau = 0 if fell else state.evaluations_on_plateau + 1
        if state.evaluations_on_plateau >= plateau.patience:
            state.lr_factor, state.evaluations_on_plateau = plateau.after(state.lr_factor), 0
    stopping = run.early_stopping
    if stopping:
        fell = val["loss"] < state.patience_loss - stopping.min_delta
        state.patience_loss = val["loss"] if fell else state.patience_loss
        state.evaluations_since_fall = 0 if fell else state.evaluations_since_fall + 1
    if patience := run.stop.plateau:
        fell = train_loss < state.stop_loss - patience.min_delta
        state.stop_loss = train_loss if fell else state.stop_loss
        state.evaluations_without_progress = 0 if fell else state.evaluations_without_progress + 1
    if run.target and state.steps_to_target is None and run.target.reached(val):
        state.steps_to_target, state.seconds_to_target = state.step, state.train_seconds
    state.stop_reason = _end(run, state, grad_norm)
    if state.stop_reason and stopping and stopping.restore_best and state.best_weights is not None:
        state.model.load_state_dict(state.best_weights)
        state.averages = None  # the best weights were averages, where those are judged


def _end(run: Run, state: State, grad_norm: float | None) -> str | None:
    """Return why the run ends at the evaluation just judged, or None."""
    stop, stopping = run.stop, run.early_stopping
    if stop.target and run.target and state.steps_to_target is not None:
        return f"target: val_{run.target.measure} reached {run.target.value:g}"
    if stop.plateau and state.evaluations_without_progress >= stop.plateau.patience:
        return f"plateau: no fall of train_loss in {stop.plateau.patience} evaluations"
    if stop.grad_norm is not None and grad_norm is not None and grad_norm < stop.grad_norm:
        return f"grad_norm: below {stop.grad_norm:g}"
    if stopping and state.evaluations_since_fall >= stopping.patience:
        return f"early_stopping: no fall of val_loss in {stopping.patience} evaluations"
    if planned_step(run, state.step, state.epoch, state.offset) >= run.steps:
        return "finished"
    if stop.steps is not None and state.step >= stop.steps:
        return f"steps: {stop.steps} made"
    if stop.seconds is not None and state.train_seconds >= stop.seconds:
        return f"time: {stop.seconds:g} seconds of training used"
    return None
