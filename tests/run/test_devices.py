"""Each of several devices gives what the others do."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from tests.support.known import TINY
from tests.support.records import run_folder, without_timing


@pytest.mark.cuda
def test_every_device_gives_the_same_rows(optbench: Callable, folder: Path) -> None:
    if torch.cuda.device_count() < 2:
        pytest.skip("one device")
    found = []
    for number in range(torch.cuda.device_count()):
        result = optbench(
            "train", *TINY, f"device=cuda:{number}", "deterministic=true", "dtype=float64", f"name=d{number}"
        )
        assert result.code == 0, result.err
        found.append(without_timing(run_folder(folder, f"d{number}")))
    assert found.count(found[0]) == len(found)
