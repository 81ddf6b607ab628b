"""Batch norm over several processes is torch's: of half types too, whose sums it takes in float32."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
from torch import nn

from runner.parallel.norms import Counted, measure_together
from tests.support.lone_group import lone_group


@pytest.fixture
def group(tmp_path: Path) -> Iterator[dist.ProcessGroup]:
    with lone_group(tmp_path) as group:
        yield group


@pytest.mark.filterwarnings("ignore:torch.distributed.nn.functional.all_reduce is deprecated")
@pytest.mark.parametrize("kind", [torch.float64, torch.float32, torch.bfloat16])
def test_it_is_torchs_own_whatever_the_type_of_what_comes_in(kind: torch.dtype, group: dist.ProcessGroup) -> None:
    alone, together, counted = nn.BatchNorm1d(3), nn.BatchNorm1d(3), Counted()
    if kind == torch.float64:
        alone, together = alone.double(), together.double()
    measure_together(together, group, counted)
    counted.summed = True
    x = (2.0 + torch.randn(1001, 3, generator=torch.Generator().manual_seed(0))).to(kind)
    found = []
    for norm in (alone, together):
        leaf = x.clone().requires_grad_()
        with torch.autocast("cpu", torch.bfloat16, enabled=kind == torch.bfloat16):
            out = norm(leaf)
        out.double().square().mul(torch.arange(3)).sum().backward()
        found.append((out, leaf.grad, norm.weight.grad, norm.bias.grad, norm.running_mean, norm.running_var))
    for other, ours in zip(*found, strict=True):
        assert ours is not None and other is not None and ours.dtype == other.dtype
        half = ours.dtype == torch.bfloat16
        torch.testing.assert_close(ours, other, rtol=1e-2 if half else 1e-5, atol=2e-2)
    torch.testing.assert_close(together.running_mean, alone.running_mean, rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(together.running_var, alone.running_var, rtol=1e-6, atol=1e-6)
