"""The stacked pass of fully connected networks: forward and gradients, written out as few large products.

PyTorch's autograd would give the same numbers; the bookkeeping of its graph takes as long as these networks' products.
Inside, a layer's numbers are ``[runs, units, n]``, so that every product reads and writes whole blocks of memory.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from runner.engine.model import Drop, Weights, keep


@dataclass(frozen=True)
class _Kept:
    """What a layer's gradients are computed from: its input, its sums, and what came of those.

    ``normed`` has what batch norm found of the sums: of each channel the mean and the inverse standard deviation.
    """

    x: Tensor
    sums: Tensor
    hidden: Tensor
    normed: tuple[Tensor, Tensor] | None = None


class Pass:
    """One pass through the networks of a stack: forward, and where it was kept, back."""

    def __init__(
        self,
        weights: Weights,
        norms: Iterable[nn.Module],
        activation: Callable[[Tensor], Tensor],
        residual: bool,
        training: bool,
        drop: Drop = keep,
        features: Callable[[Tensor], Tensor] | None = None,
        multiplier: float = 1.0,
    ) -> None:
        """Take the weights of all runs, and how one run's network is built and stands.

        Args:
            weights: by the names that they have in ``MLP``.
            norms: of each hidden layer; of them their kind and settings alone are read.
            activation: of the hidden layers.
            residual: each hidden layer but the first is added to its input.
            training: batch norm takes its statistics from the batch, and counts them in.
            drop: applied to the hidden units.
            features: makes the inputs of samples ``[n, …]``, the same of all runs'; None flattens them.
            multiplier: of the readout's inputs.
        """
        self.weights, self.norms, self.activation, self.drop = weights, list(norms), activation, drop
        self.residual, self.training, self.features = residual, training, features
        self.multiplier = multiplier
        self.cast = weights
        self.kept: list[_Kept] = []

    @torch.no_grad()
    def forward(self, x: Tensor, shared: bool, kept: bool) -> Tensor:
        """Return what ``MLP.forward`` gives for each run, ``[runs, n, outputs]``, outside of autograd's graph.

        Args:
            x: ``[n, …]`` where all runs see the same samples (``shared``), else ``[runs, n, …]``.
            shared: see x.
            kept: keep what ``backward`` needs.
        """
        if self.features is not None:
            x = self.features(x) if shared else self.features(x.flatten(0, 1)).view(*x.shape[:2], -1)
        x = x.flatten(1) if shared else x.flatten(2).transpose(1, 2)
        if torch.is_autocast_enabled(x.device.type):
            dtype = torch.get_autocast_dtype(x.device.type)
            self.cast = {name: w if name.startswith("norms.") else w.to(dtype) for name, w in self.weights.items()}
            x = x.to(dtype)
        for place, norm in enumerate(self.norms):
            sums = self._linear(f"hidden.{place}", x)
            normed = None
            if not self._is_plain(norm):
                with torch.set_grad_enabled(kept):
                    hidden = self._activated(place, sums.requires_grad_(kept))
            elif isinstance(norm, nn.BatchNorm1d):
                hidden, normed = self._batch_normed(norm, f"norms.{place}", sums)
                hidden.relu_()
            else:
                hidden = sums.relu_()
            if kept:
                self.kept.append(_Kept(x, sums, hidden, normed))
            x = x + hidden.detach() if self.residual and place > 0 else hidden.detach()
        x = x if self.multiplier == 1 else x * self.multiplier
        outputs = self._linear("readout", x)
        if kept:
            self.kept.append(_Kept(x, outputs, outputs))
        return outputs.transpose(1, 2)

    @torch.no_grad()
    def backward(self, slopes: Tensor) -> None:
        """Leave in ``grad`` of every weight the gradient of a sum whose slopes by the outputs are given."""
        slopes = slopes.transpose(1, 2).to(self.kept[-1].x.dtype)
        slopes = self._linear_backward("readout", self.kept[-1].x, slopes)
        slopes = slopes if self.multiplier == 1 else slopes * self.multiplier
        for place, kept in reversed(list(enumerate(self.kept[:-1]))):
            around = slopes
            if kept.sums.requires_grad:
                kept.hidden.backward(slopes)  # type: ignore[no-untyped-call]
                assert kept.sums.grad is not None
                slopes = kept.sums.grad
            else:
                slopes = torch.ops.aten.threshold_backward(slopes, kept.hidden, 0)
            if kept.normed:
                slopes = self._batch_normed_backward(f"norms.{place}", kept, slopes)
            if place > 0:
                slopes = self._linear_backward(f"hidden.{place}", kept.x, slopes)
                slopes = slopes + around if self.residual else slopes
            else:
                self._linear_backward(f"hidden.{place}", kept.x, slopes, first=True)

    def _is_plain(self, norm: nn.Module) -> bool:
        """Say whether all that follows a layer's product is written out: ReLU, alone or behind batch norm."""
        return self.activation is torch.relu and self.drop is keep and type(norm) in (nn.Identity, nn.BatchNorm1d)

    def _linear(self, name: str, x: Tensor) -> Tensor:
        """Return ``[runs, out, n]`` of ``[runs, in, n]``, or of ``[n, in]`` that all runs see: one product for all."""
        weight, bias = self.cast[f"{name}.weight"], self.cast.get(f"{name}.bias")
        if x.ndim == 3:
            product = torch.bmm(weight, x)
        else:
            product = (weight.flatten(0, 1) @ x.t()).view(*weight.shape[:2], len(x))
        return product if bias is None else product.add_(bias.unsqueeze(2))

    def _linear_backward(self, name: str, x: Tensor, slopes: Tensor, first: bool = False) -> Tensor:
        """Give a layer its gradients; return the slopes by its input, which the first layer's are not asked for."""
        weight, bias = self.weights[f"{name}.weight"], self.weights.get(f"{name}.bias")
        if x.ndim == 3:
            gradient = torch.bmm(slopes, x.transpose(1, 2))
        else:
            gradient = (slopes.flatten(0, 1) @ x).view(weight.shape)
        if weight.requires_grad:
            weight.grad = gradient.to(weight.dtype)
        if bias is not None and bias.requires_grad:
            bias.grad = slopes.sum(2, dtype=bias.dtype)
        return slopes if first else torch.bmm(self.cast[f"{name}.weight"].transpose(1, 2), slopes)

    def _activated(self, place: int, sums: Tensor) -> Tensor:
        hidden = self.activation(self._normed(self.norms[place], f"norms.{place}", sums))
        return hidden if self.drop is keep else self.drop(hidden.transpose(1, 2), place).transpose(1, 2)

    def _normed(self, norm: nn.Module, name: str, x: Tensor) -> Tensor:
        if isinstance(norm, nn.Identity):
            return x
        if isinstance(norm, nn.BatchNorm1d):
            return self._batch_normed(norm, name, x)[0]
        rows = x.transpose(1, 2)
        if isinstance(norm, nn.LayerNorm):
            normed = F.layer_norm(rows, [rows.shape[2]], eps=norm.eps)
        else:
            assert isinstance(norm, nn.GroupNorm)
            normed = F.group_norm(rows.flatten(0, 1), norm.num_groups, eps=norm.eps).view(rows.shape)
        scale, shift = self.weights[f"{name}.weight"], self.weights[f"{name}.bias"]
        return (normed * scale.unsqueeze(1) + shift.unsqueeze(1)).transpose(1, 2)

    def _batch_normed(self, norm: nn.BatchNorm1d, name: str, x: Tensor) -> tuple[Tensor, tuple[Tensor, Tensor] | None]:
        """Return what batch norm gives for each run, whose units are channels of one batch.

        In training it counts the channels' statistics in, and returns them as well.
        """
        n, channels = x.shape[2], x.flatten(0, 1).unsqueeze(0)
        scale, shift = (self.weights[f"{name}.{part}"].flatten() for part in ("weight", "bias"))
        mean, variance = self.weights[f"{name}.running_mean"], self.weights[f"{name}.running_var"]
        channels = channels.to(scale.dtype)
        if not self.training:
            normed = F.batch_norm(channels, mean.flatten(), variance.flatten(), scale, shift, eps=norm.eps)
            return normed.view(x.shape).to(x.dtype), None
        # Groups of one channel each give the same numbers as batch norm, in two thirds of its time.
        normed, means, inverse = torch.native_group_norm(channels, scale, shift, 1, len(scale), n, len(scale), norm.eps)
        with torch.no_grad():
            assert norm.momentum is not None
            self.weights[f"{name}.num_batches_tracked"].add_(1)
            mean.lerp_(means.view(mean.shape), norm.momentum)
            biased = inverse.view(mean.shape).pow(-2).sub_(norm.eps).clamp_(min=0)
            variance.lerp_(biased * (n / (n - 1)), norm.momentum)
        return normed.view(x.shape).to(x.dtype), (means, inverse)

    def _batch_normed_backward(self, name: str, kept: _Kept, slopes: Tensor) -> Tensor:
        """Give batch norm's scale and shift their gradients; return the slopes by what it normed."""
        scale, shift = self.weights[f"{name}.weight"], self.weights[f"{name}.bias"]
        channels = [part.flatten(0, 1).unsqueeze(0).to(scale.dtype) for part in (slopes, kept.sums)]
        assert kept.normed
        of_sums, of_scale, of_shift = torch.ops.aten.native_group_norm_backward(
            *channels, *kept.normed, scale.flatten(), 1, scale.numel(), slopes.shape[2], scale.numel(), [True] * 3
        )
        for part, gradient in ((scale, of_scale), (shift, of_shift)):
            if part.requires_grad:
                part.grad = gradient.view(part.shape)
        return of_sums.view(slopes.shape).to(slopes.dtype)  # type: ignore[no-any-return]
