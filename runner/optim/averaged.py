"""Optimizers that are judged by an average of their iterates."""

import math
from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.optim import Optimizer

from runner.engine.optimizers import ParameterGroups, uncompiled
from runner.optim.stepping import decaying


class Averaged(torch.optim.ASGD):
    """Averaged SGD; ``eval()`` puts the averages in the place of the iterates, ``train()`` the iterates back."""

    _evaluating = False

    def eval(self) -> None:
        """Show the averages."""
        self._swap(evaluating=True)

    def train(self) -> None:
        """Show the iterates."""
        self._swap(evaluating=False)

    @torch.no_grad()
    def _swap(self, evaluating: bool) -> None:
        if evaluating != self._evaluating:
            for parameter, state in self.state.items():
                iterate = parameter.clone()
                parameter.copy_(state["ax"])
                state["ax"].copy_(iterate)
            self._evaluating = evaluating


def asgd(parameters: ParameterGroups, *, lr: float, lambd: float, alpha: float, t0: float) -> Optimizer:
    """w ← (1 - lambd·η)·w - η·g, η = lr/(1 + lambd·lr·step)^alpha; judged by the mean of w from t0 on (Bottou 2012)."""
    for group in parameters:
        group["lambd"] = lambd if group["decayed"] else 0.0
    return uncompiled(Averaged)(parameters, lr, lambd, alpha, t0 - 1)  # torch leaves out one iterate more than its t0


class ScheduleFreeSGD(Optimizer):
    """See ``schedule_free_sgd``. The weights are y, where gradients are taken; ``eval()`` shows the averages x.

    Of x, y and z two tell the third: z is held. What y was while x is shown is kept, so that evaluations change no bit.
    """

    begun: ClassVar[tuple[str, ...]] = ()
    """What is held of a weight beside z, and begins at 0."""

    def __init__(self, parameters: ParameterGroups, lr: float, interpolation: float, **settings: Any) -> None:
        """Take parameter groups; every one counts its steps ``k`` and sums the squares of its rates."""
        super().__init__(parameters, {"lr": lr, "interpolation": interpolation, "k": 0, "squares": 0.0, **settings})
        self._hidden: list[tuple[Tensor, Tensor]] = []

    def along(self, gradient: Tensor, held: dict[str, Tensor], group: Mapping[str, Any]) -> Tensor:
        """Return the direction of z's step."""
        return gradient

    def rate(self, group: Mapping[str, Any]) -> float:
        """Return the rate of z's step."""
        return float(group["lr"])

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """Step z, move the average toward it, and the weights to between the two."""
        for group in self.param_groups:
            group["k"] += 1
            rate, beta = self.rate(group), group["interpolation"]
            group["squares"] += rate**2
            share = rate**2 / group["squares"] if group["squares"] else 0.0
            for y in group["params"]:
                if y.grad is None:
                    continue
                held = self.state[y]
                if not held:
                    held["z"] = y.clone()
                    held.update({name: torch.zeros_like(y) for name in self.begun})
                z = held["z"]
                direction = self.along(y.grad, held, group).add(y, alpha=group["weight_decay"])
                x = y.lerp(z, 1 - 1 / beta)
                z.sub_(direction, alpha=rate)
                y.copy_(z.lerp(x.lerp_(z, share), beta))

    @torch.no_grad()
    def eval(self) -> None:
        """Show the averages."""
        if self._hidden:
            return
        for group in self.param_groups:
            for y in group["params"]:
                if held := self.state.get(y):
                    self._hidden.append((y, y.clone()))
                    y.lerp_(held["z"], 1 - 1 / group["interpolation"])

    @torch.no_grad()
    def train(self) -> None:
        """Show the weights that are stepped."""
        for y, hidden in self._hidden:
            y.copy_(hidden)
        self._hidden = []


class ScheduleFree(ScheduleFreeSGD):
    """See ``schedule_free``."""

    begun = ("square",)

    def along(self, gradient: Tensor, held: dict[str, Tensor], group: Mapping[str, Any]) -> Tensor:
        """Return the gradient over the root of its mean square."""
        beta2 = group["beta2"]
        square = held["square"].mul_(beta2).addcmul_(gradient, gradient, value=1 - beta2)
        return gradient / square.sqrt().add_(group["eps"])

    def rate(self, group: Mapping[str, Any]) -> float:
        """Return the rate of z's step: the root of the mean square's correction is a part of it."""
        return float(group["lr"]) * math.sqrt(1 - group["beta2"] ** group["k"])


def schedule_free_sgd(
    parameters: ParameterGroups, *, lr: float, interpolation: float, weight_decay: float
) -> Optimizer:
    """z ← z - lr·(g(y) + weight_decay·y), x the mean of z, y = (1 - interpolation)·z + interpolation·x.

    Defazio et al. 2024, equations 3 to 5; the mean counts each z by lr² (§4.1), and is what is judged.
    """
    return uncompiled(ScheduleFreeSGD)(decaying(parameters, weight_decay), lr, interpolation)


def schedule_free(
    parameters: ParameterGroups, *, lr: float, interpolation: float, beta2: float, eps: float, weight_decay: float
) -> Optimizer:
    """z ← z - γ·(g(y)/(√v + eps) + weight_decay·y), γ = lr·√(1 - beta2^k), x and y as of ``schedule_free_sgd``.

    Defazio et al. 2024, algorithm 1: the mean x, which is judged, counts each z by γ².
    """
    made = uncompiled(ScheduleFree)
    return made(decaying(parameters, weight_decay), lr, interpolation, beta2=beta2, eps=eps)
