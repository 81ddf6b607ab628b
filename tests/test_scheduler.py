"""Schedules against their closed forms."""

import math
from functools import partial

import pytest

from runner import scheduler

FORMS = {
    "constant": (scheduler.constant, lambda u: 1.0),
    "linear": (partial(scheduler.linear, end_factor=0.1), lambda u: 1 - 0.9 * u),
    "cosine": (partial(scheduler.cosine, end_factor=0.1), lambda u: 0.1 + 0.9 * (1 + math.cos(math.pi * u)) / 2),
}


@pytest.mark.parametrize("name", FORMS)
@pytest.mark.parametrize("warmup", [0, 20])
def test_the_closed_form_holds_at_start_end_and_between(name: str, warmup: int) -> None:
    shape, form = FORMS[name]
    at = scheduler.schedule(0.5, shape, warmup, 120)
    length = 120 - warmup
    for share in (0.0, 0.25, 0.5, 0.75, 1 - 1 / length):
        assert at(warmup + round(share * length)) == pytest.approx(0.5 * form(share), rel=1e-12)


def test_warm_up_rises_evenly_to_the_learning_rate() -> None:
    at = scheduler.schedule(0.5, scheduler.constant, 5, 100)
    assert [at(step) for step in range(7)] == pytest.approx([0.1, 0.2, 0.3, 0.4, 0.5, 0.5, 0.5])


@pytest.mark.parametrize(("warmup", "steps"), [(0.0, 0), (0.1, 10), (7.0, 7), (0.004, 0)])
def test_warm_up_is_steps_or_a_share_of_the_run(warmup: float, steps: int) -> None:
    assert scheduler.warmup_steps(warmup, 100) == steps
