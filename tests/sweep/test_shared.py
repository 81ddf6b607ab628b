"""A queue on disk: each pack is trained once, whoever dies, and nothing that was posted is lost."""

import contextlib
import json
import os
import signal
import time
from collections.abc import Callable
from multiprocessing import get_context
from pathlib import Path
from types import SimpleNamespace

import pytest

from runner.config.compose import Composer
from runner.run import lock
from runner.run.outcome import Outcome
from runner.sweep import shared as module
from runner.sweep.held import Held, Maker
from runner.sweep.launch import worker
from runner.sweep.plan import plan
from runner.sweep.shared import Shared, Watch
from tests.support.known import TINY


@pytest.fixture
def jobs(folder: Path) -> list[Held]:
    composer = Composer.over()
    return [Held.of(job, Maker(composer)) for job in plan(composer, [[*TINY, f"seed={i}"] for i in range(3)])]


@pytest.fixture
def posted(jobs: list[Held]) -> Shared:
    """Two packs, of two jobs and of one."""
    shared = Shared.begin(jobs[0].folder.parent, None, 1)
    assert list(shared.post([jobs[:2], jobs[2:]])) == [0, 1]
    return shared


def _joined(posted: Shared) -> Shared:
    """The queue as a worker sees it that has joined it."""
    there = Shared(posted.folder)
    there.join({"number": 3})
    there.look()
    return there


def _outcome(job: Held, status: str = "completed") -> Outcome:
    return Outcome(job, {"status": status, "run_id": job.run_id, "final_val_loss": float("nan")}, trained=True)


def test_a_worker_finds_the_jobs_that_were_posted(posted: Shared, jobs: list[Held]) -> None:
    found = Shared(posted.folder)
    found.look()
    assert [[job.run_id for job in pack] for pack in found.packs] == [[j.run_id for j in jobs[:2]], [jobs[2].run_id]]
    assert found.packs[0][1].config == jobs[1].config
    assert found.packs[0][1].folder == jobs[1].folder


def test_whoever_posts_hears_what_became_of_each(posted: Shared, jobs: list[Held]) -> None:
    there = _joined(posted)
    there.found(0, {1: _outcome(jobs[1])})
    posted.look()
    assert not posted.is_over(0)
    there.found(0, {0: _outcome(jobs[0], "failed")})
    posted.look()
    assert posted.is_over(0) and not posted.is_over(1)
    assert [posted.answers[0][i][0]["status"] for i in range(2)] == ["failed", "completed"]
    assert posted.answers[0][1][0]["final_val_loss"] is None
    assert [said["number"] for said in posted.joined.values()] == [3]


def test_a_line_that_is_half_written_is_read_when_it_is_whole(posted: Shared, jobs: list[Held]) -> None:
    line = (posted.folder / "packs.jsonl").read_text().splitlines()[0]
    with (posted.folder / "packs.jsonl").open("a") as file:
        file.write(line[:20])
    there = Shared(posted.folder)
    there.look()
    assert len(there.packs) == 2
    with (posted.folder / "packs.jsonl").open("a") as file:
        file.write(line[20:] + "\n")
    there.look()
    assert [job.run_id for job in there.packs[2]] == [job.run_id for job in jobs[:2]]


def test_a_pack_that_another_one_finished_meanwhile_is_not_taken(posted: Shared, jobs: list[Held]) -> None:
    """Both looked before either began: whose lock comes second looks again. So force=true trains once, too."""
    first, second = _joined(posted), _joined(posted)
    with first.claim(1) as ours:
        assert ours
        with second.claim(1) as theirs:
            assert not theirs
        first.found(1, {0: _outcome(jobs[2])})
    with second.claim(1) as theirs:
        assert not theirs


def test_a_pack_whose_processes_die_again_and_again_is_given_up(
    posted: Shared, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker.spread, "train", lambda *ignored: pytest.fail("it is not begun once more"))
    (posted.folder / "begun.1").write_text("x" * module.MOST_DEATHS)
    there = _joined(posted)
    worker._train(there, 1, worker.Interruption())
    posted.look()
    summary, trained = posted.answers[1][0]
    assert (summary["status"], trained) == ("interrupted", True)
    assert "10 processes that trained it died" in summary["stop_reason"]


@pytest.mark.parametrize("left", ["checkpoint.pt", "summary.json"])
def test_processes_that_die_of_something_else_than_their_pack_are_not_counted(
    left: str, posted: Shared, jobs: list[Held]
) -> None:
    begun = posted.folder / "begun.0"
    begun.write_text("x" * 7)
    with posted.trying(0) as deaths:
        assert deaths == 7
    begun.write_text("x" * 7)
    os.utime(begun, (1, 1))
    jobs[1].folder.mkdir(parents=True)
    (jobs[1].folder / left).touch()
    with posted.trying(0) as deaths:
        assert deaths == 0  # it came further since it was begun last
        assert begun.read_text() == "x"


def test_a_worker_that_is_stopped_leaves_its_pack_to_others(
    posted: Shared, jobs: list[Held], monkeypatch: pytest.MonkeyPatch
) -> None:
    interruption = worker.Interruption()

    def stopped(given: list[Held], *ignored: object) -> list[Outcome]:
        interruption.requested = True
        return [_outcome(given[0]), _outcome(given[1], "interrupted")]

    monkeypatch.setattr(worker.spread, "train", stopped)
    there = _joined(posted)
    worker._train(there, 0, interruption)
    posted.look()
    assert list(posted.answers[0]) == [0]
    assert not list(posted.folder.glob("begun.*"))


def test_a_process_that_a_run_kills_is_spoken_for_and_replaced(posted: Shared, monkeypatch: pytest.MonkeyPatch) -> None:
    supervisor = worker._Supervisor(_joined(posted), 3, 2)
    died = SimpleNamespace(exitcode=-9)
    with contextlib.suppress(SystemExit), posted.on(1, "3.0"):
        (posted.folder / "on.3.1").write_text("1")  # as one that is killed leaves it
        raise SystemExit
    monkeypatch.setattr(worker, "OVER_SECONDS", 0.0)
    assert not supervisor._ended(died, 1)
    posted.look()
    summary, trained = posted.answers[1][0]
    assert trained and summary["stop_reason"].startswith("its worker ended by SIGKILL")
    assert supervisor._ended(died, 1) and supervisor._ended(died, 0) and supervisor._broken == 2


def test_a_run_that_fails_ends_all_workers_with_fail_fast(
    posted: Shared, jobs: list[Held], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker.spread, "train", lambda given, *ignored: [_outcome(job, "failed") for job in given])
    there = _joined(posted)
    worker._train(there, 1, worker.Interruption())
    assert not there.is_cancelled
    monkeypatch.setattr(Held, "config", property(lambda self: {"fail_fast": True}))
    worker._train(there, 0, worker.Interruption())
    assert there.is_cancelled


def test_workers_end_when_whoever_posts_is_gone(posted: Shared, monkeypatch: pytest.MonkeyPatch) -> None:
    now, watch = [0.0], Watch()
    monkeypatch.setattr(module.time, "monotonic", lambda: now[0])
    assert not posted.takes_no_more(watch)
    now[0] += lock.SILENT_SECONDS - 1
    os.utime(posted.folder / "sweep.json", (time.time() + 5, time.time() + 5))
    assert not posted.takes_no_more(watch)
    now[0] += lock.SILENT_SECONDS + 1
    assert posted.takes_no_more(watch)


def _ended(job: Held) -> None:
    job.folder.mkdir(parents=True)
    (job.folder / "summary.json").write_text('{"status": "completed"}')


@pytest.mark.parametrize("silent", [False, True])
def test_a_queue_that_its_command_left_goes_once_its_runs_have_ended_anywhere(
    silent: bool, posted: Shared, jobs: list[Held]
) -> None:
    def later() -> Path:
        """Another command's queue comes, and goes when that is over."""
        other = Shared.begin(jobs[0].folder.parent, None, 1)
        other.remove()
        assert not other.folder.exists()
        return posted.folder

    assert later().exists()  # its command is there
    if silent:  # it was killed
        long_ago = time.time() - module.ABANDONED_SECONDS - 60
        os.utime(posted.folder / "sweep.json", (long_ago, long_ago))
    else:
        posted.complete()
    assert later().exists()  # workers of it may come yet
    for job in jobs:
        assert later().exists()
        _ended(job)
    assert not later().parent.exists()


def test_a_queue_that_was_to_train_runs_anew_is_not_taken_for_done(posted: Shared, jobs: list[Held]) -> None:
    anew = [Held((*job.overrides, "force=true"), job.run_id, job.place, job.make) for job in jobs]
    left = Shared.begin(jobs[0].folder.parent, None, 1)
    left.post([anew])
    left.complete()
    for job in jobs:
        _ended(job)
    posted.remove()
    assert left.folder.exists()


def test_a_signal_reaches_a_process_that_is_just_being_started() -> None:
    def listen() -> None:
        time.sleep(0.2)  # as until it has come so far
        interruption = worker.Interruption()
        with interruption.listening():
            signal.pthread_sigmask(signal.SIG_UNBLOCK, worker.STOPS)
            time.sleep(0.01)
            os._exit(7 if interruption.requested else 0)

    before = signal.signal(signal.SIGTERM, lambda *ignored: None)  # what a forked process would take it by
    try:
        process = get_context("fork").Process(target=listen)
        with worker._signals_wait():
            process.start()
        assert process.pid is not None
        os.kill(process.pid, signal.SIGTERM)
        process.join(30)
    finally:
        signal.signal(signal.SIGTERM, before)
    assert process.exitcode == 7
    assert not signal.pthread_sigmask(signal.SIG_BLOCK, ()) & set(worker.STOPS)


def test_a_worker_says_that_it_does_not_see_the_folder(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert worker.main([str(tmp_path / "elsewhere"), "0"]) == 2
    assert "elsewhere cannot be read here" in capfd.readouterr().err


def test_a_worker_trains_all_that_is_posted_and_ends(
    posted: Shared, jobs: list[Held], optbench: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    posted.complete()
    taken = []
    monkeypatch.setattr(
        worker.spread, "train", lambda given, *ignored: taken.append(given) or list(map(_outcome, given))
    )
    worker._take(_joined(posted), 1, "3.0", worker.Interruption())
    assert sorted(job.run_id for pack in taken for job in pack) == sorted(job.run_id for job in jobs)
    posted.look()
    assert posted.is_over(0) and posted.is_over(1)
    assert json.loads((posted.folder / "sweep.json").read_text())["processes"] == 1
