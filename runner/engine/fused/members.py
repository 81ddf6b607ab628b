"""Members of a stack: their weights as one, and where they are."""

from collections.abc import Mapping, Sequence
from itertools import groupby
from typing import Any

import torch
from torch import Tensor, nn

from runner.engine.fused.numbers import Numbers, own_decay
from runner.engine.fused.slices import Slice, held_by, merged, optimizer_key
from runner.engine.optimizers import decayed
from runner.engine.run import Run
from runner.engine.state import COUNTERS, State, start


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
            if (own := self.runs[first].own_decay) and own_decay(self.runs[first]):
                for group in optimizer.param_groups:  # each member's is taken by ``update``, as the optimizer would
                    group[own] = 0.0
            optimizer = merged(optimizer)
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
        held = held_by(self._slice_states(), members)
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


def stack(runs: Sequence[Run]) -> Stack:
    """Return runs at step 0, stacked in the order given: see ``in_order``."""
    return Stack(runs, [start(run) for run in runs])


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
    for part, content in zip(found.slices, held_by(saved["slices"], members), strict=True):
        part.optimizer.load_state_dict(content["optimizer"])
    return found
