"""Small versions of the fault scripts; the whole ones run for minutes."""

import errno
import importlib
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

SCRIPTS = Path(__file__).parents[1] / "scripts"


@pytest.mark.slow
def test_killed_runs_resume_to_the_same_csv(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPTBENCH_DATA", raising=False)
    script = [sys.executable, str(SCRIPTS / "fault_kill.py"), "--kills", "3"]
    found = subprocess.run(script, capture_output=True, text=True, check=False)
    assert found.returncode == 0, found.stdout + found.stderr
    assert found.stdout.splitlines()[-1].startswith("3 kills, ")


def test_failing_writes_lose_nothing(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.syspath_prepend(SCRIPTS)
    fault_disk = importlib.import_module("fault_disk")
    monkeypatch.setattr(fault_disk, "ERRORS", {"ENOSPC": errno.ENOSPC})  # the others differ in the message alone
    monkeypatch.setattr(sys, "argv", ["fault_disk.py", "--writes", "6"])
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    wrong = fault_disk.main()
    said = capsys.readouterr().out
    assert wrong == 0, said
    assert said.splitlines()[-1] == "6 cases, 0 wrong"
