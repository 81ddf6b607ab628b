"""Batch norm of a batch that several processes have parts of: exact, on CPU too, where ``SyncBatchNorm`` is not."""

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributed import ProcessGroup
from torch.distributed.nn.functional import all_reduce
from torch.nn.modules.batchnorm import _BatchNorm


class Counted:
    """Whether batch norm sums over all processes now, and whether this one's samples count."""

    summed = False
    share = 1.0
    """0 where this process has none of the samples and passes one of another's for company."""


def measure_together(model: nn.Module, group: ProcessGroup, counted: Counted) -> None:
    """Let a model's batch norms take their statistics of the samples of all processes, while ``counted.summed``."""
    for module in model.modules():
        if isinstance(module, _BatchNorm):
            alone = module.forward
            module.forward = partial(_forward, module, alone, group, counted)  # type: ignore[method-assign]


def _forward(norm: Any, alone: Callable[[Tensor], Tensor], group: ProcessGroup, counted: Counted, x: Tensor) -> Tensor:
    if not (norm.training and counted.summed):
        return alone(x)
    kind, axes = x.dtype, [axis for axis in range(x.ndim) if axis != 1]
    if kind in (torch.bfloat16, torch.float16):  # which cannot count beyond 256, or beyond 2048
        x = x.float()
    samples = x.new_tensor([x.numel() / x.shape[1] * counted.share])
    summed: Tensor = all_reduce(torch.cat([x.sum(axes) * counted.share, samples]), group=group)  # type: ignore[no-untyped-call]
    n = summed[-1].detach()
    shape = [1, -1, *[1] * (x.ndim - 2)]
    mean = summed[:-1] / n
    apart = x - mean.view(shape)
    squares: Tensor = all_reduce(apart.square().sum(axes) * counted.share, group=group)  # type: ignore[no-untyped-call]
    variance = squares / n
    found: Tensor = apart * (variance + norm.eps).rsqrt().view(shape)
    if norm.affine:
        found = found * norm.weight.view(shape) + norm.bias.view(shape)
    if norm.track_running_stats:
        with torch.no_grad():
            norm.num_batches_tracked.add_(1)
            share = 1 / norm.num_batches_tracked.item() if norm.momentum is None else norm.momentum
            norm.running_mean.lerp_(mean.to(norm.running_mean.dtype), share)
            norm.running_var.lerp_((variance * n / (n - 1)).to(norm.running_var.dtype), share)
    return found.to(kind)
