"""Other forms in which weights are trained."""

import torch
from torch import Tensor, nn

from runner.engine.hooks import Hook


class WeightNorm(Hook):
    """Each matrix and kernel as lengths and directions."""

    def parametrize(self, model: nn.Module, x: Tensor) -> None:
        """Change a model's layers."""
        for module in list(model.modules()):
            if isinstance(module, nn.Linear | nn.Conv1d | nn.Conv2d | nn.Conv3d):
                torch.nn.utils.parametrizations.weight_norm(module)


def weight_norm() -> Hook:
    """w = g·v/‖v‖, a length g for each output (Salimans & Kingma 2016, eq. 2)."""
    return WeightNorm()
