"""A training step captured as a CUDA graph: its many small kernels are launched as one."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.optim import Optimizer

WARM_UP = 3
"""Steps of a shape that are made as usual first: libraries set themselves up in them."""
Step = Callable[..., Tensor]
"""Makes a step from tensors on the device alone, without waiting for it, and returns the losses."""


def can_be_captured(optimizers: Sequence[Optimizer]) -> bool:
    """Say whether the optimizers keep all that changes on the device; those that can be told to are told to."""
    for optimizer in optimizers:
        if isinstance(optimizer, torch.optim.SGD):
            continue
        if not all("capturable" in group for group in optimizer.param_groups):
            return False
        for group in optimizer.param_groups:
            group["capturable"] = True
    return True


@dataclass
class _Captured:
    graph: torch.cuda.CUDAGraph
    inputs: list[Tensor]
    losses: Tensor


class Graphed:
    """Makes a step by replaying its graph, one for each shape of inputs."""

    def __init__(self, step: Step) -> None:
        self._step = step
        self._seen: dict[tuple[torch.Size, ...], int] = {}
        self._captured: dict[tuple[torch.Size, ...], _Captured] = {}

    def __call__(self, *inputs: Tensor) -> Tensor:
        """Make one step, and return its losses."""
        shapes = tuple(tensor.shape for tensor in inputs)
        self._seen[shapes] = self._seen.get(shapes, 0) + 1
        if self._seen[shapes] <= WARM_UP:
            return self._aside(*inputs)
        if shapes not in self._captured:
            self._captured[shapes] = self._capture(inputs)
        captured = self._captured[shapes]
        for held, given in zip(captured.inputs, inputs, strict=True):
            held.copy_(given, non_blocking=True)
        captured.graph.replay()
        return captured.losses.clone()

    def _aside(self, *inputs: Tensor) -> Tensor:
        """Make a step on a stream of its own, as capturing will."""
        here, aside = torch.cuda.current_stream(), torch.cuda.Stream()  # type: ignore[no-untyped-call]
        aside.wait_stream(here)
        with torch.cuda.stream(aside):
            losses = self._step(*inputs)
        here.wait_stream(aside)
        return losses

    def _capture(self, inputs: Sequence[Tensor]) -> _Captured:
        held = [tensor.clone() for tensor in inputs]
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            losses = self._step(*held)
        return _Captured(graph, held, losses)
