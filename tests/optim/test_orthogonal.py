"""Muon's two learning rates: of hidden matrices, and of all other weights."""

from collections.abc import Callable

import pytest

from runner.config.options import find
from runner.engine.state import State, start
from runner.run.build import build
from tests.support.loops import rows_from


def test_both_rates_of_muon_follow_the_schedule(job: Callable) -> None:
    both = ["optim.lr=0.02", "optim.adamw_lr=0.003"]
    run = build(job("optim=muon", *both, "scheduler=linear", "scheduler.warmup=3", "max_steps=10", "eval_every=10"))
    seen = []

    def note(state: State, loss: float) -> bool:
        seen.append([group["lr"] for group in state.optimizer.param_groups])
        return False

    rows_from(start(run), note)
    shape = [run.schedule(step) / 0.02 for step in range(len(seen))]
    assert len({round(s, 6) for s in shape}) > 4
    for rates, share in zip(seen, shape, strict=True):
        assert sorted(set(rates)) == pytest.approx([0.003 * share, 0.02 * share])


def test_a_search_tries_both_rates_of_muon() -> None:
    assert {"lr", "adamw_lr"} <= set(find("optim", "muon").spec.search)
