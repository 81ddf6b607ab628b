"""An optimizer of one's own: a step of the same size for every weight, along the sign of a running mean."""

from collections.abc import Iterable

import torch
from torch import Tensor


class SignMomentum(torch.optim.Optimizer):
    """The sign of an exponential mean of gradients, as signSGD with momentum (Bernstein et al. 2018)."""

    def __init__(self, parameters: Iterable[Tensor], lr: float = 1e-3, momentum: float = 0.9) -> None:
        super().__init__(parameters, {"lr": lr, "momentum": momentum})

    @torch.no_grad()
    def step(self, closure: None = None) -> None:
        """Move each weight by ``lr``, against its running mean's sign."""
        for group in self.param_groups:
            for weight in group["params"]:
                if weight.grad is not None:
                    mean = self.state[weight].setdefault("mean", torch.zeros_like(weight))
                    mean.lerp_(weight.grad, 1 - group["momentum"])
                    weight.sub_(group["lr"] * mean.sign())
