"""Transformers, of characters, of sentences and of images."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from runner import mup as maximal_update
from runner.data.vocabulary import PADDING, Vocabulary
from runner.engine.model import Drop, keep
from runner.model.activations import ACTIVATIONS, Shape


def gpt(
    shape: Shape,
    outputs: int,
    *,
    alphabet: str | None,
    width: int,
    depth: int,
    heads: int,
    activation: str,
    mup: bool = False,
    base_width: int | None = None,
) -> nn.Module:
    """Return ``depth`` blocks of causal attention and MLP over a text's characters, and a linear readout.

    With ``mup`` in the maximal update parametrization of ``runner.mup``, held against the network of ``base_width``.

    Raises:
        ValueError: if the input is no text, or the heads do not share the width evenly.
    """
    if alphabet is None:
        raise ValueError("model=gpt reads characters: use data=text, or model=rnn, which reads numbers too")

    def of(width: int, base_width: int | None) -> nn.Module:
        return GPT(shape[0], len(alphabet), outputs, width, depth, heads, activation, base_width)

    return _of_width(of, width, heads, base_width if mup else None)


class Attention(nn.Module):
    """Attention of several heads, from and to ``[n, length, width]`` (Vaswani et al. 2017, §3.2).

    ``causal``: each place gathers from itself and those before it alone. ``scale``: of the products of queries and
    keys; None is 1/√(width of a head).
    """

    def __init__(self, width: int, heads: int, causal: bool, scale: float | None) -> None:
        super().__init__()
        self.query, self.key, self.value = (nn.Linear(width, width) for _ in range(3))
        self.out = nn.Linear(width, width)
        self._heads, self._causal, self._scale = heads, causal, scale

    def forward(self, x: Tensor, there: Tensor | None = None) -> Tensor:
        """Return what each place gathers: from those that are ``there``, ``[n, 1, 1, length]``, or from all."""
        query, key, value = (
            layer(x).unflatten(-1, (self._heads, -1)).transpose(1, 2) for layer in (self.query, self.key, self.value)
        )
        gathered = nn.functional.scaled_dot_product_attention(
            query, key, value, attn_mask=there, is_causal=self._causal, scale=self._scale
        )
        return self.out(gathered.transpose(1, 2).flatten(-2))  # type: ignore[no-any-return]


class Block(nn.Module):
    """Attention and an MLP of four times the width, each added to its input behind a layer norm.

    ``branches``: over how many an initializer shares out the scale; None where the paper does not. ``scale``: see
    ``Attention``.
    """

    def __init__(
        self, width: int, heads: int, activation: str, causal: bool, branches: int | None, scale: float | None = None
    ) -> None:
        super().__init__()
        self.attention_norm, self.mlp_norm = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attention = Attention(width, heads, causal, scale)
        self.rise, self.fall = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)
        for end in (self.attention.out, self.fall):
            end.residual_branches = branches  # type: ignore[assignment]  # runner.init reads it
        self._activation = ACTIVATIONS[activation]

    def forward(
        self, x: Tensor, drop: Drop, place: int, within: int | None = None, there: Tensor | None = None
    ) -> Tensor:
        """Return ``[n, length, width]``; dropout drops what each of the two adds, and ``within`` the MLP its units.

        ``there``: see ``Attention.forward``.
        """
        x = x + drop(self.attention(self.attention_norm(x), there), place)
        hidden = self._activation(self.rise(self.mlp_norm(x)))
        if within is not None:
            hidden = drop(hidden, within)
        return x + drop(self.fall(hidden), place + 1)


class GPT(nn.Module):
    """Transformer over characters; ``x`` is ``[n, length ≤ context]``, the result ``[n, length, outputs]``.

    With ``base_width`` attention and the readout are muP's.
    """

    def __init__(
        self,
        context: int,
        characters: int,
        outputs: int,
        width: int,
        depth: int,
        heads: int,
        activation: str,
        base_width: int | None = None,
    ) -> None:
        super().__init__()
        self.characters, self.places = nn.Embedding(characters, width), nn.Embedding(context, width)
        scale = None if base_width is None else maximal_update.attention_scale(width, heads, base_width)
        self.blocks = nn.ModuleList(Block(width, heads, activation, True, 2 * depth, scale) for _ in range(depth))
        self.norm = nn.LayerNorm(width)
        self.readout = _readout(width, outputs, base_width)

    def forward(self, x: Tensor, drop: Drop = keep) -> Tensor:
        """Return the logits of the character after each."""
        hidden = drop(self.characters(x) + self.places.weight[: x.shape[1]], 0)
        for place, block in enumerate(self.blocks):
            hidden = block(hidden, drop, 1 + 2 * place)
        return self.readout(self.norm(hidden))  # type: ignore[no-any-return]


def encoder(
    shape: Shape,
    outputs: int,
    *,
    vocabulary: Vocabulary | None,
    width: int,
    depth: int,
    heads: int,
    activation: str,
    pool: str,
    mup: bool,
    base_width: int | None,
) -> nn.Module:
    """Return ``depth`` blocks of attention and MLP over a sentence's tokens, and a linear readout.

    With ``mup`` in the maximal update parametrization of ``runner.mup``, held against the network of ``base_width``.

    Raises:
        ValueError: if the input is no sentence, or the heads do not share the width evenly.
    """
    if vocabulary is None:
        raise ValueError("model=encoder reads sentences: use data=text_csv")

    def of(width: int, base_width: int | None) -> nn.Module:
        return Encoder(shape[0], vocabulary.size, outputs, width, depth, heads, activation, pool, base_width)

    return _of_width(of, width, heads, base_width if mup else None)


class Encoder(nn.Module):
    """Transformer over tokens; ``x`` is ``[n, length]``, padded at the end, the result ``[n, outputs]``.

    Blocks are behind layer norms, as GPT's are, and attend to all tokens of a sentence and to no padding. ``pool``: the
    readout sees the tokens' mean (``mean``), or a token of its own before them (``class``; Devlin et al. 2019, §3).
    With ``base_width`` attention and the readout are muP's.
    """

    def __init__(
        self,
        length: int,
        tokens: int,
        outputs: int,
        width: int,
        depth: int,
        heads: int,
        activation: str,
        pool: str,
        base_width: int | None,
    ) -> None:
        super().__init__()
        self.tokens = nn.Embedding(tokens, width)
        self.token = nn.Parameter(torch.zeros(1, width)) if pool == "class" else None
        self.places = nn.Embedding(length + (pool == "class"), width)
        nn.init.normal_(self.places.weight, std=0.02)  # as in the paper's code; N(0, 1) would drown the tokens
        scale = None if base_width is None else maximal_update.attention_scale(width, heads, base_width)
        self.blocks = nn.ModuleList(Block(width, heads, activation, False, 2 * depth, scale) for _ in range(depth))
        self.norm = nn.LayerNorm(width)
        self.readout = _readout(width, outputs, base_width)

    def forward(self, x: Tensor, drop: Drop = keep) -> Tensor:
        """Return the logits or predicted numbers."""
        there, hidden = x != PADDING, self.tokens(x)
        if self.token is not None:
            hidden = torch.cat([self.token.expand(x.shape[0], 1, -1), hidden], 1)
            there = torch.cat([torch.ones_like(there[:, :1]), there], 1)
        hidden = drop(hidden + self.places.weight[: hidden.shape[1]], 0)
        for place, block in enumerate(self.blocks):
            hidden = block(hidden, drop, 1 + 2 * place, there=there[:, None, None, :])
        hidden = self.norm(hidden)
        if self.token is not None:
            return self.readout(hidden[:, 0])  # type: ignore[no-any-return]
        share = there.to(hidden.dtype).unsqueeze(2)
        return self.readout((hidden * share).sum(1) / share.sum(1))  # type: ignore[no-any-return]


def _of_width(of: Callable[[int, int | None], nn.Module], width: int, heads: int, base_width: int | None) -> nn.Module:
    """Return a network of a width; with ``base_width`` in muP, held against the one that is so wide.

    Raises:
        ValueError: if the heads do not share the width evenly.
    """
    if width % heads:
        raise ValueError(f"model.heads must divide model.width={width}, got {heads}")
    if base_width is None:
        return of(width, None)
    return maximal_update.against(of(width, base_width), lambda: of(base_width, base_width))


def _readout(width: int, outputs: int, base_width: int | None) -> nn.Linear:
    """Return a linear layer, with ``base_width`` muP's."""
    if base_width is None:
        return nn.Linear(width, outputs)
    return maximal_update.Readout(width, outputs, True, base_width)


def vit(
    shape: Shape,
    outputs: int,
    *,
    patch: int,
    width: int,
    depth: int,
    heads: int,
    activation: str,
    pool: str,
) -> nn.Module:
    """Return ``depth`` blocks of attention and MLP over an image's patches, and a linear readout.

    Raises:
        ValueError: if the input is no image, the patches do not fill it, or the heads do not share the width evenly.
    """
    if len(shape) != 3:
        raise ValueError(f"model=vit needs images, the data has inputs of shape {list(shape)}")
    _, height, length = shape
    if height % patch or length % patch:
        valid = ", ".join(str(p) for p in range(1, min(height, length) + 1) if not height % p and not length % p)
        raise ValueError(f"model.patch must divide images of {height}×{length}, got {patch}\nvalid: {valid}")
    if width % heads:
        raise ValueError(f"model.heads must divide model.width={width}, got {heads}")
    return ViT(shape, outputs, patch, width, depth, heads, activation, pool)


class ViT(nn.Module):
    """Transformer over patches (Dosovitskiy et al. 2021, §3.1); ``x`` is ``[n, channels, height, width]``.

    ``pool``: the readout sees the token that stands before the patches (``class``), or the patches' mean (``mean``).
    Dropout is where the paper has it (appendix B.1): behind every linear layer but those of queries, keys and values,
    and behind the embedding. Its branches carry no ``residual_branches``, since the paper does not scale them.
    """

    def __init__(
        self, shape: Shape, outputs: int, patch: int, width: int, depth: int, heads: int, activation: str, pool: str
    ) -> None:
        super().__init__()
        channels, height, length = shape
        patches = height // patch * (length // patch)
        self.patches = nn.Linear(channels * patch**2, width)
        self.token = nn.Parameter(torch.zeros(1, width)) if pool == "class" else None
        self.places = nn.Embedding(patches + (pool == "class"), width)
        nn.init.normal_(self.places.weight, std=0.02)  # as in the paper's code; N(0, 1) would drown the patches
        self.blocks = nn.ModuleList(Block(width, heads, activation, False, None) for _ in range(depth))
        self.norm = nn.LayerNorm(width)
        self.readout = nn.Linear(width, outputs)
        self._patch = patch

    def embedded(self, x: Tensor) -> Tensor:
        """Return the patches as ``[n, patches, width]``, behind the token where there is one."""
        n, channels, height, length = x.shape
        p = self._patch
        squares = x.reshape(n, channels, height // p, p, length // p, p).permute(0, 2, 4, 1, 3, 5)
        hidden = self.patches(squares.flatten(3).flatten(1, 2))
        if self.token is not None:
            hidden = torch.cat([self.token.expand(n, 1, -1), hidden], 1)
        return hidden + self.places.weight  # type: ignore[no-any-return]

    def forward(self, x: Tensor, drop: Drop = keep) -> Tensor:
        """Return the logits or predicted numbers."""
        hidden = drop(self.embedded(x), 0)
        for i, block in enumerate(self.blocks):
            hidden = block(hidden, drop, 1 + 3 * i, within=3 + 3 * i)
        hidden = self.norm(hidden)
        return self.readout(hidden[:, 0] if self.token is not None else hidden.mean(1))  # type: ignore[no-any-return]
