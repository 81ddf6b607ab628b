"""Sweeps on a real Slurm and a real Ray of this host: the folders of worker processes, whatever becomes of workers."""

import csv
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from runner.run import lock
from tests.support import raylets, slurm
from tests.support.known import TINY
from tests.support.records import rows_by_run

GRID = ["-m", *TINY, "init=he,xavier", "seed=0,1,2,3"]
"""8 runs in two packs."""
LONG = ["-m", "model.width=8,12,16,20", "init=he,xavier", "seeds=4", "max_steps=1500", "eval_every=100"]
"""32 runs of four kinds, each in two packs, long enough to be killed in."""
WAIT_SECONDS = 1500
LONGER_SECONDS = 240.0
"""How long a sweep must take here for its tasks to reach their limit of two minutes."""

with_slurm = pytest.mark.skipif(slurm.missing() is not None, reason=f"no Slurm: {slurm.missing()}")
with_ray = pytest.mark.skipif(raylets.missing() is not None, reason=f"no Ray: {raylets.missing()}")


@pytest.fixture(scope="module")
def conf(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A Slurm's slurm.conf."""
    with slurm.running(tmp_path_factory.mktemp("slurm")) as place:
        yield place


def _sweep(folder: Path, *argv: str, **environment: str) -> subprocess.Popen[str]:
    """Start a sweep as a shell in the background would."""
    command = [sys.executable, "-m", "runner", "train", *argv, "baselines=false"]
    passed = {**os.environ, "OMP_NUM_THREADS": "1", **environment}
    with (folder / "log").open("a") as log:
        given = {"cwd": folder, "env": passed, "stdin": subprocess.DEVNULL, "stdout": log, "stderr": log}
        return subprocess.Popen(command, text=True, **given)


def _is_whole(folder: Path, name: str) -> None:
    """Every run of the sweep is there once, as the one on this machine has it, and nothing beside them."""
    expected = rows_by_run(folder, "here")
    assert rows_by_run(folder, name) == expected
    with (folder / "outputs" / name / "runs.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert {row["status"] for row in rows} == {"completed"}
    assert len({row["run_id"] for row in rows}) == len(rows) == len(expected)
    left = {path.name for path in (folder / "outputs" / name).iterdir() if path.is_dir() and path.name.startswith(".")}
    assert left <= {".locks"}


@with_slurm
def test_tasks_of_a_slurm_array_write_what_worker_processes_write(
    conf: Path, folder: Path, optbench: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SLURM_CONF", str(conf))
    assert optbench("train", *GRID, "name=here", "workers=2").code == 0
    found = optbench("train", *GRID, "name=there", "hydra/launcher=optbench_slurm", "hydra.launcher.workers=2")
    assert found.code == 0, found.err
    assert "2 workers asked of Slurm" in found.err
    _is_whole(folder, "there")
    assert slurm.tasks(conf, "R,PD") == []


@with_slurm
@pytest.mark.parametrize(
    ("setting", "said"),
    [
        ("partition=mian", "no partition 'mian'; did you mean 'main'?"),
        ("cpus_per_task=4096", "Slurm refuses such workers: "),
        ("workers=0", "hydra.launcher.workers must be ≥ 1, got 0"),
        ("signal_delay_s=3600", "told to end as it begins"),
    ],
)
def test_what_slurm_would_refuse_is_refused_before_anything_is_written(
    setting: str, said: str, conf: Path, folder: Path, optbench: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SLURM_CONF", str(conf))
    found = optbench("train", *GRID, "hydra/launcher=optbench_slurm", f"hydra.launcher.{setting}")
    assert (found.code, list(folder.iterdir())) == (2, [])
    assert said in found.err


@with_ray
def test_actors_of_ray_write_what_worker_processes_write(folder: Path, optbench: Callable) -> None:
    assert optbench("train", *GRID, "name=here", "workers=2").code == 0
    with raylets.running(1) as cluster:
        asked = ["hydra/launcher=optbench_ray", f"hydra.launcher.address='{cluster.address}'"]
        process = _sweep(folder, *GRID, "name=there", *asked)
        assert process.wait(WAIT_SECONDS) == 0, (folder / "log").read_text()
    _is_whole(folder, "there")


# ---- kills


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The long sweep by worker processes."""
    folder = tmp_path_factory.mktemp("made")
    assert _sweep(folder, *LONG, "name=here", "workers=2").wait(WAIT_SECONDS) == 0
    return folder


@pytest.fixture
def long(folder: Path, made: Path) -> Path:
    """A folder with the long sweep as worker processes made it."""
    shutil.copytree(made / "outputs", folder / "outputs")
    return folder


def _on_slurm(folder: Path, conf: Path, *argv: str) -> subprocess.Popen[str]:
    given = ["hydra/launcher=optbench_slurm", "hydra.launcher.workers=2", "name=there"]
    return _sweep(folder, *(argv or LONG), *given, SLURM_CONF=str(conf))


def _while_running(process: subprocess.Popen[str], times: int, act: Callable[[], bool], pause: float) -> int:
    """Act again and again while a sweep runs; return how often it was done."""
    done, until = 0, time.monotonic() + WAIT_SECONDS
    while process.poll() is None and done < times:
        assert time.monotonic() < until
        done += act()
        time.sleep(pause)
    return done


def _again_and_again(
    start: Callable[[], subprocess.Popen[str]], folder: Path, times: int, act: Callable[[], bool], pause: float
) -> None:
    """Have sweeps end whole while something is done to them, until it was done so often in all."""
    done, began = 0, time.monotonic()
    while done < times:
        shutil.rmtree(folder / "outputs" / "there", ignore_errors=True)
        process = start()
        now = _while_running(process, times - done, act, pause)
        _end(process, folder)
        done += now
        print(f"done {now} times to a sweep, {done} of {times} after {time.monotonic() - began:.0f} s", flush=True)


def _end(process: subprocess.Popen[str], folder: Path) -> None:
    assert process.wait(WAIT_SECONDS) == 0, (folder / "log").read_text()[-3000:]
    _is_whole(folder, "there")


@pytest.mark.slow
@with_slurm
def test_workers_that_are_killed_are_replaced(conf: Path, long: Path) -> None:
    """Of a job it is its first step that is killed: a job as a whole is cancelled by that signal, as by any scancel."""
    choose = random.Random(0)

    def kill() -> bool:
        running = _at_work(conf, long)
        if running:
            slurm.ask(conf, "scancel", "--signal=KILL", f"{choose.choice(running)}.0")
        return bool(running)

    _again_and_again(lambda: _on_slurm(long, conf), long, 20, kill, 1.0)


def _at_work(conf: Path, folder: Path) -> list[str]:
    """Return the tasks that run, while one of them trains."""
    return slurm.tasks(conf) if _trains(folder) else []


def _trains(folder: Path) -> bool:
    """Say whether a worker of a sweep that lives has a pack."""
    held = map(lock.owner_of, (folder / "outputs" / "there" / ".workers").glob("*/lock.*"))
    return any(owner is not None and owner[0].alive(0.0) for owner in held)


@pytest.mark.slow
@with_slurm
def test_workers_that_are_queued_again_go_on(conf: Path, long: Path) -> None:
    def requeue() -> bool:
        running = _at_work(conf, long)
        if running:
            slurm.ask(conf, "scontrol", "requeue", running[0])
        return bool(running)

    _again_and_again(lambda: _on_slurm(long, conf), long, 5, requeue, 5.0)


@pytest.mark.slow
@with_slurm
def test_a_worker_near_its_limit_checkpoints_and_is_queued_again(conf: Path, long: Path) -> None:
    """The signal is sent by hand here; Slurm sends it ``signal_delay_s`` before the limit.

    It may reach a worker between two packs, where nothing goes on from a checkpoint: then it is sent in another sweep.
    """

    def near() -> bool:
        running = _at_work(conf, long)
        if running:
            slurm.ask(conf, "scancel", "--signal=USR2", running[0])
        return bool(running)

    for _ in range(5):
        _again_and_again(lambda: _on_slurm(long, conf), long, 1, near, 0.5)
        if _resumed(long):
            return
    pytest.fail("no run went on from a checkpoint in five sweeps")


def _resumed(folder: Path) -> list[str]:
    """Return the runs that went on from a checkpoint."""
    found = (folder / "outputs" / "there").glob("*/summary.json")
    return [path.parent.name for path in found if '"resumed_from_step": null' not in path.read_text()]


@pytest.mark.slow
@with_slurm
def test_a_sweep_that_takes_longer_than_the_limit_of_its_tasks_ends(conf: Path, folder: Path) -> None:
    """Slurm itself sends the signals, between one second and a minute after a task began."""

    def of(steps: int) -> list[str]:
        return [*LONG[:1], "model.width=8,12", *LONG[2:4], f"max_steps={steps}", f"eval_every={steps // 60}"]

    began = time.monotonic()
    assert _sweep(folder, *of(6000), "name=tried", "workers=2").wait(WAIT_SECONDS) == 0
    longer = of(round(6000 * max(1.0, LONGER_SECONDS / (time.monotonic() - began))))
    assert _sweep(folder, *longer, "name=here", "workers=2").wait(WAIT_SECONDS) == 0
    limit = ["hydra.launcher.timeout_min=2", "hydra.launcher.signal_delay_s=59"]
    process = _on_slurm(folder, conf, *longer, *limit)
    restarts = [0]

    def count() -> bool:
        shown = "".join(slurm.ask(conf, "scontrol", "-o", "show", "job", task) for task in slurm.tasks(conf, "R,PD,CG"))
        restarts.append(sum(map(int, re.findall(r"Restarts=(\d+)", shown))))
        return False

    _while_running(process, 1, count, 1.0)
    print("queued again", max(restarts), "times")
    _end(process, folder)
    assert max(restarts) > 0
    assert _resumed(folder)


@pytest.mark.slow
@with_slurm
def test_a_worker_that_is_preempted_checkpoints_in_its_grace_and_is_queued_again(conf: Path, long: Path) -> None:
    process = _on_slurm(long, conf)
    task = ""

    def preempt() -> bool:
        nonlocal task
        running = _at_work(conf, long)
        if running:
            task = running[0]
            node = slurm.ask(conf, "squeue", "-h", "-j", task, "-o", "%N").strip()
            slurm.ask(conf, "sbatch", "-p", "urgent", "-w", node, "-o", "/dev/null", "--wrap", "sleep 5")
        return bool(running)

    assert _while_running(process, 1, preempt, 1.0) == 1
    began, until = time.monotonic(), time.monotonic() + WAIT_SECONDS
    while "Restarts=1" not in slurm.ask(conf, "scontrol", "-o", "show", "job", task):
        assert time.monotonic() < until
        time.sleep(0.2)
    took = time.monotonic() - began
    print(f"queued again after {took:.1f} s of 60 s of grace")
    _end(process, long)
    assert took < 45
    assert _resumed(long)


@pytest.mark.slow
@with_slurm
def test_the_runs_of_a_lost_node_are_taken_over(conf: Path, long: Path) -> None:
    """A node that is drained, and its job ended by the administrator."""
    process = _on_slurm(long, conf)

    def drain() -> bool:
        running = _at_work(conf, long)
        if running:
            slurm.ask(conf, "scontrol", "update", "nodename=two", "state=drain", "reason=test")
            for task in running:
                if slurm.ask(conf, "squeue", "-h", "-j", task, "-o", "%N").strip() == "two":
                    slurm.ask(conf, "scontrol", "requeue", task)
        return bool(running)

    try:
        assert _while_running(process, 1, drain, 1.0) == 1
        _end(process, long)
    finally:
        slurm.ask(conf, "scontrol", "update", "nodename=two", "state=resume")


@pytest.mark.slow
@with_slurm
def test_without_a_terminal_jobs_outlive_the_command_and_can_be_cancelled(conf: Path, long: Path) -> None:
    process = _on_slurm(long, conf)
    assert _while_running(process, 1, lambda: bool(_at_work(conf, long)), 1.0) == 1
    process.send_signal(signal.SIGINT)
    assert process.wait(WAIT_SECONDS) == 130
    log = (long / "log").read_text()
    command = re.search(r"to end them: (scancel \d+)", log)
    assert command, log
    assert slurm.tasks(conf)
    slurm.ask(conf, *command[1].split())
    until = time.monotonic() + WAIT_SECONDS
    while slurm.tasks(conf, "R,PD,CG"):
        assert time.monotonic() < until
        time.sleep(0.5)
    _end(_on_slurm(long, conf), long)


@pytest.mark.slow
@with_ray
def test_raylets_that_are_killed_cost_no_run(long: Path) -> None:
    with raylets.running(2) as cluster:
        asked = ["hydra/launcher=optbench_ray", f"hydra.launcher.address='{cluster.address}'"]
        given = [*LONG, *asked, "hydra.launcher.workers=2", "name=there"]

        def kill() -> bool:
            if not _trains(long):
                return False
            nodes = sorted(cluster.worker_nodes, key=lambda node: node.unique_id)
            cluster.remove_node(nodes[0], allow_graceful=False)
            raylets.add(cluster)
            return True

        _again_and_again(lambda: _sweep(long, *given), long, 10, kill, 5.0)
