"""What a forward pass costs."""

import math

import torch
from torch import Tensor, nn

from runner.engine.state import State

BACKWARD_TOO = 3
"""Forward passes that a step costs: the backward pass takes two."""


def step_flops(state: State) -> int:
    """Return about what the first step costs."""
    return BACKWARD_TOO * forward_flops(state) * state.run.batch_size(0)


def forward_flops(state: State) -> int:
    """Count the multiply-adds of one sample's forward pass, two FLOPs each."""
    model = state.model if state.spread is None else state.run.construct()  # of a spread one each process has a part
    x, trains = state.run.probe.x[:1], model.training
    model.eval()
    with torch.no_grad(), torch.random.fork_rng(devices=[]):  # a user's model may draw
        found = of_layers(model, x) if multiplies_in_layers(model) else _of_operations(model, x)
    model.train(trains)
    return found


def multiplies_in_layers(model: nn.Module) -> bool:
    """Say whether a model's products are those of PyTorch's linear and convolutional layers alone.

    Of its own classes each says so (``multiplies_in_layers``).
    """

    def does(module: nn.Module) -> bool:
        own = type(module).__module__.partition(".")[0] != "torch"
        known = getattr(module, "multiplies_in_layers", False) if own else type(module) in LAYERS
        return bool(known)

    return all(map(does, model.modules()))


LAYERS = (
    *(nn.Linear, nn.Conv1d, nn.Conv2d, nn.Sequential, nn.ModuleList, nn.Identity, nn.Flatten),
    *(nn.BatchNorm1d, nn.BatchNorm2d, nn.LayerNorm, nn.GroupNorm, nn.MaxPool2d, nn.AvgPool2d, nn.AdaptiveAvgPool2d),
)
"""Of PyTorch's, which multiply as ``of_layers`` counts, or not at all."""


def of_layers(model: nn.Module, x: Tensor) -> int:
    """Count what the layers multiply: the counter of operations imports PyTorch's compiler, as slow as PyTorch."""
    found = [0]

    def count(layer: nn.Module, _: object, outputs: Tensor) -> None:
        if isinstance(layer, nn.Linear):
            found[0] += 2 * outputs.numel() * layer.in_features
        elif isinstance(layer, nn.Conv1d | nn.Conv2d):
            found[0] += 2 * outputs.numel() * math.prod(layer.kernel_size) * layer.in_channels // layer.groups

    hooks = [layer.register_forward_hook(count) for layer in model.modules()]
    try:
        model.forward(x)
    finally:
        for hook in hooks:
            hook.remove()
    return found[0]


def _of_operations(model: nn.Module, x: Tensor) -> int:
    from torch.utils.flop_counter import FlopCounterMode  # with it comes Triton

    with FlopCounterMode(display=False) as counter:
        model.forward(x)
    return int(counter.get_total_flops())
