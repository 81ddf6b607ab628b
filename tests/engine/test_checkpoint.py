"""Checkpoints: whole or refused, data and never code."""

import os
import random
from pathlib import Path

import pytest
import torch

from runner.engine import checkpoint
from runner.errors import RecordError

CONTENT = {"model": {"w": torch.arange(600.0).reshape(20, 30)}, "counters": {"step": 3, "stop_reason": None}}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    saved = tmp_path / "checkpoint.pt"
    checkpoint.save(saved, CONTENT)
    return saved


def test_what_is_saved_is_what_is_loaded(path: Path) -> None:
    loaded = checkpoint.load(path)
    assert torch.equal(loaded["model"]["w"], CONTENT["model"]["w"])
    assert loaded["counters"] == CONTENT["counters"]


def test_plain_torch_reads_it_too(path: Path) -> None:
    assert torch.equal(torch.load(path, weights_only=True)["model"]["w"], CONTENT["model"]["w"])


@pytest.mark.parametrize("damage", ["truncated", "flipped"])
def test_every_damage_is_detected(damage: str, path: Path) -> None:
    whole = path.read_bytes()
    rng = random.Random(0)
    for _ in range(250):
        place = rng.randrange(len(whole))
        broken = bytearray(whole[:place] if damage == "truncated" else whole)
        if damage == "flipped":
            broken[place] ^= 1 << rng.randrange(8)
        path.write_bytes(broken)
        with pytest.raises(RecordError, match="damaged"):
            checkpoint.load(path)


def test_the_previous_one_is_kept_until_the_next_is_whole(path: Path) -> None:
    checkpoint.save(path, {"counters": {"step": 4}})
    assert checkpoint.load(path)["counters"]["step"] == 4
    assert checkpoint.load(checkpoint.previous(path))["counters"]["step"] == 3


def test_code_in_a_checkpoint_is_not_run(path: Path, tmp_path: Path) -> None:
    class Trap:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return os.system, (f"touch {tmp_path / 'sprung'}",)

    checkpoint.save(path, {"model": Trap()})
    with pytest.raises(RecordError, match="something else than tensors"):
        checkpoint.load(path)
    assert not (tmp_path / "sprung").exists()


def test_a_write_that_fails_names_the_path_and_leaves_what_was_there(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*args: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(RecordError, match=r"checkpoint\.pt: No space left"):
        checkpoint.save(path, {"counters": {"step": 4}})
    monkeypatch.undo()
    assert checkpoint.load(path)["counters"]["step"] == 3
    assert {p.name for p in path.parent.iterdir()} == {"checkpoint.pt"}
