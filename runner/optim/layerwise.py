"""Steps as long as each layer's weights allow."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from runner.engine.optimizers import ParameterGroups, uncompiled
from runner.optim.groups import pair
from runner.optim.stepping import Count, EachWeight, Held, decaying, norm_of, unbiased


def share_of(length: Tensor, of: Tensor) -> Tensor:
    """Return one length over another, and 1 where either is 0."""
    return torch.where((length > 0) & (of > 0), length / of, 1.0)


class Lars(EachWeight):
    """See ``lars``."""

    moments = ("velocity",)
    counts = False

    def update(self, weight: Tensor, gradient: Tensor, held: Held, t: Count, group: Mapping[str, Any]) -> None:
        """Add the gradient to the velocity, at a rate of the layer's own."""
        decay = group["weight_decay"]
        share: Tensor | float = 1.0
        if group["adapted"]:
            size = norm_of(weight, group)
            share = share_of(group["trust"] * size, norm_of(gradient, group) + decay * size)
        step = gradient.add(weight, alpha=decay).mul_(share)
        weight.sub_(held["velocity"].mul_(group["momentum"]).add_(step, alpha=group["lr"]))


def lars(parameters: ParameterGroups, *, lr: float, momentum: float, trust: float, weight_decay: float) -> Optimizer:
    """Velocity v ← momentum·v + lr·λ·(g + weight_decay·w), λ = trust·‖w‖/(‖g‖ + weight_decay·‖w‖) of each layer.

    You et al. 2017, algorithm 1. Biases and norms, which decay does not reach, have λ = 1, as do weights that are 0.
    """
    for group in parameters:
        group["adapted"] = group["decayed"]
    return uncompiled(Lars)(decaying(parameters, weight_decay), lr, momentum=momentum, trust=trust)


class Lamb(EachWeight):
    """See ``lamb``."""

    moments = ("mean", "square")

    def update(self, weight: Tensor, gradient: Tensor, held: Held, t: Count, group: Mapping[str, Any]) -> None:
        """Make Adam's step as long as the layer's weights, times the learning rate."""
        (beta1, beta2), mean, square = group["betas"], held["mean"], held["square"]
        mean.lerp_(gradient, 1 - beta1)
        square.mul_(beta2).addcmul_(gradient, gradient, value=1 - beta2)
        root = (square / unbiased(beta2, t)).sqrt_().add_(group["eps"])
        step = (mean / unbiased(beta1, t)).div_(root).add_(weight, alpha=group["weight_decay"])
        if group["adapted"]:
            step.mul_(share_of(norm_of(weight, group), norm_of(step, group)))
        weight.sub_(step, alpha=group["lr"])


def lamb(parameters: ParameterGroups, *, lr: float, betas: list[float], eps: float, weight_decay: float) -> Optimizer:
    """Step lr·‖w‖·u/‖u‖ of each layer, u = m̂/(√v̂ + eps) + weight_decay·w (You et al. 2020, algorithm 2, φ(z) = z).

    Biases and norms, which decay does not reach, are stepped by lr·u, as are weights that are 0.
    """
    for group in parameters:
        group["adapted"] = group["decayed"]
    return uncompiled(Lamb)(decaying(parameters, weight_decay), lr, betas=pair(betas), eps=eps)
