"""The size of the gradient that an update sees."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor

from runner.engine.hooks import AtStep, Hook, along
from runner.engine.spread import norm_of


@dataclass
class Clip(Hook):
    """The largest magnitude, and then the largest Euclidean norm; infinite without."""

    max_norm: float
    max_value: float

    def after_backward(self, at: AtStep) -> None:
        """Cut the gradient down where it is larger."""
        if self.max_value < math.inf:
            torch.nn.utils.clip_grad_value_(at.trained, self.max_value)
        if self.max_norm < math.inf:
            norm = norm_of(getattr(at, "spread", None), [w.grad for w in at.trained if w.grad is not None])
            torch.nn.utils.clip_grads_with_norm_(at.trained, self.max_norm, norm)

    @classmethod
    def stacked(cls, members: Sequence[Self | None], like: Tensor) -> Hook:
        """Return the clipping of all members."""
        bounds = [[getattr(m, name) if m else math.inf for m in members] for name in ("max_norm", "max_value")]
        norm, value = (like.new_tensor(b, dtype=torch.float64) if min(b) < math.inf else None for b in bounds)
        return Clips(norm, value)


@dataclass
class Clips(Hook):
    """The members' bounds ``[runs]``; None where nobody has one."""

    max_norm: Tensor | None
    max_value: Tensor | None

    def after_backward(self, at: AtStep) -> None:
        """Cut each run's gradient down by its own bounds."""
        gradients = [weight.grad for weight in at.trained if weight.grad is not None]
        if self.max_value is not None:
            for gradient in gradients:
                most = along(self.max_value.to(gradient.dtype), gradient)
                gradient.clamp_(-most, most)
        if self.max_norm is not None:
            norms = torch.linalg.vector_norm(torch.stack([g.flatten(1).norm(dim=1) for g in gradients]), dim=0)
            left = (self.max_norm.to(norms.dtype) / (norms + 1e-6)).clamp(max=1.0)
            for gradient in gradients:
                gradient.mul_(along(left, gradient))


def grad_clip(*, max_norm: float | None, max_value: float | None) -> Hook:
    """Scale the gradient to ``max_norm`` where its Euclidean norm is larger (Pascanu 2013, algorithm 1)."""
    return Clip(math.inf if max_norm is None else max_norm, math.inf if max_value is None else max_value)
