"""Targets and what ends a run early, against their definitions."""

from collections.abc import Callable
from itertools import count
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from runner.engine import judge, loop, measure
from runner.engine.rules import Target
from runner.engine.state import State, start
from runner.run.build import build
from tests.support.known import LOWEST, QUADRATIC, TINY, VALLEY, VALLEY_WEIGHTS
from tests.support.loops import trained, untimed
from tests.support.records import Result, rows_of, run_folder, run_folders, summary_of
from tests.support.stacks import Make, assert_same, runs_of, together

SHORT = ["model.width=16", "epochs=4", "optim.lr=0.01", "eval_every=7"]


@pytest.mark.parametrize(
    ("higher", "value", "reached"),
    [(True, 0.9, True), (True, 0.8999, False), (False, 0.9, True), (False, 0.9001, False), (True, float("nan"), False)],
)
def test_a_target_is_reached_at_its_value(higher: bool, value: float, reached: bool) -> None:
    assert Target("accuracy", 0.9, higher).reached({"accuracy": value, "loss": 0.0}) == reached


@pytest.mark.parametrize(
    ("metric", "measure", "best"), [("val_accuracy", "val_accuracy", max), ("loss", "val_loss", min)]
)
def test_a_target_is_noted_at_the_first_evaluation_that_reaches_it(
    metric: str, measure: str, best: Callable[..., float], job: Make
) -> None:
    values = [row[measure] for row in trained(job(*SHORT))[1]]
    value = best(values[: len(values) // 2])  # which one of the first evaluations reaches, however the run goes
    target = [f"target.metric={metric}", f"target.value={value!r}"]
    state, rows = trained(job(*SHORT, *target))
    first = next(row for row in rows if best(row[measure], value) == row[measure])
    assert first["step"] < rows[-1]["step"]
    assert (state.steps_to_target, state.seconds_to_target) == (first["step"], first["train_seconds"])
    assert state.stop_reason == "finished"
    ended, its = trained(job(*SHORT, *target, "stop=target"))
    assert ended.stop_reason == f"target: {measure} reached {value:g}"
    assert untimed(its) == untimed(rows[: rows.index(first) + 1])


def test_a_target_that_is_never_reached_is_noted_nowhere(job: Make) -> None:
    state, _ = trained(job(*SHORT, "target.metric=val_accuracy", "target.value=1.5", "stop=target"))
    assert (state.steps_to_target, state.seconds_to_target, state.stop_reason) == (None, None, "finished")


def reason_at(state: State, train: float, val: float = 9.0) -> str | None:
    """Return why a run ends at an evaluation with these losses, or None."""
    judge.note(state, 0.1, 64, measure.Measured(), {"loss": train, "accuracy": 0}, {"loss": val, "accuracy": 0})
    return state.stop_reason


def test_plateau_counts_evaluations_since_the_last_fall_of_more_than_min_delta(job: Make) -> None:
    run = build(job("stop=plateau", "stop.plateau.patience=2", "stop.plateau.min_delta=0.1"))
    first, second = start(run), start(run)
    # Against 1: 0.95 has not fallen enough, 0.85 has. Against 0.85: neither 0.80 nor 0.76 has, which are two.
    reasons = [reason_at(first, loss) for loss in (1.0, 0.95, 0.85, 0.80, 0.76)]
    assert reasons == [None] * 4 + ["plateau: no fall of train_loss in 2 evaluations"]
    assert not any(reason_at(second, loss) for loss in (1.0, 0.95, 0.85, 0.80, 0.74, 0.70))


def test_grad_norm_ends_gradient_descent_where_the_quadratic_says(job: Make) -> None:
    # Both eigenvalues 1, w = (1, 1), rate 1/2: the gradient of step t is √2/2^(t-1), below 0.1 first at t = 5.
    limit = ["stop=grad_norm", "stop.grad_norm.below=0.1", "max_steps=20"]
    state, rows = trained(job(*QUADRATIC, "optim.lr=0.5", "scheduler=constant", *limit))
    assert state.step == 5 and state.stop_reason == "grad_norm: below 0.1"
    assert [row["grad_norm"] for row in rows[1:]] == pytest.approx([2**0.5 / 2**t for t in range(5)])


def test_a_budget_of_steps_cuts_the_run_short_and_leaves_its_schedule(job: Make) -> None:
    whole = trained(job(*SHORT))[1]
    state, rows = trained(job(*SHORT, "stop=steps", "stop.steps.most=16"))
    assert [row["step"] for row in rows] == [0, 7, 14, 16]
    assert untimed(rows[:3]) == untimed(whole[:3])
    assert state.stop_reason == "steps: 16 made"
    assert trained(job(*SHORT, "stop=steps", "stop.steps.most=84"))[0].stop_reason == "finished"


def test_a_budget_of_time_ends_with_the_step_that_uses_it_up(job: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = count(1.0)  # a second passes from look to look: there is one before the first step, and one a step
    monkeypatch.setattr(loop, "time", SimpleNamespace(perf_counter=lambda: next(clock)))
    state, rows = trained(job("model.width=16", "epochs=2", "stop=time", "stop.time.seconds=5"))
    assert [row["step"] for row in rows] == [0, 5]
    assert state.stop_reason == "time: 5 seconds of training used" and state.train_seconds == 6.0


def test_whichever_limit_comes_first_ends_the_run(job: Make) -> None:
    limits = ["stop.steps.most=30", "stop.plateau.patience=1", "stop.plateau.min_delta=100"]
    state, _ = trained(job(*SHORT, "stop=[steps,plateau]", *limits))
    assert state.step == 7 and state.stop_reason.startswith("plateau")


def test_a_plateau_of_the_validation_loss_looks_at_no_other(job: Make) -> None:
    settings = ["stop.plateau.patience=2", "stop.plateau.min_delta=0", "stop.plateau.of=val_loss"]
    state = start(build(job("stop=plateau", *settings)))
    losses = ((1.0, 1.0), (0.9, 1.0), (0.8, 0.5), (0.7, 0.5), (0.6, 0.6))
    reasons = [reason_at(state, train, val) for train, val in losses]
    assert reasons == [None] * 4 + ["plateau: no fall of val_loss in 2 evaluations"]


ALL = ["stop=[steps,target]", "stop.all=true", "target.metric=val_loss"]


def test_all_stops_must_hold_at_one_evaluation(job: Make) -> None:
    losses = [w**2 for w in VALLEY_WEIGHTS]
    reached = next(step for step, loss in enumerate(losses) if loss <= 0.5)
    for most, last in ((4, 4), (reached, reached), (1, reached)):  # the target stays reached, however the loss goes on
        state, rows = trained(job(*VALLEY, *ALL, "target.value=0.5", f"stop.steps.most={most}"))
        assert rows[-1]["step"] == max(last, 1)
        assert state.stop_reason == f"all: steps: {most} made; target: val_loss reached 0.5"
    state, _ = trained(job(*VALLEY, *ALL, "target.value=-1", "stop.steps.most=1"))
    assert state.stop_reason == "finished"


def test_a_limit_among_all_stops_asks_for_no_evaluation(job: Make) -> None:
    kind = [*SHORT, *ALL, "target.value=100", "stop.steps.most=16"]
    assert [row["step"] for row in trained(job(*kind))[1]] == [0, 7, 14, 21]


def test_limits_alone_end_with_the_step_that_reaches_the_last(job: Make) -> None:
    kind = ["stop=[steps,time]", "stop.all=true", "stop.steps.most=10", "stop.time.seconds=1e-9"]
    state, rows = trained(job(*SHORT, *kind))
    assert rows[-1]["step"] == 10 and state.stop_reason.startswith("all: steps: 10 made; time:")


def test_what_all_stops_hold_is_kept_when_a_run_goes_on(job: Make) -> None:
    run = build(job("stop=[plateau,steps]", "stop.all=true", "stop.plateau.patience=3", "stop.steps.most=1"))
    first, second = start(run), start(run)
    for _ in range(3):
        first.step += 1
        assert reason_at(first, 1.0) is None
    second.load_state_dict(first.state_dict())
    assert reason_at(second, 1.0) is not None


def test_a_stack_ends_where_all_stops_of_a_member_hold(job: Make) -> None:
    limits = ["stop=[plateau,steps]", "stop.all=true", "stop.steps.most=10", "stop.plateau.min_delta=0.05"]
    shared = ["max_steps=24", "eval_every=4", "dtype=float64", "model.width=8", *limits]
    kinds = [
        ["optim.lr=1e-9", "stop.plateau.patience=2"],
        ["optim.lr=0.01"],
        ["optim.lr=1e-9", "stop.plateau.patience=4"],
    ]
    runs = runs_of(job, kinds, *shared)
    assert_same(runs)
    assert {state.step for state, _ in together(runs)} == {12, 16, 24}


def test_all_stops_are_a_run_of_their_own_and_the_first_the_same(job: Make) -> None:
    both = ["stop=[plateau,steps]"]
    assert job(*both).run_id == job(*both, "stop.all=false").run_id != job(*both, "stop.all=true").run_id
    assert job("stop=plateau").run_id == job("stop=plateau", "stop.plateau.of=train_loss").run_id
    assert job(*both).run_id != job(*both, "stop.plateau.of=val_loss").run_id


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (
            ["stop.all=true"],
            "stop.all=true needs several stops that must all hold, as in stop=[target,steps]; got none",
        ),
        (["stop=steps", "stop.all=true"], "got steps"),
        (["stop=[steps,plateau]", "stop.all=2"], "stop.all must be true or false, got 2"),
        (["stop.any=true"], "unknown key 'stop.any'"),
        (["stop=plateau", "stop.plateau.of=loss"], "stop.plateau.of must be one of train_loss, val_loss, got 'loss'"),
        (["stop=[steps,time]", "stop.all=true", "engine=fused"], "stop=time counts a run's own seconds"),
        (["stop.steps=3"], "stop.steps"),
    ],
    ids=str,
)
def test_stops_that_cannot_be_are_refused(overrides: list[str], said: str, optbench: Callable[..., Result]) -> None:
    refused = optbench("train", *TINY, *overrides)
    assert refused.code == 2 and said in refused.err, refused.err
    assert not Path("outputs").exists()


def test_early_stopping_restores_the_best_weights_wherever_the_run_ends(job: Make) -> None:
    state, rows = trained(job(*VALLEY, "regularization=early_stopping", "stop=steps", "stop.steps.most=7"))
    assert state.stop_reason == "steps: 7 made"
    assert [row["val_loss"] for row in rows] == pytest.approx([w**2 for w in VALLEY_WEIGHTS[:8]])
    expected = torch.full((1, 2), VALLEY_WEIGHTS[LOWEST], dtype=torch.float64)
    torch.testing.assert_close(state.model.readout.weight.detach(), expected)


def test_the_summary_says_when_the_target_was_reached_and_why_the_run_ended(
    optbench: Callable[..., Result], folder: Path
) -> None:
    target = ["target.metric=val_loss", "target.value=0.1"]
    assert optbench("train", *VALLEY, *target, "stop=target").code == 0
    place = run_folder(folder)
    summary, rows = summary_of(place), rows_of(place)
    assert summary["status"] == "stopped_early" and str(summary["stop_reason"]).startswith("target: val_loss")
    assert summary["target"] == "val_loss 0.1"
    assert summary["steps_to_target"] == int(rows[-1]["step"]) == summary["steps"] == 2
    assert summary["seconds_to_target"] == float(rows[-1]["train_seconds"])


def test_another_target_counts_the_same_run_anew_and_none_leaves_it(
    optbench: Callable[..., Result], folder: Path
) -> None:
    def steps(*target: str) -> object:
        assert optbench("train", *VALLEY, *target).code == 0
        return summary_of(run_folder(folder))["steps_to_target"]

    assert steps() is None
    assert steps("target.metric=val_loss", "target.value=0.5") == 1
    assert steps("target.metric=val_loss", "target.value=0.1") == 2
    assert steps() == 2  # which is not asked for, and stays
    old = folder / "outputs" / "default" / ".old"
    assert len(list(old.iterdir())) == 2


def test_a_stack_notes_targets_and_stops_as_its_members_do_by_themselves(
    optbench: Callable[..., Result], folder: Path
) -> None:
    # From a loss of log 10, a convex one falls at the first rate, and at the second to no lower than 2.3 in 50 steps.
    sweep = ["-m", "model=linear", "init=zeros", "optim=sgd", "optim.lr=0.1,1e-9", "seed=0,1,2", "dtype=float64"]
    sweep += ["epochs=4", "eval_every=7", "target.metric=val_loss", "target.value=2", "stop.steps.most=50"]
    kept = ("status", "stop_reason", "steps", "steps_to_target")
    found = {}
    for engine in ("loop", "fused"):
        assert optbench("train", *sweep, "stop=[target,steps]", f"engine={engine}", f"name={engine}").code == 0
        summaries = {path.name: summary_of(path) for path in run_folders(folder, engine)}
        found[engine] = {name: [summary[k] for k in kept] for name, summary in summaries.items()}
        assert {summary["engine"] for summary in summaries.values()} == {engine}
        there = [s for s in summaries.values() if s["steps_to_target"] is not None]
        assert len(there) == 3
        assert all(0 < float(str(s["seconds_to_target"])) <= float(str(s["train_seconds"])) for s in there)
    assert found["loop"] == found["fused"]
    ends = {(name.split("-")[2], values[1]) for name, values in found["loop"].items()}
    assert ends == {("lr0.1", "target: val_loss reached 2"), ("lr1e", "steps: 50 made")}


def test_a_function_of_ones_own_that_is_no_limit_is_refused(optbench: Callable[..., Result], folder: Path) -> None:
    own = folder / "mine" / "stop"
    own.mkdir(parents=True)
    (own / "x.yaml").write_text("# mine\nx:\n  _target_: tests.own_parts.nothing\n")
    refused = optbench("train", "--config-dir", "mine", *TINY, "stop=x")
    assert refused.code == 2 and "runner.engine.hooks.Hook" in refused.err and "Traceback" not in refused.err
    assert not (folder / "outputs").exists()
