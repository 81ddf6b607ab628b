"""Sharpness: the largest eigenvalue of the Hessian of the training loss (Cohen et al. 2021, §1)."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.backends import cudnn
from torch.nn.attention import SDPBackend, sdpa_kernel

from runner.engine.accumulate import add_hessian_times
from runner.engine.hooks import Going, Hook
from runner.engine.run import Split, TrainingLoss
from runner.metrics import value
from runner.noise import generator

BATCH = 2048
"""Samples that are differentiated at a time."""
TOLERANCE = 1e-4
"""Relative: the residual bounds the distance to an eigenvalue, and the error of the largest is about its square."""
MOST_ITERATIONS = 100
"""Each keeps a vector of the parameters' size."""


@dataclass
class Sharpness(Hook):
    """Measures the largest curvature of the training loss at every evaluation."""

    train: Split
    loss: TrainingLoss

    @property
    def alone(self) -> str:
        """Why a stack has none."""
        return "sharpness=true differentiates the loss of one run at a time"

    def columns(self, at: Going, alive: bool) -> dict[str, float | None]:
        """Return the sharpness; None of a run that has diverged."""
        return {"sharpness": self.of(at) if alive else None}

    def of(self, at: Going) -> float:
        """Return the largest eigenvalue of the Hessian of the mean loss over the whole training set.

        The loss is what steps make smaller, with the classes' weights where there are any: in evaluation mode, of the
        weights that are judged, without what regularization adds, and in full precision whatever ``amp``. Its unit is
        one over the learning rate's: gradient descent on a quadratic diverges where it exceeds 2/lr. NaN where the
        loss has no finite second derivatives.
        """
        with at.evaluating(), sdpa_kernel(SDPBackend.MATH), cudnn.flags(enabled=False):
            weights = [p for p in at.model.parameters() if p.requires_grad]
            start = torch.randn(sum(p.numel() for p in weights), generator=generator("sharpness"))
            start = start.to(weights[0].device, weights[0].dtype)
            return largest_eigenvalue(lambda v: hessian_times(at.model, self.loss, self.train, weights, v), start)


@torch.enable_grad()
def hessian_times(
    model: nn.Module,
    of: TrainingLoss,
    part: Split,
    weights: Sequence[Tensor],
    vector: Tensor,
) -> Tensor:
    """Return the Hessian of the mean loss of a part of the data times a vector, both ``[parameters]``."""
    pieces = [v.view_as(w) for v, w in zip(torch.split(vector, [w.numel() for w in weights]), weights, strict=True)]
    product = [torch.zeros_like(w) for w in weights]
    for x, y in zip(torch.split(part.x, BATCH), torch.split(part.y, BATCH), strict=True):
        outputs = model.forward(x)  # not __call__: compiled models have one gradient
        loss = value(of, outputs, y, x) * (len(y) / len(part.y))
        add_hessian_times(product, loss, weights, pieces)
    return torch.cat([p.flatten() for p in product])


@torch.no_grad()
def largest_eigenvalue(times: Callable[[Tensor], Tensor], start: Tensor) -> float:
    """Return the largest eigenvalue of a symmetric matrix, by Lanczos' iteration with every vector kept orthogonal.

    Args:
        times: returns the matrix times a vector.
        start: a vector ``[n]`` that has a part in the eigenvector.
    """
    basis = [start / start.norm()]
    diagonal: list[float] = []
    beside: list[float] = []
    while True:
        product = times(basis[-1])
        diagonal.append(float(basis[-1] @ product))
        if not math.isfinite(diagonal[-1]):
            return math.nan
        for _ in range(2):  # once leaves the rounding of what it takes away (Parlett 1998, §6.9)
            for vector in basis:
                product -= (vector @ product) * vector
        rest = float(product.norm())
        small = torch.diag(torch.tensor(diagonal, dtype=torch.float64))
        small += torch.diag(torch.tensor(beside, dtype=torch.float64), 1)
        small += torch.diag(torch.tensor(beside, dtype=torch.float64), -1)
        values, vectors = torch.linalg.eigh(small)
        residual = rest * abs(float(vectors[-1, -1]))
        largest, size = float(values[-1]), float(values.abs().max())
        if residual <= TOLERANCE * size or len(basis) in (MOST_ITERATIONS, len(start)):
            return largest
        beside.append(rest)
        basis.append(product / rest)
