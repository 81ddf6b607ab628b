"""Packs whose runs have mechanisms with a state, or draws, of their own: stopped, taken up in parts, halved."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from runner.engine import fused
from runner.engine.fused.members import Stack
from runner.run.claim import run_job, run_pack
from runner.run.job import Job
from runner.run.process import Interruption
from runner.run.progress import Told
from tests.support.records import rows_of

MECHANISMS = {
    "ema": ["regularization=ema"],
    "swa": ["regularization=swa", "regularization.swa.start=0.2", "model.normalization=batch"],
    "augment": ["augment=[noise,mixup]", "batch.micro=40"],
    "adversary": ["regularization=adversarial", "regularization.adversarial.steps=2"],
    "mup": ["model.mup=true", "model.base_width=4"],
}
SHARED = ["epochs=6", "batch.size=64", "model.width=8", "model.depth=1", "data=breast_cancer", "dtype=float64"]
Jobs = Callable[..., Job]


def four(job: Jobs, mechanism: str, *more: str) -> list[Job]:
    return [job(f"seed={s}", f"optim.lr={0.001 * (s + 1)}", *SHARED, *MECHANISMS[mechanism], *more) for s in range(4)]


def assert_as_by_loops(jobs: list[Job], by_loop: list[Path]) -> None:
    for job, folder in zip(jobs, by_loop, strict=True):
        rows, expected = rows_of(job.folder), rows_of(folder)
        assert [row["step"] for row in rows] == [row["step"] for row in expected] and len(rows) == 7
        for row, by_itself in zip(rows, expected, strict=True):
            assert float(row["val_loss"]) == pytest.approx(float(by_itself["val_loss"]), rel=1e-8)


def trained_by_loops(job: Jobs, mechanism: str) -> list[Path]:
    jobs = four(job, mechanism, "engine=loop", "name=loop")
    for each in jobs:
        assert run_job(each, save="none", bar=False) is not None
    return [each.folder for each in jobs]


@pytest.mark.parametrize("mechanism", MECHANISMS)
def test_a_stopped_pack_goes_on_in_parts(mechanism: str, job: Jobs) -> None:
    jobs, stop = four(job, mechanism), Interruption()

    def halfway(share: float) -> None:
        stop.requested = share > 0.5

    assert {o.summary["status"] for o in run_pack(jobs, "none", stop, Told(halfway)) if o} == {"interrupted"}
    for part in (jobs[1:3], [jobs[0], jobs[3]]):
        for outcome in run_pack(part, "none"):
            assert outcome is not None and outcome.summary["status"] == "completed"
            assert outcome.summary["resumed_from_step"] > 0 and outcome.summary["engine"] == "fused"
    assert_as_by_loops(jobs, trained_by_loops(job, mechanism))


@pytest.mark.parametrize("mechanism", MECHANISMS)
def test_a_pack_without_memory_goes_on_in_halves(mechanism: str, job: Jobs, monkeypatch: pytest.MonkeyPatch) -> None:
    train = fused.train

    def short_of_memory(stacked: Stack, pulse: Callable[[int], bool]) -> Iterator[Any]:
        for count, events in enumerate(train(stacked, pulse)):
            if len(stacked.runs) > 2 and count == 3:
                raise MemoryError("cannot allocate memory")
            yield events

    monkeypatch.setattr(fused, "train", short_of_memory)
    jobs = four(job, mechanism)
    assert {(o.summary["status"], o.summary["stack_size"]) for o in run_pack(jobs, "none") if o} == {("completed", 2)}
    assert_as_by_loops(jobs, trained_by_loops(job, mechanism))
