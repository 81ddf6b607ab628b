"""The loop over the steps of a stack."""

import time
from collections.abc import Callable, Iterator
from functools import partial

from torch import Tensor

from runner.engine.fused.ahead import Ahead
from runner.engine.fused.batches import Batches
from runner.engine.fused.evaluate import evaluate
from runner.engine.fused.graphed import Graphed, can_be_captured, keep_on_device
from runner.engine.fused.members import Stack
from runner.engine.fused.step import differentiate, update
from runner.engine.fused.watch import Events, Watch
from runner.engine.judge import note
from runner.engine.measure import LOSSES_HELD_ON_CUDA, Measured, synchronize
from runner.engine.targets import Mixed, Targets, Unweighted, Weighted

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
            ahead = Ahead(members)
        synchronize(first)
        began = time.perf_counter()
        while True:
            size = first.batch_size(members.epoch)
            rates, lr, key = ahead.next()
            x, targets, samples = _batch(members, batches, size)
            epoch_ends = first.ends_epoch(members.offset + samples, size)
            due = _is_due(members, epoch_ends)
            measured = None
            if graphed and not due:
                losses = graphed(x, lr, *_tensors(targets), *(() if key is None else (key,)))
            else:
                losses = differentiate(members, x, targets, _are_shared(members, targets))
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


def _batch(members: Stack, batches: Batches, size: int) -> tuple[Tensor, Unweighted, int]:
    """Return the present step's samples and targets, as hooks change them, and how many samples each member sees."""
    x, y, shared = batches.next(size)
    targets: Targets = y
    for change in members.on.before_step:
        x, targets = change(members, x, targets)
    assert not isinstance(targets, Weighted), "a run with data.weights is trained by itself"
    return x, targets, y.shape[0 if shared else 1]


def _tensors(targets: Unweighted) -> list[Tensor]:
    if isinstance(targets, Tensor):
        return [targets]
    assert isinstance(targets.share, Tensor), "a stack has it as a tensor"
    return [targets.y, targets.other, targets.share]


def _are_shared(members: Stack, targets: Unweighted) -> bool:
    """Say whether all members see the same batch."""
    of_samples = targets.y if isinstance(targets, Mixed) else targets
    return of_samples.ndim == members.runs[0].train.y.ndim


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
    optimizers = [part.optimizer for part in members.slices]
    if members.device.type != "cuda" or alone or not can_be_captured(optimizers):
        return None
    keep_on_device(optimizers)

    def step(x: Tensor, lr: Tensor, *rest: Tensor) -> Tensor:
        of_targets = list(rest)
        if members.draws:
            members.key = of_targets.pop()
        targets = Mixed(*of_targets) if len(of_targets) > 1 else of_targets[0]
        losses = differentiate(members, x, targets, _are_shared(members, targets))
        update(members, lr, measure=False)
        return losses

    return Graphed(step, partial(keep_on_device, optimizers))


def _found(members: Stack, diverged: Events, rates: list[float], size: int, measured: list[Measured] | None) -> Events:
    """Evaluate every member that goes on; return what was found of all, those that have ended gone from the stack."""
    going_on = [i for i, state in enumerate(members.states) if state.stop_reason is None]
    found = list(diverged)
    if going_on:
        first = members.runs[0]
        train, val = evaluate(members, [first.probe, first.val], first.metrics)
    for i in going_on:
        state, of_it = members.states[i], measured[i] if measured else Measured()
        state.judged = {"probe": train.outputs[i], "val": val.outputs[i]}
        found.append((state, note(state, rates[i], size, of_it, train.measured[i], val.measured[i])))
        if state.stop_reason is None or state.on.ended:  # a step, or what acts on the run's end, changes the weights
            state.judged = {}
        members.loss_sums[i] = 0.0
    members.leave_ended()
    return found
