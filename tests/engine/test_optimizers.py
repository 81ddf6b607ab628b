"""Optimizers as an engine uses them."""

import pytest
import torch
from torch import nn

from runner.engine import optimizers
from runner.engine.optimizers import noticing_lost_state, uncompiled


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


class Forgetful(torch.optim.SGD):
    """Counts steps and averages gradients where a checkpoint does not look."""

    def __init__(self, parameters: list[nn.Parameter], lr: float) -> None:
        super().__init__(parameters, lr)
        self.steps, self.limit, self.flat = 0, 7, [p for group in self.param_groups for p in group["params"]]
        self.averages = {"first": [torch.zeros_like(p) for p in self.flat]}

    def step(self, closure: object = None) -> None:
        self.steps += 1
        self.averages["first"][0] += self.flat[0].grad
        super().step()


class Careful(Forgetful):
    """Saves it by itself."""

    def state_dict(self) -> dict[str, object]:
        return super().state_dict() | {"steps": self.steps, "averages": self.averages}


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        (Forgetful, "optbench: Forgetful keeps self.steps, self.averages outside self.state and state_dict"),
        (Careful, ""),
        (torch.optim.AdamW, ""),
        (torch.optim.LBFGS, ""),
        (uncompiled(torch.optim.Adam), ""),
    ],
)
def test_state_that_no_checkpoint_holds_is_told_of_once(
    kind: type[torch.optim.Optimizer], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    optimizers._say_once.cache_clear()
    for _ in range(2):
        weight = nn.Parameter(torch.ones(3))
        weight.grad = torch.ones(3)
        optimizer = noticing_lost_state(kind([weight], lr=0.1))
        for _ in range(3):
            optimizer.step(lambda: 0.0)
    err = capsys.readouterr().err
    assert err.startswith(said) and err.count("\n") == (1 if said else 0)
