"""Small layers between those of a model, which stay as they are."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from runner.errors import ConfigError
from runner.finetune.order import freeze, head_of
from runner.finetune.partly import Partly
from runner.init import called_modules

NORMS = (nn.LayerNorm, nn.GroupNorm, nn.modules.batchnorm._BatchNorm)


class Adapter(nn.Module):
    """h + up(relu(down(h))) over the features, which lie last behind linear layers and first in images."""

    def __init__(self, layer: nn.Module, features: int, width: int) -> None:
        super().__init__()
        like = next(layer.parameters())
        self.last = isinstance(layer, nn.Linear)
        self.down = nn.Linear(features, width, device=like.device, dtype=like.dtype)
        self.up = nn.Linear(width, features, device=like.device, dtype=like.dtype)
        with torch.no_grad():
            self.up.weight.zero_()
            self.up.bias.zero_()

    def forward(self, hidden: Tensor) -> Tensor:
        """Return the hidden units with what the adapter adds."""
        moved = hidden if self.last else hidden.movedim(1, -1)
        added: Tensor = self.up(F.relu(self.down(moved)))
        return hidden + (added if self.last else added.movedim(-1, 1))


def _add(layer: nn.Module, inputs: object, output: Tensor) -> Tensor:
    return layer.get_submodule("adapter")(output)  # type: ignore[no-any-return]


@dataclass
class Adapters(Partly):
    """An adapter behind each layer that ends a residual branch, or behind all but the last where none does."""

    width: int = 8

    def parametrize(self, model: nn.Module, x: Tensor) -> None:
        """Add them: the outputs stay as they are, as each adapter adds 0 at first."""
        last = set(head_of(model, "finetune=adapter"))
        layers = [layer for name, layer in called_modules(model) if f"{name}.weight" not in last]
        layers = [layer for layer in layers if hasattr(layer, "residual_branches")] or layers
        if not layers:
            raise ConfigError(
                "finetune=adapter needs a linear or convolution layer before the last; the model has none"
            )
        norms = {id(p) for m in model.modules() if isinstance(m, NORMS) for p in m.parameters()}
        for layer in layers:
            layer.add_module("adapter", Adapter(layer, layer.weight.shape[0], self.width))
            layer.register_forward_hook(_add)
        parts = {id(p) for m in model.modules() if isinstance(m, Adapter) for p in m.parameters()} | norms
        freeze(model, {name for name, p in model.named_parameters() if id(p) in parts or name in last})


def adapter(*, width: int) -> Adapters:
    """Bottlenecks of a width behind layers; these, norms and the last layer are trained (Houlsby et al. 2019, §2)."""
    return Adapters(lambda model: (), width)
