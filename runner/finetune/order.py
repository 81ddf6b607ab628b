"""A model's layers in order, and parts of it that are not trained."""

import types
from collections.abc import Collection

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from runner.errors import ConfigError

Weighted = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.RNNBase, nn.MultiheadAttention, nn.Embedding)
"""What a layer begins with; norms and lone parameters belong to the layer before them."""


def layers_of(model: nn.Module) -> list[list[str]]:
    """Return the names of each layer's parameters, in the order in which the model registers its layers."""
    found: list[list[str]] = []
    early: list[str] = []
    for name, module in model.named_modules():
        own = [f"{name}.{key}" if name else key for key, _ in module.named_parameters(recurse=False)]
        if isinstance(module, Weighted):
            found.append(early + own)
            early = []
        elif found:
            found[-1] += own
        else:
            early += own  # such as a class token: part of the first layer
    return found


def head_of(model: nn.Module, key: str) -> list[str]:
    """Return the names of the last layer's parameters.

    Raises:
        ConfigError: if the model has one layer or none; ``key`` names what needs more.
    """
    found = layers_of(model)
    if len(found) < 2:
        raise ConfigError(f"{key} needs a model of two layers at least, got one of {len(found)}: use finetune=full")
    return found[-1]


def freeze(model: nn.Module, trained: Collection[str]) -> None:
    """Train the named parameters alone; batch norm that is not trained keeps its running statistics too."""
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(name in trained)
    for module in model.modules():
        if isinstance(module, _BatchNorm):
            keep_statistics(module, not any(p.requires_grad for p in module.parameters(recurse=False)))


def keep_statistics(norm: nn.Module, kept: bool) -> None:
    """Let a batch norm go by its running statistics in training too, or as others do."""
    was_kept = norm.__dict__.pop("train", None) is not None
    if kept:
        norm.train = types.MethodType(_stays_in_evaluation, norm)  # type: ignore[method-assign]
        norm.eval()
    elif was_kept:
        norm.train()


def _stays_in_evaluation(norm: nn.Module, mode: bool = True) -> nn.Module:
    return nn.Module.train(norm, False)
