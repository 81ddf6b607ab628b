"""Runs on data of several contents are never compared, and one data set without a value does not block the others."""

from collections.abc import Callable
from pathlib import Path

from runner.run.job import forget_data
from tests.support.made_data import make_table
from tests.support.records import run_folders

TABLE = ["data=csv", "data.path=t.csv", "data.label=bought", "epochs=1", "model.width=8", "workers=1", "name=b"]


def test_runs_on_a_file_that_changed_are_told_apart(optbench: Callable, folder: Path) -> None:
    make_table(folder / "t.csv")
    assert optbench("train", "-m", *TABLE, "optim=adam,rmsprop", "seeds=2").code == 0
    same = optbench("report", "outputs/b").out
    assert "data changed" not in same and "data_fingerprint" not in same
    make_table(folder / "t.csv", rows=90)
    forget_data()
    assert optbench("train", "-m", *TABLE, "optim=adam", "seeds=2").code == 0
    found = optbench("report", "outputs/b")
    assert found.code == 0
    assert "The data changed while these runs were made: there are 2 contents" in found.out
    assert found.out.count("For data_fingerprint=") == 2
    assert "There was nothing to compare it with: only one setting was run." in found.out


def test_a_run_that_recorded_no_content_counts_among_the_others(optbench: Callable, folder: Path) -> None:
    make_table(folder / "t.csv")
    assert optbench("train", "-m", *TABLE, "optim=adam,rmsprop", "seeds=2").code == 0
    (run_folders(folder, "b")[0] / "summary.json").unlink()
    assert optbench("runs", "outputs/b").code == 0
    found = optbench("report", "outputs/b")
    assert found.code == 0 and "data changed" not in found.out


def test_a_data_set_without_a_value_does_not_block_the_others(optbench: Callable, folder: Path) -> None:
    small = ["epochs=1", "model.width=8", "name=b"]
    assert optbench("train", "-m", "data=wine", *small, "optim=adam,sgd", "workers=1").code == 0
    assert optbench("train", "data=diabetes", *small, "pause_at=0").code == 0
    found = optbench("report", "outputs/b")
    assert found.code == 0 and "Use:" in found.out
    assert "left out: diabetes: " in found.out
