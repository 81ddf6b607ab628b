"""How many samples a device holds, and a batch that is larger."""

import copy
from collections.abc import Callable
from dataclasses import dataclass

import pytest
import torch

from runner.engine import accumulate, loop
from runner.engine.memory import COPIES
from runner.engine.state import start
from runner.run import memory
from runner.run.build import build
from tests.support.known import MNIST_ROOT


def test_a_forward_pass_keeps_the_inputs_of_every_layer(job: Callable) -> None:
    model = start(build(job("model.width=32", "model.depth=2"))).model
    kept = [memory.kept_bytes(model, torch.randn(n, 1, 8, 8)) for n in (10, 20)]
    assert kept[1] - kept[0] == 10 * 4 * (64 + 32 + 32)


@pytest.mark.parametrize(
    ("memory_bytes", "expected"), [(1000 + 256 * 8, None), (1000 + 256 * 8 - 1, 128), (1000 + 9 * 8, 8), (10, 1)]
)
def test_what_does_not_fit_is_taken_apart_by_powers_of_two(memory_bytes: int, expected: int | None) -> None:
    assert memory.most_samples(memory_bytes, weights=200, sample=8, size=256) == expected


def test_auto_takes_a_batch_apart_that_a_device_does_not_hold(job: Callable, monkeypatch: pytest.MonkeyPatch) -> None:
    @dataclass
    class Device:
        total_memory: int

    asked = ["batch=auto", "model.width=32", "model.depth=2"]
    weights = 4 * (64 * 32 + 32 + 32 * 32 + 32 + 32 * 10 + 10)
    room = 5 * weights + 20 * 4 * (64 + 32 + 32)
    monkeypatch.setattr(memory, "select_device", lambda *asked: torch.device("cuda"))
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device: Device(2 * room))
    before = copy.copy(torch.get_rng_state())
    assert (job(*asked).config["batch"]["size"], job(*asked).config["batch"]["micro"]) == (32, 16)
    assert job(*asked, "batch.micro=4").config["batch"]["micro"] == 4
    assert torch.equal(before, torch.get_rng_state())
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device: Device(4 * room))
    assert job(*asked).run_id == job(*asked, "device=cpu").run_id


@pytest.mark.cuda
@pytest.mark.mnist
@pytest.mark.parametrize("model", [["model=mlp", "model.width=512"], ["model=cnn", "model.width=32"]], ids=str)
def test_a_step_takes_no_more_of_a_device_than_the_rule_leaves_room_for(model: list[str], job: Callable) -> None:
    """What the rule estimates is half of the memory there is: twice of it must hold what a step really takes."""
    given = ["data=mnist", f"data.root={MNIST_ROOT}", f"batch.size={SAMPLES}", "optim=adamw", "device=cuda"]
    this = job(*model, *given)
    weights, sample = memory._bytes(this.config, this.source, this.allow)
    state = start(build(this))
    x, y = state.run.train.x[:SAMPLES], state.run.train.y[:SAMPLES]
    before = torch.cuda.memory_allocated()
    for _ in range(2):  # the optimizer's moments are there from the first step on
        torch.cuda.reset_peak_memory_stats()
        accumulate.gradient(state, x, y, loop._loss)
        loop._update(state, x, y, 1e-3, None)
    taken = torch.cuda.max_memory_allocated() - before + weights
    assert taken <= (COPIES * weights + len(x) * sample) / memory.SHARE + CUBLAS_BYTES


SAMPLES = 4096
"""Of 28 × 28: of small images and batches what cuDNN sets aside for itself is more than the step takes."""
CUBLAS_BYTES = 64 * 2**20
"""At most, of the workspace that cuBLAS takes with a process's first product."""
