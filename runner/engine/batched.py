"""The forward pass of a stack of models: their weights are stacked ``[runs, …]``, and so is what they give.

Fully connected networks are written out, as a few large matrix products; every other model goes through ``vmap``.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeGuard, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel

from runner.metrics import accuracy
from runner.model import MLP, Drop, keep
from runner.regularization import Dropout

Weights = Mapping[str, Tensor]
"""Parameters and buffers by name, each ``[runs, …]``."""


@dataclass(frozen=True)
class Dropping:
    """What each run drops in one step: its share ``[runs]`` and its key ``[runs, 2]``."""

    p: Tensor
    key: Tensor


def written_out(model: nn.Module) -> TypeGuard[MLP]:
    """Say whether a model's stacked forward pass is written out: a network whose layers are as they were built."""
    return isinstance(model, MLP) and type(model.readout) is nn.Linear


def forward(model: nn.Module, weights: Weights, x: Tensor, shared: bool, dropout: Dropping | None) -> Tensor:
    """Return the outputs ``[runs, n, …]`` of models of one kind.

    Args:
        model: one of them: how it is built, and whether it is in training; its own weights are not read.
        weights: of all of them; batch norm's running statistics are updated in place, as in each model by itself.
        x: ``[n, …]`` where all see the same samples (``shared``), else ``[runs, n, …]``.
        shared: see x.
        dropout: None where none drops anything.

    Raises:
        RuntimeError: if something in the model has no batching rule.
    """
    if written_out(model):
        return _mlp(model, weights, x, shared, _dropping(dropout))
    with sdpa_kernel(SDPBackend.MATH):  # the kernel of attention that has a batching rule
        return _vmapped(model, weights, x, shared, dropout)


def _vmapped(model: nn.Module, weights: Weights, x: Tensor, shared: bool, dropout: Dropping | None) -> Tensor:
    if dropout is None:
        plain = torch.vmap(
            lambda w, part: torch.func.functional_call(model, w, (part,)), in_dims=(0, None if shared else 0)
        )
        return plain(dict(weights), x)  # type: ignore[no-any-return]

    def one(w: Weights, part: Tensor, p: Tensor, key: Tensor) -> Tensor:
        return torch.func.functional_call(model, dict(w), (part, Dropout(p).at(key)))  # type: ignore[no-any-return]

    stacked = torch.vmap(one, in_dims=(0, None if shared else 0, 0, 0))
    return stacked(dict(weights), x, dropout.p, dropout.key)


def _dropping(dropout: Dropping | None) -> Drop:
    if dropout is None:
        return keep
    each = torch.vmap(lambda hidden, place, p, key: Dropout(p).at(key)(hidden, place), in_dims=(0, None, 0, 0))
    return lambda hidden, place: each(hidden, place, dropout.p, dropout.key)


def _mlp(model: MLP, weights: Weights, x: Tensor, shared: bool, drop: Drop) -> Tensor:
    """Return what ``MLP.forward`` gives for each run."""
    x = x.flatten(1 if shared else 2)
    for place in range(len(model.hidden)):
        hidden = _linear(weights, f"hidden.{place}", x)
        hidden = _norm(model.norms[place], weights, f"norms.{place}", hidden, model.training)
        hidden = drop(model.activation(hidden), place)
        x = x + hidden if model.residual and place > 0 else hidden
    return _linear(weights, "readout", x)


def _linear(weights: Weights, name: str, x: Tensor) -> Tensor:
    """Return ``[runs, n, out]`` of ``[runs, n, in]``, or of ``[n, in]`` that all see."""
    weight, bias = weights[f"{name}.weight"], weights.get(f"{name}.bias")
    if x.ndim == 2:  # one product for all
        together = F.linear(x, weight.flatten(0, 1), None if bias is None else bias.flatten())
        return together.view(len(x), *weight.shape[:2]).transpose(0, 1)
    if bias is None:
        return torch.bmm(x, weight.transpose(1, 2))
    return torch.baddbmm(bias.unsqueeze(1), x, weight.transpose(1, 2))


def _norm(norm: nn.Module, weights: Weights, name: str, x: Tensor, training: bool) -> Tensor:
    if isinstance(norm, nn.Identity):
        return x
    scale, shift = weights[f"{name}.weight"], weights[f"{name}.bias"]
    runs, n, width = x.shape
    if isinstance(norm, nn.BatchNorm1d):  # the units of all runs are channels of one batch
        mean, variance = weights[f"{name}.running_mean"], weights[f"{name}.running_var"]
        if training:
            weights[f"{name}.num_batches_tracked"].add_(1)
        assert norm.momentum is not None
        flat = (mean.flatten(), variance.flatten(), scale.flatten(), shift.flatten())
        units = x.transpose(0, 1).reshape(n, runs * width)
        normed = F.batch_norm(units, *flat, training, norm.momentum, norm.eps)
        return normed.view(n, runs, width).transpose(0, 1)
    if isinstance(norm, nn.LayerNorm):
        normed = F.layer_norm(x, [width], eps=norm.eps)
    else:
        assert isinstance(norm, nn.GroupNorm)
        normed = F.group_norm(x.flatten(0, 1), norm.num_groups, eps=norm.eps).view(runs, n, width)
    return normed * scale.unsqueeze(1) + shift.unsqueeze(1)


def each(measure: Callable[[Tensor, Tensor], Tensor], outputs: Tensor, y: Tensor, shared: bool) -> Tensor:
    """Return a measure ``[runs]`` of outputs ``[runs, n, …]`` against the targets that all, or each, see."""
    targets = y.expand(outputs.shape[:2]) if shared and outputs.ndim == 3 else y
    if measure is F.cross_entropy and outputs.ndim == 3:
        return cast(Tensor, _CrossEntropy.apply(outputs, targets.unsqueeze(2)))
    if measure is accuracy and outputs.ndim == 3:
        return (outputs.max(2).indices == targets).double().mean(1)
    return torch.vmap(measure, in_dims=(0, None if shared else 0))(outputs, y)


class _CrossEntropy(torch.autograd.Function):
    """``F.cross_entropy`` of each run, several times as fast for few classes: ``[runs, n, classes]`` to ``[runs]``."""

    @staticmethod
    def forward(ctx: Any, outputs: Tensor, targets: Tensor) -> Tensor:
        """Return the mean of log Σ exp(z) - z of the target (``[runs, n, 1]``)."""
        if outputs.dtype in (torch.bfloat16, torch.float16):
            outputs = outputs.float()
        normalizer = outputs.logsumexp(2, keepdim=True)
        ctx.save_for_backward(outputs, normalizer, targets)
        return (normalizer - outputs.gather(2, targets)).mean((1, 2))

    @staticmethod
    def backward(ctx: Any, slopes: Tensor) -> tuple[Tensor, None]:
        """Return softmax - onehot, over the number of samples."""
        outputs, normalizer, targets = ctx.saved_tensors
        share = (outputs - normalizer).exp_()
        share.scatter_add_(2, targets, share.new_full((1, 1, 1), -1.0).expand(targets.shape))
        return share.mul_((slopes / outputs.shape[1]).view(-1, 1, 1)), None
