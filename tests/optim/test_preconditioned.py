"""Optimizers of curvature and of Kronecker products against their published updates, written out in float64.

Whole matrices stand where the optimizers hold factors: a weight is a vector, and what multiplies it is their Kronecker
product.
"""

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from runner import optim
from runner.noise import derive, key, normal
from runner.optim.kronecker import eigenvectors, turned
from tests.support.records import run_folder, summary_of
from tests.support.stepped import Weights, assert_published, path_of, problem, start

B = [0.8, 0.9]


def power(matrix: Tensor, exponent: float) -> Tensor:
    values, vectors = torch.linalg.eigh(matrix)
    return vectors @ torch.diag(values**exponent) @ vectors.T


def published_mars(lr: float, betas: list[float], eps: float, decay: float, gamma: float) -> list[Weights]:
    """Yuan et al. 2024, algorithm 2, approximate."""
    w, m, v, before, path = start(), [0.0, 0.0], [0.0, 0.0], [None, None], []
    for t, gradients in enumerate(problem(), 1):
        for i, g in enumerate(gradients(w)):
            c = g + gamma * betas[0] / (1 - betas[0]) * (g - (g if before[i] is None else before[i]))
            before[i] = g
            c = c / c.norm() if c.norm() > 1 else c
            m[i], v[i] = betas[0] * m[i] + (1 - betas[0]) * c, betas[1] * v[i] + (1 - betas[1]) * c**2
            u = (m[i] / (1 - betas[0] ** t)) / ((v[i] / (1 - betas[1] ** t)) ** 0.5 + eps)
            w[i] = w[i] - lr * (u + (decay * w[i] if i == 0 else 0.0))
        path.append([*w])
    return path


def published_shampoo(lr: float, eps: float, every: int) -> list[Weights]:
    """Gupta et al. 2018, algorithm 1 on the matrix, as one product of 12 × 12; algorithm 2 on the vector."""
    w, path = start(), []
    left, right, of_bias = (eps * torch.eye(n, dtype=torch.float64) for n in (3, 4, 3))
    for t, gradients in enumerate(problem(), 1):
        g, b = gradients(w)
        left, right, of_bias = left + g @ g.T, right + g.T @ g, of_bias + torch.outer(b, b)
        if t <= every or t % every == 0:
            whole = torch.kron(power(left, -1 / 4), power(right, -1 / 4))
            root = power(of_bias, -1 / 2)
        w = [w[0] - lr * (whole @ g.flatten()).view(3, 4), w[1] - lr * root @ b]
        path.append([*w])
    return path


def published_soap(lr: float, betas: list[float], eps: float, decay: float, every: int) -> list[Weights]:
    """Vyas et al. 2024, algorithm 3: the matrix in one basis of 12 × 12, Adam on the vector."""
    w, path, m, v = start(), [], [0.0, 0.0], [0.0, 0.0]
    basis, t = None, [0, 0]

    def power_iteration(mean: Tensor, q: Tensor) -> Tensor:
        return torch.linalg.qr((mean + 1e-2 * mean.trace() / len(mean) * torch.eye(len(mean))) @ q)[0]

    for gradients in problem():
        gs = gradients(w)
        outer = [gs[0] @ gs[0].T, gs[0].T @ gs[0]]
        for i, g in enumerate(gs):
            if i == 0 and basis is None:
                means = [(1 - betas[1]) * matrix for matrix in outer]
                basis = [torch.linalg.eigh(mean)[1].flip(1) for mean in means]
                continue
            t[i] += 1
            q = torch.kron(*basis) if i == 0 else torch.eye(3, dtype=torch.float64)
            there = q.T @ g.flatten()
            m[i], v[i] = betas[0] * m[i] + (1 - betas[0]) * g.flatten(), betas[1] * v[i] + (1 - betas[1]) * there**2
            u = (q.T @ m[i] / (1 - betas[0] ** t[i])) / ((v[i] / (1 - betas[1] ** t[i])) ** 0.5 + eps)
            w[i] = (1 - lr * decay * (i == 0)) * w[i] - lr * (q @ u).view_as(w[i])
            if i == 0:
                means = [betas[1] * mean + (1 - betas[1]) * matrix for mean, matrix in zip(means, outer, strict=True)]
                if t[0] % every == 0:
                    orders = [
                        (q.T @ x @ q).diagonal().argsort(descending=True) for x, q in zip(means, basis, strict=True)
                    ]
                    v[0] = v[0].view(3, 4)[orders[0]][:, orders[1]].flatten()
                    basis = [power_iteration(x, q[:, o]) for x, q, o in zip(means, basis, orders, strict=True)]
        path.append([*w])
    return path


def published_kron(lr: float, momentum: float, rate: float) -> list[Weights]:
    """Pooladzandi & Li 2024: Q ← Q - rate·triu(AAᵀ - BBᵀ)Q/‖AAᵀ + BBᵀ‖, each factor's part of a 12 × 12 matrix."""
    w, path, m = start(), [], [0.0, 0.0]
    one, two, of_bias = (torch.eye(n, dtype=torch.float64) for n in (3, 4, 3))

    def bound(matrix: Tensor) -> Tensor:
        x = matrix @ matrix[:, matrix.square().sum(0).argmax()]
        return (matrix @ x).norm() / x.norm()

    for t, gradients in enumerate(problem(), 1):
        for i, g in enumerate(gradients(w)):
            m[i] = momentum * m[i] + (1 - momentum) * g
            mean = m[i] / (1 - momentum**t)
            if i == 0:
                a = (torch.kron(one, two) @ mean.flatten()).view(3, 4)
                inverse = torch.linalg.inv(torch.kron(one, two)).T  # E[B·Bᵀ] over v: traces of blocks of its square
                blocks = (inverse @ inverse.T).view(3, 4, 3, 4)
                of_one, of_two = blocks.diagonal(dim1=1, dim2=3).sum(-1), blocks.diagonal(dim1=0, dim2=2).sum(-1)
                new = []
                for q, first, second in ((one, a @ a.T, of_one), (two, a.T @ a, of_two)):
                    new.append(q - rate * torch.triu(first - second) @ q / bound(first + second))
                one, two = new
                whole = torch.kron(one, two)
            else:
                first, second = torch.diag((of_bias @ mean) ** 2), torch.linalg.inv(of_bias) ** 2
                of_bias = of_bias - rate * (first - second) @ of_bias / (first + second).max()
                whole = of_bias
            u = (whole.T @ whole @ mean.flatten()).view_as(w[i])
            w[i] = w[i] - lr * u * min(1.0, 1.1 / float((u**2).mean() ** 0.5))
        path.append([*w])
    return path


SOAPED = {"betas": B, "eps": 1e-3, "weight_decay": 0.3, "every": 3}
CASES = {
    "mars": (
        optim.mars,
        {"lr": 0.1, "betas": B, "eps": 1e-3, "weight_decay": 0.3, "gamma": 0.2},
        published_mars(0.1, B, 1e-3, 0.3, 0.2),
    ),
    **{
        f"shampoo, roots every {every}": (
            optim.shampoo,
            {"lr": 0.3, "eps": 1e-2, "every": every, "largest": 9},
            published_shampoo(0.3, 1e-2, every),
        )
        for every in (1, 4)
    },
    "soap": (optim.soap, {"lr": 0.1, "largest": 9, **SOAPED}, published_soap(0.1, B, 1e-3, 0.3, 3)),
    "kron": (
        optim.kron,
        {"lr": 0.1, "momentum": 0.7, "weight_decay": 0.0, "factor_lr": 0.2, "often": 500, "least": 0.03, "largest": 9},
        published_kron(0.1, 0.7, 0.2),
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_every_step_is_the_published_update(name: str) -> None:
    make, settings, published = CASES[name]
    assert_published(path_of(make, **settings), published)


def test_an_axis_that_is_too_long_is_left_as_it_is() -> None:
    one_sided = path_of(optim.shampoo, lr=0.3, eps=1e-2, every=1, largest=3)
    w, left = start()[0], 1e-2 * torch.eye(3, dtype=torch.float64)
    for gradients, (_, bias) in zip(problem(), [start(), *one_sided], strict=False):
        g = gradients([w, bias])[0]
        left = left + g @ g.T
        w = w - 0.3 * power(left, -1 / 2) @ g
    torch.testing.assert_close(one_sided[-1][0], w, atol=1e-10, rtol=0)


def test_kron_renews_its_factors_ever_more_seldom(monkeypatch: pytest.MonkeyPatch) -> None:
    weight = nn.Parameter(torch.ones(2, 2))
    weight.grad = torch.ones(2, 2)
    settings = {"momentum": 0.9, "weight_decay": 0.0, "factor_lr": 0.1, "often": 10, "least": 0.25, "largest": 9}
    optimizer = optim.kron([{"params": [weight], "decayed": True}], lr=1e-3, **settings)
    renewed: list[int] = []
    monkeypatch.setattr(
        "runner.optim.kronecker._renew", lambda *of: renewed.append(int(optimizer.state[weight]["step"]))
    )
    for _ in range(2000):
        optimizer.step()
    assert renewed[:10] == [*range(1, 11)]
    assert sum(step > 1500 for step in renewed) == pytest.approx(500 / 4, abs=1)  # exp(-0.001·1400) < 0.25


def published_sophia(lr: float, betas: list[float], eps: float, decay: float, gamma: float, every: int):
    """Liu et al. 2024, algorithm 3 with algorithm 1; the estimates on the way."""
    w, m, h, path = start(), [0.0, 0.0], [0.0, 0.0], []
    for t, gradients in enumerate(problem()):
        gs = gradients(w)
        if t % every == 0:
            us = [normal(key(5, t), derive("curvature", i), x.shape).double() for i, x in enumerate(w)]
            ahead, behind = (gradients([x + s * u for x, u in zip(w, us, strict=True)]) for s in (0.5, -0.5))
            for i, u in enumerate(us):  # of a quadratic the difference of gradients is the Hessian's product
                h[i] = betas[1] * h[i] + (1 - betas[1]) * u * (ahead[i] - behind[i])
        for i, g in enumerate(gs):
            m[i] = betas[0] * m[i] + (1 - betas[0]) * g
            w[i] = w[i] - lr * decay * (i == 0) * w[i]
            w[i] = w[i] - lr * (m[i] / torch.clamp(gamma * h[i], min=eps)).clamp(-1, 1)
        path.append([*w])
    return path


class Batch:
    """The batch of a step of the problem. Its loss is quadratic: the Hessian times v is a difference of gradients."""

    def __init__(self, step: int, gradients: Callable[[Weights], Weights], weights: Sequence[Tensor]) -> None:
        self.key, self._gradients, self._weights = key(5, step), gradients, weights

    def hessian_times(self, vectors: Sequence[Tensor]) -> Weights:
        there = self._gradients([w + v for w, v in zip(self._weights, vectors, strict=True)])
        return [a - b for a, b in zip(there, self._gradients([*self._weights]), strict=True)]


def test_sophia_steps_as_published() -> None:
    settings = {"betas": B, "eps": 1e-6, "weight_decay": 0.3, "gamma": 2.0, "every": 4}
    path = path_of(optim.sophia, closure=Batch, lr=0.1, **settings)
    assert_published(path, published_sophia(0.1, B, 1e-6, 0.3, 2.0, 4))
    cut = [abs((b - 0.97 * a)[0]) for (a, _), (b, _) in zip([start(), *path], path, strict=False)]
    assert any((c > 0.0999).any() for c in cut) and any((c < 0.09).any() for c in cut)  # some entries are cut


def test_a_basis_turns_to_the_eigenvectors_and_rounding_chooses_none() -> None:
    drawing = torch.Generator().manual_seed(0)
    vectors = torch.linalg.qr(torch.randn(6, 6, dtype=torch.float64, generator=drawing))[0]
    matrix = vectors @ torch.diag(torch.tensor([9.0, 3.0, 1.0, 0.0, 0.0, 0.0]).double()) @ vectors.T
    noise = 1e-14 * torch.randn(6, 6, dtype=torch.float64, generator=drawing)
    found, beside = (eigenvectors(m) for m in (matrix, matrix + noise @ noise.T + noise + noise.T))
    torch.testing.assert_close(beside.abs(), found.abs(), atol=1e-11, rtol=0)
    torch.testing.assert_close((found.T @ vectors).abs()[:3, :3], torch.eye(3).double(), atol=1e-11, rtol=0)
    torch.testing.assert_close(found.T @ found, torch.eye(6).double(), atol=1e-12, rtol=0)
    torch.testing.assert_close(turned(matrix, found).abs(), found.abs(), atol=1e-11, rtol=0)
    off = torch.linalg.qr(found + 0.1 * torch.randn(6, 6, dtype=torch.float64, generator=drawing))[0]
    for _ in range(40):
        off = turned(matrix, off)
    torch.testing.assert_close((off.T @ vectors).abs()[:3, :3], torch.eye(3).double(), atol=1e-8, rtol=0)


@pytest.mark.parametrize("optim", ["soap", "shampoo", "kron"])
def test_a_run_that_leaves_the_numbers_diverges_and_does_not_fail(optim: str, optbench: Callable, folder: Path) -> None:
    asked = ["model.width=8", "loss=mse", "max_steps=40", "optim.lr=1e30"]
    assert optbench("train", *asked, f"optim={optim}").code == 0
    assert summary_of(run_folder(folder))["status"] == "diverged"
