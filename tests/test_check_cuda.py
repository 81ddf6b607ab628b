"""The script for machines with CUDA, its devices and parts stood in for: time, page, table, exit codes."""

import importlib.machinery
import importlib.util
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from runner.run.lock import start_time

ROOT = Path(__file__).resolve().parents[1]
OF_PYTEST = """
tests/engine/test_fused.py::test_graphs[sgd - x] PASSED       [ 20%]
[gw1] [ 40%] PASSED tests/engine/test_fused.py::test_graphs[adam]
[gw0] [ 60%] FAILED tests/engine/test_fused.py::test_graphs[['a', 'b']]
tests/engine/test_fused.py::test_more SKIPPED (one device)    [ 80%]
tests/engine/test_fused.py::test_last FAILED                  [100%]
FAILED tests/engine/test_fused.py::test_last - AssertionError: PASSED
===== 2 failed, 2 passed, 1 skipped in 3.21s =====
"""


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    path = ROOT / "scripts" / "check_cuda"
    loader = importlib.machinery.SourceFileLoader("check_cuda", str(path))
    spec = importlib.util.spec_from_loader("check_cuda", loader)
    assert spec is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "check_cuda", module)  # dataclasses look their module up
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    loader.exec_module(module)
    return module


class Fake:
    """A clock, and parts that take seconds of it and say something; None of a limit is all of it, then the end."""

    def __init__(self, script: ModuleType, told: dict[str, tuple[float | None, int, str]], into: Path) -> None:
        self.script, self.told, self.into = script, told, into
        self.now, self.limits, self.pages = 0.0, {}, []

    def run(self, part: Any, limit_s: float, log: Path) -> int | None:
        self.pages.append((self.into / "cuda.md").read_text())
        self.limits[part.name] = limit_s
        seconds, code, said = self.told[part.name]
        log.write_text(said)
        if seconds is None or seconds > limit_s:
            self.now += limit_s
            return None
        self.now += seconds
        return code

    def check(self, seconds: float) -> list[Any]:
        machine = self.script.Machine(("H100", "H100"), "9.9", "13.0", 91000, "3.12.0")
        chosen = [self.script.Part(n, f"about {n}", 1.0, (), tests=n != "benches") for n in self.told]
        return self.script.check(machine, chosen, self.into, self.into, seconds, self.run, lambda: self.now)

    def page(self) -> str:
        return (self.into / "cuda.md").read_text()


@pytest.fixture
def fake(script: ModuleType, tmp_path: Path) -> Callable[[dict], Fake]:
    return lambda told: Fake(script, told, tmp_path)


def test_outcomes_are_read_with_workers_and_without(script: ModuleType) -> None:
    part = script.Part("stacks", "", 1.0, ())
    found = script.read(part, 1, 3.2, OF_PYTEST)
    assert found.counts == {"passed": 2, "failed": 2, "skipped": 1}
    node = "tests/engine/test_fused.py::"
    assert found.failed == [f"{node}test_graphs[['a', 'b']]", f"{node}test_last"]
    assert found.said() == "FAILED (2 failed, 2 passed, 1 skipped)"


def test_what_a_part_leaves_of_its_share_the_others_have(fake: Callable) -> None:
    these = fake({"first": (10, 0, OF_PYTEST), "second": (10, 0, ""), "third": (10, 0, "")})
    these.check(310)
    assert these.limits == {"first": 100, "second": 145, "third": 280}


def test_a_part_that_runs_out_of_time_costs_no_other(fake: Callable) -> None:
    these = fake({"first": (None, 0, "tests/a.py::test_one PASSED [ 1%]"), "second": (10, 0, "")})
    found = these.check(210)
    assert [result.passed for result in found] == [False, True]
    assert "| first | about first | ran out of time (1 passed) | 100 |" in these.page()


def test_what_does_not_fit_is_named(fake: Callable) -> None:
    found = fake({"first": (None, 0, ""), "second": (None, 0, "")}).check(39)
    assert [(result.begun, result.said()) for result in found] == [
        (False, "did not fit into the time"),
        (True, "ran out of time"),
    ]


def test_the_page_is_whole_before_each_part(fake: Callable) -> None:
    these = fake({"first": (1, 0, OF_PYTEST), "second": (1, 0, "")})
    these.check(310)
    before, after_first = these.pages
    assert "Unfinished" in before and before.count("not reached") == 2
    assert "Unfinished" in after_first and after_first.count("not reached") == 1
    assert "Unfinished" not in these.page() and "not reached" not in these.page()
    assert "2 × H100; torch 9.9, CUDA 13.0, cuDNN 91000, Python 3.12.0" in before


def test_failed_tests_and_numbers_stand_on_the_page(fake: Callable) -> None:
    row = json.dumps({"workload": "mlp", "loop by hand": 1234.4, "optbench / graphed": 0.951, "more": None})
    these = fake({"stacks": (1, 1, OF_PYTEST), "benches": (1, 0, f"a word\n{row}\n")})
    these.check(310)
    assert "- `tests/engine/test_fused.py::test_last`" in these.page()
    assert "| workload | loop by hand | optbench / graphed | more |" in these.page()
    assert "| mlp | 1,234 | 0.951 | – |" in these.page()


def test_benches_without_a_row_have_failed(fake: Callable) -> None:
    (found,) = fake({"benches": (1, 0, "left out, no time is left")}).check(310)
    assert not found.passed


def test_a_part_without_a_test_that_ran_is_said_to_have_checked_nothing(script: ModuleType) -> None:
    part = script.Part("devices", "", 1.0, ())
    assert script.read(part, 0, 1.0, "tests/a.py::test_two SKIPPED (one device)").said().startswith("nothing to check")
    assert script.read(part, 5, 1.0, "").said() == "nothing to check here"


@pytest.mark.parametrize(("passed", "code"), [(True, 0), (False, 1)])
def test_the_exit_code_says_whether_all_passed(passed: bool, code: int, script: ModuleType, tmp_path: Path) -> None:
    machine = script.Machine(("H100",), "9.9", "13.0", 91000)
    asked: dict[str, Any] = {}

    def check(machine: Any, chosen: Any, into: Path, logs: Path, seconds: float) -> list[Any]:
        asked.update(names=[part.name for part in chosen], into=into, logs=logs, seconds=seconds)
        return [script.Found(part, code=0 if passed else 1) for part in chosen]

    argv = ["--into", str(tmp_path / "new"), "--minutes", "2", "--only", "stacks", "benches"]
    assert script.main(argv, lambda: machine, check) == code
    assert asked == {"names": ["stacks", "benches"], "into": tmp_path / "new", "logs": tmp_path / "new", "seconds": 120}


def test_without_cuda_it_ends_with_one_message(
    script: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert script.main(["--into", str(tmp_path)], lambda: "no CUDA device: torch 9.9, built without CUDA, …") == 2
    assert capsys.readouterr().err.splitlines() == ["check_cuda: no CUDA device: torch 9.9, built without CUDA, …"]
    assert list(tmp_path.iterdir()) == []


HANGS = """
import os, subprocess, sys, time
child = subprocess.Popen(["sleep", "600"])
with open(sys.argv[1] + ".new", "w") as file:
    file.write(str(child.pid))
os.rename(sys.argv[1] + ".new", sys.argv[1])
time.sleep(600)
"""
"""Starts a child, and says which in a file."""


def test_a_part_that_hangs_is_ended_with_its_children(script: ModuleType, tmp_path: Path) -> None:
    place = tmp_path / "child"
    part = script.Part("hangs", "", 1.0, ("-c", HANGS, str(place)))
    for seconds in (2.0, 20.0, 200.0):  # until the child is there when the time is up, on a slow machine too
        assert script.call(part, seconds, tmp_path / "log") is None
        if place.exists():
            break
    child, until = int(place.read_text()), time.monotonic() + 300
    while start_time(child) is not None:
        assert time.monotonic() < until
        time.sleep(0.02)
    assert script.call(script.Part("ends", "", 1.0, ("-c", "raise SystemExit(3)")), 300.0, tmp_path / "log") == 3


def test_every_test_that_needs_cuda_is_in_one_part(script: ModuleType) -> None:
    files = [word for part in script.parts() for word in part.words if word.startswith("tests/")]
    assert sorted(files) == sorted(script.marked())


def test_the_docs_say_that_nothing_was_run_or_where(script: ModuleType) -> None:
    page = (ROOT / "docs" / "cuda.md").read_text(encoding="utf-8")
    assert page == script.page(None, "", script.parts(), [], over=False) or "\nRun on 20" in page
