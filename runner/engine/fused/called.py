"""What the runs of a stack call each sample, and the measures that are counts of it."""

from collections.abc import Callable
from functools import cached_property

import torch
from torch import Tensor
from torch.nn import functional as F

from runner import metrics


class Called:
    """The classes that each run calls, held against those of the samples; counted once, for all measures."""

    def __init__(self, outputs: Tensor, y: Tensor) -> None:
        """Take what is compared.

        Args:
            outputs: ``[runs, n, classes]``.
            y: the samples' classes, ``[n]``, the same for all runs.
        """
        self._by_class, self._y = outputs.transpose(1, 2), y

    def accuracy(self) -> Tensor:
        """See ``runner.metrics.accuracy``; ``[runs]``."""
        return self._called[0].double().mean(1)

    def balanced_accuracy(self) -> Tensor:
        """See ``runner.metrics.balanced_accuracy``; ``[runs]``."""
        there = self._there > 0
        return (self._right[:, there] / self._there[there]).mean(1)

    def f1(self) -> Tensor:
        """See ``runner.metrics.f1``; ``[runs]``."""
        both = self._called[1].sum(2).double() + self._there
        return (2 * self._right / both.clamp(min=1)).sum(1) / (both > 0).sum(1)

    @cached_property
    def _called(self) -> tuple[Tensor, Tensor]:
        """Which samples are rightly called, ``[runs, n]``, and which are called each class, ``[runs, classes, n]``."""
        outputs, targets = self._by_class, self._y.expand(len(self._by_class), -1).unsqueeze(1)
        largest = outputs.amax(1, keepdim=True)
        right, each = outputs.gather(1, targets) == largest, outputs == largest
        if (each.sum(1) != 1).any():  # several are the largest, or NaN is
            called = outputs.argmax(1, keepdim=True)  # the first of equal ones
            right = called == targets
            each = called == torch.arange(outputs.shape[1], device=outputs.device)[:, None]
        return right[:, 0], each

    @cached_property
    def _of_class(self) -> Tensor:
        return F.one_hot(self._y, self._by_class.shape[1]).double()

    @cached_property
    def _there(self) -> Tensor:
        """How many samples each class has, ``[classes]``."""
        return self._of_class.sum(0)

    @cached_property
    def _right(self) -> Tensor:
        """How many of them each run calls it, ``[runs, classes]``."""
        return self._called[0].double() @ self._of_class


COUNTED: dict[Callable[[Tensor, Tensor], Tensor], Callable[[Called], Tensor]] = {
    metrics.accuracy: Called.accuracy,
    metrics.balanced_accuracy: Called.balanced_accuracy,
    metrics.f1: Called.f1,
}
"""Measures that are counts of what is called, by what each is of one run."""
