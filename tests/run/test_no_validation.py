"""``data.val_fraction=0``: all that is not test is trained on, and nothing is selected."""

from collections.abc import Callable
from pathlib import Path

import pytest

from runner.run.build import build
from runner.run.job import Job
from tests.support.loops import trained
from tests.support.records import Result, rows_of, run_folder, run_folders, summary_of
from tests.support.stacks import assert_same, runs_of, three

Make = Callable[..., Job]
NONE = ["data.val_fraction=0", "model.width=8", "epochs=2"]


def test_all_that_is_not_test_is_trained_on(job: Make) -> None:
    with_val, without = build(job("data.val_fraction=0.25")), build(job(*NONE))
    assert len(without.val.y) == 0
    assert len(without.train.y) == len(with_val.train.y) + len(with_val.val.y)
    assert len(without.test.y) == len(with_val.test.y)


def test_rows_have_empty_validation_columns_and_the_run_ends_well(
    optbench: Callable[..., Result], folder: Path
) -> None:
    said = optbench("train", *NONE)
    assert said.code == 0, said.err
    rows, summary = rows_of(run_folder(folder)), summary_of(run_folder(folder))
    assert len(rows) == 3
    assert all(value == "" for row in rows for key, value in row.items() if key.startswith("val_"))
    assert all(row["train_loss"] and row["status"] == "ok" for row in rows)
    assert summary["status"] == "completed" and summary["val_samples"] == 0 and summary["test_accuracy"] is not None
    assert summary.get("final_val_loss") is None and not (run_folder(folder) / "validation.json").exists()


def test_a_stack_is_its_runs_by_themselves(job: Make) -> None:
    assert_same(runs_of(job, three(), *NONE, "dtype=float64", "eval_every=10", "data.normalize=minmax"))


def test_numbers_and_texts_can_do_without_too(job: Make) -> None:
    for kind in (
        ["data=diabetes", "diagnostics=true"],
        ["data=text", "data.characters=3000", "model=gpt", "model.depth=1"],
    ):
        state, rows = trained(job(*kind, "data.val_fraction=0", "max_steps=2", "eval_every=1"))
        assert state.stop_reason == "finished" and [row["val_loss"] for row in rows] == [None] * 3


def test_a_sweep_ends_without_a_best_setting_and_its_report_says_why(
    optbench: Callable[..., Result], folder: Path
) -> None:
    swept = optbench("train", "-m", *NONE, "optim.lr=0.001,0.01", "workers=1")
    assert swept.code == 0, swept.err
    assert len(run_folders(folder)) == 2 and "the best of" not in swept.out
    told = optbench("report", "outputs/default")
    assert told.code == 2 and "there is nothing to select by" in told.err and "Traceback" not in told.err


def test_a_part_without_samples_is_not_predicted(optbench: Callable[..., Result], folder: Path) -> None:
    assert optbench("train", *NONE).code == 0
    refused = optbench("predict", str(run_folder(folder)), "--part", "val")
    assert refused.code == 2 and "data.val_fraction=0 leaves none" in refused.err


@pytest.mark.baselines
def test_baselines_are_said_to_be_missing(optbench: Callable[..., Result], folder: Path) -> None:
    assert optbench("train", *NONE).code == 0
    assert "no validation samples" in (folder / "outputs" / "default" / "baselines.csv").read_text()


def test_what_the_data_hold_can_be_shown(optbench: Callable[..., Result]) -> None:
    for data in ("diabetes", "digits"):
        shown = optbench("data", f"data={data}", "data.val_fraction=0")
        assert shown.code == 0, shown.err


def test_data_with_a_validation_set_of_its_own_keeps_it(job: Make) -> None:
    own = ["data=custom", "data.target=tests.own_parts.wholes"]
    assert len(build(job(*own, "model=linear", "data.val_fraction=0")).val.y) > 0


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (["save=best"], "save=best needs validation samples"),
        (["regularization=early_stopping"], "regularization=early_stopping needs validation samples"),
        (["scheduler=plateau"], "scheduler=plateau needs validation samples"),
        (["stop=plateau", "stop.plateau.of=val_loss"], "stop.plateau.of=val_loss needs validation samples"),
        (["target.metric=val_accuracy", "target.value=0.9"], "target.metric=val_accuracy needs validation samples"),
        (["data.folds=3", "data.fold=0"], "data.val_fraction=0 beside data.folds=3"),
        (["data.val_fraction=-0.1"], "data.val_fraction must be a finite number ≥ 0 and < 1, or null, got -0.1"),
    ],
    ids=str,
)
def test_what_selects_is_refused(overrides: list[str], said: str, optbench: Callable[..., Result]) -> None:
    kept = [o for o in NONE if o.partition("=")[0] not in {given.partition("=")[0] for given in overrides}]
    refused = optbench("train", *kept, *overrides)
    assert refused.code == 2 and said in refused.err, refused.err
    assert not Path("outputs").exists()
