"""The fused engine: runs that differ in numbers alone, trained as one step.

The runs' weights are stacked ``[runs, …]`` and are the leaves of one graph; the loss is the sum of every run's mean
loss, so each gets its own gradient. Each run's model keeps views of its part of the stack: what the reference engine
does with one run (checkpoints, the best weights, the test) it does with a member of a stack as well.

Where an update is linear in the learning rate, one unmodified optimizer steps many runs with a rate of 1, and each
goes its own rate's share of the way. Other optimizers step each run's views by themselves.

``torch.autograd.grad`` would give gradients of other strides than their weights', with which PyTorch's fused
optimizers compute wrong updates; ``.backward()`` into leaves does not, nor do gradients that are written out.
"""

import contextlib
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence

import torch
from torch import Tensor

from runner.engine import batched
from runner.engine.graphed import Graphed, can_be_captured
from runner.engine.loop import LOSSES_HELD_ON_CUDA, Evaluation, Measured, note, order_of, ratio, synchronize
from runner.engine.members import Stack, along, stack
from runner.engine.optimizers import evaluating
from runner.engine.run import Run, Split
from runner.engine.state import State
from runner.metrics import Metric
from runner.noise import key

EVALUATION_ROWS = 4096
"""Samples times runs of a forward pass in evaluation: large enough to be fast, small enough for the cache."""
DRAWN_BYTES = 2**20
"""Of the batches drawn from the training set at a time."""
LOSSES_HELD = 16
"""Steps after which losses are looked at: a member that has diverged disturbs no other."""
OUTSIDE_OF_MEMORY = ("out of memory", "can't allocate memory", "not enough memory")

Events = list[tuple[State, Evaluation]]
"""Members, and what was found of each."""


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
    if run.hooks.averaging:
        return "ema and swa keep the averages of one run"
    if run.hooks.adversary or run.hooks.teacher:
        return "adversarial and distillation look at one run's inputs and outputs at a time"
    if run.stop.seconds is not None:
        return "stop=time counts a run's own seconds, and the runs of a stack share theirs"
    if run.mup:
        return "model.mup=true: parameters have learning rates of their own"
    if run.adaptive:
        return "batch=adaptive measures the gradients of one run, whose batches then have sizes of their own"
    if run.micro is not None:
        return f"batch.micro={run.micro} takes the batches of one run apart"
    if run.takes_closure:
        return "its optimizer evaluates a batch several times a step"
    if run.augment.parts:
        return f"augment={'+'.join(run.augment.parts)} changes the batches of one run at a time"
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("error", message=".*batching rule")  # of a loop over the runs in disguise
            tried = stack([run, run])
            losses = _differentiate(tried, run.train.x[:2], run.train.y[:2], True, _keys(tried))
    except Exception as error:
        return f"the model or its loss has no batching rule: {str(error).strip().splitlines()[0]}"
    if losses.shape != (2,) or any(p.grad is None for p in tried.weights.values() if p.requires_grad):
        return "a part of the model gets no gradient"
    return None


def train(members: Stack, pulse: Callable[[int], bool]) -> Iterator[Events]:
    """Train all members, yielding at each evaluation what was found of each, step 0 included.

    A member that diverges or stops early leaves the stack after it was yielded with its ``stop_reason``; the others go
    on. At each yield, and where ``pulse`` (called with the step) stopped it, the stack is whole.
    """
    watch = _Watch(members, LOSSES_HELD_ON_CUDA if members.device.type == "cuda" else LOSSES_HELD)
    if members.states[0].rows == 0:
        first = members.runs[0]
        yield _found(members, [], [run.schedule(0) for run in members.runs], first.batch_size(0), None)
    together = 0
    while members.runs:
        first = members.runs[0]
        if together != len(members.runs):  # a graph holds the weights' places
            graphed, batches, together = _graphed(members), _Batches(members), len(members.runs)
        synchronize(first)
        began = time.perf_counter()
        while True:
            size = first.batch_size(members.epoch)
            x, y, shared = batches.next(size)
            samples = y.shape[y.ndim - first.train.y.ndim]
            planned = {schedule: schedule(members.step) for schedule in {run.schedule for run in members.runs}}
            rates = [planned[r.schedule] * s.lr_factor for r, s in zip(members.runs, members.states, strict=True)]
            epoch_ends = members.offset + samples == len(first.train.y)
            evaluate = members.step + 1 in (first.steps, first.stop.steps) or (
                epoch_ends if first.eval_every is None else (members.step + 1) % first.eval_every == 0
            )
            lr = torch.tensor(rates, dtype=torch.float64, device=members.device)
            drop = _keys(members)
            measured = None
            if graphed and not evaluate:
                losses = graphed(*(tensor for tensor in (x, y, lr, drop) if tensor is not None))
            else:
                losses = _differentiate(members, x, y, shared, drop)
                measured = _update(members, lr, evaluate)
            watch.add(losses, samples, rates, size)
            members.step += 1
            members.samples_seen += samples
            members.offset += samples
            if epoch_ends:
                members.epoch, members.offset = members.epoch + 1, 0
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
        self._held.append((losses, m.step + 1, m.epoch, m.offset + samples, m.samples_seen + samples, rates, size))
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


class _Batches:
    """The members' batches in the order of their epochs, drawn from the training set several at a time."""

    def __init__(self, members: Stack) -> None:
        self._members, self._train = members, members.runs[0].train
        self._drawn: tuple[int, int, int, Tensor, Tensor] = (-1, 0, 0, self._train.x, self._train.y)
        self._order: tuple[int, Tensor] = (-1, self._train.y)

    def next(self, size: int) -> tuple[Tensor, Tensor, bool]:
        """Return the present step's samples and targets, ``[n, …]`` where all members see the same, else
        ``[runs, n, …]``, and whether they do."""
        epoch, offset = self._members.epoch, self._members.offset
        if size >= len(self._train.y):
            return self._train.x, self._train.y, True
        of_epoch, start, stop, x, y = self._drawn
        if of_epoch != epoch or not start <= offset < stop or min(offset + size, len(self._train.y)) > stop:
            x, y, stop = self._draw(epoch, offset, size)
            self._drawn, start = (epoch, offset, stop, x, y), offset
        shared = y.ndim == self._train.y.ndim
        part = slice(offset - start, offset - start + size)
        return (x[part], y[part], True) if shared else (x[:, part], y[:, part], False)

    def _draw(self, epoch: int, offset: int, size: int) -> tuple[Tensor, Tensor, int]:
        """Return samples and targets from ``offset`` on, whole batches of them, and where they end."""
        if self._order[0] != epoch:
            self._order = (epoch, self._order_of(epoch))
        order, x = self._order[1], self._train.x
        bytes_a_batch = size * x[0].numel() * x.element_size() * (len(order) if order.ndim == 2 else 1)
        stop = min(offset + size * max(1, DRAWN_BYTES // bytes_a_batch), len(x))
        index = order[..., offset:stop]
        return x[index], self._train.y[index], stop

    def _order_of(self, epoch: int) -> Tensor:
        """Return the order of an epoch's samples: ``[n]`` where all members have one seed, else ``[runs, n]``."""
        runs = self._members.runs
        of_seed = {seed: order_of(run, epoch) for seed, run in {run.seed: run for run in runs}.items()}
        if len(of_seed) == 1 or not runs[0].shuffle:
            return next(iter(of_seed.values()))
        return torch.stack([of_seed[run.seed] for run in runs])


def _graphed(members: Stack) -> Graphed | None:
    """Return what replays the members' step on CUDA; None where that cannot be."""
    alone = len(members.runs) > sum(part.stop - part.start for part in members.slices)
    if members.device.type != "cuda" or alone or not can_be_captured([part.optimizer for part in members.slices]):
        return None

    def step(x: Tensor, y: Tensor, lr: Tensor, drop: Tensor | None = None) -> Tensor:
        shared = y.ndim == members.runs[0].train.y.ndim
        losses = _differentiate(members, x, y, shared, drop)
        _update(members, lr, measure=False)
        return losses

    return Graphed(step)


def _differentiate(members: Stack, x: Tensor, y: Tensor, shared: bool, drop: Tensor | None) -> Tensor:
    """Return the training losses ``[runs]`` of a batch, and leave their gradients with the weights.

    ``drop`` is the key ``[runs, 2]`` of the step's noise.
    """
    first, numbers = members.runs[0], members.numbers
    for name in members.trained:
        members.weights[name].grad = None
    with first.autocast():
        dropping = None if numbers.dropout is None or drop is None else batched.Dropping(numbers.dropout, drop)
        outputs, back = batched.forward(members.states[0].model, members.weights, x, shared, dropping)
        losses, slopes = batched.losses_and_slopes(first.loss, outputs, y, shared, numbers.smoothing)
    back(slopes)
    for kind, strengths in numbers.penalties:
        penalties = strengths * torch.vmap(kind)([members.weights[name] for name in members.decayed])
        penalties.sum().backward()  # type: ignore[no-untyped-call]
        losses = losses + penalties.detach()
    return losses


def _keys(members: Stack) -> Tensor | None:
    """Return the key ``[runs, 2]`` of the present step's noise; None where none is drawn."""
    if members.numbers.dropout is None:
        return None
    keys = {run.noise_seed: key(run.noise_seed, members.step, run.device) for run in members.runs}
    return torch.stack([keys[run.noise_seed] for run in members.runs])


def _update(members: Stack, lr: Tensor, measure: bool) -> list[Measured] | None:
    """Take one step of every member at its rate of ``lr`` (``[runs]``); where asked, return what was measured."""
    first = members.runs[0]
    weights = {name: members.weights[name] for name in members.weights if name in members.trained}
    gradients = {name: weight.grad for name, weight in weights.items() if weight.grad is not None}
    with torch.no_grad():
        largest, bounds, decay = members.numbers.max_value, members.numbers.max_norm, members.numbers.decay
        norms = _norms(list(gradients.values())) if measure or bounds is not None else None
        before = {name: weight.detach().clone() for name, weight in weights.items()} if measure else None
        if largest is not None:
            for gradient in gradients.values():
                most = along(largest.to(gradient.dtype), gradient)
                torch.clamp(gradient, -most, most, out=gradient)
            norms_to_cut = _norms(list(gradients.values())) if bounds is not None else None
        else:
            norms_to_cut = norms
        if bounds is not None and norms_to_cut is not None:
            for gradient in gradients.values():
                gradient.mul_(along((bounds.to(norms_to_cut.dtype) / (norms_to_cut + 1e-6)).clamp(max=1.0), gradient))
        if decay is not None:
            left = (1 - lr * decay).to(first.dtype)
            for name in members.decayed:
                weights[name].mul_(along(left, weights[name]))
        for part in members.slices:
            part.step(gradients, lr.to(first.dtype))
        _step_alone(members, gradients, lr)
        for projection in first.hooks.projections:
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
        train, val = evaluate(members, [first.probe, first.val], first.metrics)
    for i in going_on:
        run, state, of_it = members.runs[i], members.states[i], measured[i] if measured else Measured()
        found.append((state, note(run, state, rates[i], size, of_it, train[i], val[i])))
        members.loss_sums[i] = 0.0
    members.leave_ended()
    return found


@torch.no_grad()
def evaluate(members: Stack, parts: Sequence[Split], metrics: Mapping[str, Metric]) -> list[list[dict[str, float]]]:
    """Return, of each part of the data, every member's loss and metrics in evaluation mode."""
    first, model = members.runs[0], members.states[0].model
    rows = max(1, EVALUATION_ROWS // len(members.runs))
    found = []
    with contextlib.ExitStack() as switched, first.autocast():
        for optimizer in dict.fromkeys(state.optimizer for state in members.states):
            switched.enter_context(evaluating(optimizer))
        model.eval()
        switched.callback(model.train)
        for part in parts:
            chunks = part.x.tensor_split(max(1, round(len(part.x) / rows)))
            outputs = [batched.forward(model, members.weights, x, True)[0].transpose(1, -1) for x in chunks]
            together = torch.cat(outputs, -1).transpose(1, -1).to(first.dtype)
            measures = {"loss": first.loss, **metrics}
            values = [_measure(measure, together, part.y) for measure in measures.values()]
            found.append([dict(zip(measures, of_one, strict=True)) for of_one in zip(*values, strict=True)])
    return found


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
