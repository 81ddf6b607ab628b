"""A stack of models of one kind: what they give, how their gradients are found, and measures of it.

A model may write out the pass of its stack (``WrittenOut``); every other one goes through ``vmap``.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel

from runner.engine.hooks import Dropping
from runner.engine.model import Drop, StackedPass, Weights, WrittenOut, keep
from runner.engine.targets import Mixed, Unweighted
from runner.metrics import AnyLoss, Metric, WeightedCrossEntropy, precise, value

Back = Callable[[Tensor], None]
"""Leaves in ``grad`` of every weight the gradient of a sum whose slopes by the outputs it is given."""


def forward(
    model: nn.Module, weights: Weights, x: Tensor, shared: bool, dropout: Dropping | None = None
) -> tuple[Tensor, Back]:
    """Return the outputs ``[runs, n, …]`` of models of one kind, and the way back, which exists where gradients do.

    Args:
        model: one of them: how it is built, and whether it is in training; its own weights are not read.
        weights: of all of them; batch norm's running statistics are updated in place, as in each model by itself.
        x: ``[n, …]`` where all see the same samples (``shared``), else ``[runs, n, …]``.
        shared: see x.
        dropout: None where none drops anything.

    Raises:
        RuntimeError: if something in the model has no batching rule.
    """
    if through := _written_out(model, weights, dropout):
        return through.forward(x, shared, kept=torch.is_grad_enabled()), through.backward
    outputs = through_autograd(model, weights, x, shared, dropout)
    return outputs.detach(), cast(Back, outputs.backward)


def through_autograd(
    model: nn.Module, weights: Weights, x: Tensor, shared: bool, dropout: Dropping | None = None
) -> Tensor:
    """Return the outputs in autograd's graph: see ``forward``."""
    with sdpa_kernel(SDPBackend.MATH):  # the kernel of attention that has a batching rule
        return _vmapped(model, weights, x, shared, dropout)


def is_written_out(model: nn.Module) -> bool:
    """Say whether a stack of models of this kind has a pass of its own, faster than ``vmap``."""
    return _written_out(model, {}, None) is not None


def _written_out(model: nn.Module, weights: Weights, dropout: Dropping | None) -> StackedPass | None:
    kind = type(model)
    if kind not in _written:  # a protocol takes long to be asked for, and every step asks
        _written[kind] = isinstance(model, WrittenOut)
    return cast(WrittenOut, model).stacked_pass(weights, _dropping(dropout)) if _written[kind] else None


_written: dict[type[nn.Module], bool] = {}
"""Whether models of a class write out the pass of their stack."""


def _vmapped(model: nn.Module, weights: Weights, x: Tensor, shared: bool, dropout: Dropping | None) -> Tensor:
    if dropout is None:
        plain = torch.vmap(
            lambda w, part: torch.func.functional_call(model, w, (part,)), in_dims=(0, None if shared else 0)
        )
        return plain(dict(weights), x)  # type: ignore[no-any-return]

    def one(w: Weights, part: Tensor, *own: Tensor) -> Tensor:
        return torch.func.functional_call(model, dict(w), (part, dropout.of(*own)))  # type: ignore[no-any-return]

    stacked = torch.vmap(one, in_dims=(0, None if shared else 0, *[0] * len(dropout.own)))
    return stacked(dict(weights), x, *dropout.own)


def _dropping(dropout: Dropping | None) -> Drop:
    if dropout is None:
        return keep
    each = torch.vmap(
        lambda hidden, place, *own: dropout.of(*own)(hidden, place), in_dims=(0, None, *[0] * len(dropout.own))
    )
    return lambda hidden, place: each(hidden, place, *dropout.own)


def losses_and_slopes(
    loss: AnyLoss,
    outputs: Tensor,
    x: Tensor,
    y: Unweighted,
    shared: bool,
    changes: Sequence[Callable[[Tensor, Tensor, Tensor], Tensor]] = (),
) -> tuple[Tensor, Tensor]:
    """Return the losses ``[runs]`` of outputs ``[runs, n, …]``, and their slopes by the outputs.

    Args:
        loss: of one run's outputs and targets.
        outputs: of all runs.
        x: the samples that all, or each, see.
        y: the targets.
        shared: whether all see the same.
        changes: what hooks make of the losses, of which they get outputs and samples too.
    """
    weights = loss.weights if isinstance(loss, WeightedCrossEntropy) else None
    is_known = weights is not None or loss is F.cross_entropy
    if is_known and not changes and outputs.ndim == 3 and isinstance(y, Tensor):
        by_class, targets = outputs.transpose(1, 2), _targets(outputs, y, shared)
        of_samples = None if weights is None else weights[targets]
        slopes = _slopes(by_class, targets, of_samples).transpose(1, 2)
        return _cross_entropy(by_class, targets, of_samples), slopes
    outputs.requires_grad_()
    with torch.enable_grad():
        losses = each_mean(loss, outputs, y, x, shared)
        for change in changes:
            losses = change(losses, outputs, x)
    (slopes,) = torch.autograd.grad(losses, outputs, torch.ones_like(losses))
    return losses.detach(), slopes


def each(measure: AnyLoss | Metric, outputs: Tensor, y: Tensor, x: Tensor, shared: bool) -> Tensor:
    """Return a measure ``[runs]`` of outputs ``[runs, n, …]`` against the samples that all, or each, see."""
    if measure is F.cross_entropy and outputs.ndim == 3:
        return _cross_entropy(outputs.transpose(1, 2), _targets(outputs, y, shared))
    return each_mean(measure, outputs, y, x, shared)


def each_mean(measure: AnyLoss | Metric, outputs: Tensor, y: Unweighted, x: Tensor, shared: bool) -> Tensor:
    """Return a loss or measure ``[runs]``, as autograd and ``vmap`` make it."""
    seen = None if shared else 0
    if isinstance(y, Tensor):
        return torch.vmap(partial(value, measure), in_dims=(0, seen, seen))(outputs, y, x)

    assert isinstance(y.share, Tensor), "a stack has it as a tensor"

    def of_mixed(outputs: Tensor, y: Tensor, other: Tensor, share: Tensor, x: Tensor) -> Tensor:
        return value(measure, outputs, Mixed(y, other, share), x)

    return torch.vmap(of_mixed, in_dims=(0, *[seen] * 4))(outputs, y.y, y.other, y.share, x)


def _targets(outputs: Tensor, y: Tensor, shared: bool) -> Tensor:
    """Return classes as ``[runs, 1, n]``."""
    return (y.expand(outputs.shape[:2]) if shared else y).unsqueeze(1)


def _cross_entropy(outputs: Tensor, targets: Tensor, weights: Tensor | None = None) -> Tensor:
    """Return ``F.cross_entropy`` of each run of ``[runs, classes, n]``, several times as fast for few classes.

    ``weights`` are the samples', ``[runs, 1, n]``; None, 1 each.
    """
    costs = precise(outputs).log_softmax(1).gather(1, targets)
    return (costs if weights is None else costs * weights).mean((1, 2)).neg_()


def _slopes(outputs: Tensor, targets: Tensor, weights: Tensor | None) -> Tensor:
    """Return the slopes of the cross-entropy: softmax - onehot, times the weights, over the number of samples."""
    shares = precise(outputs).softmax(1)
    slopes = shares.scatter_(1, targets, -1.0, reduce="add").div_(outputs.shape[2])
    return (slopes if weights is None else slopes.mul_(weights)).to(outputs.dtype)
