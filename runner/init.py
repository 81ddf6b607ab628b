"""Initializers: functions that fill one weight from a generator, one an option.

Weights are matrices and kernels ``[out, in, …]``: fan_in is in·receptive field, fan_out is out·receptive field.
"""

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Generator, Tensor, nn

from runner.noise import derive, generator
from runner.targets import accepts

Fill = Callable[[Tensor, Generator], object]
"""Fills a weight ``[out, in, …]`` in place."""


def default() -> None:
    """Leave what PyTorch's constructors drew: variance 1/(3·fan_in), biases uniform in ±1/√fan_in."""


def zeros(weight: Tensor, generator: Generator) -> None:
    """Set every weight to 0."""
    nn.init.zeros_(weight)


def normal(weight: Tensor, generator: Generator, *, std: float) -> None:
    """Draw from N(0, std²)."""
    nn.init.normal_(weight, 0.0, std, generator=generator)


def uniform(weight: Tensor, generator: Generator, *, bound: float) -> None:
    """Draw from U(-bound, bound)."""
    nn.init.uniform_(weight, -bound, bound, generator=generator)


def xavier_uniform(weight: Tensor, generator: Generator, *, gain: float) -> None:
    """Draw uniformly with variance 2·gain²/(fan_in + fan_out), gain 1 (Glorot & Bengio 2010, eq. 16)."""
    nn.init.xavier_uniform_(weight, gain, generator=generator)


def xavier_normal(weight: Tensor, generator: Generator, *, gain: float) -> None:
    """Draw from a Gaussian of variance 2·gain²/(fan_in + fan_out), gain 1 (Glorot & Bengio 2010, eq. 12)."""
    nn.init.xavier_normal_(weight, gain, generator=generator)


def he_uniform(weight: Tensor, generator: Generator, *, gain: float) -> None:
    """Draw uniformly with variance gain²/fan_in, gain √2 (He et al. 2015, eq. 10)."""
    bound = math.sqrt(3.0) * _he_std(weight, gain)
    nn.init.uniform_(weight, -bound, bound, generator=generator)


def he_normal(weight: Tensor, generator: Generator, *, gain: float) -> None:
    """Draw from a Gaussian of variance gain²/fan_in, gain √2 (He et al. 2015, eq. 10)."""
    nn.init.normal_(weight, 0.0, _he_std(weight, gain), generator=generator)


def custom(weight: Tensor, generator: Generator, *, target: Callable[..., object], args: dict[str, Any]) -> None:
    """Fill with the user's function, which gets the generator where it names it, or else a seeded global one."""
    if accepts(target, "generator"):
        target(weight, **args, generator=generator)
        return
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(generator.initial_seed())
        target(weight, **args)


def _he_std(weight: Tensor, gain: float) -> float:
    fan_in = weight[0].numel()
    return gain / math.sqrt(fan_in)


def construct(model: Callable[[], nn.Module], seed: int, fill: Fill | None, bias: float) -> nn.Module:
    """Construct a model with its initial weights, a function of the seed alone.

    Args:
        model: the constructor; it may draw from the global generator, which is restored.
        seed: the run's seed.
        fill: the initializer, or None for the constructor's own weights.
        bias: the value of every bias where there is an initializer.

    Raises:
        ValueError: if there is an initializer and nothing that it applies to.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derive(seed, "weights"))
        built = model()
    if fill is not None:
        filled = 0
        with torch.no_grad():
            for name, module in built.named_modules():
                if isinstance(module, nn.Linear | nn.Conv1d | nn.Conv2d | nn.Conv3d):
                    # A stream for each weight: adding a layer leaves the other layers' weights as they were.
                    fill(module.weight, generator(seed, "weights", name))
                    filled += 1
                    if module.bias is not None:
                        nn.init.constant_(module.bias, bias)
        if not filled:
            raise ValueError("the model has no linear or convolution layer to initialize: use init=default")
    return built
