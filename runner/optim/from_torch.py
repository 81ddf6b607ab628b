"""PyTorch's own optimizers.

Its fused kernels are used where they exist; they need gradients laid out like their parameters, which ``.backward()``
guarantees and ``torch.autograd.grad`` does not.
"""

from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from runner.engine.optimizers import ParameterGroups, uncompiled
from runner.optim import shared_tensors
from runner.optim.groups import all_of, fusable, pair
from runner.optim.stepping import decaying


class SGD(torch.optim.SGD):
    """Steps weights that have a velocity beside others whose first gradient it is, which torch's fused kernel cannot.

    Such weights begin at a velocity of 0: momentum·0 + g is the g at which torch has them begin.
    """

    def _init_group(
        self, group: dict[str, Any], params: list[Tensor], grads: list[Tensor], velocities: list[Tensor | None]
    ) -> bool:
        has_sparse = super()._init_group(group, params, grads, velocities)  # type: ignore[no-untyped-call]
        new = [i for i, velocity in enumerate(velocities) if velocity is None]
        if group["momentum"] and group["fused"] and len(new) < len(velocities):
            for i in new:
                velocities[i] = torch.zeros_like(params[i], memory_format=torch.preserve_format)
        return bool(has_sparse)


def gd(parameters: ParameterGroups, *, lr: float) -> Optimizer:
    """w ← w - lr·g, g over the whole training set."""
    return uncompiled(torch.optim.SGD)(parameters, lr, fused=fusable(parameters))


def sgd(parameters: ParameterGroups, *, lr: float, momentum: float, nesterov: bool) -> Optimizer:
    """v ← momentum·v + g; w ← w - lr·v, or lr·(g + momentum·v) with Nesterov's look-ahead (Sutskever 2013)."""
    return uncompiled(SGD)(parameters, lr, momentum, nesterov=nesterov, fused=fusable(parameters))


def adam(parameters: ParameterGroups, *, lr: float, betas: list[float], eps: float) -> Optimizer:
    """Step lr·m̂/(√v̂ + eps) with bias-corrected moments (Kingma & Ba 2015, algorithm 1)."""
    return uncompiled(torch.optim.Adam)(parameters, lr, pair(betas), eps, fused=fusable(parameters))


def adamw(parameters: ParameterGroups, *, lr: float, betas: list[float], eps: float, weight_decay: float) -> Optimizer:
    """Adam's step after w ← (1 - lr·weight_decay)·w (Loshchilov & Hutter 2019, algorithm 2).

    Where muP gives a group a learning rate of its own, lr stays that of all in the decay: it does not depend on the
    width (Yang et al. 2022, appendix B.3; so does the authors' MuAdamW).
    """
    decayed = decaying(parameters, weight_decay)
    return uncompiled(torch.optim.AdamW)(decayed, lr, pair(betas), eps, fused=fusable(decayed))


def adagrad(parameters: ParameterGroups, *, lr: float, eps: float) -> Optimizer:
    """Step lr·g/(√Σg² + eps), the sum over all steps so far (Duchi et al. 2011, eq. 1)."""
    return uncompiled(torch.optim.Adagrad)(parameters, lr, eps=eps)


def adadelta(parameters: ParameterGroups, *, lr: float, rho: float, eps: float) -> Optimizer:
    """Step lr·RMS(Δw)/RMS(g)·g, of running means of squares (Zeiler 2012, algorithm 1)."""
    return uncompiled(torch.optim.Adadelta)(parameters, lr, rho, eps)


def rmsprop(
    parameters: ParameterGroups, *, lr: float, alpha: float, eps: float, momentum: float, centered: bool
) -> Optimizer:
    """Step lr·g/(√v + eps), v the running mean of g², or of the variance (Tieleman & Hinton 2012; Graves 2013)."""
    return uncompiled(torch.optim.RMSprop)(parameters, lr, alpha, eps, momentum=momentum, centered=centered)


def rprop(parameters: ParameterGroups, *, lr: float, etas: list[float], step_sizes: list[float]) -> Optimizer:
    """Step -sign(g)·Δ, Δ grown while the sign stays and shrunk where it turns (Riedmiller & Braun 1993)."""
    return uncompiled(shared_tensors.Rprop)(parameters, lr, pair(etas), pair(step_sizes))


def amsgrad(parameters: ParameterGroups, *, lr: float, betas: list[float], eps: float) -> Optimizer:
    """Adam's step with the largest second moment so far (Reddi et al. 2018, algorithm 2)."""
    return uncompiled(torch.optim.Adam)(parameters, lr, pair(betas), eps, amsgrad=True, fused=fusable(parameters))


def adamax(parameters: ParameterGroups, *, lr: float, betas: list[float], eps: float) -> Optimizer:
    """Step lr·m̂/u, u = max(beta2·u, |g| + eps) (Kingma & Ba 2015, algorithm 2)."""
    return uncompiled(torch.optim.Adamax)(parameters, lr, pair(betas), eps)


def nadam(
    parameters: ParameterGroups, *, lr: float, betas: list[float], eps: float, momentum_decay: float
) -> Optimizer:
    """Adam's step from Nesterov's look-ahead, whose momentum warms up (Dozat 2016, algorithm 2)."""
    return uncompiled(torch.optim.NAdam)(parameters, lr, pair(betas), eps, momentum_decay=momentum_decay)


def radam(parameters: ParameterGroups, *, lr: float, betas: list[float], eps: float) -> Optimizer:
    """Adam's step times the rectifier r, or lr·m̂ while the second moment is not yet known (Liu et al. 2020)."""
    return uncompiled(torch.optim.RAdam)(parameters, lr, pair(betas), eps)


def adafactor(
    parameters: ParameterGroups, *, lr: float, beta2_decay: float, eps: float, clip_threshold: float
) -> Optimizer:
    """Relative steps with a second moment of rows times columns (Shazeer & Stern 2018, algorithms 4 and 5)."""
    return uncompiled(torch.optim.Adafactor)(parameters, lr, beta2_decay, (None, eps), clip_threshold)


def lbfgs(
    parameters: ParameterGroups,
    *,
    lr: float,
    max_iter: int,
    history_size: int,
    line_search: str,
    tolerance_grad: float,
    tolerance_change: float,
) -> Optimizer:
    """Quasi-Newton steps from the last few updates, each batch evaluated several times (Liu & Nocedal 1989).

    A step's iterations end before ``max_iter`` where no entry of the gradient is larger than ``tolerance_grad``, or
    where neither a weight nor the loss changes by more than ``tolerance_change``.
    """
    return uncompiled(torch.optim.LBFGS)(
        all_of(parameters),
        lr,
        max_iter,
        tolerance_grad=tolerance_grad,
        tolerance_change=tolerance_change,
        history_size=history_size,
        line_search_fn=None if line_search == "none" else line_search,
    )
