"""Fully connected networks."""

from collections.abc import Callable
from itertools import pairwise

from torch import Tensor, nn

from runner import mup as maximal_update
from runner.data.vocabulary import Vocabulary
from runner.engine.model import Drop, Weights, keep
from runner.model.activations import ACTIVATIONS, Shape
from runner.model.bag import PLAIN, features_of
from runner.model.written_out import Pass


def linear(
    shape: Shape, outputs: int, *, bias: bool, bag: str = PLAIN, vocabulary: Vocabulary | None = None
) -> nn.Module:
    """Return one linear layer over the flattened input, or over what ``bag`` makes of sentences."""
    inputs, features = features_of(shape, vocabulary, bag)
    return MLP(inputs, outputs, [], "identity", bias, "none", residual=False, features=features)


def mlp(
    shape: Shape,
    outputs: int,
    *,
    width: int,
    depth: int,
    widths: list[int],
    activation: str,
    bias: bool,
    normalization: str,
    residual: bool,
    mup: bool = False,
    base_width: int | None = None,
    bag: str = PLAIN,
    vocabulary: Vocabulary | None = None,
) -> nn.Module:
    """Return hidden layers of ``widths`` (none given: ``depth`` times ``width``) and a linear readout.

    With ``mup`` in the maximal update parametrization of ``runner.mup``, held against the network of ``base_width``.
    Of sentences they read what ``bag`` makes of them.

    Raises:
        ValueError: if residual layers have several widths.
    """
    inputs, features = features_of(shape, vocabulary, bag)
    sizes = widths or [width] * depth
    if residual and len(set(sizes)) > 1:
        raise ValueError(f"model.residual=true needs hidden layers of one width, got model.widths={sizes}")
    if not mup or base_width is None:
        return MLP(inputs, outputs, sizes, activation, bias, normalization, residual, features=features)

    def of(widths: list[int]) -> nn.Module:
        return MLP(inputs, outputs, widths, activation, bias, normalization, residual, base_width, features)

    return maximal_update.against(of(sizes), lambda: of([base_width] * len(sizes)))


NORMALIZATIONS: dict[str, Callable[[int], nn.Module]] = {
    "none": lambda width: nn.Identity(),
    "batch": nn.BatchNorm1d,
    "layer": nn.LayerNorm,
    "group": lambda width: nn.GroupNorm(next(g for g in (8, 4, 2, 1) if width % (4 * g) == 0 or g == 1), width),
}
"""Of a hidden layer's sums, before its activation; ``group`` has 8 groups, or fewer where they would have fewer than 4
units: of two units no more than the sign would be left, of one nothing."""


class MLP(nn.Module):
    """Hidden layers and a linear readout; ``x`` is ``[n, …]``, the result ``[n, outputs]``.

    A hidden layer is linear, normalized, activated; with ``residual`` each but the first is added to its input. With
    ``base_width`` the readout is muP's. ``features`` makes the inputs of ``x``; None flattens it.
    """

    multiplies_in_layers = True

    def __init__(
        self,
        inputs: int,
        outputs: int,
        widths: list[int],
        activation: str,
        bias: bool,
        normalization: str,
        residual: bool,
        base_width: int | None = None,
        features: nn.Module | None = None,
    ) -> None:
        super().__init__()
        self.features = features
        sizes = [inputs, *widths]
        own_bias = bias and normalization != "batch"  # which takes each unit's mean away
        self.hidden = nn.ModuleList(nn.Linear(a, b, own_bias) for a, b in pairwise(sizes))
        self.norms = nn.ModuleList(NORMALIZATIONS[normalization](width) for width in widths)
        self.readout: nn.Linear = (
            nn.Linear(sizes[-1], outputs, bias)
            if base_width is None
            else maximal_update.Readout(sizes[-1], outputs, bias, base_width)
        )
        self.activation = ACTIVATIONS[activation]
        self.residual = residual
        if residual:
            for layer in self.hidden[1:]:
                layer.residual_branches = len(widths) - 1  # type: ignore[assignment]  # runner.init reads it

    def forward(self, x: Tensor, drop: Drop = keep) -> Tensor:
        """Return the logits or predicted numbers."""
        x = x.flatten(1) if self.features is None else self.features(x)
        for place, (layer, norm) in enumerate(zip(self.hidden, self.norms, strict=True)):
            hidden = drop(self.activation(norm(layer(x))), place)
            x = x + hidden if self.residual and place > 0 else hidden
        return self.readout(x)  # type: ignore[no-any-return]

    def stacked_pass(self, weights: Weights, drop: Drop = keep) -> Pass | None:
        """Return a written-out pass of a stack of such networks; None where a layer is not plain, or not trained."""
        layers, norms = [*self.hidden, self.readout], list(self.norms)
        if any(type(layer) is not nn.Linear for layer in layers[:-1]) or any(layer._forward_hooks for layer in layers):
            return None
        if type(layers[-1]) not in (nn.Linear, maximal_update.Readout):
            return None
        # This is asked at every step: ``parameters`` takes ten times as long.
        own = [p for part in (*layers, *norms) for p in part._parameters.values() if p is not None]
        of_features = () if self.features is None else self.features.parameters()
        if not all(p.requires_grad for p in (*own, *of_features)) or any(m.training != self.training for m in norms):
            return None
        multiplier = getattr(self.readout, "multiplier", 1.0)
        stands = self.activation, self.residual, self.training
        return Pass(weights, norms, *stands, drop, self.features, multiplier)
