"""Adam's relatives: steps by running means of gradients, entry by entry."""

import math
from collections.abc import Mapping
from typing import Any

from torch import Tensor
from torch.optim import Optimizer

from runner.engine.optimizers import ParameterGroups, uncompiled
from runner.optim.groups import pair
from runner.optim.stepping import Count, EachWeight, Held, decaying, norm_of, shrink, unbiased


class AdaBelief(EachWeight):
    """See ``adabelief``."""

    moments = ("mean", "surprise")

    def update(self, weight: Tensor, gradient: Tensor, held: Held, t: Count, group: Mapping[str, Any]) -> None:
        """Step by the mean over the root of the squared distance of gradients from it."""
        (beta1, beta2), eps = group["betas"], group["eps"]
        mean, surprise = held["mean"], held["surprise"]
        mean.lerp_(gradient, 1 - beta1)
        off = gradient - mean
        surprise.mul_(beta2).addcmul_(off, off, value=1 - beta2).add_(eps)
        root = (surprise / unbiased(beta2, t)).sqrt_().add_(eps)
        weight.sub_((mean / unbiased(beta1, t)).div_(root), alpha=group["lr"])


def adabelief(parameters: ParameterGroups, *, lr: float, betas: list[float], eps: float) -> Optimizer:
    """Step lr·m̂/(√ŝ + eps), s ← beta2·s + (1 - beta2)·(g - m)² + eps (Zhuang et al. 2020, algorithm 2)."""
    return uncompiled(AdaBelief)(parameters, lr, betas=pair(betas), eps=eps)


class Adan(EachWeight):
    """See ``adan``; without decay."""

    moments = ("mean", "difference", "square")

    def begin(self, weight: Tensor, gradient: Tensor, group: Mapping[str, Any]) -> Held:
        """Return what is held, the first gradient's difference from the one before it 0."""
        return super().begin(weight, gradient, group) | {"last": gradient.clone()}

    def update(self, weight: Tensor, gradient: Tensor, held: Held, t: Count, group: Mapping[str, Any]) -> None:
        """Step by the mean and the mean difference over the root of the square of a gradient looked ahead."""
        (beta1, beta2, beta3), mean, difference, square = group["betas"], *(held[name] for name in self.moments)
        change = gradient - held["last"]
        held["last"].copy_(gradient)
        mean.lerp_(gradient, 1 - beta1)
        difference.lerp_(change, 1 - beta2)
        ahead = change.mul_(beta2).add_(gradient)
        square.mul_(beta3).addcmul_(ahead, ahead, value=1 - beta3)
        root = (square / unbiased(beta3, t)).sqrt_().add_(group["eps"])
        step = (mean / unbiased(beta1, t)).add_(difference / unbiased(beta2, t), alpha=beta2).div_(root)
        weight.sub_(step, alpha=group["lr"])


class ProximalAdan(Adan):
    """See ``adan``; its decay divides by 1 + lr·weight_decay, so that a step is not linear in the learning rate."""

    def update(self, weight: Tensor, gradient: Tensor, held: Held, t: Count, group: Mapping[str, Any]) -> None:
        """Step, then shrink."""
        super().update(weight, gradient, held, t, group)
        weight.div_(1 + group["lr"] * group["weight_decay"])


def adan(parameters: ParameterGroups, *, lr: float, betas: list[float], eps: float, weight_decay: float) -> Optimizer:
    """Step lr·(m̂ + beta2·v̂)/(√n̂ + eps) of means of g, of its change d, and of (g + beta2·d)² (Xie et al. 2022).

    Algorithm 1, the decays named as by its authors' code, which begins all means at 0 and divides them by 1 - beta^t.
    The decay is proximal: after the step, w ← w/(1 + lr·weight_decay).
    """
    kind = ProximalAdan if weight_decay else Adan
    beta1, beta2, beta3 = betas
    return uncompiled(kind)(decaying(parameters, weight_decay), lr, betas=(beta1, beta2, beta3), eps=eps)


class AdEMAMix(EachWeight):
    """See ``ademamix``."""

    moments = ("fast", "slow", "square")

    def update(self, weight: Tensor, gradient: Tensor, held: Held, t: Count, group: Mapping[str, Any]) -> None:
        """Step by two means of gradients, one of them long, over the root of the mean square."""
        beta1, beta2, beta3 = group["betas"]
        share, decay = warmed(group["alpha"], beta1, beta3, t, group["alpha_warmup"])
        fast, slow, square = (held[name] for name in self.moments)
        fast.lerp_(gradient, 1 - beta1)
        slow.lerp_(gradient, 1 - decay)
        square.mul_(beta2).addcmul_(gradient, gradient, value=1 - beta2)
        root = (square / unbiased(beta2, t)).sqrt_().add_(group["eps"])
        shrink(weight, group)
        weight.sub_((fast / unbiased(beta1, t)).add_(slow, alpha=share).div_(root), alpha=group["lr"])


def warmed(alpha: float, beta1: float, beta3: float, t: Count, steps: int) -> tuple[float, float]:
    """Return the slow mean's share in step ``t`` and its decay, which reach alpha and beta3 after so many steps.

    The half-life of the decay grows linearly from beta1's (Pagliardini et al. 2024, §3).
    """
    if not steps or t >= steps:
        return alpha, beta3
    assert not isinstance(t, Tensor), "a step that a graph replays has no warm-up"
    done, first, last = t / steps, math.log(beta1), math.log(beta3)
    return done * alpha, min(math.exp(first * last / ((1 - done) * last + done * first)), beta3)


def ademamix(
    parameters: ParameterGroups,
    *,
    lr: float,
    betas: list[float],
    eps: float,
    weight_decay: float,
    alpha: float,
    alpha_warmup: int,
) -> Optimizer:
    """Step lr·(m̂₁ + alpha·m₂)/(√v̂ + eps), m₂ a mean of beta3 (Pagliardini et al. 2024, algorithm 1).

    In the first ``alpha_warmup`` steps alpha and beta3 grow to their values. Decoupled decay by lr·weight_decay.
    """
    beta1, beta2, beta3 = betas
    return uncompiled(AdEMAMix)(
        decaying(parameters, weight_decay),
        lr,
        capturable=not alpha_warmup,
        betas=(beta1, beta2, beta3),
        eps=eps,
        alpha=alpha,
        alpha_warmup=alpha_warmup,
    )


class Mars(EachWeight):
    """See ``mars``."""

    moments = ("mean", "square")

    def begin(self, weight: Tensor, gradient: Tensor, group: Mapping[str, Any]) -> Held:
        """Return what is held, the first gradient's difference from the one before it 0."""
        return super().begin(weight, gradient, group) | {"last": gradient.clone()}

    def update(self, weight: Tensor, gradient: Tensor, held: Held, t: Count, group: Mapping[str, Any]) -> None:
        """Make Adam's step of the gradient with a share of its change, cut to a length of 1."""
        (beta1, beta2), mean, square = group["betas"], held["mean"], held["square"]
        corrected = gradient + group["gamma"] * beta1 / (1 - beta1) * (gradient - held["last"])
        held["last"].copy_(gradient)
        corrected.div_(norm_of(corrected, group).clamp(min=1.0))
        mean.lerp_(corrected, 1 - beta1)
        square.mul_(beta2).addcmul_(corrected, corrected, value=1 - beta2)
        root = (square / unbiased(beta2, t)).sqrt_().add_(group["eps"])
        shrink(weight, group)
        weight.sub_((mean / unbiased(beta1, t)).div_(root), alpha=group["lr"])


def mars(
    parameters: ParameterGroups, *, lr: float, betas: list[float], eps: float, weight_decay: float, gamma: float
) -> Optimizer:
    """Adam's step of c = g + gamma·beta1/(1 - beta1)·(g - g'), c/max(1, ‖c‖), g' the gradient of the step before.

    Yuan et al. 2024, algorithm 2 (MARS-AdamW) with the approximate difference, which takes no second gradient; as in
    its authors' code, each weight tensor is cut by itself. Decoupled decay by lr·weight_decay.
    """
    made = uncompiled(Mars)
    return made(decaying(parameters, weight_decay), lr, betas=pair(betas), eps=eps, gamma=gamma)
