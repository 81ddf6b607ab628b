"""What an engine asks of an optimizer and of its parameter groups."""

import contextlib
import functools
import inspect
import sys
from collections.abc import Callable, Collection, Iterator
from typing import Any, TypeVar, cast

import torch
from torch import Tensor
from torch.optim import Optimizer
from torch.optim.optimizer import _global_optimizer_post_hooks, _global_optimizer_pre_hooks
from tqdm import tqdm

ParameterGroups = list[dict[str, Any]]
"""As ``torch.optim`` takes them; ``decayed`` says whether weight decay and penalties reach a group."""

Kind = TypeVar("Kind", bound=Optimizer)
METHODS = ("add_param_group", "state_dict", "load_state_dict", "zero_grad")
"""Of an optimizer, which do not compute; ``step`` does."""
SAVED = ("state", "param_groups", "defaults")
"""Attributes of an optimizer that its ``state_dict`` holds, or that never change."""
_UNCOMPILED: dict[type[Optimizer], type[Optimizer]] = {}


def uncompiled(kind: type[Kind]) -> type[Kind]:
    """Return a class of optimizers as it is beneath what PyTorch has wrapped around its methods for ``torch.compile``.

    The wrappers import ``torch._dynamo``, which takes as long as PyTorch itself, and change no number: they leave
    methods out of compiled code, and switch gradients off in ``step``, as is done here.
    """
    if kind not in _UNCOMPILED:
        methods = {name: inspect.unwrap(getattr(kind, name)) for name in METHODS}
        step = torch.no_grad()(inspect.unwrap(kind.step))
        own = {**methods, "step": step, "__module__": kind.__module__}
        _UNCOMPILED[kind] = type(kind.__name__, (kind,), own)
    return cast(type[Kind], _UNCOMPILED[kind])


def bare_step(optimizer: Optimizer) -> Callable[[], object]:
    """Return an optimizer's ``step`` for where gradients are off: beneath its entry in PyTorch's profiler.

    That entry takes as long as a small network's update. It stays where ``step`` is the optimizer's own, or something
    listens to it.
    """
    listening = (*optimizer._optimizer_step_pre_hooks, *optimizer._optimizer_step_post_hooks)
    listening += (*_global_optimizer_pre_hooks, *_global_optimizer_post_hooks)
    if type(optimizer) not in _UNCOMPILED.values() or listening:
        return optimizer.step
    return functools.partial(inspect.unwrap(type(optimizer).step), optimizer)


def decayed(parameters: ParameterGroups) -> list[Tensor]:
    """Return the parameters that weight decay and penalties reach."""
    return [p for group in parameters if group["decayed"] for p in group["params"]]


def takes_closure(optimizer: Optimizer) -> bool:
    """Say whether a step is handed the function that evaluates its batch anew: where it cannot do without, or asked."""
    asked: bool | None = getattr(optimizer, "takes_closure", None)
    if asked is not None:
        return asked
    closure = inspect.signature(optimizer.step).parameters.get("closure")
    return closure is not None and closure.default is inspect.Parameter.empty


@contextlib.contextmanager
def evaluating(optimizer: Optimizer) -> Iterator[None]:
    """Let an optimizer that judges other weights than it steps put them in place."""
    switches = [getattr(optimizer, name, None) for name in ("eval", "train")]
    if not all(map(callable, switches)):
        yield
        return
    switches[0]()  # type: ignore[misc]
    try:
        yield
    finally:
        switches[1]()  # type: ignore[misc]


def noticing_lost_state(optimizer: Optimizer) -> Optimizer:
    """Return an optimizer that says, after its first step, what it keeps that ``state_dict`` does not hold.

    A checkpoint holds nothing else of it: tensors elsewhere, and numbers that are counted, would be lost.
    """
    of = optimizer
    while isinstance(around := getattr(of, "around", None), Optimizer):
        of = around
    if type(of) in _UNCOMPILED.values() or type(of).state_dict is not Optimizer.state_dict:
        return optimizer  # which are shipped, or see to it themselves
    numbers = {name: value for name, value in vars(of).items() if type(value) in (int, float)}

    def look(*_: object) -> None:
        handle.remove()
        parameters = {id(p) for group in of.param_groups for p in group["params"]}
        kept = {name: value for name, value in vars(of).items() if name not in SAVED}
        counted = {k for k, v in kept.items() if k in numbers and type(v) in (int, float) and v != numbers[k]}
        lost = [f"self.{k}" for k, v in kept.items() if k in counted or _holds_tensors(v, parameters)]
        if lost:
            _say_once(f"{type(of).__name__} keeps {', '.join(lost)} outside self.state and state_dict")

    handle = of.register_step_post_hook(look)
    return optimizer


@functools.cache
def _say_once(what: str) -> None:
    """Say it on stderr, but not for each run of a sweep."""
    tqdm.write(f"optbench: {what}: an interrupted run goes on without it", file=sys.stderr)


def _holds_tensors(value: object, parameters: Collection[int]) -> bool:
    """Say whether tensors, other than the parameters of these ids, lie in a value."""
    if isinstance(value, Tensor):
        return id(value) not in parameters
    if isinstance(value, dict):
        value = list(value.values())
    return isinstance(value, list | tuple) and any(_holds_tensors(part, parameters) for part in value)
