"""Forms of convolutional networks that are faster and no different."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from runner.model import convolution


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_pooling_before_relu_is_relu_before_pooling_to_the_bit(layout: torch.memory_format) -> None:
    torch.manual_seed(0)
    model = convolution.cnn((3, 13, 10), 4, width=8, depth=2, activation="relu").to(memory_format=layout)
    assert isinstance(model, convolution.CNN)
    x, y = torch.randn(32, 3, 13, 10).round(decimals=1), torch.randint(0, 4, (32,))

    def by_hand(x: torch.Tensor) -> torch.Tensor:
        for block in model.blocks:
            x = F.max_pool2d(torch.relu(block(x)), 2)
        return model.readout(x.flatten(1))  # type: ignore[no-any-return]

    def gradients(outputs: torch.Tensor) -> list[torch.Tensor]:
        return list(torch.autograd.grad(F.cross_entropy(outputs, y), list(model.parameters())))

    assert torch.equal(by_hand(x), model(x))
    assert all(map(torch.equal, gradients(by_hand(x)), gradients(model(x))))


def test_other_activations_come_before_pooling() -> None:
    model = convolution.cnn((1, 8, 8), 4, width=8, depth=1, activation="silu")
    x = torch.randn(4, 1, 8, 8)
    expected = F.max_pool2d(nn.functional.silu(model.blocks[0](x)), 2).flatten(1)  # type: ignore[index, operator]
    assert torch.equal(model.readout(expected), model(x))  # type: ignore[operator]
