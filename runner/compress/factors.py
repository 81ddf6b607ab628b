"""Layers as the product of two thinner ones."""

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from runner.engine.hooks import Hook
from runner.errors import ConfigError
from runner.init import called_modules


@dataclass
class Factors(Hook):
    """The share of its full rank that each layer but the last keeps."""

    share: float
    place: ClassVar[int] = -1
    """After units are cut out."""

    def parametrize(self, model: nn.Module, x: Tensor) -> None:
        """Put two layers in the place of each that is thereby smaller: its best approximation of that rank."""
        found = 0
        for name, layer in called_modules(model)[:-1]:
            if not isinstance(layer, nn.Linear | nn.Conv2d) or getattr(layer, "groups", 1) > 1:
                continue
            rows, columns = layer.weight.shape[0], layer.weight[0].numel()
            rank = max(1, round(self.share * min(rows, columns)))
            if rank * (rows + columns) < rows * columns:
                parent, _, attribute = name.rpartition(".")
                setattr(model.get_submodule(parent), attribute, factored(layer, rank))
                found += 1
        if not found:
            raise ConfigError(
                f"compress=low_rank with compress.low_rank.share={self.share:g} makes no layer of "
                f"{type(model).__name__} smaller: its layers before the last are too small, or the share too large"
            )

    def summary(self) -> dict[str, Any]:
        """Return the share."""
        return {"rank_share": self.share}


def factored(layer: nn.Linear | nn.Conv2d, rank: int) -> nn.Sequential:
    """Return two layers whose product is the best approximation of a layer's matrix ``[out, in·field]`` of a rank."""
    weight = layer.weight.detach()
    rows, columns = weight.shape[0], weight[0].numel()
    bias = layer.bias is not None
    pair: tuple[nn.Module, nn.Module]
    if isinstance(layer, nn.Linear):
        pair = nn.Linear(columns, rank, bias=False), nn.Linear(rank, rows, bias=bias)
    else:
        first_of_two = nn.Conv2d(
            layer.in_channels,
            rank,
            layer.kernel_size,  # type: ignore[arg-type]  # torch has tuples of any length here
            layer.stride,  # type: ignore[arg-type]
            layer.padding,  # type: ignore[arg-type]
            layer.dilation,  # type: ignore[arg-type]
            bias=False,
            padding_mode=layer.padding_mode,
        )
        pair = first_of_two, nn.Conv2d(rank, rows, 1, bias=bias)
    for part in pair:
        part.to(weight.dtype)
        if weight.device.type == "meta":
            part.to("meta")
    if weight.device.type != "meta":
        u, s, v = torch.linalg.svd(weight.reshape(rows, columns), full_matrices=False)
        root = s[:rank].sqrt()
        with torch.no_grad():
            first, second = (part.get_parameter("weight") for part in pair)
            first.copy_((root[:, None] * v[:rank]).view_as(first))
            second.copy_((u[:, :rank] * root).view_as(second))
            if layer.bias is not None:
                pair[1].get_parameter("bias").copy_(layer.bias)
    return nn.Sequential(*pair)


def low_rank(*, share: float) -> Hook:
    """W ≈ U·V by the singular values (Eckart & Young 1936; of kernels as Denton et al. 2014 use it)."""
    return Factors(share)
