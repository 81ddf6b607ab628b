"""A run's state as one process would hold it, and each process's part of it."""

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from torch import Tensor
from torch.optim import Optimizer

from runner.optim.shared_tensors import cut_like, full

if TYPE_CHECKING:
    from runner.engine.state import State

Content = dict[str, Any]
STEPPED_BY = ("fused", "foreach")
"""Of a group: by which of torch's forms of a step, of which some know no shared tensors."""


def gathered(content: Any) -> Any:
    """Return what dictionaries and lists hold, tensors with the parts that other processes have."""
    if isinstance(content, Tensor):
        return full(content.detach())
    if isinstance(content, dict):
        return {key: gathered(value) for key, value in content.items()}
    return [gathered(value) for value in content] if isinstance(content, list) else content


def cut(saved: Content, state: "State") -> Content:
    """Return this process's part of a state that was saved whole."""
    like = {name: tensor.detach() for name, tensor in state.model.state_dict().items()}
    optimizer = saved["optimizer"]
    for one, held in _optimizers(state.optimizer, optimizer):
        trained = [p for group in one.param_groups for p in group["params"]]
        for place, of_one in held["state"].items():
            of_one |= {key: _cut(value, trained[int(place)]) for key, value in of_one.items()}
        for group, now in zip(held["param_groups"], one.param_groups, strict=True):
            group |= {key: now[key] for key in STEPPED_BY if key in now}
    rest = {part: _named(saved[part], like) for part in ("model", "best_weights", "hooks")}
    return {**saved, **rest, "optimizer": optimizer}


def _optimizers(optimizer: Optimizer, saved: Content) -> Iterator[tuple[Optimizer, Content]]:
    if {"state", "param_groups"} <= saved.keys():
        yield optimizer, saved
        return
    yield from zip(getattr(optimizer, "pair", ()), saved.values(), strict=True)


def _cut(value: Any, like: Tensor) -> Any:
    """Return this process's part; contiguous, as its weights lie, whatever the layout of the run that saved it."""
    if not isinstance(value, Tensor) or value.shape != like.shape or not value.ndim:
        return value
    return cut_like(value.contiguous(), like)


def _named(held: Any, like: Mapping[str, Tensor]) -> Any:
    """Return what is held by the names of weights, however deep, cut as these are."""
    if not isinstance(held, dict):
        return held
    return {k: _cut(v, like[k]) if k in like else _named(v, like) for k, v in held.items()}


def merged(parts: list[Any]) -> Any:
    """Return what stages hold as one: dictionaries joined key by key, of all else the first's."""
    first = parts[0]
    if not all(isinstance(part, dict) for part in parts):
        return first
    keys = dict.fromkeys(key for part in parts for key in part)
    return {key: merged([part[key] for part in parts if key in part]) for key in keys}


def renumbered(content: Content, places: list[int], groups: list[list[int]]) -> Content:
    """Return a stage's content with its weights numbered as in the whole model.

    Args:
        content: a state, or any part of one that has no optimizer.
        places: by its number in the stage, a weight's number in the whole model.
        groups: the numbers in each group of the whole model.
    """
    if "optimizer" not in content:
        return content
    held = content["optimizer"]
    state = {places[i]: of_one for i, of_one in held["state"].items()}
    names = [{**group, "params": numbers} for group, numbers in zip(held["param_groups"], groups, strict=True)]
    return {**content, "optimizer": {**held, "state": dict(sorted(state.items())), "param_groups": names}}


def of_stage(saved: Content, state: "State", places: list[int], names: frozenset[str]) -> Content:
    """Return a stage's part of a state that was saved whole.

    Args:
        saved: the whole.
        state: the stage's.
        places: by its number in the stage, a weight's number in the whole model.
        names: of all of the whole model's weights.
    """
    own = state.model.state_dict().keys()
    held, now = saved["optimizer"], state.optimizer.state_dict()["param_groups"]
    groups = [{**group, "params": n["params"]} for group, n in zip(held["param_groups"], now, strict=True)]
    numbered = {i: held["state"][place] for i, place in enumerate(places) if place in held["state"]}
    rest = {part: _only(saved[part], own, names) for part in ("model", "best_weights", "hooks")}
    return {**saved, **rest, "optimizer": {**held, "state": numbered, "param_groups": groups}}


def _only(held: Any, own: Any, names: frozenset[str]) -> Any:
    if not isinstance(held, dict):
        return held
    return {k: _only(v, own, names) for k, v in held.items() if k not in names or k in own}
