"""Steps along signs."""

from collections.abc import Mapping
from typing import Any

from torch import Tensor
from torch.optim import Optimizer

from runner.engine.optimizers import ParameterGroups, uncompiled
from runner.optim.groups import pair
from runner.optim.stepping import Count, EachWeight, Held, decaying, shrink


class Lion(EachWeight):
    """See ``lion``."""

    moments = ("momentum",)
    counts = False

    def update(self, weight: Tensor, gradient: Tensor, held: Held, t: Count, group: Mapping[str, Any]) -> None:
        """Step along the sign of the interpolation, then take the gradient into the momentum."""
        toward_step, toward_momentum = group["betas"]
        momentum = held["momentum"]
        shrink(weight, group)
        weight.sub_(gradient.lerp(momentum, toward_step).sign_(), alpha=group["lr"])
        momentum.lerp_(gradient, 1 - toward_momentum)


def lion(parameters: ParameterGroups, *, lr: float, betas: list[float], weight_decay: float) -> Optimizer:
    """Step lr·sign(beta1·m + (1 - beta1)·g), then m ← beta2·m + (1 - beta2)·g (Chen et al. 2023, algorithm 2).

    Decoupled decay by lr·weight_decay.
    """
    return uncompiled(Lion)(decaying(parameters, weight_decay), lr, betas=pair(betas))
