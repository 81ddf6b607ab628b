"""Optimizers of the user's own, and of a package."""

import inspect
from collections.abc import Callable
from typing import Any

import torch
from torch.optim import Optimizer

from runner.config.options import options
from runner.config.own_parts import call
from runner.engine.optimizers import ParameterGroups
from runner.errors import PartError, closest
from runner.optim.groups import all_of


def custom(
    parameters: ParameterGroups,
    *,
    lr: float,
    target: Callable[..., Optimizer],
    args: dict[str, Any],
    closure: bool | None,
) -> Optimizer:
    """Any other optimizer, called as ``target(parameters, lr=lr, **args)``.

    ``train()`` and ``eval()`` are called around evaluations where it has them (Defazio 2024's schedule-free ones).

    What it may look like stands in ``configs/optim/custom.yaml``.

    Raises:
        PartError: if that is no optimizer.
    """
    flat = isinstance(target, type) and issubclass(target, torch.optim.LBFGS)  # which takes one group alone
    optimizer = call("optim.target", target, all_of(parameters) if flat else parameters, args=args, lr=lr)
    if not isinstance(optimizer, Optimizer):
        said = f"optim.target must give a torch.optim.Optimizer, got {type(optimizer).__name__}"
        raise PartError("optim.target", said)
    if closure is not None:
        optimizer.takes_closure = closure  # type: ignore[attr-defined]
    for group in optimizer.param_groups:
        if "weight_decay" in group and not group.get("decayed", True):
            group["weight_decay"] = 0.0
    return optimizer


SECOND_ORDER = ("adahessian",)
OPTIONS = {"schedulefreeadamw": "schedule_free", "schedulefreesgd": "schedule_free_sgd", "sophiah": "sophia"}
"""Names of the package for optimizers that are options here by another name."""


def collection(
    parameters: ParameterGroups, *, lr: float, name: str, args: dict[str, Any], closure: bool | None
) -> Optimizer:
    """An optimizer of the package pytorch-optimizer, by its name.

    Raises:
        ValueError: if the package is missing, has no optimizer of that name, or that does not take what is given.
    """
    try:
        import pytorch_optimizer
    except ImportError as error:
        raise ValueError("optim=collection needs pytorch-optimizer: pip install 'optbench[optimizers]'") from error
    known = [str(n) for n in pytorch_optimizer.get_supported_optimizers()]
    if name not in known:
        raise ValueError(f"optim.name={name} is not in pytorch-optimizer{closest(name, known)}")
    if option := own_option(name):
        raise ValueError(f"optim.name={name} has an option of its own: use optim={option}")
    if name in SECOND_ORDER:
        raise ValueError(f"optim.name={name} needs second derivatives, which runs do not compute")
    target = pytorch_optimizer.load_optimizer(name)
    named = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    _, *taken = [p.name for p in inspect.signature(target).parameters.values() if p.kind in named and p.name != "lr"]
    for key in args:  # what it does not name would go to its **kwargs, and be ignored
        if key not in taken:
            hint = closest(key, taken)
            raise ValueError(f"optim.args.{key} is not taken by optim.name={name}{hint}\nvalid: {', '.join(taken)}")
    try:
        return custom(parameters, lr=lr, target=target, args=args, closure=closure)
    except Exception as error:
        raise ValueError(f"optim.name={name} optim.args={args}: {type(error).__name__}: {error}") from error


def own_option(name: str) -> str | None:
    """Return the option that an optimizer of the package is here; None of one that is none."""
    named = {option.name.replace("_", ""): option.name for option in options("optim")}
    return OPTIONS.get(name, named.get(name))
