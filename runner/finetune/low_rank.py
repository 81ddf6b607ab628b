"""Weights that are kept, with a sum of few outer products that is trained."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from runner.errors import ConfigError
from runner.finetune.order import freeze, head_of
from runner.finetune.partly import Partly
from runner.init import filled_modules


class LowRank(nn.Module):
    """w + alpha/rank · B·A, of a matrix, or of a kernel as the matrix ``[out, in·field]``."""

    def __init__(self, weight: Tensor, rank: int, alpha: float) -> None:
        super().__init__()
        rows, columns = weight.shape[0], weight[0].numel()
        rank = min(rank, rows, columns)
        self.scale = alpha / rank
        bound = 1 / math.sqrt(columns)
        self.a = nn.Parameter(torch.empty(rank, columns, dtype=weight.dtype, device=weight.device))
        self.b = nn.Parameter(torch.zeros(rows, rank, dtype=weight.dtype, device=weight.device))
        nn.init.uniform_(self.a, -bound, bound)

    def forward(self, weight: Tensor) -> Tensor:
        """Return the weight with the low-rank part."""
        return weight + self.scale * (self.b @ self.a).view(weight.shape)


@dataclass
class Lora(Partly):
    """Low-rank parts of all linear and convolution layers but the last, which is trained as it is."""

    rank: int = 8
    alpha: float = 8.0

    def parametrize(self, model: nn.Module, x: Tensor) -> None:
        """Add them: the outputs stay as they are."""
        last = set(head_of(model, "finetune=lora"))
        layers = [layer for name, layer in filled_modules(model) if f"{name}.weight" not in last]
        if not layers:
            raise ConfigError(
                "finetune=lora needs a linear or convolution layer before the last, and the model has none"
            )
        for layer in layers:
            parametrize.register_parametrization(layer, "weight", LowRank(layer.weight, self.rank, self.alpha))
        parts = {id(p) for m in model.modules() if isinstance(m, LowRank) for p in m.parameters()}
        freeze(model, {name for name, p in model.named_parameters() if id(p) in parts or name in last})


def lora(*, rank: int, alpha: float) -> Lora:
    """w + alpha/rank · B·A with B = 0 at first, A and B trained (Hu et al. 2022, eq. 3)."""
    return Lora(lambda model: (), rank=rank, alpha=alpha)
