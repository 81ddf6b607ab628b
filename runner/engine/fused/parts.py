"""What a stack saved, taken apart by its members, and put together of members of several stacks.

All of it is laid out as ``Stack.state_dict`` gives it, so that ``resume`` goes on from any of it.
"""

from collections.abc import Mapping, Sequence
from itertools import groupby
from typing import Any

import torch
from torch import Tensor

from runner.engine.fused.members import held_of
from runner.engine.fused.slices import held_by, optimizer_key
from runner.engine.run import Run


def taken(saved: Mapping[str, Any], place: int) -> dict[str, Any]:
    """Return what was saved of one member, as a stack of its own."""
    of_it = torch.tensor([place])
    slices = [{"start": 0, "stop": 1, **part} for part in held_by(saved["slices"], [place])]
    return {
        "members": [_owned(saved["members"][place])],
        "weights": {name: tensor[place : place + 1].clone() for name, tensor in saved["weights"].items()},
        "slices": slices,
        "hooks": {name: held_of(held, of_it) for name, held in saved["hooks"].items()},
    }


def _owned(held: Any) -> Any:
    """Return tensors that are views of the whole stack's as tensors of their own, which are saved alone."""
    if isinstance(held, Tensor):
        return held.clone()
    if isinstance(held, dict):
        return {key: _owned(value) for key, value in held.items()}
    return [_owned(value) for value in held] if isinstance(held, list) else held


def joined(parts: Sequence[Mapping[str, Any]], runs: Sequence[Run]) -> dict[str, Any]:
    """Return one stack of members that ``taken`` gave, all of them at one step.

    Args:
        parts: of each member.
        runs: what the members were built to, in the same order, which is ``in_order``.

    Raises:
        ValueError: if a hook that holds something is not in all of them, or some share an optimizer as others do not.
    """
    slices = []
    for shared, places in groupby(range(len(runs)), lambda i: optimizer_key(runs[i])):
        if shared is None:
            continue
        members = list(places)
        contents = [part["optimizer"] for i in members for part in parts[i]["slices"]]
        if len(contents) != len(members):
            raise ValueError("some share an optimizer, others do not")
        slices.append({"start": members[0], "stop": members[-1] + 1, "optimizer": _optimizers(contents)})
    if any(part["hooks"].keys() != parts[0]["hooks"].keys() for part in parts):
        raise ValueError("not all have the same hooks")
    return {
        "members": [part["members"][0] for part in parts],
        "weights": {name: torch.cat([part["weights"][name] for part in parts]) for name in parts[0]["weights"]},
        "slices": slices,
        "hooks": {name: _together([part["hooks"][name] for part in parts]) for name in parts[0]["hooks"]},
    }


def _optimizers(contents: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return the state of one optimizer of several members; what has no axis of members counts steps, as in all."""
    first = contents[0]
    state = {
        number: {
            key: torch.cat([content["state"][number][key] for content in contents])
            if isinstance(value, Tensor) and value.ndim
            else value
            for key, value in of_one.items()
        }
        for number, of_one in first["state"].items()
    }
    return {**first, "state": state}


def _together(held: Sequence[Any]) -> Any:
    """Return tensors ``[1, …]`` of several members as ``[runs, …]``, in whatever dictionaries and lists they lie."""
    first = held[0]
    if isinstance(first, Tensor):
        return torch.cat(list(held))
    if isinstance(first, dict):
        return {key: _together([of_one[key] for of_one in held]) for key in first}
    return [_together(list(of_place)) for of_place in zip(*held, strict=True)]
