"""A watched report follows its runs, disturbs nothing, and ends as it should."""

import os
import shutil
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from runner.report.render.watch import stamp
from tests.support.made_sweep import made_run, make_sweep

PATIENCE_SECONDS = 300.0
QUICK = """\
import os
import runpy
import sys
from matplotlib.figure import Figure

os.nice = lambda less: print("niceness", less, file=sys.stderr)
Figure.draw_without_rendering = Figure.savefig = lambda self, *given, **said: None
runpy.run_module("runner", run_name="__main__")
"""


class Watching:
    """``optbench report DIR --watch`` in a process of its own."""

    def __init__(self, folder: Path) -> None:
        command = [sys.executable, "-c", QUICK, "report", str(folder), "--watch"]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        assert self.process.stdout is not None
        self.said = self.process.stdout.readline()
        self.url = self.said.partition(" ")[0]

    def get(self, path: str) -> str:
        with urllib.request.urlopen(f"{self.url}{path}", timeout=30) as answer:
            return str(answer.read().decode())

    def wait(self, there: Callable[[], bool]) -> None:
        until = time.monotonic() + PATIENCE_SECONDS
        while not there():
            assert time.monotonic() < until and self.process.poll() is None
            time.sleep(0.2)

    def end(self) -> tuple[int, str]:
        _, error = self.process.communicate(timeout=PATIENCE_SECONDS)
        return self.process.returncode, error


@pytest.fixture
def watch() -> Iterator[Callable[[Path], Watching]]:
    """Start watching; whatever still runs at the end is killed."""
    started: list[Watching] = []

    def start(folder: Path) -> Watching:
        started.append(Watching(folder))
        return started[-1]

    yield start
    for one in started:
        one.process.kill()
        one.process.communicate()


def another(folder: Path, runs: list[dict[str, object]]) -> None:
    """Put the records of a sweep with more runs in the place of the ones that are there."""
    made = make_sweep(folder.with_name("made"), runs)
    for run in (p for p in made.iterdir() if p.is_dir()):
        shutil.copytree(run, folder / run.name, dirs_exist_ok=True)
    os.replace(made / "runs.csv", folder / "runs.csv")
    shutil.rmtree(made)


def test_the_page_follows_its_runs_until_ctrl_c(tmp_path: Path, watch: Callable[[Path], Watching]) -> None:
    folder = make_sweep(tmp_path / "sweep", [made_run(None, status="running")])
    watching = watch(folder)
    assert watching.url.startswith("http://127.0.0.1:") and watching.said.count("\n") == 1
    first = watching.get("version")
    assert "no run has ended" in watching.get("") and not (folder / "report.html").exists()
    another(folder, [made_run(0.9)])
    watching.wait(lambda: watching.get("version") != first)
    assert "Use" in watching.get("") and "no run has ended" not in watching.get("")
    assert watching.get("report/choices.csv").startswith("choice,value")
    second = watching.get("version")
    assert "connect-src" not in (folder / "report.html").read_text()
    another(folder, [made_run(0.9), made_run(0.8, seed=1)])
    watching.wait(lambda: watching.get("version") != second)
    assert not (folder / ".locks").exists()
    watching.process.send_signal(signal.SIGINT)
    assert watching.end() == (130, "niceness 10\noptbench: interrupted\n")


def test_a_folder_that_goes_ends_it_with_a_message(tmp_path: Path, watch: Callable[[Path], Watching]) -> None:
    folder = make_sweep(tmp_path / "sweep", [made_run(None, status="running")])
    watching = watch(folder)
    shutil.rmtree(folder)
    assert watching.end() == (1, f"niceness 10\noptbench: {folder} is no longer there: watching has ended\n")


def test_runs_are_seen_to_change_and_nothing_else_is(tmp_path: Path) -> None:
    folder = make_sweep(tmp_path / "sweep", [made_run(0.9, seed=s) for s in range(3)])
    run = next(p for p in sorted(folder.iterdir()) if p.is_dir())
    seen = [stamp([folder])]
    (folder / "report").mkdir()
    (folder / "report.html").write_text("a page")
    (folder / ".locks").mkdir()
    (run / "checkpoint.pt").write_text("weights")
    assert stamp([folder]) == seen[0]
    with (run / "metrics.csv").open("a") as rows:
        rows.write("120,6,2.4,0.1,0.1,0.9,ok\n")
    seen.append(stamp([folder]))
    os.utime(folder / "runs.csv", (1, 1))
    seen.append(stamp([folder]))
    shutil.rmtree(run)
    seen.append(stamp([folder]))
    for name in ("search.json", "finals.json", "baselines.csv"):  # whose answer changes with them
        (folder / name).write_text("{}")
        seen.append(stamp([folder]))
    assert len(set(seen)) == 7
    assert stamp([folder, tmp_path / "other"]) == seen[-1]  # what is not there is not seen


def test_1_000_runs_are_looked_at_in_a_moment(tmp_path: Path) -> None:
    folder = tmp_path / "sweep"
    for number in range(1000):
        (folder / f"run-{number}").mkdir(parents=True)
        (folder / f"run-{number}" / "metrics.csv").touch()
    began = time.process_time()
    stamp([folder])
    assert time.process_time() - began < 0.2


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        (["--metric", "val_lss"], "--metric val_lss is no measure of these runs"),
        (["--port", "0"], "--port must be 1 to 65535, got 0"),
        (["--port", "70000"], "--port must be 1 to 65535, got 70000"),
        (["--tensorboard", "new"], "--tensorboard cannot be kept up to date: leave --watch out"),
    ],
    ids=lambda v: " ".join(v) if isinstance(v, list) else "",
)
def test_what_can_never_be_shown_is_refused_before_it_is_watched(
    asked: list[str], said: str, folder: Path, optbench: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("os.nice", lambda niceness: niceness)  # the tests that follow share this process
    make_sweep(folder / "sweep", [made_run(0.9)])
    refused = optbench("report", "sweep", "--watch", *asked)
    assert refused.code == 2 and refused.err.startswith(f"optbench: {said}") and refused.out == ""
    assert not (folder / "sweep" / "report.html").exists()
