"""How a model is spread and a saved state taken up: by the one process of a group of one, as by each of several."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from runner.engine import loop
from runner.engine.layout import CHANNELS_LAST, CONTIGUOUS
from runner.engine.state import start
from runner.finetune.low_rank import lora
from runner.parallel import Layout
from runner.parallel.processes import Processes
from runner.run.build import build
from runner.run.job import Job
from tests.support.lone_group import lone_group
from tests.support.loops import never

SHARDED = Layout(data=1, sharded=True)


@pytest.fixture(autouse=True)
def _group(tmp_path: Path) -> Iterator[None]:
    with lone_group(tmp_path):
        yield


class Nested(nn.Module):
    """Layers in lists within a list; one of them stands in two."""

    def __init__(self) -> None:
        super().__init__()
        self.stages = nn.ModuleList([nn.ModuleList([nn.Linear(4, 4), nn.Linear(4, 4)]), nn.ModuleList([nn.Tanh()])])
        self.last = nn.ModuleList([self.stages[0][1], nn.Linear(4, 2)])  # type: ignore[index]

    def forward(self, x: Tensor) -> Tensor:
        for stage in self.stages:
            for layer in stage:  # type: ignore[union-attr]
                x = layer(x)
        for layer in self.last:
            x = layer(x)
        return x


@pytest.mark.parametrize("rank", [None, 2])
def test_layers_in_lists_and_with_low_rank_parts_are_sharded_and_trained(rank: int | None) -> None:
    model, x = Nested(), torch.randn(5, 4)
    if rank is not None:
        lora(rank=rank, alpha=1.0).parametrize(model, x)
    expected = model(x).detach()
    spread = Processes(SHARDED, "cpu", x[:1], False).model(model)
    torch.testing.assert_close(spread(x), expected)
    spread(x).square().sum().backward()
    assert [n for n, p in spread.named_parameters() if p.requires_grad and p.grad is None] == []
    assert all(hasattr(p, "placements") for p in spread.parameters())


@pytest.mark.parametrize("layout", [SHARDED, Layout(data=1)], ids=["fsdp", "ddp"])
def test_a_run_that_began_in_channels_last_goes_on_spread(layout: Layout, job: Callable[..., Job]) -> None:
    run = build(job("device=cpu", "data.fraction=0.05", "model=cnn", "optim=momentum", "max_steps=4", "eval_every=2"))
    begun = start(run)
    begun.lay_out(CHANNELS_LAST)
    for _ in loop.train(begun, lambda state, loss: state.step == 2):
        if begun.step == 2:
            break
    saved = begun.state_dict()
    spread = Processes(layout, "cpu", run.train.x[:1], False)
    state = start(replace(run, spread=spread))
    state.load_state_dict(spread.part(saved, state))
    assert state.step == 2 and state.layout == CONTIGUOUS
    held = [h["momentum_buffer"] for h in state.optimizer.state.values()]
    assert all(tensor.is_contiguous() for tensor in held)
    for _ in loop.train(state, never):
        pass
    assert state.step == 4
