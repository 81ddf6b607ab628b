"""Members of a stack: their weights as one, their optimizers, and what their runs set differently."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from runner.engine.optimizers import decayed
from runner.engine.run import Run
from runner.engine.state import COUNTERS, State, start


@dataclass
class Slice:
    """Members from ``start`` to ``stop`` that one optimizer steps, each by its own learning rate."""

    start: int
    stop: int
    names: list[str]
    views: list[Tensor]
    whole: bool
    """They are all members: the views are the stack's own weights, which backward gives their gradients."""
    optimizer: Optimizer
    before: list[Tensor] = field(default_factory=list)
    now: list[Tensor] = field(default_factory=list)

    def step(self, gradients: Mapping[str, Tensor], lr: Tensor) -> None:
        """Step with a rate of 1, then go each run's ``lr`` (``[runs]``) of the way."""
        if not self.whole:
            for name, view in zip(self.names, self.views, strict=True):
                view.grad = gradients[name][self.start : self.stop]
        if not self.before:
            self.before = [torch.empty_like(view) for view in self.views]
            self.now = [view.detach() for view in self.views]
        torch._foreach_copy_(self.before, self.now)
        for group in self.optimizer.param_groups:
            group["lr"] = 1.0
        self.optimizer.step()
        share = lr[self.start : self.stop]
        for before, now in zip(self.before, self.now, strict=True):
            torch.lerp(before, now, along(share, now), out=now)


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

        kinds = dict.fromkeys(penalty.of for run in runs for penalty in run.hooks.penalties)
        strengths = [[sum(p.strength for p in run.hooks.penalties if p.of is kind) for run in runs] for kind in kinds]
        return Numbers(
            each([float(run.hooks.dropout.p) for run in runs], 0.0),
            [
                (kind, torch.tensor(s, dtype=runs[0].dtype, device=runs[0].device))
                for kind, s in zip(kinds, strengths, strict=True)
            ],
            each([run.hooks.smoothing for run in runs], 0.0),
            each([run.hooks.clip.max_value if run.hooks.clip else torch.inf for run in runs], torch.inf),
            each([run.hooks.clip.max_norm if run.hooks.clip else torch.inf for run in runs], torch.inf),
            each([run.hooks.decay + _own_decay(run) for run in runs], 0.0),
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
        self.decayed = [names[id(p)] for p in decayed(groups)]
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
        for shared, members in groupby(places, lambda i: optimizer_key(self.runs[i])):
            if shared is None:
                continue
            chosen = list(members)
            first, stop = chosen[0], chosen[-1] + 1
            model = self.states[first].model
            names = {id(p): name for name, p in model.named_parameters()}
            groups = self.runs[first].parameter_groups(model)
            used = [names[id(p)] for group in groups for p in group["params"]]
            whole = len(chosen) == len(self.runs)
            for group in groups:
                group["params"] = [
                    stacked if whole else nn.Parameter(stacked.detach()[first:stop])
                    for stacked in (self.weights[names[id(p)]] for p in group["params"])
                ]
            views = [p for group in groups for p in group["params"]]
            optimizer = self.runs[first].optimizer(groups)
            if own := self.runs[first].own_decay:  # each member's, taken by ``update`` as the optimizer would
                for group in optimizer.param_groups:
                    group[own] = 0.0
            optimizer = _merged(optimizer)
            slices.append(Slice(first, stop, used, views, whole, optimizer))
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


def optimizer_key(run: Run) -> str | None:
    """Return what runs must have in common to share an optimizer; None of one that each run has for itself."""
    return _settings(run) if run.linear_in_lr else None


def _settings(run: Run) -> str:
    """Return the optimizer and all of its settings but those that each member has for itself."""
    own = ("lr", run.own_decay)
    return f"{run.optimizer.func} {sorted((k, str(v)) for k, v in run.optimizer.keywords.items() if k not in own)}"


def _own_decay(run: Run) -> float:
    """Return the optimizer's own decay, which multiplies the weights before its step as ``Hooks.decay`` does."""
    return float(run.optimizer.keywords[run.own_decay]) if run.own_decay else 0.0


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


def along(values: Tensor, tensor: Tensor) -> Tensor:
    """Return ``[runs]`` in a shape that broadcasts over ``[runs, …]``."""
    return values.view(-1, *[1] * (tensor.ndim - 1))
