"""A network of one's own: a layer of random features that is not trained, and a readout that is."""

import torch
from torch import Tensor, nn


class RandomFeatures(nn.Module):
    """cos(Wx + b) with fixed W and b, read out linearly (Rahimi & Recht 2007)."""

    def __init__(self, shape: tuple[int, ...], outputs: int, width: int = 256, scale: float = 0.1) -> None:
        super().__init__()
        inputs = torch.Size(shape).numel()
        self.register_buffer("weight", scale * torch.randn(width, inputs))
        self.register_buffer("shift", 2 * torch.pi * torch.rand(width))
        self.readout = nn.Linear(width, outputs)

    def forward(self, x: Tensor) -> Tensor:
        """Return ``[n, outputs]`` of ``[n, *shape]``."""
        return self.readout(torch.cos(x.flatten(1) @ self.weight.T + self.shift))
