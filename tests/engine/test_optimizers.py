"""Optimizers as an engine uses them."""

import pytest
import torch
from torch import nn

from runner.engine.optimizers import uncompiled


@pytest.mark.parametrize("kind", [torch.optim.SGD, torch.optim.AdamW, torch.optim.RMSprop, torch.optim.Adafactor])
def test_an_optimizer_beneath_its_wrappers_steps_and_is_saved_as_torchs_own(kind: type[torch.optim.Optimizer]) -> None:
    stepped = []
    for of in (kind, uncompiled(kind)):
        weight = nn.Parameter(torch.linspace(-1, 1, 12))
        optimizer = of([weight], lr=0.01)
        for gradient in torch.randn(10, 12, generator=torch.Generator().manual_seed(0)):
            weight.grad = gradient
            optimizer.step()
        optimizer.zero_grad()
        assert weight.grad is None
        assert not optimizer.state[weight] or all(not v.requires_grad for v in optimizer.state[weight].values())
        resumed = of([nn.Parameter(weight.detach().clone())], lr=1.0)
        resumed.load_state_dict(optimizer.state_dict())
        assert resumed.param_groups[0]["lr"] == 0.01
        stepped.append(weight.detach())
    assert torch.equal(*stepped)
    assert isinstance(optimizer, kind) and type(optimizer).__name__ == kind.__name__
