"""Steps by the curvature of the loss."""

from collections.abc import Sequence
from typing import Any, Protocol

import torch
from torch import Tensor
from torch.optim import Optimizer

from runner.engine.optimizers import ParameterGroups, uncompiled
from runner.noise import derive, normal
from runner.optim.groups import pair
from runner.optim.stepping import decaying, shrink


class Batch(Protocol):
    """The batch of a step, which may be differentiated twice."""

    @property
    def key(self) -> Tensor:
        """The key of the step's noise, ``[2]``."""

    def hessian_times(self, vectors: Sequence[Tensor]) -> list[Tensor]:
        """Return the Hessian of its loss times vectors, one for each weight, in the order of the groups."""


class Sophia(Optimizer):
    """See ``sophia``; every group counts the steps."""

    takes_closure = True

    def __init__(self, parameters: ParameterGroups, lr: float, **settings: Any) -> None:
        """Take parameter groups."""
        super().__init__(parameters, {"lr": lr, "steps": 0, **settings})

    @torch.no_grad()
    def step(self, closure: Batch) -> None:  # type: ignore[override]
        """Estimate the curvature where it is time, and step."""
        if self.param_groups[0]["steps"] % self.param_groups[0]["every"] == 0:
            self._estimate(closure)
        for group in self.param_groups:
            group["steps"] += 1
            for weight in group["params"]:
                if weight.grad is None:
                    continue
                held = self._of(weight)
                mean = held["mean"].lerp_(weight.grad, 1 - group["betas"][0])
                most = (group["gamma"] * held["curvature"]).clamp_(min=group["eps"])
                shrink(weight, group)
                weight.sub_((mean / most).clamp_(-1, 1), alpha=group["lr"])

    def _estimate(self, batch: Batch) -> None:
        """Take u·(H·u) into the mean of the Hessian's diagonal, u drawn from N(0, I) (Hutchinson 1989)."""
        weights = [(weight, group) for group in self.param_groups for weight in group["params"]]
        drawn = [normal(batch.key, derive("curvature", i), w.shape).to(w.dtype) for i, (w, _) in enumerate(weights)]
        for (weight, group), u, product in zip(weights, drawn, batch.hessian_times(drawn), strict=True):
            self._of(weight)["curvature"].lerp_(u * product, 1 - group["betas"][1])

    def _of(self, weight: Tensor) -> dict[str, Tensor]:
        """Return what is held of a weight."""
        held: dict[str, Tensor] = self.state[weight]
        if not held:
            held.update({name: torch.zeros_like(weight) for name in ("mean", "curvature")})
        return held


def sophia(
    parameters: ParameterGroups,
    *,
    lr: float,
    betas: list[float],
    eps: float,
    weight_decay: float,
    gamma: float,
    every: int,
) -> Optimizer:
    """Step lr·clip(m/max(gamma·h, eps), ±1), h a mean of estimates of the Hessian's diagonal (Liu et al. 2024).

    Algorithm 3 with Hutchinson's estimator (algorithm 1, Sophia-H), made in the first of each ``every`` steps on the
    step's batch. Decoupled decay by lr·weight_decay.
    """
    made = uncompiled(Sophia)
    decayed = decaying(parameters, weight_decay)
    return made(decayed, lr, betas=pair(betas), eps=eps, gamma=gamma, every=every)
