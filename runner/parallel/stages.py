"""A pipeline: each process has some of a network's layers, by ``torch.distributed.pipelining``."""

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.pipelining import PipelineStage, ScheduleGPipe

from runner.engine import loop
from runner.engine.accumulate import part_of, with_penalties
from runner.engine.model import Drop, keep
from runner.engine.targets import Targets
from runner.parallel.pieces import Row, keep_only, row_of, shapes_between

if TYPE_CHECKING:
    from runner.engine.state import State


class _Stage(nn.Module):
    """The pieces of one process, one after another; what drops hidden units is asked for by the samples' place."""

    def __init__(self, row: Row, places: range) -> None:
        super().__init__()
        self._pieces = [row.pieces[place] for place in places]
        self.drop: Callable[[int, int], Drop | None] = lambda first, samples: None

    def forward(self, x: Tensor, first: int = 0) -> Tensor:
        drop = (self.drop(first, len(x)) if self.training else None) or keep
        for piece in self._pieces:
            x = piece(x, drop)
        return x


class Pipeline:
    """A network in stages, one a process, and how a batch goes through them."""

    def __init__(self, model: nn.Module, sample: Tensor, stage: int, stages: int, parts: int) -> None:
        """Keep one stage of a network.

        Args:
            model: the whole network, of which only this stage's weights are kept.
            sample: ``[1, …]``, by which the shapes between stages are found.
            stage: this process's.
            stages: how many there are.
            parts: into how many a batch is cut at most.
        """
        row = row_of(model)
        assert row is not None, "others are refused"
        was_training = model.training
        model.eval()
        self._shapes = shapes_between(row, stages, sample, keep)
        model.train(was_training)
        places = row.of_stage(stage, stages)
        keep_only(model, row, places)
        self._stage_module, self._stage, self._stages, self._parts = _Stage(row, places), stage, stages, parts
        self._schedules: dict[tuple[int, int], ScheduleGPipe] = {}
        model.forward = self.outputs
        self.model = model

    @property
    def is_last(self) -> bool:
        """Whether the outputs come out of this stage."""
        return self._stage == self._stages - 1

    def outputs(self, x: Tensor, drop: Drop | None = None) -> Tensor:
        """Return the outputs for samples on every process, without a gradient."""
        assert drop is None, "it is for evaluations"
        device = x.device
        self._stage_module.train(self.model.training)
        if self._stage:
            shape, dtype = self._shapes[self._stage]
            x = torch.empty(len(x), *shape, dtype=dtype, device=device)
            dist.recv(x, self._stage - 1)
        with torch.no_grad():
            x = self._stage_module(x)
        if not self.is_last:
            dist.send(x.contiguous(), self._stage + 1)
            shape, dtype = self._shapes[-1]
            x = torch.empty(len(x), *shape, dtype=dtype, device=device)
        x = x.contiguous()
        dist.broadcast(x, self._stages - 1)
        return x

    def gradient(self, state: "State", x: Tensor, y: Targets) -> Tensor:
        """Put the gradient of this stage's weights in place, and return the batch's loss without penalties."""
        n = len(x)
        size = min(state.run.micro or n, n)
        self._stage_module.train(self.model.training)
        self._stage_module.drop = partial(loop.drop_of, state)
        losses: list[Tensor] = []
        for first in range(0, n, size):
            losses += self._part(state, x, y, range(first, min(first + size, n)))
        total = torch.stack(losses).sum() if self.is_last else torch.zeros((), dtype=state.run.dtype, device=x.device)
        dist.broadcast(total, self._stages - 1)
        return total

    def _part(self, state: "State", x: Tensor, y: Targets, of: range) -> list[Tensor]:
        """Send part of a batch through the stages and back; return the losses of its parts, at the last stage."""
        chunks = max(k for k in range(1, min(self._parts, len(of)) + 1) if len(of) % k == 0)
        size = len(of) // chunks
        firsts = range(of.start, of.stop, size)
        schedule = self._schedules.get((size, chunks)) or self._schedule(size, chunks, x.device)
        schedule._loss_fn = partial(self._loss, state, x, y, size) if self.is_last else _no_loss
        losses: list[Tensor] = []
        schedule.step(
            arg_mbs=[(x[i : i + size],) if self._stage == 0 else () for i in firsts],
            kwarg_mbs=[{"first": i} for i in firsts],
            target_mbs=list(firsts) if self.is_last else None,
            losses=losses,
            return_outputs=False,
        )
        return [loss.detach() for loss in losses]

    def _loss(self, state: "State", x: Tensor, y: Targets, size: int, outputs: Tensor, first: int) -> Tensor:
        end = first + size
        return size / len(x) * loop.loss_of(state, outputs, x[first:end], part_of(y, first, end))

    def _schedule(self, size: int, chunks: int, device: torch.device) -> ScheduleGPipe:
        def meta(at: int, slope: bool) -> Tensor:
            shape, dtype = self._shapes[at]
            return torch.empty(
                size, *shape, dtype=dtype, device="meta", requires_grad=slope and dtype.is_floating_point
            )

        stage = PipelineStage(
            self._stage_module,
            self._stage,
            self._stages,
            device,
            input_args=(meta(self._stage, self._stage > 0),),
            output_args=(meta(self._stage + 1, True),),
            output_grads=None if self.is_last else (meta(self._stage + 1, False),),
            input_grads=(meta(self._stage, False),) if self._stage else None,
        )
        made = ScheduleGPipe(stage, chunks, loss_fn=_no_loss, scale_grads=False)
        self._schedules[size, chunks] = made
        return made


def _no_loss(outputs: Tensor, target: Any) -> Tensor:
    raise AssertionError("it is set before each batch, at the last stage")


def add_penalties(state: "State", total: Tensor) -> Tensor:
    """Add the gradient of what this stage's weights cost, and return the loss with what all weights cost."""
    cost = with_penalties(state, torch.zeros((), dtype=state.run.dtype, device=total.device))
    if cost.requires_grad:
        cost.backward()  # type: ignore[no-untyped-call]
    cost = cost.detach().clone()
    dist.all_reduce(cost)
    return total + cost
