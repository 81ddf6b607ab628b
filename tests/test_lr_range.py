"""The range test, and schedules without training."""

import csv
import io
import shlex
from pathlib import Path

import pytest


@pytest.mark.parametrize(("optim", "good"), [("adam", 1e-3), ("sgd", 0.1)])
def test_the_axis_holds_rates_that_train_well_and_the_command_runs(
    optim: str, good: float, optbench, folder: Path
) -> None:
    result = optbench("lr-range", f"optim={optim}", "init=he", "--csv", "range.csv", "--plot", "range.png")
    assert result.code == 0
    words = shlex.split(result.out)
    axis = [float(v) for v in words[-1].removeprefix("optim.lr=").split(",")]
    assert min(axis) <= good <= max(axis) and axis == sorted(axis)
    assert axis[0] > 0.5e-6 and axis[-1] < 10
    rows = list(csv.DictReader(io.StringIO((folder / "range.csv").read_text())))
    rates = [float(r["lr"]) for r in rows]
    assert rates[0] == pytest.approx(1e-6) and rates == sorted(set(rates))
    assert (folder / "range.png").read_bytes().startswith(b"\x89PNG")
    assert not (folder / "outputs").exists()
    assert optbench(*words[1:], "dry_run=true").code == 0


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        (["optim.lr=0.1"], "leave it out"),
        (["--lowest", "1", "--highest", "0.1"], "--lowest < --highest"),
        (["--steps", "3"], "--steps ≥ 20"),
        (["init=zeros"], "falls at no learning rate"),
        (["init=heee"], "did you mean"),
        (["--plot", "range.jpg"], ".png or .svg"),
    ],
)
def test_what_cannot_be_looked_for_is_refused(argv: list[str], said: str, optbench) -> None:
    refused = optbench("lr-range", *argv)
    assert refused.code == 2 and said in refused.err


def test_a_schedule_is_printed_as_the_run_will_follow_it(optbench) -> None:
    asked = ["scheduler=one_cycle", "epochs=2", "optim.lr=0.02", "scheduler.warmup=3"]
    printed = list(csv.DictReader(io.StringIO(optbench("schedule", *asked).out)))
    assert len(printed) == 42
    assert optbench("train", *asked, "eval_every=1", "model.width=8").code == 0
    (path,) = Path("outputs/default").glob("*/metrics.csv")
    followed = [float(row["lr"]) for row in csv.DictReader(io.StringIO(path.read_text()))][1:]
    assert [float(row["lr"]) for row in printed] == pytest.approx(followed, rel=1e-6)


def test_a_schedule_that_reads_validation_cannot_be_printed(optbench) -> None:
    refused = optbench("schedule", "scheduler=plateau")
    assert refused.code == 2 and "not known before" in refused.err
