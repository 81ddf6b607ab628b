"""A network as a row of pieces that act one after another, as a pipeline hands them out."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn

from runner.engine.model import Drop
from runner.model.fully_connected import MLP
from runner.model.transformer import GPT, ViT

Piece = Callable[[Tensor, Drop], Tensor]


@dataclass(frozen=True)
class Row:
    """Pieces of a network, in the order in which they act."""

    pieces: list[Piece]
    parts: list[list[nn.Module | nn.Parameter]]
    """What holds the weights of each."""
    layers: int
    """Those that stages share out evenly: what comes before goes to the first stage, what comes after to the last."""
    before: int = 0
    """Pieces before the layers."""

    def of_stage(self, stage: int, stages: int) -> range:
        """Return the places of a stage's pieces."""
        each = self.layers // stages
        first = 0 if stage == 0 else self.before + stage * each
        end = len(self.pieces) if stage == stages - 1 else self.before + (stage + 1) * each
        return range(first, end)


def row_of(model: nn.Module) -> Row | None:
    """Return a network's pieces; None of one that is no mlp, gpt or vit."""
    if isinstance(model, MLP):
        return _of_mlp(model)
    if isinstance(model, GPT):
        start: Piece = partial(_embed_characters, model)
        heads: list[nn.Module | nn.Parameter] = [model.characters, model.places]
        return _of_blocks(start, heads, model, 2, within=False)
    if isinstance(model, ViT):
        token = [] if model.token is None else [model.token]
        return _of_blocks(partial(_embed_patches, model), [model.patches, model.places, *token], model, 3, within=True)
    return None


def _of_mlp(model: MLP) -> Row:
    layers = list(zip(model.hidden, model.norms, strict=True))
    pieces: list[Piece] = [partial(_hidden_layer, model, place) for place in range(len(layers))]
    parts: list[list[nn.Module | nn.Parameter]] = [[layer, norm] for layer, norm in layers]
    if model.features is not None:
        parts[0].append(model.features)
    return Row([*pieces, lambda x, drop: model.readout(x)], [*parts, [model.readout]], len(layers))


def _hidden_layer(model: MLP, place: int, x: Tensor, drop: Drop) -> Tensor:
    if place == 0:
        x = x.flatten(1) if model.features is None else model.features(x)
    hidden = drop(model.activation(model.norms[place](model.hidden[place](x))), place)
    return x + hidden if model.residual and place > 0 else hidden


def _of_blocks(start: Piece, heads: list[nn.Module | nn.Parameter], model: GPT | ViT, places: int, within: bool) -> Row:
    pieces = [partial(_block, block, 1 + places * i, within) for i, block in enumerate(model.blocks)]
    ends: list[nn.Module | nn.Parameter] = [model.norm, model.readout]
    blocks: list[list[nn.Module | nn.Parameter]] = [[block] for block in model.blocks]
    parts = [heads, *blocks, ends]
    return Row(
        [start, *pieces, partial(_read_out, model, getattr(model, "token", None) is not None)],
        parts,
        len(model.blocks),
        before=1,
    )


def _block(block: nn.Module, place: int, within: bool, x: Tensor, drop: Drop) -> Tensor:
    found: Tensor = block(x, drop, place, within=place + 2 if within else None)
    return found


def _embed_characters(model: GPT, x: Tensor, drop: Drop) -> Tensor:
    return drop(model.characters(x) + model.places.weight[: x.shape[1]], 0)


def _embed_patches(model: ViT, x: Tensor, drop: Drop) -> Tensor:
    return drop(model.embedded(x), 0)


def _read_out(model: GPT | ViT, of_token: bool, x: Tensor, drop: Drop) -> Tensor:
    if isinstance(model, GPT):
        return model.readout(model.norm(x))  # type: ignore[no-any-return]
    hidden = model.norm(x)
    return model.readout(hidden[:, 0] if of_token else hidden.mean(1))  # type: ignore[no-any-return]


def keep_only(model: nn.Module, row: Row, places: range) -> None:
    """Let go of the weights of all other pieces: names stay as they are."""
    kept = {id(p) for place in places for part in row.parts[place] for p in _weights(part)}
    for module in model.modules():
        for name, parameter in module._parameters.items():
            if parameter is not None and id(parameter) not in kept:
                module._parameters[name] = None


def _weights(part: nn.Module | nn.Parameter) -> list[Tensor]:
    return [part] if isinstance(part, nn.Parameter) else list(part.parameters())


@torch.no_grad()
def shapes_between(row: Row, stages: int, x: Tensor, drop: Drop) -> list[tuple[torch.Size, torch.dtype]]:
    """Return shape and type of what goes into each stage and what comes out of the last, of one sample ``[1, …]``."""
    found = [(x.shape[1:], x.dtype)]
    for stage in range(stages):
        for place in row.of_stage(stage, stages):
            x = row.pieces[place](x, drop)
        found.append((x.shape[1:], x.dtype))
    return found
