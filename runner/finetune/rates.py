"""Learning rates that fall towards the first layer."""

from dataclasses import dataclass
from typing import Any, Self

from torch import nn

from runner.engine.hooks import Going, Hook, Tried
from runner.errors import ConfigError
from runner.finetune.order import layers_of
from runner.finetune.partly import trainable


@dataclass
class Discriminative(Hook):
    """Each layer's learning rate is ``decay`` times that of the next."""

    decay: float
    trainable: int = 0

    @property
    def alone(self) -> str:
        """Why a stack has none."""
        return "finetune=discriminative: parameters have learning rates of their own"

    def begin(self, at: Going) -> Self:
        """Count what is trained."""
        begun = super().begin(at)
        begun.trainable = trainable(at.model)
        return begun

    def check(self, tried: Tried) -> None:
        """Refuse an optimizer that has one learning rate for all."""
        if not layers_of(tried.model):
            raise ConfigError("finetune=discriminative needs a model of layers, and this one has none")
        if not any("lr_share" in group for group in tried.optimizer.param_groups):
            name = type(tried.optimizer).__name__
            raise ConfigError(f"finetune=discriminative beside {name}, which has one learning rate for all parameters")

    def rate_shares(self, model: nn.Module) -> dict[str, float]:
        """Return the share of the learning rate that each parameter has."""
        found = layers_of(model)
        return {name: self.decay ** (len(found) - 1 - i) for i, layer in enumerate(found) for name in layer}

    def summary(self) -> dict[str, Any]:
        """Return how many numbers are trained."""
        return {"trainable_parameters": self.trainable}


def discriminative(*, decay: float) -> Hook:
    """lr of a layer = decay · lr of the layer after it (Howard & Ruder 2018, §3.2, where decay is 1/2.6)."""
    return Discriminative(decay)
