"""Tensors of which each process has a part (DTensors), for optimizers that cannot step such parts as they are."""

from inspect import signature
from typing import Any

import torch
from torch import Tensor
from torch.optim._muon import muon as muon_step

SETTINGS = frozenset(signature(muon_step).parameters) - {
    "params",
    "grads",
    "muon_momentum_bufs",
    "foreach",
    "has_complex",
}
"""Of a step of Muon."""


def is_shared(tensor: Tensor) -> bool:
    """Say whether processes share a tensor; PyTorch's module of them is not imported to know."""
    return hasattr(tensor, "placements")


def full(tensor: Tensor) -> Tensor:
    """Return a tensor with the parts that other processes have."""
    return tensor.full_tensor() if is_shared(tensor) else tensor  # type: ignore[attr-defined]


def cut_like(value: Tensor, like: Tensor) -> Tensor:
    """Return this process's part of a whole tensor, as another of its shape is spread."""
    if not is_shared(like):
        return value
    from torch.distributed.tensor import DTensor, Replicate

    assert isinstance(like, DTensor)
    mesh, value = like.device_mesh, value.to(like.device)
    whole = DTensor.from_local(value, mesh, [Replicate()] * mesh.ndim, run_check=False)
    with torch.no_grad():
        return whole.redistribute(mesh, like.placements)


class Rprop(torch.optim.Rprop):
    """Steps this process's parts: each weight has a step of its own, and DTensor cannot write where a mask is true."""

    def _init_group(self, group: dict[str, Any], params: list[Tensor], *others: list[Tensor]) -> bool:
        has_complex = super()._init_group(group, params, *others)  # type: ignore[no-untyped-call]
        for tensors in others:
            tensors[:] = [_part(t, of=p) for t, p in zip(tensors, params, strict=True)]
        params[:] = [_part(p, of=p) for p in params]
        return bool(has_complex)


def _part(tensor: Tensor, of: Tensor) -> Tensor:
    """Return this process's part, which is written where it is."""
    if not is_shared(tensor):
        return tensor
    assert tensor.placements == of.placements, "a gradient is spread as its weight is"  # type: ignore[attr-defined]
    return tensor.to_local()  # type: ignore[attr-defined,no-any-return]


class Muon(torch.optim.Muon):
    """Orthogonalizes whole matrices, one after another: products of parts would be rounded otherwise, in bfloat16."""

    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """Step each matrix in whole, and keep this process's part."""
        for group in self.param_groups:
            settings = {key: value for key, value in group.items() if key in SETTINGS}
            for p in group["params"]:
                held: tuple[list[Tensor], list[Tensor], list[Tensor]] = ([], [], [])
                self._init_group({"params": [p]}, *held)
                whole = [[full(t) for t in tensors] for tensors in held]
                muon_step(*whole, **settings, has_complex=False)
                for tensors, stepped in ((held[0], whole[0]), (held[2], whole[2])):  # of the gradient nothing changed
                    for tensor, value in zip(tensors, stepped, strict=True):
                        tensor.copy_(cut_like(value, tensor))
