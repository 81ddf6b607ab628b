"""Step sizes from how far the weights have come."""

import math
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from runner.engine.optimizers import ParameterGroups, uncompiled
from runner.optim.groups import pair
from runner.optim.stepping import decaying


class Prodigy(Optimizer):
    """See ``prodigy``; every group holds the estimate ``d`` and the mean ``r`` that it comes from."""

    def __init__(self, parameters: ParameterGroups, lr: float, d0: float, **settings: Any) -> None:
        """Take parameter groups, and the first estimate of the distance to a solution."""
        super().__init__(parameters, {"lr": lr, "d": d0, "r": 0.0, **settings})

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """Take the gradients into the means, the means into the estimate, and step by it."""
        first = self.param_groups[0]
        if not (moving := list(self._moving())):
            return
        d, products, lengths = first["d"], [], []
        for group, weight, gradient, held in moving:
            (beta1, beta2), rate = group["betas"], group["lr"]
            keep = math.sqrt(beta2)
            held["mean"].mul_(beta1).add_(gradient, alpha=(1 - beta1) * d)
            held["square"].mul_(beta2).addcmul_(gradient, gradient, value=(1 - beta2) * d * d)
            held["weighted"].mul_(keep).add_(gradient, alpha=(1 - keep) * rate * d * d)
            way = (gradient.double() * (held["start"] - weight)).sum()
            products.append((1 - keep) * rate * d * d * way)
            lengths.append(held["weighted"].double().abs().sum())
        forward, length = torch.stack([torch.stack(products).sum(), torch.stack(lengths).sum()]).tolist()
        r = math.sqrt(first["betas"][1]) * first["r"] + forward
        found = max(d, r / length) if length > 0 else d
        for group in self.param_groups:
            group["d"], group["r"] = found, r
        for group, weight, _, held in moving:
            rate = group["lr"] * d
            weight.mul_(1 - rate * group["weight_decay"])
            weight.addcdiv_(held["mean"], held["square"].sqrt().add_(d * group["eps"]), value=-rate)

    def _moving(self) -> Iterator[tuple[dict[str, Any], Tensor, Tensor, dict[str, Tensor]]]:
        """Yield the weights that have a gradient: group, weight, gradient, and what is held of it."""
        for group in self.param_groups:
            for weight in group["params"]:
                if weight.grad is None:
                    continue
                held = self.state[weight]
                if not held:
                    held.update({name: torch.zeros_like(weight) for name in ("mean", "square", "weighted")})
                    held["start"] = weight.clone()
                yield group, weight, weight.grad, held


def prodigy(
    parameters: ParameterGroups, *, lr: float, betas: list[float], eps: float, weight_decay: float, d0: float
) -> Optimizer:
    """Adam's step at the rate lr·d, d an estimate of the distance to a solution that only grows from d0.

    Mishchenko & Defazio 2024, algorithm 4, in which the gradients of the means are multiplied by d, and no mean is
    corrected for its beginning at 0. Decoupled decay by lr·d·weight_decay.
    """
    return uncompiled(Prodigy)(decaying(parameters, weight_decay), lr, d0, betas=pair(betas), eps=eps)
