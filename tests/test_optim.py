"""Optimizers against their published updates, written out in float64."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from runner import optim

STEPS = 10


def gradients() -> list[Tensor]:
    g = torch.Generator().manual_seed(0)
    return [torch.randn(3, 4, dtype=torch.float64, generator=g) for _ in range(STEPS)]


def start() -> Tensor:
    return torch.linspace(-1, 1, 12, dtype=torch.float64).reshape(3, 4)


def ours(make: Callable, name: str = "weight") -> list[Tensor]:
    layer = nn.Linear(4, 3, dtype=torch.float64)
    with torch.no_grad():
        layer.weight.copy_(start())
    optimizer = make(optim.parameter_groups(layer, decay_bias_and_norm=False))
    path = []
    for gradient in gradients():
        layer.weight.grad = gradient.clone()
        layer.bias.grad = torch.zeros(3, dtype=torch.float64)
        optimizer.step()
        path.append(layer.weight.detach().clone())
    return path


def published_sgd(lr: float, momentum: float, nesterov: bool) -> list[Tensor]:
    w, v, path = start(), torch.zeros(3, 4, dtype=torch.float64), []
    for g in gradients():
        v = momentum * v + g
        w = w - lr * (g + momentum * v if nesterov else v)
        path.append(w)
    return path


def published_adam(lr: float, b1: float, b2: float, eps: float, decay: float) -> list[Tensor]:
    w, m, v, path = start(), 0.0, 0.0, []
    for t, g in enumerate(gradients(), 1):
        m, v = b1 * m + (1 - b1) * g, b2 * v + (1 - b2) * g**2
        w = w - lr * decay * w
        w = w - lr * (m / (1 - b1**t)) / ((v / (1 - b2**t)) ** 0.5 + eps)
        path.append(w)
    return path


@pytest.mark.parametrize(
    ("make", "published"),
    [
        (lambda p: optim.gd(p, lr=0.1), published_sgd(0.1, 0, False)),
        (lambda p: optim.sgd(p, lr=0.1, momentum=0, nesterov=False), published_sgd(0.1, 0, False)),
        (lambda p: optim.sgd(p, lr=0.1, momentum=0.8, nesterov=False), published_sgd(0.1, 0.8, False)),
        (lambda p: optim.sgd(p, lr=0.1, momentum=0.8, nesterov=True), published_sgd(0.1, 0.8, True)),
        (lambda p: optim.adam(p, lr=0.1, betas=[0.8, 0.9], eps=1e-3), published_adam(0.1, 0.8, 0.9, 1e-3, 0)),
        (
            lambda p: optim.adamw(p, lr=0.1, betas=[0.8, 0.9], eps=1e-3, weight_decay=0.3),
            published_adam(0.1, 0.8, 0.9, 1e-3, 0.3),
        ),
    ],
    ids=["gd", "sgd", "momentum", "nesterov", "adam", "adamw"],
)
def test_one_and_ten_steps_are_the_published_update(make: Callable, published: list[Tensor]) -> None:
    path = ours(make)
    for step in (0, STEPS - 1):
        torch.testing.assert_close(path[step], published[step], rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("reached", [False, True])
def test_decay_reaches_biases_only_where_asked(reached: bool) -> None:
    layer = nn.Linear(4, 3)
    optimizer = optim.adamw(
        optim.parameter_groups(layer, reached), lr=0.1, betas=[0.9, 0.99], eps=1e-8, weight_decay=0.5
    )
    before = layer.bias.detach().clone()
    layer.weight.grad, layer.bias.grad = torch.zeros(3, 4), torch.zeros(3)
    optimizer.step()
    torch.testing.assert_close(layer.bias.detach(), before * (0.95 if reached else 1.0))


def test_decoupled_decay_on_adam_is_adamw(job: Callable) -> None:
    from tests.test_loop import final_weights

    coupled = ["optim.lr=0.01", "max_steps=30", "dtype=float64"]
    adamw = final_weights(job("optim=adamw", "optim.weight_decay=0.1", *coupled))
    adam = final_weights(
        job("optim=adam", "regularization=weight_decay", "regularization.weight_decay.rate=0.1", *coupled)
    )
    for a, b in zip(adamw, adam, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-12)


def test_coupled_l2_is_decoupled_decay_for_sgd_and_not_for_adam(job: Callable) -> None:
    from tests.test_loop import final_weights

    def difference(optimizer: str) -> float:
        common = [f"optim={optimizer}", "optim.lr=0.01", "max_steps=30", "dtype=float64"]
        l2 = final_weights(job(*common, "regularization=l2", "regularization.l2.strength=0.1"))
        decay = final_weights(job(*common, "regularization=weight_decay", "regularization.weight_decay.rate=0.1"))
        return max((a - b).abs().max().item() for a, b in zip(l2, decay, strict=True))

    assert difference("sgd") < 1e-12
    assert difference("adam") > 1e-3
