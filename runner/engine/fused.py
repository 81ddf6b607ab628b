"""The fused engine: runs that differ in numbers alone, trained as one step.

The runs' weights are stacked ``[runs, …]`` and are the leaves of one graph; the loss is the sum of every run's mean
loss, so each gets its own gradient. Each run's model keeps views of its part of the stack: what the reference engine
does with one run (checkpoints, the best weights, the test) it does with a member of a stack as well.

Where an update is linear in the learning rate, one unmodified optimizer steps many runs with a rate of 1, and each
goes its own rate's share of the way. Other optimizers step each run's views by themselves.

``torch.autograd.grad`` would give gradients of other strides than their weights', with which PyTorch's fused
optimizers compute wrong updates; ``.backward()`` into leaves does not.
"""

import contextlib
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import groupby
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from runner import optim
from runner.build import Run, Split
from runner.engine import batched
from runner.engine.graphed import Graphed, can_be_captured
from runner.engine.loop import LOSSES_HELD_ON_CUDA, Evaluation, Measured, note, order_of, ratio, synchronize
from runner.engine.state import COUNTERS, State, start
from runner.metrics import Metric
from runner.noise import key

LINEAR_IN_THE_RATE = (
    *(torch.optim.SGD, torch.optim.Adam, torch.optim.AdamW, torch.optim.NAdam, torch.optim.RAdam, torch.optim.Adamax),
    *(torch.optim.Adagrad, torch.optim.Adadelta, torch.optim.RMSprop),
)
"""Optimizers whose step is the learning rate times something that does not depend on it."""
EVALUATION_ROWS = 4096
"""Samples times runs of a forward pass in evaluation: large enough to be fast, small enough for the cache."""
LOSSES_HELD = 16
"""Steps after which losses are looked at: a member that has diverged disturbs no other."""
OUTSIDE_OF_MEMORY = ("out of memory", "can't allocate memory", "not enough memory")

Events = list[tuple[State, Evaluation]]
"""Members, and what was found of each."""


@dataclass
class Slice:
    """Members from ``start`` to ``stop`` that one optimizer steps, each by its own learning rate."""

    start: int
    stop: int
    names: list[str]
    views: list[nn.Parameter]
    optimizer: Optimizer
    before: list[Tensor] = field(default_factory=list)

    def step(self, gradients: Mapping[str, Tensor], lr: Tensor) -> None:
        """Step with a rate of 1, then go each run's ``lr`` (``[runs]``) of the way."""
        for name, view in zip(self.names, self.views, strict=True):
            view.grad = gradients[name][self.start : self.stop]
        if not self.before:
            self.before = [torch.empty_like(view) for view in self.views]
        torch._foreach_copy_(self.before, [view.data for view in self.views])
        for group in self.optimizer.param_groups:
            group["lr"] = 1.0
        self.optimizer.step()
        share = lr[self.start : self.stop]
        for before, view in zip(self.before, self.views, strict=True):
            torch.lerp(before, view.data, _along(share, view), out=view.data)


@dataclass(frozen=True)
class Numbers:
    """What the members' regularization sets, a number ``[runs]`` for each; None where none of them has it."""

    dropout: Tensor | None
    penalties: list[tuple[Callable[[Sequence[Tensor]], Tensor], Tensor]]
    """Kinds of penalties, and how strong each is."""
    smoothing: Tensor | None
    max_value: Tensor | None
    max_norm: Tensor | None
    decay: Tensor | None

    @staticmethod
    def of(runs: Sequence[Run]) -> "Numbers":
        """Collect them."""

        def each(values: Sequence[float], without: float) -> Tensor | None:
            there = any(value != without for value in values)
            return torch.tensor(values, dtype=torch.float64, device=runs[0].device) if there else None

        kinds = dict.fromkeys(penalty.of for run in runs for penalty in run.penalties)
        strengths = [[sum(p.strength for p in run.penalties if p.of is kind) for run in runs] for kind in kinds]
        return Numbers(
            each([float(run.dropout.p) for run in runs], 0.0),
            [
                (kind, torch.tensor(s, dtype=runs[0].dtype, device=runs[0].device))
                for kind, s in zip(kinds, strengths, strict=True)
            ],
            each([run.smoothing for run in runs], 0.0),
            each([run.clip.max_value if run.clip else torch.inf for run in runs], torch.inf),
            each([run.clip.max_norm if run.clip else torch.inf for run in runs], torch.inf),
            each([run.decay + _decay_of_adamw(run) for run in runs], 0.0),
        )


class Stack:
    """Members that are trained together, all of them at one step."""

    def __init__(self, runs: Sequence[Run], states: Sequence[State]) -> None:
        """Stack members that are at one step."""
        self.runs, self.states = list(runs), list(states)
        models = [state.model for state in self.states]
        parameters = [dict(model.named_parameters()) for model in models]
        self.trained = {name for name, p in parameters[0].items() if p.requires_grad}
        self.weights: dict[str, Tensor] = {}
        for name in parameters[0]:
            stacked = torch.stack([p[name].detach() for p in parameters])
            self.weights[name] = nn.Parameter(stacked) if name in self.trained else stacked
        for name in dict(models[0].named_buffers()):
            self.weights[name] = torch.stack([dict(model.named_buffers())[name] for model in models])
        groups = self.runs[0].parameter_groups(models[0])
        names = {id(p): name for name, p in parameters[0].items()}
        self.decayed = [names[id(p)] for p in optim.decayed(groups)]
        self._point()
        self.slices = self._slices()
        first = self.states[0]
        self.step, self.epoch, self.offset, self.samples_seen = (
            first.step,
            first.epoch,
            first.offset,
            first.samples_seen,
        )
        self.loss_sums = torch.tensor([s.loss_sum for s in self.states], dtype=torch.float64, device=self.device)
        self.numbers = Numbers.of(self.runs)

    @property
    def device(self) -> torch.device:
        """Where all of it is."""
        return self.runs[0].device

    def _point(self) -> None:
        """Let every member's model hold views of its part of the stack."""
        for i, state in enumerate(self.states):
            for name, tensor in (*state.model.named_parameters(), *state.model.named_buffers()):
                tensor.data = self.weights[name].detach()[i]

    def _slices(self) -> list[Slice]:
        slices = []
        places = range(len(self.runs))
        for shared, members in groupby(places, lambda i: optimizer_key(self.runs[i], self.states[i].optimizer)):
            if shared is None:
                continue
            chosen = list(members)
            first, stop = chosen[0], chosen[-1] + 1
            model = self.states[first].model
            names = {id(p): name for name, p in model.named_parameters()}
            groups = self.runs[first].parameter_groups(model)
            used = [names[id(p)] for group in groups for p in group["params"]]
            for group in groups:
                group["params"] = [
                    nn.Parameter(self.weights[names[id(p)]].detach()[first:stop]) for p in group["params"]
                ]
            views = [p for group in groups for p in group["params"]]
            optimizer = self.runs[first].optimizer(groups)
            if _decay_of_adamw(self.runs[first]):  # each member's own, taken by ``_update`` as the optimizer would
                for group in optimizer.param_groups:
                    group["weight_decay"] = 0.0
            optimizer = _merged(optimizer)
            slices.append(Slice(first, stop, used, views, optimizer))
            for i in chosen:
                self.states[i].optimizer, self.states[i].optimized_together = optimizer, len(chosen)
        return slices

    def note_progress(self) -> None:
        """Write into the members' own states where the stack is."""
        sums = self.loss_sums.tolist()
        for i, state in enumerate(self.states):
            if state.stop_reason is None:
                state.step, state.epoch, state.offset = self.step, self.epoch, self.offset
                state.samples_seen, state.loss_sum = self.samples_seen, sums[i]

    def leave_ended(self) -> None:
        """Let members that have ended go; their models keep what they ended with."""
        members = [i for i, state in enumerate(self.states) if state.stop_reason is None]
        if len(members) == len(self.runs):
            return
        if not members:
            self.runs, self.states = [], []
            return
        chosen = torch.tensor(members, dtype=torch.long, device=self.device)
        held = _chosen(self._slice_states(), members)
        for name, tensor in self.weights.items():
            kept = tensor.detach()[chosen]
            self.weights[name] = nn.Parameter(kept) if name in self.trained else kept
        self.loss_sums = self.loss_sums[chosen]
        self.runs, self.states = [self.runs[i] for i in members], [self.states[i] for i in members]
        self.numbers = Numbers.of(self.runs)
        self._point()
        self.slices = self._slices()
        for part, content in zip(self.slices, held, strict=True):
            part.optimizer.load_state_dict(content["optimizer"])

    def _slice_states(self) -> list[dict[str, Any]]:
        return [{"start": s.start, "stop": s.stop, "optimizer": s.optimizer.state_dict()} for s in self.slices]

    def state_dict(self) -> dict[str, Any]:
        """Return tensors and plain values, as ``torch.save`` and ``weights_only`` loading take them."""
        self.note_progress()
        shared = {id(s.optimizer) for s in self.slices}
        return {
            "weights": {name: tensor.detach() for name, tensor in self.weights.items()},
            "slices": self._slice_states(),
            "members": [
                {
                    "counters": {name: getattr(state, name) for name in COUNTERS},
                    "best_weights": state.best_weights,
                    "optimizer": None if id(state.optimizer) in shared else state.optimizer.state_dict(),
                }
                for state in self.states
            ],
        }


def _merged(optimizer: Optimizer) -> Optimizer:
    """Join parameter groups of the same settings: a step costs each group a call."""
    marks = ("params", "decayed", "hidden")
    found: list[dict[str, Any]] = []
    for group in optimizer.param_groups:
        settings = {k: v for k, v in group.items() if k not in marks}
        if found and settings == {k: v for k, v in found[-1].items() if k not in marks}:
            found[-1]["params"] = [*found[-1]["params"], *group["params"]]
        else:
            found.append(group)
    optimizer.param_groups = found
    return optimizer


def optimizer_key(run: Run, optimizer: Optimizer) -> str | None:
    """Return what runs must have in common to share an optimizer; None of one that each run has for itself."""
    if type(optimizer) not in LINEAR_IN_THE_RATE:
        return None
    return _settings(run)


def _settings(run: Run) -> str:
    """Return the optimizer and all of its settings but those that each member has for itself."""
    made = run.optimizer
    assert isinstance(made, partial)
    own = ("lr", "weight_decay") if _decay_of_adamw(run) else ("lr",)
    return f"{made.func} {sorted((k, str(v)) for k, v in made.keywords.items() if k not in own)}"


def _decay_of_adamw(run: Run) -> float:
    """Return the weight decay of AdamW, which multiplies the weights before its step as ``Run.decay`` does."""
    made = run.optimizer
    assert isinstance(made, partial)
    return float(made.keywords["weight_decay"]) if made.func is optim.adamw else 0.0


def stack(runs: Sequence[Run]) -> Stack:
    """Return runs at step 0, stacked in the order given: see ``in_order``."""
    return Stack(runs, [start(run) for run in runs])


def _chosen(slices: Sequence[Mapping[str, Any]], members: Sequence[int]) -> list[dict[str, Any]]:
    """Return what slices hold of some members alone; a slice without any is left out."""
    found = []
    for part in slices:
        places = torch.tensor([i - part["start"] for i in members if part["start"] <= i < part["stop"]])
        size, content = part["stop"] - part["start"], part["optimizer"]
        if len(places):
            state = {
                number: {
                    k: v[places.to(v.device)] if isinstance(v, Tensor) and v.ndim and len(v) == size else v
                    for k, v in of_one.items()
                }
                for number, of_one in content["state"].items()
            }
            found.append({"optimizer": {**content, "state": state}})
    return found


def resume(runs: Sequence[Run], saved: Mapping[str, Any], members: Sequence[int]) -> Stack:
    """Return a stack that goes on from what ``state_dict`` gave.

    Args:
        runs: of the members that go on, in the order in which they were.
        saved: what was saved.
        members: the places that they had.
    """
    states = [start(run) for run in runs]
    for state, member in zip(states, (saved["members"][i] for i in members), strict=True):
        state.best_weights = member["best_weights"]
        for name in COUNTERS:
            setattr(state, name, member["counters"][name])
        if member["optimizer"] is not None:
            state.optimizer.load_state_dict(member["optimizer"])
    found = Stack(runs, states)
    with torch.no_grad():
        for name, tensor in found.weights.items():
            tensor.copy_(saved["weights"][name][list(members)])
    for part, content in zip(found.slices, _chosen(saved["slices"], members), strict=True):
        part.optimizer.load_state_dict(content["optimizer"])
    return found


def in_order(runs: Sequence[Run]) -> list[int]:
    """Return the places of runs so ordered that those whose optimizers may be shared are neighbours."""
    return sorted(range(len(runs)), key=lambda i: _settings(runs[i]))


def refusal(run: Run) -> str | None:
    """Return why a run cannot be stacked, or None; it is tried out on two samples."""
    if run.diagnostics:
        return "diagnostics=true looks into the layers of one run at a time"
    if run.sharpness:
        return "sharpness=true differentiates the loss of one run at a time"
    if run.loss_scaling:
        return "amp=fp16 scales the loss of one run at a time: use amp=bf16"
    if run.device.type == "mps":
        return "device=mps trains one run at a time"
    if run.averaging:
        return "ema and swa keep the averages of one run"
    if run.adversary or run.teacher:
        return "adversarial and distillation look at one run's inputs and outputs at a time"
    if run.stop.seconds is not None:
        return "stop=time counts a run's own seconds, and the runs of a stack share theirs"
    if run.takes_closure:
        return "its optimizer evaluates a batch several times a step"
    if run.augment.parts:
        return f"augment={'+'.join(run.augment.parts)} changes the batches of one run at a time"
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("error", message=".*batching rule")  # of a loop over the runs in disguise
            tried = stack([run, run])
            losses = tried_losses(tried, Split(run.train.x[:2], run.train.y[:2]))
            losses.sum().backward()  # type: ignore[no-untyped-call]
    except Exception as error:
        return f"the model or its loss has no batching rule: {str(error).strip().splitlines()[0]}"
    if losses.shape != (2,) or any(p.grad is None for p in tried.weights.values() if p.requires_grad):
        return "a part of the model gets no gradient"
    return None


def tried_losses(members: Stack, part: Split) -> Tensor:
    """Return the training losses ``[runs]`` of a few samples at the present step."""
    return _losses(members, part.x, part.y, True, _keys(members))


def train(members: Stack, pulse: Callable[[int], bool]) -> Iterator[Events]:
    """Train all members, yielding at each evaluation what was found of each, step 0 included.

    A member that diverges or stops early leaves the stack after it was yielded with its ``stop_reason``; the others go
    on. At each yield, and where ``pulse`` (called with the step) stopped it, the stack is whole.
    """
    watch = _Watch(members, LOSSES_HELD_ON_CUDA if members.device.type == "cuda" else LOSSES_HELD)
    if members.states[0].rows == 0:
        first = members.runs[0]
        yield _found(members, [], [run.schedule(0) for run in members.runs], first.batch_size(0), None)
    graphed: Graphed | None = None
    together = 0
    while members.runs:
        first, orders = members.runs[0], _orders(members)
        if graphed is None or together != len(members.runs):  # its graph holds the weights' places
            graphed, together = _graphed(members), len(members.runs)
        synchronize(first)
        began = time.perf_counter()
        while True:
            size = first.batch_size(members.epoch)
            x, y, end, shared = _batch(members, orders, size)
            samples = min(end, len(first.train.y)) - members.offset
            rates = [r.schedule(members.step) * s.lr_factor for r, s in zip(members.runs, members.states, strict=True)]
            epoch_ends = end >= len(first.train.y)
            evaluate = members.step + 1 in (first.steps, first.stop.steps) or (
                epoch_ends if first.eval_every is None else (members.step + 1) % first.eval_every == 0
            )
            lr = torch.tensor(rates, dtype=torch.float64, device=members.device)
            drop = _keys(members)
            measured = None
            if graphed and not evaluate:
                losses = graphed(*(tensor for tensor in (x, y, lr, drop) if tensor is not None))
            else:
                losses = _losses(members, x, y, shared, drop)
                measured = _update(members, losses, lr, evaluate)
            watch.add(losses, samples, rates, size)
            members.step += 1
            members.samples_seen += samples
            members.offset = end
            if epoch_ends:
                members.epoch, members.offset = members.epoch + 1, 0
                orders = _orders(members)
            if evaluate or watch.all_diverged() or pulse(members.step):
                break
        watch.drain()
        over = evaluate or watch.all_diverged()
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


class _Watch:
    """Adds up the losses of every member and finds those that are no longer finite, ``hold`` steps at a time."""

    def __init__(self, members: Stack, hold: int) -> None:
        self.hold = hold
        self._members = members
        self._held: list[tuple[Tensor, int, int, int, int, list[float], int]] = []
        self._diverged: list[tuple[Run, State, float, int]] = []

    def add(self, losses: Tensor, samples: int, rates: list[float], size: int) -> None:
        """Take the losses ``[runs]`` of the step about to be made."""
        m = self._members
        self._held.append(
            (losses.detach(), m.step + 1, m.epoch, m.offset + samples, m.samples_seen + samples, rates, size)
        )
        if len(self._held) >= self.hold:
            self.drain()

    def drain(self) -> None:
        """Read what is held."""
        m = self._members
        if not self._held:
            return
        history = torch.stack([held[0] for held in self._held]) if len(self._held) > 1 else self._held[0][0][None]
        if bool(history.isfinite().all()):
            m.loss_sums += history.double().sum(0)
            for state in m.states:
                state.loss_count += len(history)
        else:
            for losses, held in zip(history, self._held, strict=True):
                self._read(losses, *held[1:])
        self._held.clear()

    def _read(
        self, losses: Tensor, step: int, epoch: int, offset: int, samples_seen: int, rates: list[float], size: int
    ) -> None:
        m = self._members
        m.loss_sums += losses.double()
        finite = losses.isfinite().tolist()
        for i, state in enumerate(m.states):
            if state.stop_reason is not None:
                continue
            state.loss_count += 1
            if not finite[i]:
                state.step, state.epoch, state.offset, state.samples_seen = step, epoch, offset, samples_seen
                state.loss_sum = float(m.loss_sums[i])
                state.first_nonfinite_step, state.stop_reason = step, "non-finite loss"
                self._diverged.append((m.runs[i], state, rates[i], size))

    def take_diverged(self) -> Events:
        """Return the rows of members that have diverged since the last time, their seconds counted."""
        found = [(s, note(run, s, rate, size, Measured(), None, None)) for run, s, rate, size in self._diverged]
        self._diverged = []
        return found

    def all_diverged(self) -> bool:
        """Say whether no member is left to train."""
        return len(self._diverged) == len(self._members.runs)


def _orders(members: Stack) -> tuple[Tensor, bool]:
    """Return the order of this epoch's samples: ``[n]`` where all members have one seed, else ``[runs, n]``."""
    of_seed = {seed: order_of(run, members.epoch) for seed, run in {run.seed: run for run in members.runs}.items()}
    if len(of_seed) == 1 or not members.runs[0].shuffle:
        return next(iter(of_seed.values())), True
    return torch.stack([of_seed[run.seed] for run in members.runs]), False


def _batch(members: Stack, orders: tuple[Tensor, bool], size: int) -> tuple[Tensor, Tensor, int, bool]:
    train = members.runs[0].train
    order, shared = orders
    if size >= len(train.y):
        return train.x, train.y, len(train.y), True
    index = order[..., members.offset : members.offset + size]
    if shared:
        return train.x.index_select(0, index), train.y.index_select(0, index), members.offset + size, shared
    return train.x[index], train.y[index], members.offset + size, shared


def _graphed(members: Stack) -> Graphed | None:
    """Return what replays the members' step on CUDA; None where that cannot be."""
    alone = len(members.runs) > sum(part.stop - part.start for part in members.slices)
    if members.device.type != "cuda" or alone or not can_be_captured([part.optimizer for part in members.slices]):
        return None

    def step(x: Tensor, y: Tensor, lr: Tensor, drop: Tensor | None = None) -> Tensor:
        shared = y.ndim == members.runs[0].train.y.ndim
        losses = _losses(members, x, y, shared, drop)
        _update(members, losses, lr, measure=False)
        return losses.detach()

    return Graphed(step)


def _losses(members: Stack, x: Tensor, y: Tensor, shared: bool, drop: Tensor | None) -> Tensor:
    """Return the training losses ``[runs]`` of a batch; ``drop`` is the key ``[runs, 2]`` of the step's noise."""
    first = members.runs[0]
    with first.autocast():
        model = members.states[0].model
        shares = members.numbers.dropout
        dropping = None if shares is None or drop is None else batched.Dropping(shares, drop)
        outputs = batched.forward(model, members.weights, x, shared, dropping)
        losses = batched.each(first.loss, outputs, y, shared)
        if members.numbers.smoothing is not None:
            even = (outputs.logsumexp(-1) - outputs.mean(-1)).flatten(1).mean(1)
            losses = losses + members.numbers.smoothing.to(losses.dtype) * (even - losses)
    for kind, strengths in members.numbers.penalties:
        losses = losses + strengths * torch.vmap(kind)([members.weights[name] for name in members.decayed])
    return losses


def _keys(members: Stack) -> Tensor | None:
    """Return the key ``[runs, 2]`` of the present step's noise; None where none is drawn."""
    if members.numbers.dropout is None:
        return None
    keys = {run.noise_seed: key(run.noise_seed, members.step, run.device) for run in members.runs}
    return torch.stack([keys[run.noise_seed] for run in members.runs])


def _update(members: Stack, losses: Tensor, lr: Tensor, measure: bool) -> list[Measured] | None:
    """Take one step of every member at its rate of ``lr`` (``[runs]``); where asked, return what was measured."""
    first = members.runs[0]
    weights = {name: members.weights[name] for name in members.weights if name in members.trained}
    for weight in weights.values():
        weight.grad = None
    losses.sum().backward()  # type: ignore[no-untyped-call]
    gradients = {name: weight.grad for name, weight in weights.items() if weight.grad is not None}
    with torch.no_grad():
        largest, bounds, decay = members.numbers.max_value, members.numbers.max_norm, members.numbers.decay
        norms = _norms(list(gradients.values())) if measure or bounds is not None else None
        before = {name: weight.detach().clone() for name, weight in weights.items()} if measure else None
        if largest is not None:
            for gradient in gradients.values():
                most = _along(largest.to(gradient.dtype), gradient)
                torch.clamp(gradient, -most, most, out=gradient)
            norms_to_cut = _norms(list(gradients.values())) if bounds is not None else None
        else:
            norms_to_cut = norms
        if bounds is not None and norms_to_cut is not None:
            for gradient in gradients.values():
                gradient.mul_(_along((bounds.to(norms_to_cut.dtype) / (norms_to_cut + 1e-6)).clamp(max=1.0), gradient))
        if decay is not None:
            for name in members.decayed:
                weights[name].mul_(_along((1 - lr * decay).to(first.dtype), weights[name]))
        for part in members.slices:
            part.step(gradients, lr.to(first.dtype))
        _step_alone(members, gradients, lr)
        for projection in first.projections:
            projection.apply([weights[name] for name in members.decayed])
    if before is None or norms is None:
        return None
    sizes, moved = _norms(list(before.values())), _norms([w.detach() - before[n] for n, w in weights.items()])
    numbers = zip(norms.tolist(), moved.tolist(), sizes.tolist(), strict=True)
    return [Measured(norm, ratio(way, size)) for norm, way, size in numbers]


def _step_alone(members: Stack, gradients: Mapping[str, Tensor], lr: Tensor) -> None:
    """Step the members that have an optimizer of their own, through their models' views of the stack."""
    shared = {i for part in members.slices for i in range(part.start, part.stop)}
    if len(shared) == len(members.runs):
        return
    rates = lr.tolist()
    for i, state in enumerate(members.states):
        if i in shared:
            continue
        for name, parameter in state.model.named_parameters():
            if name in gradients:
                parameter.grad = gradients[name][i]
        for group in state.optimizer.param_groups:
            group["lr"] = rates[i] * group.get("lr_scale", 1.0)
        state.optimizer.step()


def _found(members: Stack, diverged: Events, rates: list[float], size: int, measured: list[Measured] | None) -> Events:
    """Evaluate every member that goes on; return what was found of all, those that have ended gone from the stack."""
    going_on = [i for i, state in enumerate(members.states) if state.stop_reason is None]
    found = list(diverged)
    if going_on:
        first = members.runs[0]
        train, val = (evaluate(members, part, first.metrics) for part in (first.probe, first.val))
    for i in going_on:
        run, state, of_it = members.runs[i], members.states[i], measured[i] if measured else Measured()
        found.append((state, note(run, state, rates[i], size, of_it, train[i], val[i])))
        members.loss_sums[i] = 0.0
    members.leave_ended()
    return found


@torch.no_grad()
def evaluate(members: Stack, part: Split, metrics: Mapping[str, Metric]) -> list[dict[str, float]]:
    """Return every member's loss and metrics of a part of the data, in evaluation mode."""
    first, model = members.runs[0], members.states[0].model
    chunk = max(1, EVALUATION_ROWS // len(members.runs))
    with contextlib.ExitStack() as switched, first.autocast():
        for optimizer in dict.fromkeys(state.optimizer for state in members.states):
            switched.enter_context(optim.evaluating(optimizer))
        model.eval()
        parts = [batched.forward(model, members.weights, x, True, None) for x in torch.split(part.x, chunk)]
        model.train()
        outputs = torch.cat(parts, 1).to(first.dtype)
    found = {name: _measure(measure, outputs, part.y) for name, measure in {"loss": first.loss, **metrics}.items()}
    return [dict(zip(found, values, strict=True)) for values in zip(*found.values(), strict=True)]


def _measure(measure: Metric, outputs: Tensor, y: Tensor) -> list[float]:
    try:
        values = batched.each(measure, outputs, y, shared=True)
    except (RuntimeError, ValueError, TypeError):  # it has no batching rule
        return [float(measure(of_one, y)) for of_one in outputs]
    return [float(v) for v in values.tolist()]


def is_out_of_memory(error: BaseException) -> bool:
    """Say whether an error is the device's or the machine's lack of memory."""
    said = str(error).lower()
    return isinstance(error, MemoryError | torch.OutOfMemoryError) or (
        isinstance(error, RuntimeError) and any(words in said for words in OUTSIDE_OF_MEMORY)
    )


def _norms(tensors: Sequence[Tensor]) -> Tensor:
    """Return the Euclidean norm ``[runs]`` of each run's tensors together."""
    norms: Tensor = torch.linalg.vector_norm(torch.stack([t.flatten(1).norm(dim=1) for t in tensors]), dim=0)
    return norms


def _along(values: Tensor, tensor: Tensor) -> Tensor:
    """Return ``[runs]`` in a shape that broadcasts over ``[runs, …]``."""
    return values.view(-1, *[1] * (tensor.ndim - 1))
