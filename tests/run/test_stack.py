"""A stack in a sweep: many runs' folders from one training, killed, resumed, halved and taken apart."""

import csv
import gc
import json
import os
import shutil
import signal
import time
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from runner.engine import fused
from runner.engine.fused.members import Stack
from runner.engine.fused.slices import Slice
from runner.run import files
from runner.run.claim import run_job, run_pack
from runner.run.job import Job
from runner.run.lock import holding
from runner.run.packs import packs
from runner.run.process import Interruption
from runner.run.progress import Told
from runner.sweep.pack import packed
from tests.support import forked, killed
from tests.support.records import Result

SMALL = ["model.width=16", "batch.size=64"]
GRID = ["optim=sgd,adam", "optim.lr=1e-3,1e-2", "seed=0,1"]
Optbench = Callable[..., Result]


def summaries(folder: Path) -> dict[str, dict[str, Any]]:
    found = [json.loads(path.read_text()) for path in folder.glob("outputs/*/*/summary.json")]
    return {summary["run_id"]: summary for summary in found}


def rows(folder: Path) -> dict[str, list[dict[str, str]]]:
    found = {}
    for path in folder.glob("outputs/*/*/metrics.csv"):
        with path.open() as file:
            found[path.parent.name.rpartition("-")[2]] = list(csv.DictReader(file))
    return found


def some(job: Callable[..., Job], count: int, *overrides: str) -> list[Job]:
    width = [] if any(o.startswith("model.width") for o in overrides) else ["model.width=16"]
    return [job(f"seed={seed}", "epochs=3", "batch.size=64", *width, *overrides) for seed in range(count)]


def test_a_sweep_in_stacks_is_the_sweep_by_loops(optbench: Optbench, folder: Path) -> None:
    asked = ["train", "-m", *GRID, *SMALL, "epochs=2", "save=last", "dtype=float64"]
    assert optbench(*asked, "engine=loop", "name=loop").code == 0
    by_loop, rows_by_loop = summaries(folder), rows(folder)
    (folder / "outputs").rename(folder / "before")
    result = optbench(*asked, "workers=2")
    assert result.code == 0, result.err
    by_stack = summaries(folder)
    assert by_stack.keys() == by_loop.keys()
    assert {(s["engine"], s["stack_size"]) for s in by_stack.values()} == {("fused", 4)}
    assert {(s["engine"], s["stack_size"]) for s in by_loop.values()} == {("loop", 1)}
    untimed = ["steps", "samples_seen", "parameters", "status", "saved"]
    for run_id, summary in by_stack.items():
        expected = by_loop[run_id]
        assert summary.keys() == expected.keys()
        assert [summary[k] for k in untimed] == [expected[k] for k in untimed]
        for about, share in (("final_val_loss", 1e-10), ("optimizer_state_bytes", 0.01)):  # step counts are shared
            assert summary[about] == pytest.approx(expected[about], rel=share)
        assert len(rows(folder)[run_id]) == len(rows_by_loop[run_id])
        for row, by_itself in zip(rows(folder)[run_id], rows_by_loop[run_id], strict=True):
            assert row.keys() == by_itself.keys() and row["step"] == by_itself["step"] and row["lr"] == by_itself["lr"]
    with (folder / "outputs/default/runs.csv").open() as file:
        listed = list(csv.DictReader(file))
    assert {row["engine"] for row in listed} == {"fused"} and len(listed) == 8
    assert not (folder / "outputs/default/.stacks").exists()
    (run,) = folder.glob(f"outputs/default/*-{listed[0]['run_id']}")
    assert optbench("predict", str(run)).code == 0
    again = optbench(*asked)
    assert again.code == 0 and again.err.count("completed before") == 8


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT], ids=lambda n: n.name)
def test_a_stopped_stack_goes_on_with_the_same_members(
    number: signal.Signals, folder: Path, optbench: Optbench
) -> None:
    asked = ["train", "-m", *GRID, *SMALL, "epochs=8", "workers=1", "dtype=float64"]
    killed.stop(folder, *asked, evaluations=5, number=number)
    (plan,) = packs(folder / "outputs/default")
    assert len(plan[1]) == 8
    result = optbench(*asked)
    assert result.code == 0, result.err
    found = summaries(folder)
    assert {s["status"] for s in found.values()} == {"completed"} and len(found) == 8
    assert all(s["resumed_from_step"] > 0 and s["stack_size"] == 8 for s in found.values())
    whole = rows(folder)
    (folder / "outputs").rename(folder / "before")
    assert optbench(*asked).code == 0
    for run_id, expected in rows(folder).items():
        assert [row["step"] for row in whole[run_id]] == [row["step"] for row in expected]
        for row, undisturbed in zip(whole[run_id], expected, strict=True):
            assert float(row["val_loss"]) == pytest.approx(float(undisturbed["val_loss"]), rel=1e-8)


def test_members_of_a_stopped_stack_may_go_on_a_few_at_a_time(job: Callable[..., Job]) -> None:
    jobs = [job(f"seed={s}", "epochs=30", *SMALL) for s in range(6)]
    stop = Interruption()
    steps: list[float] = []

    def after_a_third(share: float) -> None:
        steps.append(share)
        stop.requested = share > 0.3

    stopped = run_pack(jobs, "none", stop, Told(after_a_third))
    assert all(o is not None and o.summary["status"] == "interrupted" for o in stopped)
    few = run_pack(jobs[2:4], "none")
    assert [o.summary["stack_size"] for o in few if o] == [2, 2]
    rest = run_pack([*jobs[:2], *jobs[4:]], "none")
    for outcome in [*few, *rest]:
        assert outcome is not None and outcome.summary["status"] == "completed"
        assert outcome.summary["resumed_from_step"] > 0
    assert not list(jobs[0].folder.parent.glob(".stacks/*"))


def test_a_stack_that_ran_out_of_memory_is_gone_while_its_halves_train(
    job: Callable[..., Job], monkeypatch: pytest.MonkeyPatch
) -> None:
    train, seen, alive = fused.train, [], []

    def short_of_memory(members: Stack, pulse: Callable[[int], bool]) -> Iterator[object]:
        gc.collect()
        alive.append(sum(earlier() is not None for earlier in seen))
        seen.append(weakref.ref(members))
        if len(members.runs) > 2:
            raise MemoryError("no more")
        yield from train(members, pulse)

    monkeypatch.setattr(fused, "train", short_of_memory)
    outcomes = run_pack(some(job, 4), "none")
    assert all(o is not None and o.summary["status"] == "completed" for o in outcomes)
    assert len(alive) == 3 and alive[:2] == [0, 0]


def test_out_of_memory_halves_a_stack(job: Callable[..., Job], monkeypatch: pytest.MonkeyPatch) -> None:
    train, sizes = fused.train, []

    def short_of_memory(stacked: Stack, pulse: Callable[[int], bool]) -> Any:
        sizes.append(len(stacked.runs))
        for count, events in enumerate(train(stacked, pulse)):
            if len(stacked.runs) > 2 and count == 1:
                raise MemoryError("cannot allocate memory")
            yield events

    monkeypatch.setattr(fused, "train", short_of_memory)
    outcomes = run_pack(some(job, 7), "none")
    assert sizes == [7, 3, 1, 2, 4, 2, 2]
    assert all(o is not None and o.summary["status"] == "completed" for o in outcomes)
    assert all(len(files.whole_lines(o.job.folder / "metrics.csv")) == 5 for o in outcomes if o)


@pytest.mark.parametrize("engine", ["auto", "fused"])
def test_what_raises_in_a_stack_costs_the_run_that_raises(
    engine: str, job: Callable[..., Job], monkeypatch: pytest.MonkeyPatch
) -> None:
    step = Slice.step

    def raising(part: Slice, gradients: Any, lr: Any) -> None:
        if (lr == 0.5).any() or part.stop - part.start > 1:
            raise ValueError("no such step")
        step(part, gradients, lr)

    monkeypatch.setattr(Slice, "step", raising)
    shared = ["optim=sgd", "scheduler=constant", f"engine={engine}"]
    jobs = [job(f"optim.lr={lr}", "epochs=1", *SMALL, *shared) for lr in (0.1, 0.5, 0.2)]
    found = {o.job.config["optim"]["lr"]: o.summary for o in run_pack(jobs, "none") if o}
    assert found[0.1]["status"] == found[0.2]["status"] == "completed"
    assert found[0.5]["status"] == ("failed" if engine == "fused" else "completed")
    assert found[0.1]["engine"] == ("fused" if engine == "fused" else "loop")
    if engine == "fused":
        assert "ValueError: no such step" in found[0.5]["stop_reason"]
        assert "no such step" in Path(found[0.5]["traceback"]).read_text()


def test_a_member_that_another_process_trains_is_left_to_it(job: Callable[..., Job]) -> None:
    jobs = some(job, 4)
    with holding(jobs[1].lock) as held:
        assert held
        outcomes = run_pack(jobs, "none")
    assert outcomes[1] is None
    assert [o.summary["stack_size"] for o in outcomes if o] == [3, 3, 3]


def test_auto_stacks_what_pays_and_nothing_else(job: Callable[..., Job]) -> None:
    def sizes(*overrides: str, count: int = 8) -> list[int]:
        return sorted(len(task) for task in packed(some(job, count, *overrides), 2))

    assert sizes() == [4, 4]
    assert sizes(count=3) == [1, 1, 1]
    assert sizes("engine=loop") == [1] * 8
    assert sizes("model=cnn", "model.width=4") == [1] * 8
    assert sizes("model=resnet", "model.depth=8", "model.width=4") == [1] * 8
    assert sizes("optim=lbfgs") == [1] * 8
    assert sizes("engine=fused", count=3) == [3]


def test_auto_leaves_own_parts_and_large_networks_alone(job: Callable[..., Job]) -> None:
    own = [job(f"seed={s}", "model=custom", "model.target=tests.own_parts.Net", "max_steps=1") for s in range(8)]
    assert all(len(task) == 1 for task in packed(own, 2))
    large = [job(f"seed={s}", "model.width=1024", "max_steps=1") for s in range(8)]
    assert all(len(task) == 1 for task in packed(large, 2))


def test_runs_of_other_models_and_lengths_are_no_stack(job: Callable[..., Job]) -> None:
    kinds = [["max_steps=4"], ["max_steps=5"], ["max_steps=4", "model.depth=1"], ["max_steps=4", "loss=mse"]]
    jobs = [job(*kind, f"seed={s}", "model.width=16") for kind in kinds for s in range(4)]
    found = packed(jobs, 1)
    assert sorted(map(sorted, found)) == [[4 * k + s for s in range(4)] for k in range(4)]


def test_a_single_run_may_be_fused(optbench: Optbench, folder: Path) -> None:
    result = optbench("train", "engine=fused", "epochs=2", *SMALL)
    assert result.code == 0, result.err
    (summary,) = summaries(folder).values()
    assert (summary["engine"], summary["stack_size"], summary["saved"]) == ("fused", 1, "last")
    (run,) = folder.glob("outputs/default/*/summary.json")
    assert optbench("predict", str(run.parent)).code == 0


def stopped(jobs: list[Job], share: float = 0.3) -> None:
    """Train a stack of jobs until so much of it is done."""
    stop = Interruption()

    def note(done: float) -> None:
        stop.requested = done > share

    outcomes = run_pack(jobs, "none", stop, Told(note))
    assert all(o is not None and o.summary["status"] == "interrupted" for o in outcomes)


def test_members_asked_for_in_other_ways_are_no_longer_a_stack(job: Callable[..., Job]) -> None:
    shared = ["max_steps=300", *SMALL]
    stopped([job(f"seed={s}", "eval_every=50", *shared) for s in range(8)])
    now = [job(f"seed={s}", f"eval_every={50 if s < 4 else 25}", *shared) for s in range(8)]
    found = packed(now, 1)
    assert sorted(map(sorted, found)) == [[0, 1, 2, 3], [4, 5, 6, 7]]
    outcomes = [o for task in found for o in run_pack([now[i] for i in task], "none")]
    for outcome in outcomes:
        assert outcome is not None and outcome.summary["status"] == "completed"
        rows = len(files.whole_lines(outcome.job.folder / "metrics.csv")) - 1
        asked = outcome.job.config["eval_every"]
        assert rows == 1 + 300 // asked
        assert (outcome.summary["resumed_from_step"] is not None) == (asked == 50)


def test_a_folder_that_cannot_be_written_costs_its_own_run_alone(job: Callable[..., Job]) -> None:
    jobs = some(job, 5)
    jobs[3].folder.parent.mkdir(parents=True)
    jobs[3].folder.write_text("no folder")
    found = [o.summary["status"] for o in run_pack(jobs, "none") if o]
    assert found == ["completed", "completed", "completed", "failed", "completed"]


@pytest.mark.parametrize("harm", ["folder", "rows", "checkpoint"])
def test_what_one_member_lost_costs_that_member_alone(harm: str, job: Callable[..., Job]) -> None:
    jobs = [job(f"seed={s}", "epochs=30", *SMALL) for s in range(5)]
    stopped(jobs)
    ((plan, _),) = packs(jobs[0].folder.parent)
    if harm == "folder":
        shutil.rmtree(jobs[2].folder)
    elif harm == "rows":
        (jobs[2].folder / "metrics.csv").write_text("")
    else:  # the one before it is whole
        plan.with_suffix(".pt").write_bytes(b"damaged")
    outcomes = run_pack(jobs, "none")
    resumed = [o.summary["resumed_from_step"] is not None for o in outcomes if o]
    assert resumed == [True, True, harm == "checkpoint", True, True]
    assert [o.summary["stack_size"] for o in outcomes if o] == ([5] * 5 if harm == "checkpoint" else [4, 4, 1, 4, 4])
    assert not (jobs[0].folder.parent / ".stacks").exists()


def test_a_single_run_goes_on_from_its_stack(job: Callable[..., Job]) -> None:
    jobs = [job(f"seed={s}", "epochs=30", *SMALL) for s in range(4)]
    stopped(jobs)
    alone = run_job(jobs[1], save="none", bar=False)
    assert alone is not None and alone.summary["resumed_from_step"] > 0
    rest = run_pack([jobs[0], *jobs[2:]], "none")
    assert all(o is not None and o.summary["resumed_from_step"] > 0 for o in rest)
    assert not (jobs[0].folder.parent / ".stacks").exists()


def test_nothing_is_left_of_a_stack_whose_members_ended_elsewhere(job: Callable[..., Job]) -> None:
    shared = ["epochs=30", *SMALL]
    stopped([job(f"seed={s}", *shared) for s in range(3)])
    for s in range(3):
        by_loop = run_job(job(f"seed={s}", "engine=loop", *shared), save="none", bar=False)
        assert by_loop is not None and by_loop.summary["engine"] == "loop"
    assert not list(by_loop.job.folder.parent.glob(".stacks/*"))


def test_members_that_another_sweep_trained_go_on_together(
    optbench: Optbench, folder: Path, job: Callable[..., Job]
) -> None:
    asked = ["train", "-m", "seeds=5", "epochs=8", *SMALL, "workers=1"]
    first = killed.start(folder, *asked, evaluations=5, number=signal.SIGSTOP)
    stopped = os.waitid(os.P_PID, first, os.WSTOPPED | os.WEXITED | os.WNOWAIT)
    assert stopped is not None and stopped.si_status == signal.SIGSTOP
    second = forked.start(folder, *asked, said="second.txt")
    time.sleep(0.5)  # it waits for the first
    assert not forked.has_ended(second)
    forked.kill(first)
    assert forked.code_of(second) == 0, (folder / "second.txt").read_text()
    found = summaries(folder).values()
    assert {(s["status"], s["stack_size"]) for s in found} == {("completed", 5)}
    assert not (folder / "outputs/default/.stacks").exists()


def test_a_run_begun_by_itself_goes_on_by_itself(job: Callable[..., Job]) -> None:
    jobs = [job(f"seed={s}", "epochs=400", *SMALL) for s in range(5)]
    stop = Interruption()
    stop.requested = True
    interrupted = run_job(jobs[0], save="none", interruption=stop, bar=False)
    assert interrupted is not None and interrupted.summary["status"] == "interrupted"
    assert sorted(map(sorted, packed(jobs, 1))) == [[0], [1, 2, 3, 4]]
