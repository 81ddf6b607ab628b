"""A training step captured as a CUDA graph: its many small kernels are launched as one."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.optim import Optimizer

WARM_UP = 7
"""Steps of a shape that are made as usual first, the last as it is captured: libraries set themselves up in them.

RAdam makes its first five without rectification, in float32 where it counts on the device.
"""
Step = Callable[..., Tensor]
"""Makes a step from tensors on the device alone, without waiting for it, and returns the losses."""


def can_be_captured(optimizers: Sequence[Optimizer]) -> bool:
    """Say whether the optimizers can keep all that changes on the device: see ``keep_on_device``.

    NAdam multiplies its momenta up in float32, and comes to other numbers on the device than on the host.
    """
    if any(isinstance(optimizer, torch.optim.NAdam) for optimizer in optimizers):
        return False
    groups = [group for o in optimizers if not isinstance(o, torch.optim.SGD) for group in o.param_groups]
    return all("capturable" in group for group in groups)


def keep_on_device(optimizers: Sequence[Optimizer]) -> None:
    """Have optimizers that have made a step count their steps where the weights are, as capturing asks.

    In float64, as they count on the host: in the float32 that PyTorch would begin with, 1 - 0.999^t is rounded so far
    that RAdam's weights come to differ by 1e-4. Fused kernels take float32 alone, and compute in float64 from it.
    """
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            begun = [(p, optimizer.state[p]) for p in group["params"] if optimizer.state.get(p)]
            if "capturable" not in group or not begun:
                continue
            group["capturable"] = True
            for weight, held in begun if not group.get("fused") else ():
                counted = [name for name, v in held.items() if isinstance(v, Tensor) and v.ndim == 0]
                held |= {name: held[name].to(weight.device, torch.float64) for name in counted}


def keep_anywhere(optimizer: Optimizer) -> None:
    """Take back what ``keep_on_device`` told an optimizer: what it holds may go on on a device without graphs."""
    for group in optimizer.param_groups:
        if "capturable" in group:
            group["capturable"] = False


@dataclass
class _Captured:
    graph: torch.cuda.CUDAGraph
    inputs: list[Tensor]
    losses: Tensor


class Graphed:
    """Makes a step by replaying its graph, one for each shape of inputs."""

    def __init__(self, step: Step, prepare: Callable[[], None]) -> None:
        """Take what is captured.

        Args:
            step: to be made.
            prepare: called when a step of the shape has been made, before the last one that is made as usual.
        """
        self._step, self._prepare = step, prepare
        self._seen: dict[tuple[torch.Size, ...], int] = {}
        self._captured: dict[tuple[torch.Size, ...], _Captured] = {}

    def __call__(self, *inputs: Tensor) -> Tensor:
        """Make one step, and return its losses."""
        shapes = tuple(tensor.shape for tensor in inputs)
        self._seen[shapes] = self._seen.get(shapes, 0) + 1
        if self._seen[shapes] == WARM_UP:
            self._prepare()
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
