"""Maximal update parametrization, by which a network learns alike at every width (Yang et al. 2022, table 8).

A network of width n is held against the same network of a base width n₀, at which nothing is changed. With m = n/n₀:

==================  ================  =====================  ========
parameters          initial variance  learning rate of Adam  of SGD
==================  ================  =====================  ========
hidden matrices     base's / m        1/m                    1
all others          the base's        1                      m
==================  ================  =====================  ========

Hidden matrices have two dimensions that grow with the width. All others have one (the input's weights, embeddings,
biases and gains of norm layers, and the output's weights, whose input is divided by m) or none. Attention divides its
logits by d, the width of a head, and not by √d.
"""

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn

VARIANCES: dict[str, Callable[[int, int], float]] = {
    "fan_in": lambda fan_in, fan_out: 1 / fan_in,
    "fan_sum": lambda fan_in, fan_out: 1 / (fan_in + fan_out),
    "fan_max": lambda fan_in, fan_out: 1 / max(fan_in, fan_out),
    "given": lambda fan_in, fan_out: 1.0,
}
"""How the variance of an initializer's weights depends on their fans, up to a constant; ``given`` is a scale of its
own."""


class Readout(nn.Linear):
    """The last layer, from a width ``n`` to the outputs: W·x·n₀/n + b, ``n₀`` the base width."""

    def __init__(self, width: int, outputs: int, bias: bool, base_width: int) -> None:
        super().__init__(width, outputs, bias)
        self.multiplier = base_width / width

    def forward(self, x: Tensor) -> Tensor:
        """Return ``[…, outputs]``."""
        return super().forward(x * self.multiplier)


def attention_scale(width: int, heads: int, base_width: int) -> float:
    """Return what attention's products of queries and keys are multiplied by: √d₀/d, d the width of a head.

    That is 1/√d at the base width, whose network has as many heads (Yang et al. 2022, definition 4.1).
    """
    return 1 / math.sqrt(width / heads) * math.sqrt(base_width / width)


def against(model: nn.Module, base: Callable[[], nn.Module]) -> nn.Module:
    """Return the model, with the shapes that its parameters have at the base width, which are read below."""
    with torch.device("meta"):
        shapes = {name: tuple(p.shape) for name, p in base().named_parameters()}
    model.base_shapes = shapes  # type: ignore[assignment]
    return model


def _growth(model: nn.Module) -> dict[str, tuple[float, bool]]:
    """Return of each parameter by how much it is wider than the base's, and whether it is a hidden matrix."""
    base: dict[str, tuple[int, ...]] = model.base_shapes  # type: ignore[assignment]
    found = {}
    for name, parameter in model.named_parameters():
        grown = [a / b for a, b in zip(parameter.shape, base[name], strict=True) if a != b]
        found[name] = (grown[0] if grown else 1.0, len(grown) == 2)
    return found


def lr_scales(model: nn.Module, rule: str) -> dict[str, float]:
    """Return what each parameter's learning rate is multiplied by, by its name.

    Args:
        model: one held against its base.
        rule: ``adam`` for optimizers that normalize each entry of the gradient, ``sgd`` for those linear in it.
    """
    if rule == "adam":
        return {name: 1 / m if hidden else 1.0 for name, (m, hidden) in _growth(model).items()}
    return {name: 1.0 if hidden else m for name, (m, hidden) in _growth(model).items()}


@torch.no_grad()
def rescale(model: nn.Module, variance: str, biases: bool) -> None:
    """Give the weights that an initializer has drawn the variances of the table; leave a model without a base alone.

    Args:
        model: its linear layers are rescaled.
        variance: of the initializer, one of ``VARIANCES``.
        biases: they were drawn too, with a variance of 1/fan_in.
    """
    if not hasattr(model, "base_shapes"):
        return
    base: dict[str, tuple[int, ...]] = model.base_shapes  # type: ignore[assignment]
    growth, of_fans = _growth(model), VARIANCES[variance]
    for name, module in model.named_modules():
        if isinstance(module, nn.Linear):
            m, hidden = growth[f"{name}.weight"]
            fan_out, fan_in = base[f"{name}.weight"]
            of_base = of_fans(fan_in, fan_out) / of_fans(module.in_features, module.out_features)
            module.weight.mul_(math.sqrt(of_base / m if hidden else of_base))
            if biases and module.bias is not None:
                module.bias.mul_(math.sqrt(module.in_features / fan_in))
