"""Optimizers: functions from parameters to a ``torch.optim.Optimizer``, one an option.

PyTorch's fused kernels are used where they exist; they need gradients laid out like their parameters, which
``.backward()`` guarantees and ``torch.autograd.grad`` does not.
"""

import inspect
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

ParameterGroups = list[dict[str, Any]]


def gd(parameters: ParameterGroups, *, lr: float) -> Optimizer:
    """w ← w - lr·g, g over the whole training set."""
    return torch.optim.SGD(parameters, lr, fused=_fusable(parameters))


def sgd(parameters: ParameterGroups, *, lr: float, momentum: float, nesterov: bool) -> Optimizer:
    """v ← momentum·v + g; w ← w - lr·v, or lr·(g + momentum·v) with Nesterov's look-ahead (Sutskever 2013)."""
    return torch.optim.SGD(parameters, lr, momentum, nesterov=nesterov, fused=_fusable(parameters))


def adam(parameters: ParameterGroups, *, lr: float, betas: list[float], eps: float) -> Optimizer:
    """Step lr·m̂/(√v̂ + eps) with bias-corrected moments (Kingma & Ba 2015, algorithm 1)."""
    return torch.optim.Adam(parameters, lr, _pair(betas), eps, fused=_fusable(parameters))


def adamw(parameters: ParameterGroups, *, lr: float, betas: list[float], eps: float, weight_decay: float) -> Optimizer:
    """Adam's step after w ← (1 - lr·weight_decay)·w (Loshchilov & Hutter 2019, algorithm 2)."""
    for group in parameters:
        group["weight_decay"] = weight_decay if group["decayed"] else 0.0
    return torch.optim.AdamW(parameters, lr, _pair(betas), eps, fused=_fusable(parameters))


def custom(
    parameters: ParameterGroups, *, lr: float, target: Callable[..., Optimizer], args: dict[str, Any]
) -> Optimizer:
    """Any other optimizer, called as ``target(parameters, lr=lr, **args)``.

    Raises:
        ValueError: if that is no optimizer, or one that this engine cannot step.
    """
    optimizer = target(parameters, lr=lr, **args)
    if not isinstance(optimizer, Optimizer):
        raise ValueError(f"optim.target must give a torch.optim.Optimizer, got {type(optimizer).__name__}")
    closure = inspect.signature(optimizer.step).parameters.get("closure")
    if closure is not None and closure.default is inspect.Parameter.empty:
        raise ValueError(f"{type(optimizer).__name__} needs a closure at each step, which is not supported")
    for group in optimizer.param_groups:
        if "weight_decay" in group and not group.get("decayed", True):
            group["weight_decay"] = 0.0
    return optimizer


def parameter_groups(model: nn.Module, decay_bias_and_norm: bool) -> ParameterGroups:
    """Return the parameters in two groups: weights, which decay reaches, and biases and norms, which it need not."""
    trained = [p for p in model.parameters() if p.requires_grad]
    weights = [p for p in trained if p.ndim > 1 or decay_bias_and_norm]
    others = [p for p in trained if p.ndim <= 1 and not decay_bias_and_norm]
    groups = [{"params": weights, "decayed": True}, {"params": others, "decayed": False}]
    return [group for group in groups if group["params"]]


def decayed(parameters: ParameterGroups) -> list[Tensor]:
    """Return the parameters that weight decay and penalties reach."""
    return [p for group in parameters if group["decayed"] for p in group["params"]]


def _fusable(parameters: ParameterGroups) -> bool:
    return all(p.device.type in ("cpu", "cuda") for group in parameters for p in group["params"])


def _pair(betas: list[float]) -> tuple[float, float]:
    first, second = betas
    return first, second
