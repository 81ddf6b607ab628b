"""Jobs that cannot be run are named together before anything runs; ``skip_invalid`` leaves them out."""

from collections.abc import Callable
from pathlib import Path

from runner.sweep.invalid import Invalid
from tests.support.records import run_folders

CELLS = ["train", "-m", "epochs=1", "baselines=false", "regularization=none,dropout", "optim=sgd,adam"]
UNION = ["+", "model=mlp", "+", "model=custom", "model.target=tests.own_parts.Flat"]


def test_a_part_that_a_model_cannot_take_is_refused_for_all_cells_together(optbench: Callable, folder: Path) -> None:
    refused = optbench(*CELLS, *UNION)
    assert refused.code == 2 and list(folder.iterdir()) == []
    assert refused.err.startswith("optbench: 2 of 8 jobs cannot be run:\n")
    assert refused.err.count("forward takes drop") == 1
    cells = [line for line in refused.err.splitlines() if line.startswith("    job ")]
    assert len(cells) == 2 and all("Flat" in cell and "dropout" in cell for cell in cells)
    assert "optim=sgd" in cells[0] and "optim=adam" in cells[1]
    assert "skip_invalid=true runs the others" in refused.err


def test_the_others_run_and_those_left_out_are_named(optbench: Callable, folder: Path) -> None:
    result = optbench(*CELLS, *UNION, "skip_invalid=true")
    assert result.code == 2, "a key after a lone + is that part's alone"
    result = optbench(*CELLS, "skip_invalid=true", *UNION)
    assert result.code == 0, result.err
    assert "left out: 2 of 8 jobs cannot be run" in result.err and "forward takes drop" in result.err
    assert len(run_folders(folder)) == 6


def test_without_a_job_that_can_be_run_nothing_is_left_out(optbench: Callable, folder: Path) -> None:
    refused = optbench("train", "-m", "skip_invalid=true", "optim.lr=-1,-2", "epochs=1")
    assert refused.code == 2 and "2 of 2 jobs cannot be run" in refused.err
    refused = optbench("train", "-m", "skip_invalid=true", "optim.lr=1,2", "epoch=1")
    assert refused.code == 2 and "none of the 2 jobs can be run: unknown key 'epoch'" in refused.err
    assert list(folder.iterdir()) == []


def test_a_setting_of_one_option_alone_is_told_where_it_goes(optbench: Callable, folder: Path) -> None:
    asked = ["train", "-m", "optim=adamw,momentum", "optim.momentum=0.8,0.9", "max_steps=2", "baselines=false"]
    refused = optbench(*asked)
    assert refused.code == 2 and list(folder.iterdir()) == []
    assert "-m … + optim=adamw + optim=… optim.momentum=…" in refused.err
    told = ["train", "-m", "max_steps=2", "baselines=false", "+", "optim=adamw", "+", "optim=momentum"]
    assert optbench(*told, "optim.momentum=0.8,0.9").code == 0 and len(run_folders(folder)) == 3


def test_a_run_by_itself_has_nothing_to_leave_out(optbench: Callable, folder: Path) -> None:
    refused = optbench("train", "skip_invalid=true")
    assert refused.code == 2 and "skip_invalid=true is for sweeps" in refused.err


def test_many_jobs_are_counted_and_some_of_them_named() -> None:
    invalid = Invalid(40)
    for number in range(12):
        invalid.add(number, [f"a={number}"], "one reason\nand more of it")
    invalid.add(20, ["b=1"], "another")
    lines = str(invalid).splitlines()
    assert lines[:2] == ["13 of 40 jobs cannot be run:", "  one reason"]
    assert "    and 2 more" in lines and lines[-2:] == ["  another", "    job 20 (b=1)"]
