"""Some of a model's parameters are trained, the others stay as they are."""

from collections.abc import Callable, Collection
from dataclasses import dataclass
from functools import partial
from typing import Any, Self

from torch import Tensor, nn

from runner.engine.hooks import Going, Hook
from runner.errors import ConfigError
from runner.finetune.order import freeze, head_of, layers_of


@dataclass
class Partly(Hook):
    """The parameters that are trained, chosen by name; in a stack too, as no event of a step is needed."""

    chosen: Callable[[nn.Module], Collection[str]]
    trainable: int = 0

    def parametrize(self, model: nn.Module, x: Tensor) -> None:
        """Choose."""
        freeze(model, set(self.chosen(model)))

    def begin(self, at: Going) -> Self:
        """Count them."""
        begun = super().begin(at)
        begun.trainable = trainable(at.model)
        return begun

    def summary(self) -> dict[str, Any]:
        """Return how many numbers are trained."""
        return {"trainable_parameters": self.trainable}


def trainable(model: nn.Module) -> int:
    """Return how many numbers of a model are trained."""
    return sum(p.numel() for p in model.parameters() if p.requires_grad)


def head() -> Hook:
    """Train the last layer on the features of the others (Donahue et al. 2014)."""
    return Partly(partial(head_of, key="finetune=head"))


def layers(*, last: int) -> Hook:
    """Train the last layers, so many (Yosinski et al. 2014)."""
    return Partly(partial(_last, last=last))


def _last(model: nn.Module, last: int) -> list[str]:
    found = layers_of(model)
    if last > len(found):
        raise ConfigError(f"finetune.layers.last must be ≤ {len(found)}, the model's layers, got {last}")
    return [name for layer in found[-last:] for name in layer]


def bitfit() -> Hook:
    """Train the biases, those of norms too, and the last layer (Ben Zaken et al. 2022)."""
    return Partly(_biases)


def _biases(model: nn.Module) -> list[str]:
    last = head_of(model, "finetune=bitfit")
    biases = [n for n, p in model.named_parameters() if p.ndim == 1 and "bias" in n.rpartition(".")[2]]
    if not set(biases) - set(last):
        raise ConfigError(
            "finetune=bitfit needs biases before the last layer, and the model has none: use finetune=head"
        )
    return [*biases, *last]
