"""The batches of a stack's members."""

import torch
from torch import Tensor

from runner.engine.fused.members import Stack

DRAWN_BYTES = 2**20
"""Of the batches drawn from the training set at a time."""


class Batches:
    """The members' batches in the order of their epochs, drawn from the training set several at a time."""

    def __init__(self, members: Stack) -> None:
        self._members, self._train = members, members.runs[0].train
        self._drawn: tuple[int, int, int, Tensor, Tensor] = (-1, 0, 0, self._train.x, self._train.y)
        self._order: tuple[int, Tensor] = (-1, self._train.y)

    def next(self, size: int) -> tuple[Tensor, Tensor, bool]:
        """Return the present step's samples and targets, ``[n, …]`` where all members see the same, else
        ``[runs, n, …]``, and whether they do."""
        epoch, offset = self._members.epoch, self._members.offset
        if size >= len(self._train.y):
            return self._train.x, self._train.y, True
        of_epoch, start, stop, x, y = self._drawn
        if of_epoch != epoch or not start <= offset < stop or min(offset + size, len(self._train.y)) > stop:
            x, y, stop = self._draw(epoch, offset, size)
            self._drawn, start = (epoch, offset, stop, x, y), offset
        shared = y.ndim == self._train.y.ndim
        part = slice(offset - start, offset - start + size)
        return (x[part], y[part], True) if shared else (x[:, part], y[:, part], False)

    def _draw(self, epoch: int, offset: int, size: int) -> tuple[Tensor, Tensor, int]:
        """Return samples and targets from ``offset`` on, whole batches of them, and where they end."""
        if self._order[0] != epoch:
            self._order = (epoch, self._order_of(epoch))
        order, x = self._order[1], self._train.x
        bytes_a_batch = size * x[0].numel() * x.element_size() * (len(order) if order.ndim == 2 else 1)
        stop = min(offset + size * max(1, DRAWN_BYTES // bytes_a_batch), len(x))
        index = order[..., offset:stop]
        return x[index], self._train.y[index], stop

    def _order_of(self, epoch: int) -> Tensor:
        """Return the order of an epoch's samples: ``[n]`` where all members have one seed, else ``[runs, n]``."""
        runs = self._members.runs
        of_seed = {seed: run.order(epoch) for seed, run in {run.seed: run for run in runs}.items()}
        if len(of_seed) == 1 or not runs[0].shuffle:
            return next(iter(of_seed.values()))
        return torch.stack([of_seed[run.seed] for run in runs])
