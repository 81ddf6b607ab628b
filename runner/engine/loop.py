"""The reference engine: one run after another, each step as one would write it by hand.

What acts on a run does so at the events of ``runner.engine.hooks``, here by their names.
"""

import math
import time
from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor

from runner.engine import accumulate
from runner.engine.judge import Evaluation, note
from runner.engine.measure import LOSSES_HELD_ON_CUDA, Measured, judge, synchronize
from runner.engine.model import Drop
from runner.engine.state import State
from runner.engine.targets import Targets, Weighted
from runner.metrics import value
from runner.noise import seed_global

Pulse = Callable[[State, float], bool]
"""Called after each step with the last loss known; True asks the engine to stop there."""


def train(state: State, pulse: Pulse, hold: int | None = None) -> Iterator[Evaluation]:
    """Train from the state to the run's end, yielding a row at each evaluation, step 0 included.

    At each yield, and where ``pulse`` stopped it, the state is whole: saved and loaded, it goes on to the same rows.

    Losses are read from the device ``hold`` at a time, as reading waits for it (None: 64 on CUDA, else 1). ``pulse`` is
    given the last one that was read, NaN before the first.
    """
    run, on = state.run, state.on
    if state.rows == 0:
        yield _evaluation(state, run.schedule(0), run.batch_size(0), Measured())
    losses = _Losses(state, hold or (LOSSES_HELD_ON_CUDA if run.device.type == "cuda" else 1))
    order: Tensor | None = None
    while state.stop_reason is None:
        synchronize(run)
        began = time.perf_counter()
        measured = Measured()
        lr, size = 0.0, 0
        while True:
            if order is None:
                order = run.order(state.epoch)
            size = run.batch_size(state.epoch)
            for act in on.batch_size:
                size = act(state, size)
            x, targets, end = _batch(state, order, size)
            samples = len(targets)
            epoch_ends = run.ends_epoch(end, size)
            for change in on.before_step:
                x, targets = change(state, x, targets)
            lr = run.schedule(state.planned_step(state.step, state.epoch, state.offset))
            for change_rate in on.learning_rate:
                lr = change_rate(lr)
            due = _is_due(state, epoch_ends, end, began)
            loss = accumulate.gradient(state, x, targets, _loss, measure=samples == size)
            if not losses.add(loss, samples, lr, size):
                break
            _update(state, x, targets, lr, measured if due else None)
            state.step += 1
            state.samples_seen += samples
            state.offset = end
            if epoch_ends:
                state.epoch, state.offset, order = state.epoch + 1, 0, None
            for counted in on.after_step:
                counted(state, epoch_ends)
            if due or pulse(state, losses.last):
                break
        if state.first_nonfinite_step is None:
            losses.drain()
        synchronize(run)
        state.train_seconds += time.perf_counter() - began
        if run.spread is not None:
            state.train_seconds = run.spread.of_first(state.train_seconds)
        if state.first_nonfinite_step is not None:
            state.stop_reason = "non-finite loss"
            yield note(state, losses.lr, losses.size, Measured(), None, None)
        elif due:
            yield _evaluation(state, lr, size, measured)
        else:
            return


def _is_due(state: State, epoch_ends: bool, end: int, began: float) -> bool:
    """Say whether the step about to be made, which takes the samples of its epoch up to ``end``, is evaluated."""
    run, step = state.run, state.step + 1
    if state.planned_step(step, state.epoch + epoch_ends, 0 if epoch_ends else end) == run.steps:
        return True
    if epoch_ends if run.eval_every is None else step % run.eval_every == 0:
        return True
    over = any(over(step, state.train_seconds + time.perf_counter() - began) for over in state.on.limit)
    return bool(run.spread.of_first(over)) if run.spread is not None and state.on.limit else over  # one clock


def _evaluation(state: State, lr: float, size: int, measured: Measured) -> Evaluation:
    found = note(state, lr, size, measured, *judge(state))
    if state.stop_reason is None or state.on.ended:  # a step, or what acts on the run's end, changes the weights
        state.judged = {}
    return found


def _batch(state: State, order: Tensor, size: int) -> tuple[Tensor, Targets, int]:
    train, offset = state.run.train, state.offset
    if size >= len(order) and not state.on.part_size:  # whose parts are drawn at random
        return train.x, train.y if train.weights is None else Weighted(train.y, train.weights), len(order)
    index = order[offset : offset + size]
    y = train.y[index]
    return train.x[index], y if train.weights is None else Weighted(y, train.weights[index]), offset + size


def _loss(state: State, x: Tensor, y: Targets, first: int = 0) -> Tensor:
    """Return the batch's loss, and what hooks make of it; what the weights themselves cost is added later.

    Of a part of the batch, which begins at its sample ``first``, it is that part's.
    """
    run, on = state.run, state.on
    if run.own_model and first == 0:  # it may draw from the global generator
        seed_global(run.noise_seed + state.step)
    drop = drop_of(state, first, len(x))

    def of(x: Tensor) -> Tensor:
        return loss_of(state, state.model(x, drop) if drop else state.model(x), x, y)

    with run.autocast():
        loss = of(x)
        for act in on.input_loss:
            loss = act(state, loss, of, x, first)
    return loss


def drop_of(state: State, first: int, samples: int) -> Drop | None:
    """Return what drops hidden units of so many samples of a batch from its ``first`` on, or None."""
    drop: Drop | None = None
    for dropping in state.on.drop:
        drop = dropping(state, first, samples) or drop
    return drop if drop is None or state.spread is None else state.spread.dropping(drop)


def loss_of(state: State, outputs: Tensor, x: Tensor, y: Targets) -> Tensor:
    """Return the loss of a model's outputs for inputs ``x``, and what hooks make of it."""
    loss = value(state.run.training_loss, outputs, y, x)
    for act in state.on.output_loss:
        loss = act(state, loss, outputs, x)
    return loss


def _update(state: State, x: Tensor, y: Targets, lr: float, measured: Measured | None) -> None:
    """Take one optimizer step along the gradient in place; where asked, measure its norm and the update's size."""
    run, optimizer, scaler, on = state.run, state.optimizer, state.scaler, state.on
    for group in optimizer.param_groups:
        group["lr"] = lr * group.get("lr_scale", 1.0) * group.get("lr_share", 1.0)
    if scaler:
        scaler.unscale_(optimizer)
    state.skipped = scaler is not None and not _is_finite(state.trained)  # a cut may make it finite
    if measured is not None:
        measured.before_update(state.model, run.spread)
    for cut in on.after_backward:
        cut(state)
    if on.before_update and not state.skipped:
        with torch.no_grad():
            for act in on.before_update:
                act(state, lr)
    if scaler:
        scaler.step(optimizer)
        scaler.update()
        state.skipped_steps += state.skipped
    elif run.optim.takes_closure:
        optimizer.step(Anew(state, x, y))  # type: ignore[arg-type]  # torch says float and takes both
    else:
        optimizer.step()
    if on.after_update and not state.skipped:
        with torch.no_grad():
            for follow in on.after_update:
                follow(state)
    if measured is not None:
        measured.after_update(state.model, run.spread, each=bool(on.layers))


def _is_finite(weights: Sequence[Tensor]) -> bool:
    """Say whether every gradient is a number: otherwise the loss scaler skips the step."""
    gradients = [weight.grad for weight in weights if weight.grad is not None]
    return math.isfinite(torch.nn.utils.get_total_norm(gradients, norm_type=math.inf))


class Anew:
    """The batch of a step, evaluated anew: the closure of optimizers that do so."""

    def __init__(self, state: State, x: Tensor, y: Targets) -> None:
        self._state, self._x, self._y = state, x, y

    def __call__(self) -> Tensor:
        """Put the gradient in place of the last one, and return the loss."""
        state = self._state
        loss = accumulate.gradient(state, self._x, self._y, _loss)
        for cut in state.on.after_backward:
            cut(state)
        return loss

    @property
    def key(self) -> Tensor:
        """The key of the step's noise, ``[2]``."""
        return self._state.key

    def hessian_times(self, vectors: Sequence[Tensor]) -> list[Tensor]:
        """Return the Hessian of the batch's loss times vectors, one for each weight that is trained, in their order."""
        return accumulate.hessian_times(self._state, self._x, self._y, _loss, vectors)


class _Losses:
    """The losses of the steps since the last evaluation, read from the device ``hold`` at a time."""

    def __init__(self, state: State, hold: int) -> None:
        self._state, self._hold = state, hold
        self._held: list[tuple[Tensor, int, int, int, int, float, int]] = []
        self.last = math.nan
        self.lr, self.size = 0.0, 0
        """Learning rate and batch size of the last step that was read."""

    def add(self, loss: Tensor, samples: int, lr: float, size: int) -> bool:
        """Take the loss of the step about to be made; False if a non-finite one has come to light."""
        state = self._state
        seen = state.samples_seen + samples
        self._held.append((loss.detach(), state.step + 1, state.epoch, state.offset + samples, seen, lr, size))
        return len(self._held) < self._hold or self.drain()

    def drain(self) -> bool:
        """Read what is held; at a non-finite loss, take the state's counters back to its step."""
        state = self._state
        losses = [held[0] for held in self._held]
        values = torch.stack(losses).tolist() if len(losses) > 1 else [loss.item() for loss in losses]
        for read, (_, step, epoch, offset, samples_seen, lr, size) in zip(values, self._held, strict=True):
            self.last, self.lr, self.size = read, lr, size
            state.loss_sum += read
            state.loss_count += 1
            if not math.isfinite(read):
                state.step, state.epoch, state.offset, state.samples_seen = step, epoch, offset, samples_seen
                state.first_nonfinite_step = step
                break
        self._held.clear()
        return state.first_nonfinite_step is None
