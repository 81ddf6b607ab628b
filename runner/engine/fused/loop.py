"""The loop over the steps of a stack."""

import time
from collections.abc import Callable, Iterator, Mapping

import torch
from torch import Tensor

from runner.engine.fused.batches import Batches
from runner.engine.fused.evaluate import evaluate
from runner.engine.fused.graphed import Graphed, can_be_captured
from runner.engine.fused.members import Stack
from runner.engine.fused.step import differentiate, update
from runner.engine.fused.watch import Events, Watch
from runner.engine.judge import note
from runner.engine.measure import LOSSES_HELD_ON_CUDA, Measured, synchronize
from runner.engine.rules import Schedule
from runner.engine.state import State

LOSSES_HELD = 16
"""Steps after which losses are looked at: a member that has diverged disturbs no other."""


def train(members: Stack, pulse: Callable[[int], bool]) -> Iterator[Events]:
    """Train all members, yielding at each evaluation what was found of each, step 0 included.

    A member that diverges or stops early leaves the stack after it was yielded with its ``stop_reason``; the others go
    on. At each yield, and where ``pulse`` (called with the step) stopped it, the stack is whole.
    """
    watch = Watch(members, LOSSES_HELD_ON_CUDA if members.device.type == "cuda" else LOSSES_HELD)
    if members.states[0].rows == 0:
        first = members.runs[0]
        yield _found(members, [], [run.schedule(0) for run in members.runs], first.batch_size(0), None)
    together = 0
    while members.runs:
        first = members.runs[0]
        if together != len(members.runs):  # a graph holds the weights' places
            graphed, batches, together = graph_of(members), Batches(members), len(members.runs)
        synchronize(first)
        began = time.perf_counter()
        while True:
            size = first.batch_size(members.epoch)
            x, y, shared = batches.next(size)
            samples = y.shape[y.ndim - first.train.y.ndim]
            planned = {schedule: schedule(members.step) for schedule in {run.schedule for run in members.runs}}
            rates = [planned[s.run.schedule] if not s.on.learning_rate else _rate(s, planned) for s in members.states]
            epoch_ends = first.ends_epoch(members.offset + samples, size)
            due = _is_due(members, epoch_ends)
            lr = torch.tensor(rates, dtype=torch.float64, device=members.device)
            key = members.draw()
            measured = None
            if graphed and not due:
                losses = graphed(*(tensor for tensor in (x, y, lr, key) if tensor is not None))
            else:
                losses = differentiate(members, x, y, shared)
                measured = update(members, lr, due)
            watch.add(losses, samples, rates, size)
            members.step += 1
            members.samples_seen += samples
            members.offset += samples
            if epoch_ends:
                members.epoch, members.offset = members.epoch + 1, 0
            for counted in members.on.after_step:
                counted(members, epoch_ends)
            if due or watch.all_diverged() or pulse(members.step):
                break
        watch.drain()
        over = due or watch.all_diverged()
        synchronize(first)
        seconds = (time.perf_counter() - began) / len(members.runs)
        for state in members.states:
            state.train_seconds += seconds
        members.note_progress()
        if not over:
            found = watch.take_diverged()
            members.leave_ended()
            yield found
            return
        yield _found(members, watch.take_diverged(), rates, size, measured)


def _rate(state: State, planned: Mapping[Schedule, float]) -> float:
    lr = planned[state.run.schedule]
    for change in state.on.learning_rate:
        lr = change(lr)
    return lr


def _is_due(members: Stack, epoch_ends: bool) -> bool:
    """Say whether the step about to be made is evaluated: at one step in all members, as their signature says."""
    first, step = members.runs[0], members.step + 1
    if step == first.steps or (epoch_ends if first.eval_every is None else step % first.eval_every == 0):
        return True
    return any(over(step, 0.0) for over in members.states[0].on.limit)


def graph_of(members: Stack) -> Graphed | None:
    """Return what replays the members' step on CUDA; None where that cannot be."""
    alone = len(members.runs) > sum(part.stop - part.start for part in members.slices)
    alone = alone or not all(hook.replayed for hook in members.hooks.values())
    if members.device.type != "cuda" or alone or not can_be_captured([part.optimizer for part in members.slices]):
        return None

    def step(x: Tensor, y: Tensor, lr: Tensor, key: Tensor | None = None) -> Tensor:
        shared = y.ndim == members.runs[0].train.y.ndim
        if key is not None:
            members.key = key
        losses = differentiate(members, x, y, shared)
        update(members, lr, measure=False)
        return losses

    return Graphed(step)


def _found(members: Stack, diverged: Events, rates: list[float], size: int, measured: list[Measured] | None) -> Events:
    """Evaluate every member that goes on; return what was found of all, those that have ended gone from the stack."""
    going_on = [i for i, state in enumerate(members.states) if state.stop_reason is None]
    found = list(diverged)
    if going_on:
        first = members.runs[0]
        train, val = evaluate(members, [first.probe, first.val], first.metrics)
    for i in going_on:
        state, of_it = members.states[i], measured[i] if measured else Measured()
        found.append((state, note(state, rates[i], size, of_it, train[i], val[i])))
        members.loss_sums[i] = 0.0
    members.leave_ended()
    return found
