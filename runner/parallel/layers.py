"""Plans by which processes share each layer of a network, as ``parallelize_module`` takes them."""

from typing import Any

from torch import Tensor, nn
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.tensor import DTensor, Replicate, Shard, distribute_module
from torch.distributed.tensor.parallel import ColwiseParallel, ParallelStyle, RowwiseParallel, parallelize_module

from runner.engine.model import Drop
from runner.model.fully_connected import MLP
from runner.model.transformer import GPT, Attention, Block, ViT

PLANNED = (MLP, GPT, ViT)


def uneven(model: nn.Module, size: int) -> str | None:
    """Return what of a network so many processes cannot share evenly, or None."""
    assert isinstance(model, PLANNED), "others are refused"
    if isinstance(model, MLP):
        widths = [int(layer.out_features) for layer in model.hidden]  # type: ignore[arg-type]
        odd = next((width for width in widths if width % size), None)
        return None if odd is None else f"{size} processes cannot share a hidden layer of {odd} evenly"
    attention = model.blocks[0].attention
    assert isinstance(attention, Attention), "blocks have one"
    if attention._heads % size:
        return f"{size} processes cannot share model.heads={attention._heads} evenly"
    return None


def share_layers(model: nn.Module, mesh: DeviceMesh) -> nn.Module:
    """Share a network's layers among the processes of a mesh; every weight becomes a DTensor, most in parts.

    Inputs and outputs of the whole network stay ordinary tensors, the same on all of them.
    """
    if isinstance(model, MLP):
        plan = _plan_of_mlp(model)
    else:
        assert isinstance(model, GPT | ViT), "others are refused"
        plan = {}
        for i, block in enumerate(model.blocks):
            assert isinstance(block, Block), "blocks are made so"
            plan |= {f"blocks.{i}.attention.{name}": ColwiseParallel() for name in ("query", "key", "value")}
            plan[f"blocks.{i}.attention.out"] = _inward()
            plan |= {f"blocks.{i}.rise": _outward(), f"blocks.{i}.fall": _inward()}
            block.attention._heads //= mesh.size()  # each process attends with its own
    parallelize_module(model, mesh, plan)
    hooks: Any = (_spread_input, _whole_output)  # which give something, whatever torch's annotations say
    return distribute_module(model, mesh, None, *hooks)


def _plan_of_mlp(model: MLP) -> dict[str, ParallelStyle]:
    """Return layers outward and inward in turn; with norms each is gathered, as norms see all units of a sample."""
    if any(not isinstance(norm, nn.Identity) for norm in model.norms):
        return {f"hidden.{i}": _outward(gathered=True) for i in range(len(model.hidden))}
    plan: dict[str, ParallelStyle] = {}
    for i in range(len(model.hidden)):
        plan[f"hidden.{i}"] = _inward() if i % 2 else _outward()
    if len(model.hidden) % 2:
        plan["readout"] = _inward()
    return plan


def _outward(gathered: bool = False) -> ParallelStyle:
    return ColwiseParallel(output_layouts=Replicate() if gathered else Shard(-1), use_local_output=False)


def _inward() -> ParallelStyle:
    return RowwiseParallel(use_local_output=False)


def _spread_input(module: nn.Module, inputs: tuple[Any, ...], mesh: DeviceMesh) -> tuple[Any, ...]:
    x, *rest = inputs
    return DTensor.from_local(x, mesh, [Replicate()], run_check=False), *rest


def _whole_output(module: nn.Module, outputs: DTensor, mesh: DeviceMesh) -> Tensor:
    return outputs.redistribute(mesh, [Replicate()]).to_local().clone()  # no view, of which FSDP2 warns


def dropping_shared(drop: Drop) -> Drop:
    """Return a dropping of hidden units, of which each process may have a part, as of all of them."""

    def dropped(hidden: Tensor, place: int) -> Tensor:
        if not isinstance(hidden, DTensor):
            return drop(hidden, place)
        mesh, found = hidden.device_mesh, drop(hidden.full_tensor(), place)
        every = [Replicate()] * mesh.ndim
        return DTensor.from_local(found, mesh, every, run_check=False).redistribute(mesh, hidden.placements)

    return dropped
