"""The range test, and schedules without training."""

import csv
import io
import math
import shlex
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch.optim.optimizer import register_optimizer_step_pre_hook

from runner.search.lr_range import lr_range


def planted(monkeypatch: pytest.MonkeyPatch, losses: Callable[[int, float], float], ends: int | None = None) -> None:
    """Have training find losses that are functions of the step and its rate, up to a step or to the end."""

    def train(state, pulse, hold):
        for step in range(1, (ends or state.run.steps) + 1):
            state.step = step
            if step < state.run.steps and pulse(state, losses(step, state.run.schedule(step - 1))):
                return
        yield None

    monkeypatch.setattr("runner.engine.loop.train", train)


def test_the_axis_reaches_from_where_the_loss_begins_to_fall_to_where_it_was_lowest(
    job, monkeypatch: pytest.MonkeyPatch
) -> None:
    planted(monkeypatch, lambda step, lr: 1.0 if lr < 1.1e-4 else 0.1 if lr < 0.9e-1 else 1e9)
    found = lr_range(job(), 1e-6, 10, 200)
    assert found.axis == (1e-4, 3e-4, 1e-3, 3e-3, 1e-2, 3e-2, 1e-1) and found.diverged


@pytest.mark.pictures
@pytest.mark.parametrize("optim", ["adam", "sgd"])
def test_the_command_that_is_printed_runs(optim: str, optbench, folder: Path) -> None:
    result = optbench("lr-range", f"optim={optim}", "init=he", "--csv", "range.csv", "--plot", "range.png")
    assert result.code == 0
    words = shlex.split(result.out)
    axis = [float(v) for v in words[-1].removeprefix("optim.lr=").split(",")]
    assert axis == sorted(axis) and axis[0] > 0.5e-6 and axis[-1] <= 10
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
        (["init=zeros", "model.bias=false"], "falls at no learning rate"),
        (["init=heee"], "did you mean"),
        (["++optim.lr=0.1"], "leave it out"),
        (["+optim.lr=0.1"], "leave it out"),
        (["~optim.lr"], "leave it out"),
        (["optim.lr=0.1,0.2"], "leave it out"),
        (["seed=0,1"], "seed=0,1 gives several values to one run"),
        (["--lowest", "abc"], "--lowest: must be a finite number, got 'abc'"),
        (["--highest", "inf"], "--highest: must be a finite number, got 'inf'"),
        (["--steps", "2.5"], "--steps: must be a whole number, got '2.5'"),
        (["init=constant", "init.value=1e30", "--steps", "20"], "not finite from the first step"),
    ],
)
def test_what_cannot_be_looked_for_is_refused(argv: list[str], said: str, optbench) -> None:
    refused = optbench("lr-range", *argv)
    assert refused.code == 2 and said in refused.err
    assert "Traceback" not in refused.err and "-m" not in refused.err


@pytest.mark.parametrize(
    ("command", "argv", "said"),
    [
        ("lr-range", ["--plot", "range.jpg"], "--plot must be a .png or .svg, got 'range.jpg'"),
        ("lr-range", ["--plot", "nowhere/x.png"], "--plot must be a file in a folder that is there"),
        ("lr-range", ["--csv", "nowhere/a.csv"], "--csv must be a file in a folder that is there"),
        ("lr-range", ["--csv", "."], "--csv must be a file, got the folder '.'"),
        ("schedule", ["--plot", "x.gif"], "--plot must be a .png or .svg, got 'x.gif'"),
        ("schedule", ["--plot", "nowhere/x.svg"], "--plot must be a file in a folder that is there"),
        ("schedule", ["seed=0,1"], "seed=0,1 gives several values to one run"),
    ],
)
def test_what_cannot_be_written_is_refused_before_the_work(
    command: str, argv: list[str], said: str, optbench, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def worked(*ignored: object) -> None:
        raise AssertionError("the work was begun")

    monkeypatch.setattr("runner.run.job.prepare", worked)
    refused = optbench(command, *argv)
    assert refused.code == 2 and said in refused.err
    assert refused.out == "" and "-m" not in refused.err
    assert list(folder.iterdir()) == []


def test_a_rate_of_its_own_stays_as_in_the_runs_of_the_sweep(optbench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("runner.optim.orthogonal.uncompiled", lambda kind: kind)  # whose steps PyTorch's hooks see
    rates: dict[type, list[float]] = {torch.optim.AdamW: [], torch.optim.Muon: []}

    def noted(optimizer: torch.optim.Optimizer, *ignored: object) -> None:
        if type(optimizer) in rates:
            rates[type(optimizer)].append(optimizer.param_groups[0]["lr"])

    hook = register_optimizer_step_pre_hook(noted)
    try:
        assert optbench("lr-range", "optim=muon", "optim.adamw_lr=0.002", "--steps", "40").code == 0
    finally:
        hook.remove()
    adamw, muon = rates.values()
    assert adamw == pytest.approx([0.002] * len(adamw)) and len(adamw) > 20
    assert muon[:2] == pytest.approx([1e-6, 1e-6 * 1e7 ** (1 / 39)])


@pytest.mark.parametrize(("ends", "diverged"), [(19, True), (20, False)])
def test_a_loss_that_rises_at_the_last_step_but_one_has_risen(
    ends: int, diverged: bool, job, monkeypatch: pytest.MonkeyPatch
) -> None:
    planted(monkeypatch, lambda step, lr: 1 / step if step < 19 or not diverged else 1e9, ends)
    assert lr_range(job(), 1e-6, 10, 20).diverged == diverged


@pytest.mark.parametrize("device", ["cpu", pytest.param("cuda", marks=pytest.mark.cuda)])
def test_each_rate_has_the_loss_of_its_own_step(device: str, job) -> None:
    found = lr_range(job("model=cnn", "optim=sgd", f"device={device}"), 1e-6, 1, 80)
    losses = [loss for _, loss, _ in found.steps]
    assert all(math.isfinite(loss) for loss in losses) and len(set(losses)) == len(losses)


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
