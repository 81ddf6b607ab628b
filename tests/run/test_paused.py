"""A run may be stopped at a step, kept, and continued later to the rows that it has undisturbed."""

import csv
from collections.abc import Callable
from pathlib import Path

import pytest

from runner.run.claim import run_job, run_pack
from runner.run.job import Job
from tests.support.records import Result, rows_of, run_folder, run_folders, summary_of, without_timing

Optbench = Callable[..., Result]
SMALL = ["model.width=16", "model.depth=1", "threads=1", "max_steps=60", "eval_every=10"]
MECHANISMS = ["regularization=[dropout,ema,early_stopping]", "scheduler=plateau", "stop=plateau", "batch=adaptive"]


def status_of(job: Job, **asked: object) -> str:
    outcome = run_job(job, bar=False, **asked)
    assert outcome is not None
    return str(outcome.summary["status"])


@pytest.mark.parametrize("more", [[], MECHANISMS], ids=["plain", "with every kind of state"])
def test_a_run_paused_twice_has_the_rows_of_an_undisturbed_one(
    more: list[str], optbench: Optbench, folder: Path
) -> None:
    asked = ["train", *SMALL, *more]
    assert optbench(*asked, "name=undisturbed").code == 0
    for at, reached in ((15, 20), (15, 20), (31, 40)):
        paused = optbench(*asked, "name=paused", f"pause_at={at}")
        assert paused.code == 0
        assert f"paused at step {reached}" in paused.err and "pause_at" not in paused.out.splitlines()[-1]
        summary = summary_of(run_folder(folder, "paused"))
        assert (summary["status"], summary["steps"]) == ("paused", reached)
        assert len(rows_of(run_folder(folder, "paused"))) == reached // 10 + 1
    assert optbench(*asked, "name=paused").code == 0
    found, expected = (run_folder(folder, name) for name in ("paused", "undisturbed"))
    assert found.name == expected.name
    assert without_timing(found) == without_timing(expected)
    assert summary_of(found)["resumed_from_step"] == 40
    assert summary_of(found)["test_loss"] == summary_of(expected)["test_loss"]
    tables = [(folder / "outputs" / name / "runs.csv").read_text() for name in ("paused", "undisturbed")]
    assert tables[0].splitlines()[0] == tables[1].splitlines()[0]  # nothing of the pauses is left


def test_pauses_beyond_the_end_change_nothing(job: Callable[..., Job]) -> None:
    assert status_of(job(*SMALL, "pause_at=60")) == "completed"
    assert status_of(job(*SMALL, "pause_at=20")) == "completed"  # it has ended already
    assert job(*SMALL, "pause_at=20").run_id == job(*SMALL).run_id


def test_members_of_a_stack_are_paused_and_some_go_on(job: Callable[..., Job], folder: Path) -> None:
    shared = [*SMALL, "dtype=float64"]
    seeds = [f"seed={s}" for s in range(6)]
    undisturbed = run_pack([job(*shared, s, "name=undisturbed") for s in seeds], "none")
    paused = run_pack([job(*shared, s, "name=paused", "pause_at=20") for s in seeds], "none")
    assert [o.summary["status"] for o in paused if o] == ["paused"] * 6
    further = run_pack([job(*shared, s, "name=paused", "pause_at=40") for s in seeds[2:5]], "none")
    assert [(o.summary["status"], o.summary["steps"]) for o in further if o] == [("paused", 40)] * 3
    promoted = run_pack([job(*shared, s, "name=paused") for s in seeds[2:4]], "none")
    assert [(o.summary["status"], o.summary["resumed_from_step"]) for o in promoted if o] == [("completed", 40)] * 2
    alone = run_job(job(*shared, seeds[0], "name=paused"), save="none", bar=False)
    assert alone is not None and alone.summary["resumed_from_step"] == 20
    for ended in (*promoted, alone):
        expected = next(o for o in undisturbed if o and o.job.run_id == ended.job.run_id)
        rows = [rows_of(o.job.folder) for o in (ended, expected)]
        assert [row["step"] for row in rows[0]] == [row["step"] for row in rows[1]]
        for row, by_itself in zip(*rows, strict=True):
            assert float(row["val_loss"]) == pytest.approx(float(by_itself["val_loss"]), rel=1e-10)
    left = {str(summary_of(path)["status"]) for path in run_folders(folder, "paused")}
    assert left == {"completed", "paused"}


def test_paused_runs_are_rows_of_the_table_and_no_part_of_an_answer(optbench: Optbench, folder: Path) -> None:
    asked = ["train", "-m", *SMALL, "optim=sgd,adamw", "seeds=2", "workers=1"]
    stopped = optbench(*asked, "pause_at=20")
    assert stopped.code == 0 and "4 of 4 runs are paused" in stopped.err
    with (folder / "outputs/default/runs.csv").open() as file:
        assert {row["status"] for row in csv.DictReader(file)} == {"paused"}
    nothing = optbench("report", "outputs/default")
    assert nothing.code != 0 and "nothing to report yet" in nothing.err
    assert optbench("train", "-m", *SMALL, "optim=sgd", "seeds=2", "workers=1").code == 0
    said = optbench("report", "outputs/default").out
    assert "2 runs paused, not counted" in said and "optim=sgd" in said and "the other setting has no value" in said


@pytest.mark.parametrize("value", ["-1", "x", "1.5"])
def test_a_step_that_is_none_is_refused(value: str, optbench: Optbench, folder: Path) -> None:
    refused = optbench("train", f"pause_at={value}")
    assert refused.code == 2 and "pause_at must be" in refused.err and not (folder / "outputs").exists()


def test_a_paused_run_that_lacks_what_is_asked_begins_anew_and_is_kept(optbench: Optbench, folder: Path) -> None:
    asked = ["train", *SMALL]
    assert optbench(*asked, "pause_at=20").code == 0
    first = rows_of(run_folder(folder))
    assert optbench(*asked, "pause_at=20", "sharpness=true", "diagnostics=true").code == 0
    run = run_folder(folder)
    assert summary_of(run)["status"] == "paused" and "sharpness" in rows_of(run)[0] and (run / "layers.csv").exists()
    (aside,) = (folder / "outputs/default/.old").iterdir()
    assert rows_of(aside) == first


@pytest.mark.parametrize("engine", ["loop", "fused"])
def test_force_trains_a_paused_run_again_from_the_start(engine: str, optbench: Optbench, folder: Path) -> None:
    asked = ["train", *SMALL, f"engine={engine}", "pause_at=20"]
    assert optbench(*asked).code == 0
    again = optbench(*asked, "force=true")
    assert again.code == 0 and "paused at step 20" in again.err and "force" not in again.out.splitlines()[-1]
    assert len(list((folder / "outputs/default/.old").iterdir())) == 1
