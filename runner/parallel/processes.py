"""The processes of one run: how a batch, its gradient and the weights are spread over them."""

import datetime
import logging
import math
import warnings
from collections.abc import Callable, Sequence
from typing import Any, cast

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch._C._distributed_c10d import Store
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.nn.utils.parametrize import ParametrizationList

from runner.engine.accumulate import LossOfPart, backward, part_of
from runner.engine.model import Drop
from runner.engine.state import State
from runner.engine.targets import Targets
from runner.optim import parameter_groups
from runner.optim.shared_tensors import full
from runner.parallel import Layout
from runner.parallel.layers import dropping_shared, share_layers
from runner.parallel.norms import Counted, measure_together
from runner.parallel.stages import Pipeline, add_penalties
from runner.parallel.whole import Content, cut, gathered, merged, of_stage, renumbered

WORD = datetime.timedelta(seconds=2)
"""For what a process says before it ends."""
PATIENCE = datetime.timedelta(days=1)
"""For what the first process says: it may wait for a lock, or write. One that has died is noticed at once."""


class Processes:
    """This process among those of its run; ``runner.engine.spread.Spread``."""

    def __init__(
        self, layout: Layout, kind: str, sample: Tensor, decay_bias_and_norm: bool, store: Store | None = None
    ) -> None:
        """Join the processes that the default group holds.

        Args:
            layout: who has what.
            kind: of device, as ``torch.device`` names it.
            sample: ``[1, …]``, of the training samples.
            decay_bias_and_norm: as parameters are grouped.
            store: where a process leaves word of what failed in it.
        """
        self.layout, self.rank, self.size = layout, dist.get_rank(), dist.get_world_size()
        self.control = cast(dist.ProcessGroup, dist.new_group(backend="gloo", timeout=PATIENCE))
        self._store = store
        self._sample, self._decay_bias_and_norm = sample, decay_bias_and_norm
        self._mesh: DeviceMesh | None = None
        if layout.stages == 1:
            self._mesh = init_device_mesh(kind, (layout.data, layout.tensor), mesh_dim_names=("data", "tensor"))
        if layout.data > 1 and layout.tensor > 1:  # it advises on sums over both, which are of single numbers here
            logging.getLogger("torch.distributed.tensor._redistribute").setLevel(logging.ERROR)
        self._counted = Counted()
        self._pipeline: Pipeline | None = None
        self._places: list[int] = []
        self._groups: list[list[int]] = []
        self._names: frozenset[str] = frozenset()

    @property
    def is_first(self) -> bool:
        """Whether it is the one that records."""
        return self.rank == 0

    @property
    def said(self) -> str:
        """Who has what, in words."""
        return str(self.layout)

    def model(self, model: nn.Module) -> nn.Module:
        """Return a model, which each process has built whole, with this process's part of its weights."""
        for tensor in model.state_dict().values():  # what draws otherwise than by seed is the first's
            dist.broadcast(tensor, 0)
        if self.layout.stages > 1:
            return self._in_stages(model)
        assert self._mesh is not None, "there is one without stages"
        if self.layout.tensor > 1:
            model = share_layers(model, self._mesh["tensor"])
        if self.layout.data > 1:
            measure_together(model, self._mesh.get_group("data"), self._counted)
        if self.layout.sharded:
            # It warns of outputs that are views, which must not be changed in place: losses do not.
            warnings.filterwarnings("ignore", message="FSDP2-wrapped module")
            for module in _held_apart(model):
                fully_shard(module, mesh=self._mesh["data"])
            fully_shard(model, mesh=self._mesh["data"], reshard_after_forward=True)
        return model

    def _in_stages(self, model: nn.Module) -> nn.Module:
        names = {id(p): name for name, p in model.named_parameters()}
        self._names = frozenset(names.values())
        grouped = [
            [names[id(p)] for p in group["params"]] for group in parameter_groups(model, self._decay_bias_and_norm)
        ]
        self._pipeline = Pipeline(model, self._sample, self.rank, self.layout.stages, self.layout.parts)
        own = self._pipeline.model.state_dict().keys()
        ordered = [name for group in grouped for name in group]
        self._places = [i for i, name in enumerate(ordered) if name in own]
        self._groups = [[ordered.index(name) for name in group] for group in grouped]
        return self._pipeline.model

    def dropping(self, drop: Drop) -> Drop:
        """Return a dropping of hidden units, of which each process may have a part, as of all of them."""
        return dropping_shared(drop) if self.layout.tensor > 1 else drop

    def gradient(self, state: State, x: Tensor, y: Targets, loss: LossOfPart) -> Tensor:
        """Put a batch's whole gradient in place, on every process of its own weights; return the batch's loss."""
        state.optimizer.zero_grad()
        if self._pipeline is not None:
            return add_penalties(state, self._pipeline.gradient(state, x, y))
        total = self._of_samples(state, x, y, loss)
        if self.layout.data > 1:
            assert self._mesh is not None, "there is one without stages"
            group = self._mesh.get_group("data")
            if not self.layout.sharded:
                _sum(state.trained, group)
            dist.all_reduce(total, group=group)
        for cost in state.on.penalty:
            found = full(cost(state))
            backward(state, found)
            total = total + found.detach()
        return total

    def _of_samples(self, state: State, x: Tensor, y: Targets, loss: LossOfPart) -> Tensor:
        """Add up this process's share of a batch's gradient, and return its share of the loss."""
        n, parts = len(x), self.layout.data
        place = 0 if self._mesh is None else self._mesh.get_local_rank("data")
        scale = parts if self.layout.sharded else 1  # FSDP2 takes the mean
        size = min(state.run.micro or n, n)
        total = torch.zeros((), dtype=state.run.dtype, device=x.device)
        for start in range(0, n, size):
            end = min(start + size, n)
            first, last = _share(start, end, place, parts)
            share = (last - first) / n
            if share == 0:  # it passes a sample of another's for company, as others wait for it
                first, last = start, start + 1
            self._counted.summed, self._counted.share = parts > 1, float(share > 0)
            try:
                found = share * loss(state, x[first:last], part_of(y, first, last), first)
                backward(state, scale * found)
            finally:
                self._counted.summed = False
            total += found.detach()
        return total

    def agreed(self, asked: bool) -> bool:
        """Say whether any process asks."""
        flag = torch.tensor([asked], dtype=torch.uint8)
        dist.all_reduce(flag, dist.ReduceOp.MAX, self.control)
        return bool(flag.item())

    def of_first(self, value: float) -> float:
        """Return what the first process says."""
        said = torch.tensor([value], dtype=torch.float64)
        dist.broadcast(said, 0, self.control)
        return float(said.item())

    def say(self, *said: Any) -> None:
        """Tell the others what to do next, the first process alone."""
        dist.broadcast_object_list([said], 0, self.control)

    def hear(self) -> tuple[Any, ...]:
        """Wait for what the first process says."""
        heard: list[Any] = [None]
        dist.broadcast_object_list(heard, 0, self.control)
        said: tuple[Any, ...] = heard[0]
        return said

    def leave_word(self, said: str) -> None:
        """Let the first process know what failed here."""
        if self._store is not None:
            self._store.set("failed", f"process {self.rank}: {said}")

    def last_words(self) -> str | None:
        """Return what failed in another process, where it has said so."""
        try:
            if self._store is None:
                return None
            self._store.wait(["failed"], WORD)
            return str(self._store.get("failed").decode())
        except RuntimeError:
            return None

    def norm(self, tensors: Sequence[Tensor]) -> Tensor:
        """Return the Euclidean norm of tensors with all of their parts, an ordinary tensor."""
        found = full(torch.nn.utils.get_total_norm(tensors))
        if self._pipeline is None:
            return found
        squares = found.double().square() if tensors else torch.zeros((), dtype=torch.float64)
        squares = squares.to(self._sample.device)
        dist.all_reduce(squares)
        return squares.sqrt()

    def total(self, number: int) -> int:
        """Return the sum over stages of what each has; elsewhere a process counts the whole already."""
        if self._pipeline is None:
            return number
        summed = torch.tensor([number], dtype=torch.int64)
        dist.all_reduce(summed, group=self.control)
        return int(summed.item())

    def whole(self, content: Content) -> Content:
        """Return what a state holds as one process would hold it, on the first process; elsewhere, nothing of use."""
        if self._pipeline is None:
            found: Content = gathered(content)
            return found
        own = renumbered(gathered(content), self._places, self._groups)
        parts: list[Any] | None = [None] * self.size if self.is_first else None
        dist.gather_object(own, parts, 0, self.control)
        return content if parts is None else self._in_order(merged(parts))

    def _in_order(self, found: Content) -> Content:
        if "optimizer" in found:
            held = found["optimizer"]
            found["optimizer"] = {**held, "state": dict(sorted(held["state"].items()))}
        return found

    def part(self, saved: Content, state: State) -> Content:
        """Return of a saved state what this process holds."""
        if self._pipeline is None:
            return cut(saved, state)
        return of_stage(saved, state, self._places, self._names)


def _held_apart(model: nn.Module) -> list[nn.Module]:
    """Return the parts of a model whose weights FSDP2 brings together one part at a time: inner ones first.

    They are the members of its lists that have weights, but for lists within lists, which are never called.
    """
    lists = [m for m in model.modules() if isinstance(m, nn.ModuleList) and not isinstance(m, ParametrizationList)]
    members = {id(m) for holder in lists for m in holder if not isinstance(m, nn.ModuleList | nn.ModuleDict)}
    outer_first = [m for m in model.modules() if id(m) in members and any(True for _ in m.parameters())]
    return outer_first[::-1]


def _share(start: int, end: int, place: int, parts: int) -> tuple[int, int]:
    """Return this process's samples of those of a part of a batch: as even as can be, the first have one more."""
    n = end - start
    each, more = divmod(n, parts)
    first = start + place * each + min(place, more)
    return first, first + each + (place < more)


def _sum(weights: Sequence[Tensor], group: dist.ProcessGroup) -> None:
    """Sum the gradients of weights over processes, in one message; a weight that no process used stays without."""
    local: Callable[[Tensor], Tensor] = lambda t: t.to_local() if hasattr(t, "to_local") else t  # noqa: E731
    grads = [None if w.grad is None else local(w.grad) for w in weights]
    used = torch.tensor([g is not None for g in grads], dtype=local(weights[0]).dtype, device=weights[0].device)
    flat = [torch.zeros_like(local(w)) if g is None else g for w, g in zip(weights, grads, strict=True)]
    message = torch.cat([*(g.reshape(-1) for g in flat), used])
    dist.all_reduce(message, group=group)
    *summed, used = torch.split(message, [*(g.numel() for g in flat), len(weights)])
    for weight, grad, found, by in zip(weights, grads, summed, used.tolist(), strict=True):
        if grad is not None:
            grad.copy_(found.view_as(grad))
        elif by and not math.isnan(by):
            weight.grad = found.view_as(weight).clone()
