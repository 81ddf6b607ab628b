"""Layers that begin to be trained one after another."""

from dataclasses import dataclass
from typing import Any, Self, cast

from torch import Tensor

from runner.engine.hooks import AtStep, Going, Hook
from runner.engine.targets import Targets
from runner.finetune.order import freeze, layers_of
from runner.finetune.partly import trainable


@dataclass
class Thawing(Hook):
    """The last layer is trained at first; after each ``every`` epochs one more, from the top down."""

    every: int
    thawed: int = 0
    """Layers, as they now are; follows from the epoch alone."""
    trainable: int = 0

    @property
    def alone(self) -> str:
        """Why a stack has none."""
        return "finetune=gradual: what an optimizer does with weights that get no gradient yet differs between them"

    def begin(self, at: Going) -> Self:
        """Begin with none: the first step settles it."""
        begun = super().begin(at)
        begun.thawed, begun.trainable = 0, trainable(at.model)
        return begun

    def before_step(self, at: AtStep, x: Tensor, y: Targets) -> tuple[Tensor, Targets]:
        """Let the layers of the epoch be trained; the others have no gradient, and optimizers leave them."""
        wanted = 1 + cast(Going, at).epoch // self.every  # of one run: no stack has this hook
        if wanted != self.thawed:
            freeze(at.model, {name for layer in layers_of(at.model)[-wanted:] for name in layer})
            for parameter in at.model.parameters():
                parameter.grad = None
            self.thawed, self.trainable = wanted, trainable(at.model)
        return x, y

    def summary(self) -> dict[str, Any]:
        """Return how many numbers are trained at the end."""
        return {"trainable_parameters": self.trainable}


def gradual(*, every: int) -> Hook:
    """Thaw a layer each ``every`` epochs, the last first (Howard & Ruder 2018, §3.3)."""
    return Thawing(every)
