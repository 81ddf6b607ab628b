"""What signals and gradients do in each layer, and which layers look sick."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.backends import cudnn

from runner.engine.hooks import Going, Hook
from runner.engine.run import Split, TrainingLoss
from runner.metrics import value

PROBE_SAMPLES = 256
VANISHING = 1e-4
"""A layer's gradient second moment below this share of the last layer's is named vanishing."""
EXPLODING = 1e4
DEAD = 0.9
"""A layer with more than this share of its units dead is named dead."""


@dataclass
class Diagnostics(Hook):
    """Measures every layer at every evaluation."""

    probe: Split
    """Training samples, of which the first are used."""
    loss: TrainingLoss
    autocast: Callable[[], AbstractContextManager[Any]]

    @property
    def alone(self) -> str:
        """Why a stack has none."""
        return "diagnostics=true looks into the layers of one run at a time"

    def layers(self, at: Going, update_ratios: Mapping[str, float]) -> list[dict[str, Any]]:
        """Return a row for each layer with a weight matrix or kernel, in the order in which they act.

        On a fixed batch of training samples, in evaluation mode: ``activation_second_moment`` is the mean square of
        what the layer hands to the next one (He et al. 2015, §2.2), of its output for the last; ``output_variance`` is
        of its own output, over samples and units; ``gradient_second_moment`` the mean square of each sample's gradient
        with respect to the layer's output; ``dead_fraction`` the share of units that are 0 for every sample.
        ``update_ratio`` is ‖Δw‖/‖w‖ of the step just made.
        """
        layers = {name: m for name, m in at.model.named_modules() if _has_weight(m)}
        x, y = self.probe.x[:PROBE_SAMPLES], self.probe.y[:PROBE_SAMPLES]
        # Its recurrent layers have no gradient in evaluation mode.
        with _signals(layers) as (inputs, outputs), at.evaluating(), cudnn.flags(enabled=False):
            with self.autocast():
                loss = value(self.loss, at.model.forward(x), y, x)  # a compiled model's __call__ passes by hooks
            names = list(outputs)
            if not names:
                return []
            gradients = torch.autograd.grad(loss * len(y), [outputs[n] for n in names], allow_unused=True)
        handed_on = [*(inputs[n] for n in names[1:]), *(outputs[n].detach() for n in names[-1:])]
        rows = []
        for name, gradient, activation in zip(names, gradients, handed_on, strict=True):
            weight: Tensor = getattr(layers[name], "weight")  # noqa: B009  # a parameter, or made of several
            rows.append(
                {
                    "step": at.step,
                    "layer": name,
                    "activation_second_moment": _second_moment(activation),
                    "output_variance": outputs[name].detach().double().var().item(),
                    "gradient_second_moment": _second_moment(gradient) if gradient is not None else 0.0,
                    "dead_fraction": _dead_fraction(activation, isinstance(layers[name], CONVOLUTIONS)),
                    "weight_norm": weight.detach().norm().item(),
                    "update_ratio": update_ratios.get(f"{name}.weight"),
                }
            )
        return rows


@contextmanager
def _signals(layers: Mapping[str, nn.Module]) -> Iterator[tuple[dict[str, Tensor], dict[str, Tensor]]]:
    """Note what goes into each layer, and what comes out, in the passes of a block."""
    inputs: dict[str, Tensor] = {}
    outputs: dict[str, Tensor] = {}

    def note(name: str) -> Any:
        def hook(module: nn.Module, arguments: tuple[Any, ...], output: Tensor) -> Tensor:
            inputs[name] = arguments[0].detach()
            if output.requires_grad:
                outputs[name] = output
                return output
            outputs[name] = output.detach().requires_grad_()  # of a layer that is not trained, nor any before it
            return outputs[name].clone()

        return hook

    handles = [layer.register_forward_hook(note(name)) for name, layer in layers.items()]
    try:
        yield inputs, outputs
    finally:
        for handle in handles:
            handle.remove()


def findings(rows: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """Return the names of vanishing, exploding and dead layers among the last rows of a run."""
    last = [row for row in rows if row["step"] == rows[-1]["step"]] if rows else []
    reference = float(last[-1]["gradient_second_moment"]) if last else 0.0
    shares = {r["layer"]: float(r["gradient_second_moment"]) / reference for r in last} if reference else {}
    return {
        "vanishing_layers": " ".join(n for n, share in shares.items() if share < VANISHING),
        "exploding_layers": " ".join(n for n, share in shares.items() if share > EXPLODING),
        "dead_layers": " ".join(r["layer"] for r in last[:-1] if float(r["dead_fraction"]) > DEAD),
    }


def _has_weight(module: nn.Module) -> bool:
    weight = getattr(module, "weight", None)
    return isinstance(weight, Tensor) and weight.ndim >= 2


def _second_moment(tensor: Tensor) -> float:
    return tensor.double().square().mean().item()


CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)


def _dead_fraction(activation: Tensor, convolution: bool) -> float:
    """Units are features of ``[n, …, features]``, channels of a convolution's ``[n, channels, …]``."""
    unit_axis = 1 if convolution and activation.ndim > 2 else activation.ndim - 1
    axes = [axis for axis in range(activation.ndim) if axis != unit_axis]
    return (activation != 0).sum(axes).eq(0).double().mean().item()
