"""Preconditioners that are Kronecker products of one matrix for each axis of a weight."""

import math
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from runner.engine.optimizers import ParameterGroups, uncompiled
from runner.noise import derive, key, normal
from runner.optim.groups import pair
from runner.optim.stepping import Count, EachWeight, Held, decaying, shrink, unbiased

PER_AXIS = "axis{} {}"
"""Names what is held of an axis: torch moves tensors that lie in the state itself, and not in a list there."""

SHIFT = 1e-2
"""Eigenvalues below that share of their mean count as equal."""


def of_axis(x: Tensor, axis: int) -> Tensor:
    """Return ``[axis, all others]``."""
    return x.movedim(axis, 0).reshape(x.shape[axis], -1)


def along_axis(matrix: Tensor, x: Tensor, axis: int) -> Tensor:
    """Return x with each of its vectors along an axis multiplied by a matrix; a vector ``[n]`` is a diagonal one."""
    if matrix.ndim == 1:
        return x * matrix.view(-1, *[1] * (x.ndim - 1 - axis))
    product: Tensor = torch.tensordot(matrix, x, dims=([1], [axis]))
    return product.movedim(0, axis)


def in_double(function: Callable[[Tensor], Tensor], matrix: Tensor) -> Tensor:
    """Return a function of a matrix, computed in float64: roots of what is nearly singular need it.

    Of what holds a number that is not finite, nothing is: the loss says so, where LAPACK would raise.
    """
    if not bool(matrix.isfinite().all()):
        return torch.full_like(matrix, math.nan)
    return function(matrix.double()).to(matrix.dtype)


def _axes(held: Held, what: str) -> list[tuple[int, Tensor]]:
    """Return the axes that have a matrix of a name, and the matrices."""
    prefix, suffix = PER_AXIS.split("{}")[0], f" {what}"
    return [
        (int(name.removeprefix(prefix).removesuffix(suffix)), matrix)
        for name, matrix in held.items()
        if name.startswith(prefix) and name.endswith(suffix)
    ]


class Shampoo(EachWeight):
    """See ``shampoo``."""

    def __init__(self, parameters: ParameterGroups, lr: float, **settings: Any) -> None:
        super().__init__(parameters, lr, capturable=False, **settings)

    def begin(self, weight: Tensor, gradient: Tensor, group: Mapping[str, Any]) -> Held:
        """Return what is held of each axis: the sum that begins at eps·I, and its root."""
        held = super().begin(weight, gradient, group)
        for axis, size in enumerate(weight.shape):
            if size <= group["largest"]:
                sum_of = group["eps"] * torch.eye(size, dtype=weight.dtype, device=weight.device)
                held |= {PER_AXIS.format(axis, "sum"): sum_of, PER_AXIS.format(axis, "root"): sum_of.clone()}
        return held

    def update(self, weight: Tensor, gradient: Tensor, held: Held, t: Count, group: Mapping[str, Any]) -> None:
        """Take the gradient into the sums, renew the roots where it is time, and step."""
        sums, roots = _axes(held, "sum"), _axes(held, "root")
        step = gradient
        due = t <= group["every"] or float(t) % group["every"] == 0
        for (axis, of_gradients), (_, root) in zip(sums, roots, strict=True):
            unfolded = of_axis(gradient, axis)
            of_gradients.addmm_(unfolded, unfolded.T)
            if due:
                root.copy_(in_double(lambda m: inverse_root(m, 2 * len(sums)), of_gradients))
            step = along_axis(root, step, axis)
        weight.sub_(step, alpha=group["lr"])


def inverse_root(matrix: Tensor, degree: int) -> Tensor:
    """Return a positive definite matrix to the power of -1/degree; rounding below 0 counts as nearly 0."""
    values, vectors = torch.linalg.eigh(matrix)
    least = values[-1] * torch.finfo(values.dtype).eps
    power: Tensor = vectors * values.clamp(min=least).pow(-1 / degree) @ vectors.T
    return power


def shampoo(parameters: ParameterGroups, *, lr: float, eps: float, every: int, largest: int) -> Optimizer:
    """W ← W - lr·L^(-1/4)·G·R^(-1/4), L = eps·I + Σ G·Gᵀ, R = eps·I + Σ Gᵀ·G (Gupta et al. 2018, algorithms 1 and 2).

    A weight of k axes has k such sums, to the power of -1/(2k); an axis longer than ``largest`` has none. The roots are
    renewed in each of the first ``every`` steps, and in each ``every``-th from then on (§5 of the paper).
    """
    return uncompiled(Shampoo)(parameters, lr, eps=eps, every=every, largest=largest)


class Soap(EachWeight):
    """See ``soap``."""

    moments = ("mean", "square")

    def __init__(self, parameters: ParameterGroups, lr: float, **settings: Any) -> None:
        super().__init__(parameters, lr, capturable=False, **settings)

    def begin(self, weight: Tensor, gradient: Tensor, group: Mapping[str, Any]) -> Held:
        """Return what is held; of a matrix the first gradient gives the first basis, and is not stepped along."""
        held = super().begin(weight, gradient, group)
        for axis, size in enumerate(weight.shape if weight.ndim > 1 else ()):
            if size <= group["largest"]:
                unfolded = of_axis(gradient, axis)
                of_gradients = (1 - group["betas"][1]) * unfolded @ unfolded.T
                basis = in_double(eigenvectors, of_gradients)
                held |= {PER_AXIS.format(axis, "mean"): of_gradients, PER_AXIS.format(axis, "basis"): basis}
        if _axes(held, "basis"):
            held["step"] -= 1
        return held

    def update(self, weight: Tensor, gradient: Tensor, held: Held, t: Count, group: Mapping[str, Any]) -> None:
        """Make Adam's step in the basis, then turn the basis where it is time."""
        bases, (beta1, beta2) = _axes(held, "basis"), group["betas"]
        if t == 0:
            return
        mean, square = held["mean"].lerp_(gradient, 1 - beta1), held["square"]
        there, mean_there = gradient, mean
        for axis, basis in bases:
            there, mean_there = along_axis(basis.T, there, axis), along_axis(basis.T, mean_there, axis)
        square.mul_(beta2).addcmul_(there, there, value=1 - beta2)
        step = mean_there / unbiased(beta1, t) / (square / unbiased(beta2, t)).sqrt_().add_(group["eps"])
        for axis, basis in bases:
            step = along_axis(basis, step, axis)
        shrink(weight, group)
        weight.sub_(step, alpha=group["lr"])
        for (axis, of_gradients), (_, basis) in zip(_axes(held, "mean"), bases, strict=True):
            unfolded = of_axis(gradient, axis)
            of_gradients.lerp_(unfolded @ unfolded.T, 1 - beta2)
            if float(t) % group["every"] == 0:
                order = (basis * (of_gradients @ basis)).sum(0).argsort(descending=True)
                basis.copy_(turned(of_gradients, basis[:, order]))
                square.copy_(square.index_select(axis, order))


def eigenvectors(matrix: Tensor) -> Tensor:
    """Return a positive matrix's eigenvectors, the largest first, and a fixed basis of what it hardly reaches.

    The eigenvectors of equal values are any basis of their space, and rounding would choose one.
    """
    values, vectors = torch.linalg.eigh(matrix)
    vectors = vectors.flip(1)
    reached = int((values > SHIFT * values.mean()).sum())
    others = vectors[:, reached:]
    drawn = normal(key(derive("basis"), 0, matrix.device), 0, others.shape).to(matrix.dtype)
    return torch.cat([vectors[:, :reached], torch.linalg.qr(others @ (others.T @ drawn))[0]], dim=1)


def turned(matrix: Tensor, basis: Tensor) -> Tensor:
    """Return an orthonormal basis after one power iteration toward a symmetric matrix's eigenvectors.

    A share of the mean eigenvalue is added to all, which leaves the eigenvectors as they are: directions that no
    gradient has had keep their basis, where otherwise rounding would choose one, another in each process and stack.
    """
    shift = SHIFT * matrix.diagonal().mean()
    orthonormal: Tensor = torch.linalg.qr(matrix @ basis + shift * basis)[0]
    return orthonormal


def soap(
    parameters: ParameterGroups,
    *,
    lr: float,
    betas: list[float],
    eps: float,
    weight_decay: float,
    every: int,
    largest: int,
) -> Optimizer:
    """Adam's step in the eigenbases of means of G·Gᵀ and Gᵀ·G, turned by one power iteration each ``every`` steps.

    Vyas et al. 2024, algorithm 3, with Adam's bias correction; see ``turned``. As in its authors' code a matrix's first
    gradient gives the first basis and is not stepped along, and a basis is sorted before it turns. Vectors have Adam's
    step, and an axis longer than ``largest`` no basis of its own. Decoupled decay by lr·weight_decay.
    """
    made = uncompiled(Soap)
    decayed = decaying(parameters, weight_decay)
    return made(decayed, lr, betas=pair(betas), eps=eps, every=every, largest=largest)


class Kron(EachWeight):
    """See ``kron``."""

    moments = ("mean",)

    def __init__(self, parameters: ParameterGroups, lr: float, **settings: Any) -> None:
        super().__init__(parameters, lr, capturable=False, **settings)

    def begin(self, weight: Tensor, gradient: Tensor, group: Mapping[str, Any]) -> Held:
        """Return what is held: a factor for each axis, triangular or a diagonal, and how much of a renewal is due."""
        held = super().begin(weight, gradient, group) | {"due": 0.0}
        for axis, size in enumerate(weight.shape):
            one = torch.ones(size, dtype=weight.dtype, device=weight.device)
            whole = weight.ndim > 1 and size <= group["largest"]
            held[PER_AXIS.format(axis, "factor")] = torch.diag(one) if whole else one
        return held

    def update(self, weight: Tensor, gradient: Tensor, held: Held, t: Count, group: Mapping[str, Any]) -> None:
        """Renew the factors as often as step ``t`` asks, whiten the mean gradient by them, and step."""
        beta, steps = group["momentum"], float(t)
        mean = held["mean"].lerp_(gradient, 1 - beta) / (1 - beta**steps)
        factors = _axes(held, "factor")
        held["due"] += max(group["least"], min(1.0, math.exp(-0.001 * (steps - 1 - group["often"]))))
        if held["due"] >= 1:
            held["due"] -= 1
            _renew(factors, mean, group["factor_lr"])
        for axis, factor in factors:
            mean = along_axis(factor.T @ factor if factor.ndim > 1 else factor**2, mean, axis)
        longest = 1.1 * math.sqrt(mean.numel())
        shrink(weight, group)
        weight.sub_(mean.mul_((longest / torch.linalg.vector_norm(mean)).clamp(max=1.0)), alpha=group["lr"])


def _renew(factors: list[tuple[int, Tensor]], gradient: Tensor, rate: float) -> None:
    """Make Q ← Q - rate·triu(A·Aᵀ - B·Bᵀ)·Q/‖A·Aᵀ + B·Bᵀ‖ of each axis, A = Q·g and B = Q⁻ᵀ·v, v drawn from N(0, I).

    Of B·Bᵀ its expectation over v is taken, in which the inverses of the other axes' factors are numbers.
    """
    whitened, inverses = gradient, []
    for axis, factor in factors:
        whitened = along_axis(factor, whitened, axis)
        eye = torch.ones_like(factor) if factor.ndim == 1 else torch.eye(len(factor)).to(factor)
        upper = factor.ndim > 1
        inverses.append(torch.linalg.solve_triangular(factor, eye, upper=True) if upper else 1 / factor)
    sizes = [inverse.square().sum() for inverse in inverses]
    for (axis, factor), inverse, size in zip(factors, inverses, sizes, strict=True):
        others, a = torch.stack(sizes).prod() / size, of_axis(whitened, axis)
        if factor.ndim == 1:
            first, second = a.square().sum(1), others * inverse.square()
            factor.sub_(rate / (first + second).max() * (first - second) * factor)
        else:
            first, second = a @ a.T, others * inverse.T @ inverse
            factor.sub_(rate / spectral_norm(first + second) * torch.triu(first - second) @ factor)


def spectral_norm(matrix: Tensor) -> Tensor:
    """Return a lower bound of a positive definite matrix's largest eigenvalue, of one power iteration."""
    first = matrix @ matrix[:, matrix.norm(dim=0).argmax()]
    bound: Tensor = torch.linalg.vector_norm(matrix @ (first / torch.linalg.vector_norm(first)))
    return bound


def kron(
    parameters: ParameterGroups,
    *,
    lr: float,
    momentum: float,
    weight_decay: float,
    factor_lr: float,
    often: int,
    least: float,
    largest: int,
) -> Optimizer:
    """PSGD: the mean gradient whitened by P = QᵀQ, Q a Kronecker product of triangular factors, one for each axis.

    Li 2018 (arXiv 1809.10232, §4) and Pooladzandi & Li 2024 (arXiv 2402.04553): see ``_renew``. The factors are renewed
    in each of the first ``often`` steps, then ever more seldom, down to a share ``least`` of the steps. The root mean
    square of a step over lr is 1.1 at most. Decoupled decay by lr·weight_decay.
    """
    return uncompiled(Kron)(
        decaying(parameters, weight_decay),
        lr,
        momentum=momentum,
        factor_lr=factor_lr,
        often=often,
        least=least,
        largest=largest,
    )
