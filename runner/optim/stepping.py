"""The step of optimizers that step each weight by itself, and what their updates are made of."""

from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.optim import Optimizer

from runner.engine.optimizers import ParameterGroups

Count = float | Tensor
"""Steps made, this one included: a number, or on the device where a graph replays the step."""
Held = dict[str, Any]
"""What an optimizer holds of one weight."""


class EachWeight(Optimizer):
    """Steps each weight by itself, through ``update``, with moments that begin at 0.

    A group that is ``stacked`` holds weights ``[runs, …]``, of which each run's is one.
    """

    moments: ClassVar[tuple[str, ...]] = ()
    """Names of the tensors that it holds of each weight, of the weight's shape."""
    counts: ClassVar[bool] = True
    """Its update depends on the number of steps."""

    def __init__(self, parameters: ParameterGroups, lr: float, capturable: bool = True, **settings: Any) -> None:
        """Take parameter groups.

        Args:
            parameters: whose entries stand in for the settings.
            lr: the learning rate.
            capturable: the update may be computed from a count of steps on the device.
            settings: what ``update`` reads of its group.
        """
        on_device = {"capturable": False} if capturable else {}
        super().__init__(parameters, {"lr": lr, **on_device, **settings})

    def begin(self, weight: Tensor, gradient: Tensor, group: Mapping[str, Any]) -> Held:
        """Return what is held of a weight of a group before its first step."""
        held: Held = {"step": torch.zeros((), dtype=torch.float64)} if self.counts else {}
        return held | {name: torch.zeros_like(weight) for name in self.moments}

    def update(self, weight: Tensor, gradient: Tensor, held: Held, t: Count, group: Mapping[str, Any]) -> None:
        """Make step ``t``, counted from 1, of one weight, in place."""
        raise NotImplementedError

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """Step every weight that has a gradient."""
        for group in self.param_groups:
            for weight in group["params"]:
                if weight.grad is None:
                    continue
                held = self.state[weight]
                if not held:
                    held.update(self.begin(weight, weight.grad, group))
                t: Count = 0.0
                if self.counts:
                    held["step"] += 1
                    t = held["step"] if group.get("capturable") else float(held["step"])
                self.update(weight, weight.grad, held, t, group)


def decaying(parameters: ParameterGroups, rate: float) -> ParameterGroups:
    """Return groups with the decay of those that decay reaches.

    Where muP gives a group a learning rate of its own, lr stays that of all in the decay: see ``adamw``.
    """
    for group in parameters:
        group["weight_decay"] = rate / group.get("lr_scale", 1.0) if group["decayed"] else 0.0
    return parameters


def shrink(weight: Tensor, group: Mapping[str, Any]) -> None:
    """Make w ← (1 - lr·weight_decay)·w: decoupled decay, before the update (Loshchilov & Hutter 2019)."""
    if group["weight_decay"]:
        weight.mul_(1 - group["lr"] * group["weight_decay"])


def unbiased(beta: float, t: Count) -> Count:
    """Return 1 - beta^t: what a running mean that began at 0 is divided by."""
    return 1 - beta**t


def norm_of(x: Tensor, group: Mapping[str, Any]) -> Tensor:
    """Return a tensor's Euclidean norm; in a stack each run's, in a shape that broadcasts."""
    every = tuple(range(1, x.ndim)) if group.get("stacked") else tuple(range(x.ndim))
    norm: Tensor = torch.linalg.vector_norm(x, dim=every, keepdim=True) if every else x.abs()
    return norm
