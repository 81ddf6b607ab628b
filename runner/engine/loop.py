"""The reference engine: one run after another, each step as one would write it by hand."""

import math
import time
from collections.abc import Callable, Iterator
from functools import partial

import torch
from torch import Tensor

from runner.engine import accumulate
from runner.engine.hooks import Drop, Mixed, spread
from runner.engine.judge import Evaluation, note
from runner.engine.measure import LOSSES_HELD_ON_CUDA, Measured, evaluate, synchronize
from runner.engine.optimizers import decayed
from runner.engine.run import Run
from runner.engine.state import State
from runner.noise import key

Pulse = Callable[[State, float], bool]
"""Called after each step with the last loss known; True asks the engine to stop there."""


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
                order = run.order(state.epoch)
            size = state.batch_size or run.batch_size(state.epoch)
            x, y, end = _batch(run, order, state.offset, size)
            x, targets = run.augment(x, y, state.step)
            lr = run.schedule(run.planned_step(state.step, state.epoch, state.offset)) * state.lr_factor
            epoch_ends = end >= len(run.train.y)
            planned = run.planned_step(state.step + 1, state.epoch + epoch_ends, 0 if epoch_ends else end)
            due = (
                planned == run.steps
                or state.step + 1 == run.stop.steps
                or (epoch_ends if run.eval_every is None else (state.step + 1) % run.eval_every == 0)
            )
            if run.stop.seconds is not None:
                due = due or state.train_seconds + time.perf_counter() - began >= run.stop.seconds
            loss = accumulate.gradient(run, state, x, targets, _loss, measure=len(y) == size)
            if not losses.add(loss, len(y)):
                break
            _update(run, state, x, targets, lr, measured if due else None)
            state.step += 1
            if run.hooks.averaging:
                state.average(run.hooks.averaging.weight(state.step, run.steps))
            state.samples_seen += len(y)
            state.offset = end
            if epoch_ends:
                state.epoch, state.offset, order = state.epoch + 1, 0, None
            if run.adaptive:
                accumulate.adapt(run.adaptive, state, epoch_ends)
            if due or pulse(state, losses.last):
                break
        if state.first_nonfinite_step is None:
            losses.drain()
        synchronize(run)
        state.train_seconds += time.perf_counter() - began
        if state.first_nonfinite_step is not None:
            state.stop_reason = "non-finite loss"
            yield _evaluation(run, state, lr, size, measured, evaluated=False)
        elif due:
            yield _evaluation(run, state, lr, size, measured)
        else:
            return


def _evaluation(
    run: Run,
    state: State,
    lr: float,
    batch_size: int,
    measured: Measured,
    evaluated: bool = True,
) -> Evaluation:
    if not evaluated:
        return note(run, state, lr, batch_size, measured, None, None)
    return note(run, state, lr, batch_size, measured, evaluate(run, state, run.probe), evaluate(run, state, run.val))


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


def _update(run: Run, state: State, x: Tensor, y: Tensor | Mixed, lr: float, measured: Measured | None) -> None:
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
