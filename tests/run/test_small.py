"""Small data and small networks: batches that fit, and one thread."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from tests.support.made_data import make_table
from tests.support.records import run_folder, summary_of

TABLE = ["data=csv", "data.path=t.csv", "data.label=bought", "epochs=1"]


def test_the_default_batch_shrinks_to_the_data(job: Callable, optbench: Callable, folder: Path) -> None:
    make_table(folder / "t.csv")
    shrunk = job(*TABLE)
    assert shrunk.config["batch"]["size"] == 44  # of 60 rows, 44 train
    assert shrunk.run_id == job(*TABLE, "batch.size=44").run_id
    assert job(*TABLE, "batch.micro=44").run_id == shrunk.run_id  # it divides nothing
    assert job("data=digits").config["batch"]["size"] == 64
    refused = optbench("train", *TABLE, "batch.size=64")
    assert refused.code == 2 and "batch.size must be ≤ 44, the number of training samples, got 64" in refused.err
    assert optbench("train", *TABLE).code == 0
    assert job(*TABLE, "optim=gd").config["batch"]["size"] is None


@pytest.fixture
def _two_threads() -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize(
    ("asked", "threads"),
    [
        (["model.width=16"], 1),
        (["model.width=16", "threads=2"], 2),
        (["model.width=16", "engine=fused"], 1),
        (["model.width=2048", "max_steps=1"], 2),
        (["model=cnn", "max_steps=1"], 1),
    ],
)
@pytest.mark.usefixtures("_two_threads")
def test_small_networks_train_on_one_thread(asked: list[str], threads: int, optbench: Callable, folder: Path) -> None:
    length = [] if "max_steps=1" in asked else ["max_steps=2"]
    assert optbench("train", *asked, *length).code == 0
    assert summary_of(run_folder(folder))["threads"] == threads
    assert torch.get_num_threads() == 2
