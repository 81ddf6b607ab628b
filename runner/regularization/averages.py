"""Averages of the weights of many steps, which evaluations judge in the place of the last ones."""

import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import ClassVar, Self

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from runner.engine.hooks import AtStep, Going, Hook, Tried, along
from runner.engine.rules import whole_steps
from runner.errors import ConfigError

BATCH_NORM_SAMPLES = 512
"""At least so many, where there are as many, go through the model at a time to measure running statistics anew."""
STATISTICS = {"running_mean": 0.0, "running_var": 1.0, "num_batches_tracked": 0}
"""Of batch norm, and what they are before any batch."""


@dataclass
class Averaging(Hook):
    """An average of the weights, and of batch norm's statistics."""

    share: Callable[[int, int], float | None]
    """Of the weights after step 1, 2, … of so many in the average; None leaves it as it is."""
    fresh_batch_norm: bool
    """The average's own running statistics are measured on the training set."""
    begins: Callable[[int], int] = lambda steps: 0
    """The first step whose weights are taken in, of a run of so many."""
    averages: dict[str, Tensor] | None = None
    """None before any weights were taken in."""
    state: ClassVar[tuple[str, ...]] = ("averages",)
    _statistics_are_fresh: bool = False

    def check(self, tried: Tried) -> None:
        """Refuse an average that would never begin."""
        if (first := self.begins(tried.steps)) > tried.steps:
            raise ConfigError(f"regularization.swa.start={first} lies after the run's end, {tried.steps} steps")

    def begin(self, at: Going) -> Self:
        """Begin with the initial weights, or with none where the first share says when."""
        begun = super().begin(at)
        if not self.fresh_batch_norm:
            begun._take(at.model, 1.0)
        return begun

    def after_step(self, at: AtStep, epoch_ends: bool) -> None:
        """Take the present weights in."""
        share = None if at.skipped else self.share(at.step, at.steps)
        if share is not None:
            self._take(at.model, share)

    @torch.no_grad()
    def _take(self, model: nn.Module, share: float) -> None:
        numbers = _numbers(model)
        if self.averages is None:
            self.averages = {name: tensor.clone() for name, tensor in numbers.items()}
        for name, tensor in numbers.items():
            self.averages[name].lerp_(tensor, share)
        self._statistics_are_fresh = False

    @contextlib.contextmanager
    def evaluating(self, at: AtStep) -> Iterator[None]:
        """Put the averages, where there are any, in the place of the weights."""
        if self.averages is None:
            yield
            return
        self._swap(at.model, self.averages)
        if self.fresh_batch_norm and not self._statistics_are_fresh:
            measure_batch_norm(at.model, at.inputs)
            self._statistics_are_fresh = True
        try:
            yield
        finally:
            self._swap(at.model, self.averages)

    @staticmethod
    @torch.no_grad()
    def _swap(model: nn.Module, averages: dict[str, Tensor]) -> None:
        for name, tensor in _numbers(model).items():
            held = tensor.clone()
            tensor.copy_(averages[name])
            averages[name].copy_(held)

    def restored(self, at: Going) -> None:
        """Let the averages go: the best weights were averages."""
        self.averages = None

    def load_state_dict(self, saved: dict[str, object]) -> None:  # type: ignore[override]
        """Go on, statistics to be measured again."""
        super().load_state_dict(saved)
        self._statistics_are_fresh = False

    @classmethod
    def stacked(cls, members: Sequence[Self | None], like: Tensor) -> Hook:
        """Return the averages of all members."""
        return Averagings(list(members))


class Averagings(Hook):
    """The averages of a stack's members, each ``[runs, …]``: their own hooks hold views of them."""

    def __init__(self, members: Sequence[Averaging | None]) -> None:
        self._members = members
        self._averages: dict[str, Tensor] = {}
        begun = [member.averages for member in members if member and member.averages is not None]
        for name in begun[0] if begun else ():
            empty = torch.zeros_like(begun[0][name])
            each = [empty if m is None or m.averages is None else m.averages[name] for m in members]
            self._averages[name] = torch.stack(each)
        for i, member in enumerate(members):
            if member and member.averages is not None:
                self._hand(i, member)

    def _hand(self, place: int, member: Averaging) -> None:
        member.averages = {name: average[place] for name, average in self._averages.items()}

    @torch.no_grad()
    def after_step(self, at: AtStep, epoch_ends: bool) -> None:
        """Take the present weights in, each run by its own share."""
        shares = [member.share(at.step, at.steps) if member else None for member in self._members]
        taking = [(i, m) for i, (m, share) in enumerate(zip(self._members, shares, strict=True)) if m and share]
        if not taking:
            return
        if not self._averages:
            numbers = _numbers(at.model)
            self._averages = {n: torch.zeros_like(t) for n, t in at.tensors.items() if n in numbers}
        held, now = list(self._averages.values()), [at.tensors[name].detach() for name in self._averages]
        if len({*shares}) == 1:
            torch._foreach_lerp_(held, now, shares[0] or 0.0)
        else:
            own = torch.tensor([share or 0.0 for share in shares], dtype=torch.float64).to(held[0].device)
            for average, tensor in zip(held, now, strict=True):
                average.lerp_(tensor, along(own.to(average.dtype), average))
        for i, member in taking:
            member._statistics_are_fresh = False
            if member.averages is None:
                self._hand(i, member)

    @contextlib.contextmanager
    def evaluating(self, at: AtStep) -> Iterator[None]:
        """Put the averages, of runs that have any, in the place of the weights."""
        begun = [m is not None and m.averages is not None for m in self._members]
        if not any(begun):
            yield
            return
        before = {name: at.tensors[name] for name in self._averages}
        chosen = torch.tensor(begun).to(next(iter(before.values())).device)
        for name, average in self._averages.items():
            at.tensors[name] = average if all(begun) else torch.where(along(chosen, average), average, before[name])
        try:
            self._freshen(at)
            yield
        finally:
            at.tensors.update(before)

    @torch.no_grad()
    def _freshen(self, at: AtStep) -> None:
        """Measure batch norm's statistics of averages that have changed since; of those alone they are replaced."""
        stale = [
            m is not None and m.averages is not None and m.fresh_batch_norm and not m._statistics_are_fresh
            for m in self._members
        ]
        norms = [name for name, module in at.model.named_modules() if _measures(module)]
        if not any(stale) or not norms:
            return
        statistics = [f"{name}.{part}" for name in norms for part in STATISTICS]
        kept = {name: at.tensors[name].clone() for name in statistics}
        for name in statistics:
            at.tensors[name].fill_(STATISTICS[name.rpartition(".")[2]])
        pass_through(at.model, at.inputs, at.outputs)
        for name, was in kept.items():
            now = at.tensors[name]
            chosen = along(torch.tensor(stale).to(now.device), now)
            now.copy_(torch.where(chosen, now, was))
            if name in self._averages:
                self._averages[name].copy_(torch.where(chosen, now, self._averages[name]))
        for member, changed in zip(self._members, stale, strict=True):
            if member and changed:
                member._statistics_are_fresh = True


@torch.no_grad()
def measure_batch_norm(model: nn.Module, x: Tensor) -> None:
    """Set batch norm's running statistics to those of all samples ``[n, …]``, each counted alike.

    They go through the model in parts of nearly one size, so that none is left alone.
    """
    for module in model.modules():
        if _measures(module):
            module.reset_running_stats()  # type: ignore[operator]
    pass_through(model, x, model)


def _measures(module: nn.Module) -> bool:
    """Say whether a module is a batch norm that measures in training; one that is not trained may keep its own."""
    return isinstance(module, _BatchNorm) and "train" not in vars(module)


def pass_through(model: nn.Module, x: Tensor, outputs: Callable[[Tensor], Tensor]) -> None:
    """Let all samples pass through a model in training, or a stack of its kind, whose batch norm counts each alike."""
    norms = [module for module in model.modules() if isinstance(module, _BatchNorm)]
    before = [norm.momentum for norm in norms]
    was_training, seen = model.training, 0
    model.train()
    for part in x.tensor_split(max(1, len(x) // BATCH_NORM_SAMPLES)):
        seen += len(part)
        for norm in norms:
            norm.momentum = len(part) / seen
        outputs(part)
    for norm, momentum in zip(norms, before, strict=True):
        norm.momentum = momentum
    model.train(was_training)


def _numbers(model: nn.Module) -> dict[str, Tensor]:
    """Return the weights and running statistics, which can be averaged; one that several layers share, once."""
    first: dict[int, tuple[str, Tensor]] = {}
    for name, tensor in model.state_dict(keep_vars=True).items():
        first.setdefault(id(tensor), (name, tensor))
    return {name: tensor.detach() for name, tensor in first.values() if tensor.is_floating_point()}


def ema(*, decay: float) -> Hook:
    """a ← d·a + (1 - d)·w after each step, d = min(decay, (1 + step)/(10 + step)), from the initial weights."""
    return Averaging(lambda step, steps: 1 - min(decay, (1 + step) / (10 + step)), fresh_batch_norm=False)


def swa(*, start: float, every: int) -> Hook:
    """The mean of the weights after each ``every`` steps from ``start`` on (Izmailov et al. 2018, algorithm 1)."""

    begins = partial(whole_steps, start)

    def share(step: int, steps: int) -> float | None:
        first = begins(steps)
        if step < first or (step - first) % every:
            return None
        return 1 / (1 + (step - first) // every)

    return Averaging(share, fresh_batch_norm=True, begins=begins)
