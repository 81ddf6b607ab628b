"""Members of several stacks are paused, and some go on together, to the rows that they have undisturbed."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from runner.config.compose import Composer
from runner.config.options import options
from runner.run import life, packs
from runner.run.claim import run_pack
from runner.run.outcome import Outcome
from runner.sweep.held import Held, Maker
from runner.sweep.pack import keep
from tests.support import forked
from tests.support.records import rows_of, summary_of, without_timing
from tests.support.stacks import OPTIMIZERS

SMALL = ["model.width=4", "model.depth=1", "data.fraction=0.2", "threads=1", "max_steps=24", "eval_every=6"]
WIDER = ["model.width=16", *SMALL[1:]]
SCHEDULERS = [option.name for option in options("scheduler")]
FURTHER = ["model.normalization=batch", "regularization=[dropout,ema,early_stopping]", "save=best"]
AVERAGING = ("asgd", "schedule_free", "schedule_free_sgd")
"""Optimizers that judge averages of their own, and are refused beside ema."""


@pytest.fixture
def held(folder: Path) -> Callable[..., Held]:
    """A job of a sweep from overrides, which knows how others of it are made."""
    make = Maker(Composer.over())
    return lambda *overrides: Held.of(make(overrides), make)


def train(jobs: list[Held]) -> list[Outcome]:
    found = run_pack(jobs, "none")
    assert all(outcome is not None for outcome in found)
    return [outcome for outcome in found if outcome is not None]


def statuses(outcomes: list[Outcome]) -> set[str]:
    return {str(outcome.summary["status"]) for outcome in outcomes}


def assert_same_rows(found: Path, expected: Path, share: float) -> None:
    """Every number of every row is the same but for a share of it."""
    rows = list(zip(without_timing(found), without_timing(expected), strict=True))
    assert rows and rows[-1][0]["step"] == "24"
    for row, other in rows:
        assert row.keys() == other.keys()
        for key, value in row.items():
            number = pytest.approx(float(other[key]), rel=share, abs=share) if _is_number(value) else other[key]
            assert (float(value) if _is_number(value) else value) == number, (found.name, key)


def _is_number(text: str) -> bool:
    return text.replace(".", "").replace("e-", "").replace("-", "").isdigit()


def paused_and_promoted(held: Callable[..., Held], kinds: list[list[str]], shared: list[str]) -> None:
    """Each kind is a member of one of two stacks; all are together from the first rung, two thirds from the second."""
    undisturbed = [held(*shared, *kind, "name=undisturbed") for kind in kinds]
    assert statuses(train(undisturbed)) <= {"completed", "stopped_early"}
    jobs = [held(*shared, *kind, "name=promoted") for kind in kinds]
    for stack in (jobs[::2], jobs[1::2]):
        outcomes = train([job.paused(5) for job in stack])
        assert statuses(outcomes) == {"paused"} and {outcome.summary["steps"] for outcome in outcomes} == {6}
        assert {outcome.summary["stack_size"] for outcome in outcomes} == {len(stack)}
    folder = jobs[0].folder.parent
    packs.forget_ended(folder, paused=True)
    assert not (folder / ".stacks").exists(), "each holds what it goes on from"
    further = train([job.paused(13) for job in jobs])
    assert {outcome.summary["steps"] for outcome in further} == {18}
    packs.forget_ended(folder, paused=True)
    for stack in (jobs[::3], jobs[1::3]):
        ended = train(stack)
        assert {outcome.summary["resumed_from_step"] for outcome in ended} == {18}
        assert {outcome.summary["stack_size"] for outcome in ended} == {len(stack)}
    by_id = {job.run_id: job.folder for job in undisturbed}
    for job in [*jobs[::3], *jobs[1::3]]:
        assert_same_rows(job.folder, by_id[job.run_id], 1e-8)
        assert summary_of(job.folder)["test_loss"] == pytest.approx(
            summary_of(by_id[job.run_id])["test_loss"], rel=1e-8
        )
        assert not packs.paused_of(job.folder).exists()
    left = [job.folder for job in jobs[2::3]]
    assert {summary_of(path)["status"] for path in left} == {"paused"}
    assert all((path / "paused.pt").exists() and len(rows_of(path)) == 4 for path in left)


def test_promoted_runs_of_every_optimizer_have_the_rows_of_undisturbed_ones(held: Callable[..., Held]) -> None:
    kinds = [["optim.lr=0.01", *more, *([] if name == "custom" else [f"optim={name}"])] for name, more in USED.items()]
    paused_and_promoted(held, [*kinds, *[[*kind, "seed=1"] for kind in kinds[:7]]], [*SMALL, "dtype=float64"])


USED = {name: more for name, more in OPTIMIZERS.items() if name not in ("custom", "collection")}


def test_promoted_runs_of_every_scheduler_have_the_rows_of_undisturbed_ones(held: Callable[..., Held]) -> None:
    kinds = [[f"scheduler={name}", f"optim.lr={lr}"] for name in SCHEDULERS for lr in (0.1, 0.01)]
    paused_and_promoted(held, kinds, [*SMALL, "dtype=float64"])


@pytest.mark.slow
@pytest.mark.parametrize("optim", USED)
def test_promoted_runs_of_every_pair_have_the_rows_of_undisturbed_ones(optim: str, held: Callable[..., Held]) -> None:
    kinds = [[f"scheduler={scheduler}", f"seed={seed}"] for scheduler in SCHEDULERS for seed in range(3)]
    further = [o.replace("ema,", "") for o in FURTHER] if optim in AVERAGING else FURTHER
    paused_and_promoted(held, kinds, [*SMALL, *further, "dtype=float64", f"optim={optim}"])


@pytest.mark.parametrize("optim", ["lbfgs", "adamw"])
def test_a_promoted_run_of_the_loop_has_exactly_the_rows_of_an_undisturbed_one(
    optim: str, held: Callable[..., Held]
) -> None:
    asked = [*SMALL, f"optim={optim}", "engine=loop"]
    train([held(*asked, "name=undisturbed")])
    job = held(*asked, "name=promoted")
    for at in (5, 13, None):
        outcome = train([job.paused(at)])[0]
    assert outcome.summary["status"] == "completed"
    assert without_timing(job.folder) == without_timing(held(*asked, "name=undisturbed").folder)


def test_a_stack_that_goes_on_whole_has_exactly_the_rows_of_an_undisturbed_one(held: Callable[..., Held]) -> None:
    kinds = [[f"seed={seed}", f"optim={optim}"] for seed in (0, 1) for optim in ("sgd", "adam", "adagrad")]
    expected = train([held(*SMALL, *FURTHER, *kind, "name=undisturbed") for kind in kinds])
    jobs = [held(*SMALL, *FURTHER, *kind, "name=promoted") for kind in kinds]
    for at in (5, 13, None):
        train([job.paused(at) for job in jobs])
    for job, outcome in zip(jobs, expected, strict=True):
        assert without_timing(job.folder) == without_timing(outcome.job.folder)
        assert summary_of(job.folder)["test_loss"] == outcome.summary["test_loss"]


# ---- kills


def killed_after(ended: int, jobs: list[Held], monkeypatch: pytest.MonkeyPatch) -> None:
    """A process trains jobs and dies when so many of them have ended."""
    conclude, done = life.conclude, []

    def die(*given: Any) -> dict[str, Any]:
        done.append(1)
        if len(done) > ended:
            os._exit(9)
        return conclude(*given)

    def mortal() -> int:
        monkeypatch.setattr(life, "conclude", die)
        run_pack(jobs, "none")
        return 0

    assert forked.code_of(forked.call(mortal)) == 9


@pytest.mark.parametrize("rung", [None, 5], ids=["trained whole", "gone on from a rung"])
@pytest.mark.parametrize("ended", [1, 5])
def test_a_kill_between_the_ends_of_a_stack_leaves_the_rest_their_rows(
    ended: int, rung: int | None, held: Callable[..., Held], monkeypatch: pytest.MonkeyPatch
) -> None:
    kinds = [[f"seed={seed}", f"optim.lr={lr}"] for seed in (0, 1) for lr in (0.1, 0.02, 0.003)]
    expected = [held(*WIDER, *kind, "name=undisturbed") for kind in kinds]
    jobs = [held(*WIDER, *kind, "name=killed") for kind in kinds]
    for several in (expected, jobs):
        if rung is not None:
            train([job.paused(rung) for job in several])
        keep(several, [tuple(range(len(several)))])
    train(expected)
    killed_after(ended, jobs, monkeypatch)
    before = {path: path.stat().st_mtime_ns for job in jobs for path in job.folder.glob("summary.json")}
    assert len(before) == ended
    left = [job for job in jobs if job.folder / "summary.json" not in before]
    outcomes = train(left)
    assert statuses(outcomes) == {"completed"} and {o.summary["stack_size"] for o in outcomes} == {6}
    assert {path: path.stat().st_mtime_ns for path in before} == before, "the others are not recorded again"
    for job, undisturbed in zip(jobs, expected, strict=True):
        assert without_timing(job.folder) == without_timing(undisturbed.folder)
    assert not list(jobs[0].folder.parent.glob(".stacks/*")) and not list(jobs[0].folder.parent.glob("*/paused.pt"))


def test_a_pack_that_is_trained_whole_records_who_is_asked_for(held: Callable[..., Held]) -> None:
    kinds = [[f"seed={seed}"] for seed in range(5)]
    expected = train([held(*WIDER, *kind, "name=undisturbed") for kind in kinds])
    jobs = [held(*WIDER, *kind, "name=whole") for kind in kinds]
    packs.keep(jobs[0].folder.parent, [packs.of(jobs, whole=True)])
    for few in (jobs[1:2], jobs[2:4]):
        assert {outcome.summary["stack_size"] for outcome in train(few)} == {5}
    assert not jobs[0].folder.exists() and not jobs[4].folder.exists()
    for job, outcome in list(zip(jobs, expected, strict=True))[1:4]:
        assert without_timing(job.folder) == without_timing(outcome.job.folder)
    train([jobs[0], jobs[4]])
    assert not list(jobs[0].folder.parent.glob(".stacks/*"))


def test_a_plan_of_an_older_version_is_gone_on_with(held: Callable[..., Held]) -> None:
    jobs = [held(*WIDER, f"seed={seed}") for seed in range(3)]
    place = jobs[0].folder.parent / ".stacks" / "0.json"
    place.parent.mkdir(parents=True)
    place.write_text(json.dumps({"members": [job.run_id for job in jobs]}))
    assert statuses(train(jobs[:2])) == {"completed"} and statuses(train(jobs[2:])) == {"completed"}
