"""What an engine asks of an optimizer and of its parameter groups."""

import contextlib
import functools
import inspect
from collections.abc import Callable, Iterator
from typing import Any, TypeVar, cast

import torch
from torch import Tensor
from torch.optim import Optimizer
from torch.optim.optimizer import _global_optimizer_post_hooks, _global_optimizer_pre_hooks

ParameterGroups = list[dict[str, Any]]
"""As ``torch.optim`` takes them; ``decayed`` says whether weight decay and penalties reach a group."""

Kind = TypeVar("Kind", bound=Optimizer)
METHODS = ("add_param_group", "state_dict", "load_state_dict", "zero_grad")
"""Of an optimizer, which do not compute; ``step`` does."""
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
