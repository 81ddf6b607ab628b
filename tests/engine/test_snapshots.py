"""Snapshots: the weights of a run at the ends of equal parts of it."""

from collections.abc import Callable
from pathlib import Path

import torch

from runner.run.load import load_model
from tests.support.records import run_folder, run_folders, summary_of

ASKED = ("model.width=8", "model.depth=1", "max_steps=30", "scheduler=constant", "baselines=false", "eval_every=10")


def test_a_snapshot_is_what_a_shorter_run_ends_with(optbench: Callable, folder: Path) -> None:
    assert optbench("train", *ASKED, "snapshots=3").code == 0
    long = run_folder(folder)
    assert summary_of(long)["snapshots"] == 3
    for steps, snapshot in ((10, 0), (20, 1), (30, None)):
        shorter = [f"max_steps={steps}" if o.startswith("max_steps") else o for o in ASKED]
        assert optbench("train", *shorter, f"name=to-{steps}").code == 0
        short = load_model(run_folder(folder, f"to-{steps}")).network.state_dict()
        for name, tensor in load_model(long, snapshot=snapshot).network.state_dict().items():
            assert torch.equal(tensor, short[name])


def test_more_snapshots_than_steps_are_refused(optbench: Callable, folder: Path) -> None:
    result = optbench("train", *ASKED, "snapshots=31")
    assert result.code == 2 and "snapshots=31 needs as many steps, and the run has 30" in result.err
    assert not (folder / "outputs").exists()


def test_snapshots_survive_an_interruption(optbench: Callable, folder: Path) -> None:
    assert optbench("train", *ASKED, "snapshots=3", "name=whole").code == 0
    assert optbench("train", *ASKED, "snapshots=3", "pause_at=20").code == 0
    assert optbench("train", *ASKED, "snapshots=3").code == 0
    whole, paused = run_folder(folder, "whole"), run_folder(folder)
    assert summary_of(paused)["resumed_from_step"] == 20
    for snapshot in (0, 1):
        ours, theirs = (load_model(run, snapshot=snapshot).network.state_dict() for run in (paused, whole))
        assert all(torch.equal(ours[name], theirs[name]) for name in ours)


def test_they_are_no_part_of_the_id_and_a_run_without_is_trained_again(optbench: Callable, folder: Path) -> None:
    assert optbench("train", *ASKED).code == 0
    before = run_folder(folder).name
    assert optbench("train", *ASKED, "snapshots=3").code == 0
    assert run_folder(folder).name == before and summary_of(run_folder(folder))["snapshots"] == 3
    assert optbench("train", "-m", *ASKED, "seed=1,2", "snapshots=3").code == 0
    assert all(summary_of(run)["saved"] == "last" for run in run_folders(folder))
    refused = optbench("train", *ASKED, "snapshots=3", "save=none")
    assert refused.code == 2 and "snapshots=3" in refused.err
