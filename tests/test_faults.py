"""Small versions of the fault scripts; the whole ones run for minutes."""

import subprocess
import sys
from pathlib import Path

import pytest

SCRIPTS = Path(__file__).parents[1] / "scripts"


def run(script: str, *argv: str) -> str:
    found = subprocess.run([sys.executable, str(SCRIPTS / script), *argv], capture_output=True, text=True, check=False)
    assert found.returncode == 0, found.stdout + found.stderr
    return found.stdout.splitlines()[-1]


@pytest.mark.slow
def test_killed_runs_resume_to_the_same_csv(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPTBENCH_DATA", raising=False)
    assert run("fault_kill.py", "--kills", "3").startswith("3 kills, ")


def test_failing_writes_lose_nothing() -> None:
    assert run("fault_disk.py", "--writes", "4") == "12 cases, 0 wrong"
