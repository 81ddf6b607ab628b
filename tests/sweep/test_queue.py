"""The live queue: jobs are handed out in packs, which are kept; more may come while workers run."""

import multiprocessing
import os
import pickle
import signal
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace

import pytest

from runner.config.compose import Composer
from runner.errors import ConfigError
from runner.run.claim import run_pack
from runner.run.files import written_at
from runner.run.job import Job
from runner.run.lock import holding
from runner.run.outcome import Outcome
from runner.run.packs import lock_of, packs
from runner.run.process import Interruption
from runner.sweep.held import Held, Maker
from runner.sweep.launch import Launch, inline, processes
from runner.sweep.pack import pack, packed
from runner.sweep.plan import Grid, plan
from runner.sweep.queue import NOT_STARTED, Queue
from tests.support.records import run_folders, summary_of

Make = Callable[..., Job]
SMALL = ["model.width=16", "model.depth=1", "threads=1", "max_steps=6"]


def some(job: Make, seeds: Sequence[int], *more: str) -> list[Job]:
    return [job(*SMALL, f"seed={seed}", *more) for seed in seeds]


def ended(queue: Queue, taken: Sequence[int], status: str = "completed") -> list[Outcome | None]:
    return [Outcome(queue.jobs[i], {"status": status}, trained=True) for i in taken]


def test_what_waits_is_handed_out_once(job: Make) -> None:
    queue = Queue(some(job, range(3), "engine=loop"))
    taken = [queue.take() for _ in range(4)]
    assert taken == [(0,), (1,), (2,), None] and queue.running == 3 and not queue.is_empty
    for one in (taken[1], taken[0]):
        queue.over(one, ended(queue, one))
    assert queue.running == 1
    queue.close()
    statuses = [(o.summary["status"], o.summary.get("stop_reason")) for o in queue.results()]
    assert statuses == [("completed", None), ("completed", None), ("interrupted", NOT_STARTED)]


def test_what_another_process_trains_is_looked_at_again(job: Make) -> None:
    queue = Queue(some(job, range(2), "engine=loop"))
    first, second = queue.take(), queue.take()
    assert queue.over(first, [None]) == [] and not queue.is_empty
    assert queue.take() is None
    queue.look_again()
    assert queue.take() == first
    queue.over(first, ended(queue, first))
    queue.over(second, ended(queue, second))
    assert queue.is_empty


@pytest.mark.parametrize("launch", [inline.launch, processes.launch])
def test_jobs_are_added_while_workers_run(launch: Launch, job: Make, folder: Path) -> None:
    """A search of two rounds: the second is made of what the first found, by workers that were forked before it."""
    rounds: list[list[int]] = []

    def source(queue: Queue) -> None:
        if not rounds:
            seeds = [0, 1, 2]
        elif len(rounds) == 1 and len(queue.outcomes) == 3:
            best = min(queue.outcomes.values(), key=lambda o: o.summary["final_val_loss"])
            seeds = [10 + best.job.config["seed"], 20 + best.job.config["seed"]]
        else:
            return
        rounds.append(seeds)
        queue.add(some(job, seeds, "engine=loop"))

    queue = Queue(source=source)
    heard: list[str] = []
    launch(queue, lambda outcome: heard.append(outcome.job.run_id), 2)
    found = queue.results()
    assert [o.summary["status"] for o in found] == ["completed"] * 5
    assert [o.job.config["seed"] for o in found] == [*rounds[0], *rounds[1]]
    assert sorted(heard) == sorted(o.job.run_id for o in found)
    assert len(run_folders(folder)) == 5 and queue.is_empty


def test_packs_are_a_function_of_the_jobs_and_their_number_alone(job: Make) -> None:
    jobs = some(job, range(12), "optim.lr=0.1") + some(job, range(8), "optim=sgd")
    assert pack(jobs, 2) == pack(jobs, 2)
    assert sorted(i for members in pack(jobs, 2) for i in members) == list(range(20))
    assert [len(members) for members in pack(jobs, 2)] == [10, 10]
    assert [len(members) for members in pack(jobs, 4)] == [5, 5, 5, 5]
    assert pack(jobs, 5) != pack(jobs, 2)
    assert not list(jobs[0].folder.parent.glob("**/*")), "packing writes nothing"


def test_who_joins_later_trains_the_packs_that_are_kept(job: Make, folder: Path) -> None:
    jobs = some(job, range(12))
    queue = Queue(jobs, 2)
    first = {tuple(jobs[i].run_id for i in members) for members in (queue.take(), queue.take())}
    assert {tuple(members) for _, members in packs(jobs[0].folder.parent)} == first
    later = Queue(jobs, 3)
    assert {tuple(jobs[i].run_id for i in members) for members in (later.take(), later.take())} == first
    assert later.take() is None
    inline.launch(Queue(jobs, 1), lambda outcome: None)
    assert {summary_of(path)["stack_size"] for path in run_folders(folder)} == {6}
    assert not list(folder.glob("outputs/default/.stacks/*")) and packed(jobs, 2) == [(i,) for i in range(12)]


def held(job: Job) -> Held:
    return Held.of(job, Maker(Composer.over()))


def test_jobs_go_to_other_processes_as_overrides(job: Make) -> None:
    this = job(*SMALL, "optim=sgd", "regularization=dropout")
    sent = pickle.dumps([held(this), held(job(*SMALL))])
    assert len(sent) < 1000
    again = pickle.loads(sent)[0]
    assert (again.run_id, again.folder, str(again)) == (this.run_id, this.folder, str(this))
    assert again.config == this.config and again.source is this.source and again.known == this.known


def test_held_jobs_are_those_that_were_made(job: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    this = held(job(*SMALL, "seed=3"))
    assert this.config["seed"] == 3 and this.whole is this.whole and this.lock == job(*SMALL, "seed=3").lock
    monkeypatch.setattr("runner.sweep.held.KEPT", 2)
    others = [held(job(*SMALL, f"seed={seed}")) for seed in range(5)]
    for _ in range(2):
        assert [other.config["seed"] for other in others] == list(range(5))


def test_large_grids_are_checked_by_several_processes_with_the_same_result(
    job: Make, monkeypatch: pytest.MonkeyPatch, folder: Path
) -> None:
    composer = Composer.over()
    asked = Grid(("model.width=8", "optim=sgd,adamw", "init=he,he_normal", "seed=range(30)")).jobs(composer)
    one_by_one = [(j.run_id, j.folder, j.overrides) for j in plan(composer, asked)]
    monkeypatch.setattr("runner.sweep.check.LARGE", 10)
    together = [(j.run_id, j.folder, j.overrides) for j in plan(composer, asked)]
    assert together == one_by_one
    assert len(together) == 60  # he is he_normal
    wrong = [*asked[:70], [*asked[70][:-1], "seed=-1"], [*asked[71][:-1], "seed=x"], *asked[72:]]
    with pytest.raises(ConfigError, match=r"2 of 120 jobs cannot be run:\n  seed must be .*\n    job 70 \(.*seed=-1\)"):
        plan(composer, wrong)
    assert not (folder / "outputs").exists()


def test_a_held_job_whose_yaml_has_changed_is_refused(folder: Path) -> None:
    own = folder / "mine" / "optim"
    own.mkdir(parents=True)
    (own / "x.yaml").write_text("_option_: x\n_target_: runner.optim.sgd\nlr: 0.1\nmomentum: 0.5\nnesterov: false\n")
    made = Maker(Composer.over("mine"))
    this = Held.of(made(("optim=x", *SMALL)), made)
    (own / "x.yaml").write_text("_option_: x\n_target_: runner.optim.sgd\nlr: 0.1\nmomentum: 0.9\nnesterov: false\n")
    again = Held(this.overrides, this.run_id, this.place, Maker(Composer.over("mine")))
    with pytest.raises(ConfigError, match="another run than when the sweep began"):
        _ = again.config


def test_kept_packs_are_not_stacked_where_a_stack_is_refused_now(job: Make) -> None:
    Queue(some(job, range(4), "engine=fused"), 1)
    assert packed(some(job, range(4)), 1) == [(0, 1, 2, 3)]
    for asked in ("diagnostics=true", "sharpness=true", "deterministic=true", "compile=true"):
        assert packed(some(job, range(4), asked), 1) == [(0,), (1,), (2,), (3,)], asked


def test_a_worker_that_died_while_idle_is_replaced(job: Make, folder: Path) -> None:
    jobs, added = some(job, range(2), "engine=loop"), []

    def source(queue: Queue) -> None:
        if len(queue.outcomes) == 1 and not added:
            for child in multiprocessing.active_children():
                child.kill()
                child.join()
            added.append(True)
            queue.add(jobs[1:])

    queue = Queue(jobs[:1], source=source)
    processes.launch(queue, lambda outcome: None, 1)
    assert [o.summary["status"] for o in queue.results()] == ["completed", "completed"]
    assert len(added) == 1 and len(run_folders(folder)) == 2


def test_what_another_process_trains_is_looked_at_now_and_then(job: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    this = some(job, [0], "engine=loop")
    asked: list[float] = []
    look_again = Queue.look_again
    monkeypatch.setattr(Queue, "look_again", lambda queue: asked.append(time.monotonic()) or look_again(queue))
    monkeypatch.setattr(processes, "POLL_SECONDS", 0.1)
    this[0].lock.parent.mkdir(parents=True)
    with holding(this[0].lock):
        queue = Queue(this, 1)
        began = time.monotonic()
        threading.Timer(1.0, queue.close).start()
        processes.launch(queue, lambda outcome: None, 1)
    assert 1 <= len(asked) <= (time.monotonic() - began) / processes.POLL_SECONDS


def test_a_second_ctrl_c_ends_a_run_at_once() -> None:
    interruption = Interruption()
    with interruption.listening():
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.raise_signal(number)
        assert interruption.requested
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)


def test_a_first_ctrl_c_is_the_first_whatever_closed_the_queue(job: Make) -> None:
    pool = processes._Pool(Queue(some(job, [0])), 1)
    pool.stop()  # as fail_fast does
    pool._on_signal(signal.SIGTERM, None)
    pool._on_signal(signal.SIGINT, None)
    with pytest.raises(KeyboardInterrupt):
        pool._on_signal(signal.SIGINT, None)


def test_what_an_earlier_start_found_is_not_what_a_lost_worker_did(job: Make, folder: Path) -> None:
    this = some(job, [0])[0]
    this.folder.mkdir(parents=True)
    summary = this.folder / "summary.json"
    summary.write_text('{"status": "completed"}')
    pool, before = processes._Pool(Queue([this]), 1), written_at(this.folder)
    lost = pool._death(-9, this, before)
    assert lost["status"] == "interrupted" and "its worker ended by SIGKILL" in lost["stop_reason"]
    os.utime(summary, (1, 1))
    assert pool._death(-9, this, before)["status"] == "completed"


def test_a_pack_is_one_commands_at_a_time(job: Make, folder: Path) -> None:
    jobs = some(job, range(4))
    with holding(lock_of(jobs)) as ours:
        assert ours and run_pack(jobs, "none") == [None] * 4
        assert run_folders(folder) == []
    assert [outcome and outcome.summary["status"] for outcome in run_pack(jobs, "none")] == ["completed"] * 4


def test_nothing_is_built_of_runs_that_others_train(job: Make, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    jobs = some(job, range(2))
    monkeypatch.setattr("runner.run.build.build", lambda job: pytest.fail("it is built"))
    with holding(jobs[0].lock), holding(jobs[1].lock):
        assert run_pack(jobs, "none") == [None, None]


def test_a_second_ctrl_c_ends_the_workers_at_once(job: Make) -> None:
    queue, killed = Queue(some(job, [0])), []
    pool = processes._Pool(queue, 1)
    pool._workers = [SimpleNamespace(pack=(), process=SimpleNamespace(kill=lambda: killed.append(True)))]
    pool._on_signal(signal.SIGINT, None)
    assert queue.closed and killed == []
    with pytest.raises(KeyboardInterrupt):
        pool._on_signal(signal.SIGINT, None)
    assert killed == [True]
