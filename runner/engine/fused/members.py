"""Members of a stack: their weights as one, and where they are."""

from collections.abc import Mapping, Sequence
from itertools import groupby
from typing import Any

import torch
from torch import Tensor, nn

from runner.engine.fused import batched
from runner.engine.fused.graphed import keep_anywhere
from runner.engine.fused.slices import Slice, held_by, merged, optimizer_key, own_decay
from runner.engine.hooks import Events, Hook
from runner.engine.optimizers import decayed, noticing_lost_state
from runner.engine.run import Run
from runner.engine.state import State, start
from runner.noise import key


class Stack:
    """Members that are trained together, all of them at one step."""

    skipped = False
    """None of their steps is: their losses are not scaled."""

    def __init__(self, runs: Sequence[Run], states: Sequence[State]) -> None:
        """Stack members that are at one step."""
        self.runs, self.states = list(runs), list(states)
        models = [state.model for state in self.states]
        parameters = [dict(model.named_parameters()) for model in models]
        self._parameters = list(parameters[0])
        self._trained = [name for name, p in parameters[0].items() if p.requires_grad]
        self.tensors: dict[str, Tensor] = {}
        """The models' parameters and buffers, each ``[runs, …]``."""
        for name in self._parameters:
            stacked = torch.stack([p[name].detach() for p in parameters])
            self.tensors[name] = nn.Parameter(stacked) if name in self._trained else stacked
        for name in dict(models[0].named_buffers()):
            self.tensors[name] = torch.stack([dict(model.named_buffers())[name] for model in models])
        groups = self.runs[0].optim.groups(models[0])
        names = {id(p): name for name, p in parameters[0].items()}
        self._decayed = [names[id(p)] for p in decayed(groups)]
        first = self.states[0]
        self.step, self.epoch, self.offset, self.samples_seen = (
            first.step,
            first.epoch,
            first.offset,
            first.samples_seen,
        )
        self.loss_sums = torch.tensor([s.loss_sum for s in self.states], dtype=torch.float64, device=self.device)
        self.key = torch.empty(0)
        self._arrange()

    @property
    def device(self) -> torch.device:
        """Where all of it is."""
        return self.runs[0].device

    @property
    def model(self) -> nn.Module:
        """The first member's: all are built alike."""
        return self.states[0].model

    @property
    def inputs(self) -> Tensor:
        """The training samples, the same of all."""
        return self.runs[0].train.x

    @property
    def steps(self) -> int:
        """Length of the runs."""
        return self.runs[0].steps

    def outputs(self, x: Tensor) -> Tensor:
        """Return the members' outputs ``[runs, n, …]`` for samples ``[n, …]``."""
        with torch.no_grad():
            return batched.forward(self.model, self.tensors, x, True)[0]

    def _arrange(self) -> None:
        """Gather what the tensors as they now are make up: views, optimizers, hooks."""
        for i, state in enumerate(self.states):  # every member's model holds views of its part of the stack
            for name, tensor in (*state.model.named_parameters(), *state.model.named_buffers()):
                tensor.data = self.tensors[name].detach()[i]
        self.weights = {name: self.tensors[name] for name in self._parameters}
        self.trained = [self.tensors[name] for name in self._trained]
        self.decayed = [self.tensors[name] for name in self._decayed]
        self.slices = self._slices()
        rates = [own_decay(run) for run in self.runs]
        self.own_decay = torch.tensor(rates, dtype=torch.float64, device=self.device) if any(rates) else None
        """Of their optimizers, which multiplies the weights by 1 - lr·it before a step."""
        self.hooks = self._hooks()
        self.on = Events.of(self.hooks)
        self.draws = any(hook.draws for hook in self.hooks.values())

    def _hooks(self) -> dict[str, Hook]:
        """Return the members' hooks, those of a name as one."""
        found: dict[str, Hook] = {}
        like = next(iter(self.tensors.values()))
        for name in dict.fromkeys(name for state in self.states for name in state.hooks):
            of_members = [state.hooks.get(name) for state in self.states]
            kind = type(next(hook for hook in of_members if hook is not None))
            found[name] = kind.stacked(of_members, like)
        return found

    def draw(self) -> Tensor | None:
        """Set the key of the present step's noise, ``[runs, 2]``, and return it; None where nothing is drawn."""
        if not self.draws:
            return None
        of_seed = {run.noise_seed: key(run.noise_seed, self.step, run.device) for run in self.runs}
        self.key = torch.stack([of_seed[run.noise_seed] for run in self.runs])
        return self.key

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
            groups = self.runs[first].optim.groups(model)
            used = [names[id(p)] for group in groups for p in group["params"]]
            whole = len(chosen) == len(self.runs)
            for group in groups:
                group["stacked"] = True  # a norm of a weight is each run's
                group["params"] = [
                    stacked if whole else nn.Parameter(stacked.detach()[first:stop])
                    for stacked in (self.tensors[names[id(p)]] for p in group["params"])
                ]
            views = [p for group in groups for p in group["params"]]
            scales = [group.get("lr_scale", 1.0) for group in groups for _ in group["params"]]
            stepping = self.runs[first].optim
            optimizer = noticing_lost_state(stepping.optimizer(groups))
            if (own := stepping.own_decay) and own_decay(self.runs[first]):
                for group in optimizer.param_groups:  # each member's is taken by ``update``, as the optimizer would
                    group[own] = 0.0
            optimizer = merged(optimizer)
            slices.append(Slice(first, stop, used, views, scales, whole, optimizer))
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
        held, of_hooks = held_by(self._slice_states(), members), self._of_hooks()
        for name, tensor in self.tensors.items():
            kept = tensor.detach()[chosen]
            self.tensors[name] = nn.Parameter(kept) if name in self._trained else kept
        self.loss_sums = self.loss_sums[chosen]
        self.runs, self.states = [self.runs[i] for i in members], [self.states[i] for i in members]
        self._arrange()
        self._go_on(held, of_hooks, chosen)

    def _go_on(
        self, slices: Sequence[Mapping[str, Any]], hooks: Mapping[str, Mapping[str, Any]], members: Tensor
    ) -> None:
        """Put in place what optimizers and hooks held of some members of a stack."""
        for part, content in zip(self.slices, slices, strict=True):
            part.optimizer.load_state_dict(content["optimizer"])
            keep_anywhere(part.optimizer)
        for name, hook in self.hooks.items():
            if name in hooks:
                hook.load_state_dict(held_of(hooks[name], members))

    def _of_hooks(self) -> dict[str, dict[str, Any]]:
        return {name: held for name, hook in self.hooks.items() if (held := hook.state_dict())}

    def _slice_states(self) -> list[dict[str, Any]]:
        return [{"start": s.start, "stop": s.stop, "optimizer": s.optimizer.state_dict()} for s in self.slices]

    def state_dict(self) -> dict[str, Any]:
        """Return tensors and plain values, as ``torch.save`` and ``weights_only`` loading take them."""
        self.note_progress()
        shared = {id(s.optimizer) for s in self.slices}
        return {
            "weights": {name: tensor.detach() for name, tensor in self.tensors.items()},
            "slices": self._slice_states(),
            "hooks": self._of_hooks(),
            "members": [
                {
                    **state.progress(),
                    "optimizer": None if id(state.optimizer) in shared else state.optimizer.state_dict(),
                }
                for state in self.states
            ],
        }


def held_of(held: Any, members: Tensor) -> Any:
    """Return some members' part of tensors ``[runs, …]``, in whatever dictionaries and lists they lie."""
    if isinstance(held, Tensor):
        return held.to(members.device)[members]
    if isinstance(held, dict):
        return {key: held_of(value, members) for key, value in held.items()}
    return [held_of(value, members) for value in held]


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
        state.load_progress(member)
        if member["optimizer"] is not None:
            state.optimizer.load_state_dict(member["optimizer"])
    found = Stack(runs, states)
    with torch.no_grad():
        for name, tensor in found.tensors.items():
            tensor.copy_(saved["weights"][name][list(members)])
    places = torch.tensor(members, dtype=torch.long, device=found.device)
    found._go_on(held_by(saved["slices"], members), saved["hooks"], places)
    return found
