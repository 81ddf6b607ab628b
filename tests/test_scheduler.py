"""Schedules against their closed forms."""

import math
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from runner import scheduler
from tests.support.known import QUADRATIC
from tests.support.loops import trained
from tests.support.records import Result, rows_of, run_folder

STEPS = 100
FORMS: dict[str, tuple[Callable, Callable[[float], float]]] = {
    "constant": (scheduler.constant, lambda u: 1.0),
    "linear": (partial(scheduler.linear, end_factor=0.1), lambda u: 1 - 0.9 * u),
    "cosine": (partial(scheduler.cosine, end_factor=0.1), lambda u: 0.1 + 0.9 * (1 + math.cos(math.pi * u)) / 2),
    "step": (partial(scheduler.step, every=0.3, factor=0.5), lambda u: 0.5 ** math.floor(u / 0.3 + 1e-9)),
    "step of steps": (partial(scheduler.step, every=30, factor=0.5), lambda u: 0.5 ** math.floor(u / 0.3 + 1e-9)),
    "multistep": (
        partial(scheduler.multistep, milestones=[0.25, 60.0], factor=0.1),
        lambda u: 0.1 ** ((u >= 0.25) + (u >= 0.6)),
    ),
    "exponential": (partial(scheduler.exponential, end_factor=0.01), lambda u: 10 ** (-2 * u)),
    "polynomial": (partial(scheduler.polynomial, power=2.0, end_factor=0.1), lambda u: 0.1 + 0.9 * (1 - u) ** 2),
    "inverse_sqrt": (partial(scheduler.inverse_sqrt, timescale=0.1), lambda u: (0.1 / (0.1 + u)) ** 0.5),
    "warm_restarts": (
        partial(scheduler.warm_restarts, first=0.25, growth=2.0, end_factor=0.0),
        lambda u: (1 + math.cos(math.pi * (u / 0.25 if u < 0.25 else (u - 0.25) / 0.5 if u < 0.75 else u - 0.75))) / 2,
    ),
    "cyclic": (
        partial(scheduler.cyclic, period=0.5, end_factor=0.2),
        lambda u: 0.2 + 0.8 * (1 - abs(2 * (u % 0.5) / 0.5 - 1)),
    ),
    "one_cycle": (
        partial(scheduler.one_cycle, rise=0.25, start_factor=0.04, end_factor=0.001),
        lambda u: (
            1 + (0.04 - 1) * (1 + math.cos(math.pi * u / 0.25)) / 2
            if u < 0.25
            else 0.001 + 0.999 * (1 + math.cos(math.pi * (u - 0.25) / 0.75)) / 2
        ),
    ),
    "wsd": (partial(scheduler.wsd, decay=0.2, end_factor=0.1), lambda u: 1 - 0.9 * max(0, u - 0.8) / 0.2),
}


@pytest.mark.parametrize("name", FORMS)
@pytest.mark.parametrize("warmup", [0, 20])
def test_the_closed_form_holds_at_start_end_and_between(name: str, warmup: int) -> None:
    shape, form = FORMS[name]
    at = scheduler.schedule(0.5, shape, warmup, STEPS + warmup)
    for step in (0, 1, 25, 50, 59, 60, 75, STEPS - 1):
        assert at(warmup + step) == pytest.approx(0.5 * form(step / STEPS), rel=1e-9), step


@pytest.mark.parametrize("growth", [1.0, 1.001, 1.1, 1.2, 1.3, 1.5, 2.0, 3.0, math.pi])
@pytest.mark.parametrize("first", [1, 7, 10, 100])
def test_restarts_come_where_the_cycles_before_them_end(first: int, growth: float) -> None:
    start, length = 0.0, float(first)
    for step in range(1000):
        while step >= start + length:
            start, length = start + length, length * growth
        expected = (1 + math.cos(math.pi * (step - start) / length)) / 2
        found = scheduler.warm_restarts(step, 1000, first=first, growth=growth, end_factor=0.0)
        assert found == pytest.approx(expected, abs=1e-10), step


def test_a_step_far_from_the_start_costs_no_more_than_the_first() -> None:
    began = time.process_time()
    for _ in range(100):
        scheduler.warm_restarts(10**15, 2 * 10**15, first=1, growth=1.0, end_factor=0.0)
    assert time.process_time() - began < 1  # cycle by cycle it would be years


def test_warm_up_rises_evenly_to_the_learning_rate() -> None:
    at = scheduler.schedule(0.5, scheduler.constant, 5, 100)
    assert [at(step) for step in range(7)] == pytest.approx([0.1, 0.2, 0.3, 0.4, 0.5, 0.5, 0.5])


@pytest.mark.parametrize(("warmup", "steps"), [(0.0, 0), (0.1, 10), (7.0, 7), (0.004, 0)])
def test_warm_up_is_steps_or_a_share_of_the_run(warmup: float, steps: int) -> None:
    assert scheduler.warmup_steps(warmup, 100) == steps


def test_plateau_drops_where_the_validation_loss_stopped_falling(job: Callable) -> None:
    chosen = ["scheduler=plateau", "scheduler.patience=2", "scheduler.factor=0.5", "scheduler.min_delta=0.1"]
    _, rows = trained(job(*QUADRATIC, "optim.lr=0.5", "max_steps=12", *chosen))
    factor, weight, best, waited, factors = 1.0, 1.0, math.inf, 0, []
    for row in rows[1:]:
        assert row["lr"] == pytest.approx(0.5 * factor)
        weight *= 1 - 0.5 * factor
        assert row["val_loss"] == pytest.approx(weight**2)
        fell = weight**2 < best - 0.1
        best, waited = (weight**2, 0) if fell else (best, waited + 1)
        if waited >= 2:
            factor, waited = factor * 0.5, 0
        factors.append(factor)
    # From 1 to 1/4 and to 1/16 are falls, to 1/64 and on are none.
    assert factors == [1, 1, 1, 0.5, 0.5, 0.25, 0.25, 0.125, 0.125, 0.0625, 0.0625, 0.03125]


def test_where_a_plateau_reads_evaluations_their_number_is_part_of_the_run(job: Callable) -> None:
    assert job("scheduler=plateau", "eval_every=5").run_id != job("scheduler=plateau", "eval_every=7").run_id
    assert job("scheduler=linear", "eval_every=5").run_id == job("scheduler=linear", "eval_every=7").run_id


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (["scheduler=wsd", "scheduler.decay=1000", "max_steps=100"], "the run has 100"),
        (["scheduler=exponential", "scheduler.end_factor=0"], "must be a finite number > 0"),
        (["scheduler=wsd", "scheduler.decay=1.5"], "scheduler.decay must be whole steps, or a fraction"),
        (["scheduler=multistep", "scheduler.milestones=[2.5]"], "scheduler.milestones[0] must be whole steps"),
        (["scheduler=cyclic", "scheduler.period=2.5"], "scheduler.period must be whole steps"),
        (["scheduler=warm_restarts", "scheduler.first=2.5"], "scheduler.first must be whole steps"),
        (["scheduler=step", "scheduler.factor=1.5"], "scheduler.factor must be"),
    ],
)
def test_what_cannot_be_scheduled_is_refused(overrides: list[str], said: str, optbench: Callable) -> None:
    refused = optbench("train", *overrides)
    assert refused.code == 2 and said in refused.err


def test_a_schedule_of_ones_own_is_followed_and_one_that_gives_no_number_is_refused(
    optbench: Callable[..., Result], folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The sawtooth of docs/extending.md."""
    shape = "1.0 - step * teeth / steps % 1.0"
    (folder / "teeth.py").write_text(
        f"def sawtooth(step, steps, *, teeth):\n    return {shape}\n\n\n"
        "def broken(step, steps):\n    return float('nan') if step else 1.0\n"
    )
    (folder / "mine" / "scheduler").mkdir(parents=True)
    for name, more in (("sawtooth", "teeth: 4  # teeth of a run\n"), ("broken", "")):
        text = f"# Teeth\n_option_: {name}\n_target_: teeth.{name}\n{more}"
        (folder / "mine" / "scheduler" / f"{name}.yaml").write_text(text)
    monkeypatch.syspath_prepend(folder)
    given = ("--config-dir", "mine", "max_steps=20")
    asked = ("optim.lr=0.1", "eval_every=1", "baselines=false")
    found = optbench("train", *given, *asked, "scheduler=sawtooth")
    assert found.code == 0, found.err
    rates = [float(row["lr"]) for row in rows_of(run_folder(folder))][1:]
    assert rates == pytest.approx([0.1 * (1 - step * 4 / 20 % 1) for step in range(20)])
    refused = optbench("train", *given, *asked, "scheduler=broken")
    assert refused.code == 2
    assert "scheduler=broken gives nan at step" in refused.err
