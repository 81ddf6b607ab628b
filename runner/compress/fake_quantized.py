"""Training that feels the rounding to int8."""

import warnings
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from runner.engine.hooks import Hook
from runner.errors import ConfigError
from runner.init import filled_modules


@dataclass
class FakeQuantized(Hook):
    """Linear layers whose weights and inputs are rounded to int8 in each pass, by torchao."""

    place: ClassVar[int] = 1
    """After the layers have their sizes."""

    @property
    def alone(self) -> str:
        """Why a stack has none."""
        return "compress=quantize: torchao's rounding takes the ranges of one run's inputs at a time"

    def parametrize(self, model: nn.Module, x: Tensor) -> None:
        """Put torchao's layers in the place of the linear ones."""
        if not any(isinstance(layer, nn.Linear) for _, layer in filled_modules(model)):
            raise ConfigError("compress=quantize rounds linear layers, and the model has none")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            prepare(model)

    def summary(self) -> dict[str, Any]:
        """Return how many bits weights have."""
        return {"weight_bits": 8}


def prepare(model: nn.Module) -> None:
    """Let a model round in training: weights by each output's range around 0, inputs by each sample's.

    Raises:
        ConfigError: if torchao is not installed.
    """
    try:
        from torchao.quantization import quantize_
        from torchao.quantization.qat import IntxFakeQuantizeConfig, QATConfig
    except ImportError as error:
        raise ConfigError("compress=quantize needs torchao: pip install 'optbench[compress]'") from error
    inputs = IntxFakeQuantizeConfig(torch.int8, "per_token", is_symmetric=False)
    weights = IntxFakeQuantizeConfig(torch.int8, "per_channel", is_symmetric=True)
    quantize_(model, QATConfig(activation_config=inputs, weight_config=weights, step="prepare"))


def plain(model: nn.Module) -> nn.Module:
    """Return a model that was so trained with its linear layers as they were, unrounded; it is changed."""
    from torchao.quantization import quantize_
    from torchao.quantization.qat import QATConfig

    quantize_(model, QATConfig(step="convert"))
    return model


def converted(model: nn.Module) -> nn.Module:
    """Return a model that was so trained with int8 weights, for torchao's kernels; it is changed."""
    from torchao.quantization import Int8DynamicActivationInt8WeightConfig, quantize_

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        quantize_(plain(model), Int8DynamicActivationInt8WeightConfig())
    return model


def quantize() -> Hook:
    """Quantization-aware training with straight-through gradients (Jacob et al. 2018)."""
    return FakeQuantized()
