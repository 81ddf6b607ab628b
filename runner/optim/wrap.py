"""What is done around the steps of any optimizer: any of ``sam``, ``cautious`` and ``lookahead``.

In a step they act in this order: ``sam`` finds the gradient that the optimizer sees, ``cautious`` keeps of its step
what agrees with that gradient, and ``lookahead`` takes note of where it led.
"""

import contextlib
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, ClassVar, Self

import torch
from torch import Tensor
from torch.optim import Optimizer

from runner.engine.hooks import AtStep, Going, Hook, Tried, along, shrink
from runner.engine.optimizers import ParameterGroups, takes_closure, uncompiled
from runner.engine.run import Stepping
from runner.errors import ConfigError

WRAP_KEYS = ("wrap", "sam_rho", "lookahead_steps", "lookahead_share")
"""Settings of the group that are read here."""
LEAST_KEPT = 1e-3
"""The least share of a weight's entries that ``cautious`` lets a step be scaled by."""


def wrapped(stepping: Stepping, chosen: Mapping[str, Any]) -> tuple[Stepping, dict[str, Hook]]:
    """Return how a run's parameters are stepped, and what acts around their steps, as ``wrap`` says."""
    wrap, hooks = chosen.get("wrap") or [], dict[str, Hook]()
    if "cautious" in wrap:
        own = stepping.own_decay
        hooks["optim.cautious"] = Cautious(float(stepping.optimizer.keywords[own]) if own else 0.0)
    if "lookahead" in wrap:
        hooks["optim.lookahead"] = Lookahead(chosen["lookahead_steps"], chosen["lookahead_share"])
    if "sam" in wrap:
        optimizer = partial(sam, around=stepping.optimizer, rho=chosen["sam_rho"])
        stepping = replace(stepping, optimizer=optimizer, own_decay=None)
    return stepping, hooks


class Sam(Optimizer):
    """See ``sam``."""

    takes_closure = True

    def __init__(self, around: Optimizer, rho: float) -> None:
        """Take the optimizer that steps, and how far off its gradients are taken."""
        self.around, self._rho = around, rho
        super().__init__([{"params": g["params"]} for g in around.param_groups], {})
        self.param_groups = around.param_groups

    def __getattr__(self, name: str) -> Any:
        """Return the optimizer's switches, where it judges other weights than it steps."""
        if name in ("eval", "train"):
            return getattr(self.__dict__["around"], name)
        raise AttributeError(name)

    @property
    def state(self) -> defaultdict[Tensor, Any]:
        """The optimizer's."""
        return self.around.state

    @state.setter
    def state(self, value: object) -> None:
        """It has its own."""

    @torch.no_grad()
    def step(self, closure: Callable[[], Tensor]) -> None:  # type: ignore[override]
        """Climb, take the gradient there, come back, and step along it."""
        weights = [p for group in self.param_groups for p in group["params"] if p.grad is not None]
        gradients = [p.grad for p in weights]
        size = torch.nn.utils.get_total_norm(gradients)
        here = [weight.clone() for weight in weights]
        torch._foreach_add_(weights, torch._foreach_mul(gradients, self._rho / (size + 1e-12)))
        with torch.enable_grad():
            closure()
        torch._foreach_copy_(weights, here)
        self.around.step()

    def state_dict(self) -> dict[str, Any]:
        """Return the optimizer's."""
        return self.around.state_dict()

    def load_state_dict(self, saved: dict[str, Any]) -> None:
        """Load the optimizer's."""
        self.around.load_state_dict(saved)
        self.param_groups = self.around.param_groups


def sam(parameters: ParameterGroups, *, around: Callable[[ParameterGroups], Optimizer], rho: float) -> Optimizer:
    """Step along the gradient at w + rho·g/‖g‖, the norm that of all weights (Foret et al. 2021, algorithm 1).

    Raises:
        ValueError: if the optimizer evaluates its batch anew by itself.
    """
    optimizer = around(parameters)
    if takes_closure(optimizer):
        raise ValueError(f"optim.wrap=[sam] beside {type(optimizer).__name__}, which evaluates its batches by itself")
    return uncompiled(Sam)(optimizer, rho)


def _refuse_unlike(name: str, optimizer: Optimizer) -> None:
    """Refuse an optimizer that goes on from weights of its own."""
    of = optimizer.around if isinstance(optimizer, Sam) else optimizer
    if hasattr(of, "eval"):
        raise ConfigError(
            f"optim.wrap=[{name}] beside {type(of).__name__}, which is judged by an average of its steps: choose one"
        )
    if isinstance(of, torch.optim.LBFGS):
        raise ConfigError(
            f"optim.wrap=[{name}] beside {type(of).__name__}, which goes by where its own steps have led: choose one"
        )


@dataclass
class Cautious(Hook):
    """Of each weight's step, leaves the entries that go down the gradient, and makes them larger by what is left out.

    Of the members of a stack too: ``decay`` is a number, or theirs, ``[runs]``; ``chosen`` the runs that have it.
    """

    decay: "float | Tensor"
    """The optimizer's own, which multiplies the weights by 1 - lr·decay before its step: it is no part of that."""
    chosen: Tensor | None = None
    _before: list[Tensor] = field(default_factory=list)

    def check(self, tried: Tried) -> None:
        """Refuse optimizers whose steps are not what moves the weights, and rates of layers' own beside a decay."""
        _refuse_unlike("cautious", tried.optimizer)
        if self.decay and any("lr_share" in group for group in tried.optimizer.param_groups):
            raise ConfigError(
                "optim.wrap=[cautious] beside layers with learning rates of their own, whose decay differs by layer: "
                "use an optimizer without weight decay"
            )

    def begin(self, at: Going) -> Self:
        """Begin with nothing held."""
        begun = super().begin(at)
        begun._before = []
        return begun

    def before_update(self, at: AtStep, lr: "float | Tensor") -> None:
        """Hold on to the weights, shrunk as the optimizer will shrink them."""
        if not self._before:
            self._before = [torch.empty_like(weight) for weight in at.trained]
        for before, weight in zip(self._before, at.trained, strict=True):
            before.copy_(weight.detach())
        reached = {id(weight) for weight in at.decayed}
        decayed = [b for b, weight in zip(self._before, at.trained, strict=True) if id(weight) in reached]
        if isinstance(self.decay, Tensor):
            shrink(decayed, torch.as_tensor(lr), self.decay)
        elif self.decay:
            torch._foreach_mul_(decayed, 1 - float(lr) * self.decay)

    def after_update(self, at: AtStep) -> None:
        """Take back what goes against the gradient."""
        for weight, before in zip(at.trained, self._before, strict=True):
            if weight.grad is None:
                continue
            step = weight.detach() - before
            agrees = (step * weight.grad < 0).to(step.dtype)
            every = tuple(range(0 if self.chosen is None else 1, step.ndim))
            share = agrees.mean(every, keepdim=True) if every else agrees
            masked = before + step * (agrees / share.clamp(min=LEAST_KEPT))
            own = self.chosen
            weight.detach().copy_(masked if own is None else torch.where(along(own, masked), masked, weight.detach()))

    @classmethod
    def stacked(cls, members: Sequence[Self | None], like: Tensor) -> Hook:
        """Return the same of all members."""
        decays = like.new_tensor([float(m.decay) if m else 0.0 for m in members], dtype=torch.float64)
        return Cautious(decays, torch.tensor([m is not None for m in members], device=like.device))


@dataclass
class Lookahead(Hook):
    """Each ``every`` steps, slow weights go a ``share`` of the way to the others, which go on from there.

    The slow weights are judged (Zhang et al. 2019, algorithm 1).
    """

    every: int
    share: float
    slow: dict[str, Tensor] | None = None
    """None once the best weights were put in place."""
    state: ClassVar[tuple[str, ...]] = ("slow",)

    def check(self, tried: Tried) -> None:
        """Refuse optimizers that go by weights of their own."""
        _refuse_unlike("lookahead", tried.optimizer)

    def begin(self, at: Going) -> Self:
        """Begin with the initial weights."""
        begun = super().begin(at)
        begun.slow = {name: p.detach().clone() for name, p in at.weights.items() if p.requires_grad}
        return begun

    @torch.no_grad()
    def after_step(self, at: AtStep, epoch_ends: bool) -> None:
        """Bring slow and fast weights together where it is time."""
        if self.slow is None or at.step % self.every:
            return
        for name, slow in self.slow.items():
            at.weights[name].copy_(slow.lerp_(at.weights[name], self.share))

    @contextlib.contextmanager
    def evaluating(self, at: AtStep) -> Iterator[None]:
        """Put the slow weights in the place of the others."""
        if self.slow is None:
            yield
            return
        self._swap(at, self.slow)
        try:
            yield
        finally:
            self._swap(at, self.slow)

    @staticmethod
    @torch.no_grad()
    def _swap(at: AtStep, slow: dict[str, Tensor]) -> None:
        for name, kept in slow.items():
            held = at.weights[name].clone()
            at.weights[name].copy_(kept)
            kept.copy_(held)

    def restored(self, at: Going) -> None:
        """Let the slow weights go: the best weights were such."""
        self.slow = None

    @classmethod
    def stacked(cls, members: Sequence[Self | None], like: Tensor) -> Hook:
        """Return the slow weights of all members."""
        return Lookaheads(list(members))


class Lookaheads(Hook):
    """The slow weights of a stack's members, each ``[runs, …]``: their own hooks hold views of them."""

    def __init__(self, members: Sequence[Lookahead | None]) -> None:
        self._members = members
        some = next(m.slow for m in members if m is not None and m.slow is not None)
        self._slow = {
            name: torch.stack(
                [torch.zeros_like(like) if m is None or m.slow is None else m.slow[name] for m in members]
            )
            for name, like in some.items()
        }
        for i, member in enumerate(members):
            if member is not None:
                member.slow = {name: slow[i] for name, slow in self._slow.items()}

    @torch.no_grad()
    def after_step(self, at: AtStep, epoch_ends: bool) -> None:
        """Bring slow and fast weights together, of the runs whose time it is."""
        due = [m is not None and at.step % m.every == 0 for m in self._members]
        if not any(due):
            return
        shares = [m.share if m is not None else 0.0 for m in self._members]
        for name, slow in self._slow.items():
            fast = at.weights[name]
            share = torch.tensor(shares, dtype=slow.dtype).to(slow.device)
            chosen = along(torch.tensor(due).to(slow.device), slow)
            slow.copy_(torch.where(chosen, slow.lerp(fast, along(share, slow)), slow))
            fast.copy_(torch.where(chosen, slow, fast))

    @contextlib.contextmanager
    def evaluating(self, at: AtStep) -> Iterator[None]:
        """Put the slow weights, of runs that have some, in the place of the others."""
        before = {name: at.tensors[name] for name in self._slow}
        chosen = torch.tensor([m is not None for m in self._members])
        for name, slow in self._slow.items():
            at.tensors[name] = torch.where(along(chosen.to(slow.device), slow), slow, before[name])
        try:
            yield
        finally:
            at.tensors.update(before)
