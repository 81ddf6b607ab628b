"""Softer targets."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor

from runner.engine.hooks import AtStep, Hook, Tried
from runner.errors import ConfigError
from runner.metrics import precise


@dataclass
class Smoothing(Hook):
    """The share of each target's probability that is spread over all classes, in training."""

    epsilon: float

    def check(self, tried: Tried) -> None:
        """Refuse losses of other targets than classes."""
        if self.epsilon and (tried.classes is None or tried.loss != "cross_entropy"):
            raise ConfigError(
                f"regularization=label_smoothing beside loss={tried.loss}: it smooths the targets of cross_entropy"
            )

    def output_loss(self, at: AtStep, loss: Tensor, outputs: Tensor, x: Tensor) -> Tensor:
        """Return the loss against the smoothed targets."""
        return (1 - self.epsilon) * loss + self.epsilon * spread(outputs) if self.epsilon else loss

    @classmethod
    def stacked(cls, members: Sequence[Self | None], like: Tensor) -> Hook:
        """Return the smoothing of all members."""
        shares = [m.epsilon if m else 0.0 for m in members]
        return Smoothings(like.new_tensor(shares, dtype=torch.float64)) if any(shares) else Hook()


@dataclass
class Smoothings(Hook):
    """The members' shares ``[runs]``."""

    epsilon: Tensor

    def output_loss(self, at: AtStep, loss: Tensor, outputs: Tensor, x: Tensor) -> Tensor:
        """Return the losses ``[runs]`` against each run's smoothed targets."""
        even = _costs(outputs).flatten(1).mean(1)
        return loss + self.epsilon.to(loss.dtype) * (even - loss)


def spread(outputs: Tensor) -> Tensor:
    """Return the cross-entropy of logits ``[n, …, classes]`` against the even distribution, the mean over samples."""
    return _costs(outputs).mean()


def _costs(outputs: Tensor) -> Tensor:
    """Return the cross-entropy of each sample's logits against it."""
    outputs = precise(outputs)
    return outputs.logsumexp(-1) - outputs.mean(-1)


def label_smoothing(*, epsilon: float) -> Hook:
    """Targets (1 - epsilon)·onehot + epsilon/classes (Szegedy et al. 2016, §7)."""
    return Smoothing(epsilon)
