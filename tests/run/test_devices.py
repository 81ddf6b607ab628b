"""Devices: one is chosen by its kind, and which of several by the environment."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from tests.support.known import TINY
from tests.support.records import run_folder, without_timing


@pytest.mark.parametrize("device", ["cuda:0", "cuda:1"])
def test_a_device_by_its_number_is_refused(device: str, optbench: Callable, folder: Path) -> None:
    refused = optbench("train", *TINY, f"device={device}")
    assert refused.code == 2
    assert f"device must be one of auto, cpu, cuda, mps, got '{device}'; did you mean 'cuda'?" in refused.err
    assert not (folder / "outputs").exists()


@pytest.mark.cuda
def test_every_device_gives_the_same_rows(folder: Path) -> None:
    if torch.cuda.device_count() < 2:
        pytest.skip("one device")
    found = []
    for number in range(torch.cuda.device_count()):
        asked = [*TINY, "device=cuda", "deterministic=true", "dtype=float64", f"name=device{number}"]
        subprocess.run(
            [sys.executable, "-m", "runner", "train", *asked],
            env={**os.environ, "CUDA_VISIBLE_DEVICES": str(number)},
            check=True,
        )
        found.append(without_timing(run_folder(folder, f"device{number}")))
    assert found.count(found[0]) == len(found)
