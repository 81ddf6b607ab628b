"""A user's own model whose layers learn their sizes from what they are given first."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from runner.init import construct
from runner.model.own import custom
from tests.support.records import Result


class Lazy(nn.Module):
    def __init__(self, outputs: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Flatten(), nn.LazyLinear(8), nn.LazyBatchNorm1d(), nn.LazyLinear(outputs))

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(x)


def built(seed: int) -> nn.Module:
    return construct(lambda: custom((3, 4), 2, target=Lazy, args={}), seed, None, 0.0, lambda: torch.zeros(1))


def test_lazy_layers_have_weights_that_follow_the_seed() -> None:
    one, same, other = built(0), built(0), built(1)
    weights = [model.get_parameter("layers.1.weight") for model in (one, same, other)]
    assert weights[0].shape == (8, 12) and one.training
    assert torch.equal(weights[0], weights[1]) and not torch.equal(weights[0], weights[2])
    assert torch.equal(one.get_buffer("layers.2.running_mean"), torch.zeros(8))


def test_a_model_of_lazy_layers_is_trained(optbench: Callable[..., Result]) -> None:
    done = optbench("train", "model=custom", "model.target=tests.model.test_own.Lazy", "max_steps=2", "baselines=false")
    assert done.code == 0, done.err
