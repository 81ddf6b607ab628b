"""What is asked of Slurm and of Ray, in which words, and what is said where there is none. Neither is needed here."""

import io
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
import torch

from runner.config.compose import Composer
from runner.errors import ConfigError
from runner.run.components.device import select_device
from runner.run.job import Job
from runner.sweep.launch import cluster, devices, slurm
from runner.sweep.launch.chosen import chosen
from runner.sweep.launch.cluster import Gone, launch_on
from runner.sweep.launch.processes import number_of_workers
from runner.sweep.launch.slurm import Slurm
from runner.sweep.plan import plan
from runner.sweep.queue import Queue
from runner.sweep.shared import Shared
from tests.support.known import TINY

ASKED = [
    *("hydra/launcher=optbench_slurm", "hydra.launcher.workers=3", "hydra.launcher.partition=gpu"),
    *("hydra.launcher.gpus_per_worker=2", "hydra.launcher.timeout_min=90", "hydra.launcher.mem_gb=1.5"),
    "+hydra.launcher.additional_parameters={reservation:ours,exclusive:true}",
]


def _said(command: Sequence[str], out: str = "", err: str = "", code: int = 0) -> subprocess.CompletedProcess[str]:
    return subprocess.CompletedProcess(command, code, out, err)


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, ...]]:
    """What is asked of a Slurm that agrees to everything."""
    commands: list[tuple[str, ...]] = []

    def ask(*command: str) -> subprocess.CompletedProcess[str]:
        commands.append(command)
        return _said(command, "gpu\nmain\n" if command[0] == "sinfo" else "")

    monkeypatch.setattr(slurm, "_ask", ask)
    monkeypatch.setattr(slurm.shutil, "which", lambda name: f"/usr/bin/{name}")
    return commands


def test_slurm_is_asked_by_its_own_words(asked: list[tuple[str, ...]], folder: Path, optbench: Callable) -> None:
    seen = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Slurm, "start", lambda self, place, numbers: seen.update(self=self) or 1 / 0)
        with pytest.raises(ZeroDivisionError):
            optbench("train", "-m", *TINY, "seed=0,1", *ASKED)
    tried = next(command for command in asked if command[0] == "sbatch")
    assert tried == (
        *("sbatch", "--test-only", "--time=90", "--cpus-per-task=2", "--gpus-per-node=2", "--mem=1536M"),
        *("--partition=gpu", "--reservation=ours", "--exclusive", "--wrap=true"),
    )
    assert (seen["self"].workers, seen["self"].processes) == (3, 2)
    assert list(folder.iterdir()) == []  # nothing could be placed, and nothing is left


def test_without_sbatch_is_said_where_to_go(folder: Path, optbench: Callable, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    found = optbench("train", "-m", *TINY, "seed=0,1", "hydra/launcher=optbench_slurm")
    assert (found.code, list(folder.iterdir())) == (2, [])
    assert "needs Slurm's sbatch, which is not on this machine" in found.err


@pytest.mark.parametrize(("launcher", "package"), [("slurm", "submitit"), ("ray", "ray")])
def test_a_missing_package_is_named_with_its_extra(
    launcher: str, package: str, folder: Path, optbench: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    found = optbench("train", "-m", *TINY, "seed=0,1", f"hydra/launcher=optbench_{launcher}")
    assert (found.code, list(folder.iterdir())) == (2, [])
    assert f"pip install 'optbench[{launcher}]'" in found.err


def test_a_search_takes_the_launcher_too(folder: Path, optbench: Callable, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("optuna")
    monkeypatch.setenv("PATH", "/nowhere")
    found = optbench("tune", *TINY, "optim.lr=0.1,0.01", "--trials", "2", "hydra/launcher=optbench_slurm")
    assert (found.code, list(folder.iterdir())) == (2, [])
    assert "needs Slurm's sbatch" in found.err


def test_a_key_that_the_launcher_does_not_have_is_refused(folder: Path, optbench: Callable) -> None:
    found = optbench("train", "-m", *TINY, "seed=0,1", "hydra/launcher=optbench_slurm", "hydra.launcher.nodes=2")
    assert (found.code, list(folder.iterdir())) == (2, [])
    assert "hydra.launcher.nodes" in found.err


def test_other_peoples_launchers_run_no_search() -> None:
    with pytest.raises(ConfigError, match="JoblibLauncher is of another package"):
        chosen({"_target_": "hydra_plugins.hydra_joblib_launcher.JoblibLauncher"}, None)
    for name in ("SlurmLauncher", "RayLauncher"):  # as ours are called
        with pytest.raises(ConfigError, match=f"{name} is of another package"):
            chosen({"_target_": f"hydra_plugins.of_others.{name}"}, None)


def test_squeue_tells_which_workers_are_there(monkeypatch: pytest.MonkeyPatch) -> None:
    found = Slurm(2, 1, 60, 1, _jobs={0: "7_0", 1: "7_1", 2: "9"})
    answers = {
        "7": _said((), "7_0|RUNNING|None\n7_1|PENDING|Priority\n"),
        "9": _said((), err="slurm_load_jobs error: Invalid job id specified", code=1),
    }
    monkeypatch.setattr(slurm, "_ask", lambda *command: answers[command[command.index("-j") + 1]])
    assert found.alive() == {0, 1}
    assert found.waiting() == "Priority"
    answers["7"] = _said((), err="Unable to contact slurm controller", code=1)
    assert found.alive() == {0, 1}  # as far as is known


def test_only_what_was_cancelled_by_hand_is_not_replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log = tmp_path / "log"
    log.write_text("something\noptbench: no room\n")
    shown = f"JobId=7 JobState={{}} NodeList=one StdErr={log} StdOut={log}"
    for state, cancelled in (("CANCELLED", True), ("FAILED", False), ("NODE_FAIL", False)):
        monkeypatch.setattr(slurm, "_ask", lambda *command, state=state: _said(command, shown.format(state)))
        gone = Slurm(1, 1, 60, 1, _jobs={0: "7"}).gone(0)
        assert gone == Gone(0, cancelled, f"job 7, {state} on one: optbench: no room")


def test_a_worker_that_does_not_end_in_time_is_queued_again_all_the_same(tmp_path: Path) -> None:
    """A step may take longer than what is left before the limit, at which a task would be gone."""
    pytest.importorskip("submitit")
    deaf = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print(flush=True); time.sleep(60)"
    with subprocess.Popen([sys.executable, "-c", deaf], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None and process.stdout.readline()
        member = slurm.Member(str(tmp_path), 3, patience_s=0.3, _pid=process.pid)
        again = member.checkpoint()
        assert process.poll() is None
        process.kill()
    assert again.function == slurm.Member(str(tmp_path), 3, patience_s=0.3)


def test_a_worker_that_checkpoints_is_waited_for_and_left_to_whoever_started_it(tmp_path: Path) -> None:
    pytest.importorskip("submitit")
    with subprocess.Popen(["sleep", "60"]) as process:
        slurm.Member(str(tmp_path), 3, patience_s=60, _pid=process.pid).checkpoint()
        assert process.wait() == -signal.SIGTERM
    slurm.Member(str(tmp_path), 3, patience_s=60, _pid=process.pid).checkpoint()  # it is gone


# ---- the sweep on workers that never come


@pytest.fixture
def two_jobs(folder: Path) -> list[Job]:
    return plan(Composer.over(), [[*TINY, f"seed={i}"] for i in range(2)])


class Broken:
    """A cluster whose hosts do not see the folder."""

    name, workers, processes = "Broken", 2, 1

    def __init__(self) -> None:
        self.started: list[int] = []

    def check(self) -> None: ...

    def start(self, folder: Path, numbers: Sequence[int]) -> None:
        self.started += numbers

    def alive(self) -> set[int]:
        return set()

    def gone(self, number: int) -> Gone:
        return Gone(number, False, "it left no log")

    def waiting(self) -> str | None:
        return None

    def cancel(self) -> None: ...

    def cancel_command(self, folder: Path) -> str:
        return "end"


def test_where_no_worker_can_begin_the_folder_is_named_and_nothing_is_left(
    two_jobs: list[Job], folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cluster, "ASK_SECONDS", 0.0)
    broken = Broken()
    with pytest.raises(ConfigError, match=r"each must see .*/outputs/default, on a file system that all hosts share"):
        launch_on(broken)(Queue(two_jobs, 2), lambda outcome: None, 2)
    assert len(broken.started) < 10
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize("other", [".workers/other/sweep.json", "search.json", "notes.txt", "he-sgd-1a/config.yaml"])
def test_what_others_have_in_the_folder_stays_where_no_worker_can_begin(
    other: str, two_jobs: list[Job], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cluster, "ASK_SECONDS", 0.0)
    theirs = two_jobs[0].folder.parent / other
    theirs.parent.mkdir(parents=True)
    theirs.write_text("{}")
    with pytest.raises(ConfigError, match="none could begin"):
        launch_on(Broken())(Queue(two_jobs, 2), lambda outcome: None, 2)
    assert theirs.read_text() == "{}"


class Lost(Broken):
    """A cluster whose workers are killed as they begin, all but one, which took something."""

    def start(self, folder: Path, numbers: Sequence[int]) -> None:
        super().start(folder, numbers)
        if 0 in numbers:
            Shared(folder).join({"number": 0})


def test_workers_that_are_lost_as_they_begin_are_replaced_where_others_could_work(
    two_jobs: list[Job], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cluster, "ASK_SECONDS", 0.0)
    monkeypatch.setattr(cluster, "POLL_SECONDS", 0.01)
    lost = Lost()
    queue = Queue(two_jobs, 2)
    launch_on(lost)(queue, lambda outcome: None, 2)
    assert 2 * cluster.BROKEN < len(lost.started) < 2 * cluster.BROKEN_LATER
    assert {outcome.summary["status"] for outcome in queue.results()} == {"interrupted"}
    assert "no worker is left" in queue.results()[0].summary["stop_reason"]


def test_a_finished_sweep_asks_for_no_worker(folder: Path, optbench: Callable, asked: list[tuple[str, ...]]) -> None:
    assert optbench("train", "-m", *TINY, "seed=0,1", "workers=1").code == 0
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Slurm, "start", lambda *ignored: pytest.fail("nothing is left to train"))
        found = optbench("train", "-m", *TINY, "seed=0,1", "hydra/launcher=optbench_slurm")
    assert found.code == 0, found.err
    assert not (folder / "outputs" / "default" / ".workers").exists()


def test_no_more_workers_are_asked_for_than_there_are_packs(
    folder: Path, optbench: Callable, asked: list[tuple[str, ...]]
) -> None:
    numbers: list[int] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Slurm, "start", lambda self, place, given: numbers.extend(given) or 1 / 0)
        launcher = ["hydra/launcher=optbench_slurm", "hydra.launcher.workers=50"]
        with pytest.raises(ZeroDivisionError):
            optbench("train", "-m", *TINY, "seed=0,1", *launcher)
    assert numbers == [0, 1]


class Interrupted(Broken):
    """A cluster that works, until its user presses Ctrl-C."""

    cancelled = False

    def alive(self) -> set[int]:
        if self.cancelled:
            return set()
        os.kill(os.getpid(), signal.SIGINT)
        return set(self.started)

    def cancel(self) -> None:
        self.cancelled = True


@pytest.mark.parametrize(
    ("terminal", "answer", "cancelled"), [(False, "", False), (True, "n", False), (True, "y", True)]
)
def test_a_user_who_leaves_decides_about_the_workers(
    terminal: bool,
    answer: str,
    cancelled: bool,
    two_jobs: list[Job],
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(cluster, "ASK_SECONDS", 0.0)
    monkeypatch.setattr(sys, "stdin", io.StringIO(f"{answer}\n"))
    monkeypatch.setattr(sys.stdin, "isatty", lambda: terminal, raising=False)
    monkeypatch.setattr(sys.stderr, "isatty", lambda: terminal, raising=False)
    placed, queue = Interrupted(), Queue(two_jobs, 2)
    launch_on(placed)(queue, lambda outcome: None, 2)
    assert [outcome.summary["stop_reason"] for outcome in queue.results()] == ["interrupted"] * 2
    said = capfd.readouterr().err
    assert placed.cancelled == cancelled
    assert ("end the 2 workers too? [y/N]" in said) == terminal
    assert ("the workers go on without this command; to end them: end" in said) != cancelled
    left = list((folder / "outputs" / "default").glob(".workers/*/complete"))
    assert len(left) == (0 if cancelled else 1)  # what the workers need, who end when all is done


# ---- devices


@pytest.mark.parametrize(
    ("device", "visible", "seen"),
    [
        ("auto", None, ["0", "1", "2"]),
        ("cuda", "4,6", ["4", "6"]),
        ("cuda:1", None, []),
        ("cpu", None, []),
    ],
)
def test_workers_are_spread_over_the_devices(
    device: str, visible: str | None, seen: list[str], job: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = job(*TINY)
    object.__setattr__(made, "config", {**made.config, "device": device})
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 3)
    monkeypatch.delenv(devices.VISIBLE, raising=False)
    if visible is not None:
        monkeypatch.setenv(devices.VISIBLE, visible)
    assert devices.devices([made]) == seen


def test_a_worker_process_sees_its_devices_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(devices.VISIBLE, "4,6")
    found = []
    for slot in range(3):
        with devices.pinned(["4", "6"], slot):
            found.append(os.environ[devices.VISIBLE])
    assert found == ["4", "6", "4"]
    assert os.environ[devices.VISIBLE] == "4,6"
    with devices.pinned(["4", "6", "7", "9"], 1, each=2):  # two for each run
        assert os.environ[devices.VISIBLE] == "7,9"
    with devices.pinned(["4"], 1):  # one that all share
        assert os.environ[devices.VISIBLE] == "4,6"


def test_one_worker_a_device_unless_more_are_asked_for(job: Callable, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 4)
    monkeypatch.delenv(devices.VISIBLE, raising=False)
    made = job(*TINY)
    for device, workers, expected in (("auto", None, 4), ("cuda:1", None, 1), ("cuda", 8, 8)):
        object.__setattr__(made, "config", {**made.config, "device": device, "workers": workers})
        assert number_of_workers([made]) == expected


def test_a_device_is_chosen_by_its_number(monkeypatch: pytest.MonkeyPatch) -> None:
    chosen_device = []
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "set_device", chosen_device.append)
    assert select_device("cuda:1", "fp16", "float32") == torch.device("cuda", 1)
    assert chosen_device == [1]
    with pytest.raises(
        ConfigError, match="device=cuda:2 is not on this machine\nvalid: auto, cpu, cuda, cuda:0, cuda:1"
    ):
        select_device("cuda:2", "none", "float32")
