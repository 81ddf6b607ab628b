"""Runs that were interrupted go on, or begin anew where more is asked of them."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from runner.cli.main import main
from tests.support.killed import start_run, wait_for_rows
from tests.support.records import rows_of, run_folder, summary_of, without_timing

LONG = ["init=he", "epochs=150", "model.width=32", "regularization=dropout", "threads=1"]


@pytest.fixture(scope="module")
def expected(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run that was left alone."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("undisturbed"))
        assert main(["train", *LONG]) == 0
        return run_folder(Path.cwd())


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL], ids=lambda n: n.name)
def test_an_interrupted_run_goes_on_to_the_same_rows(
    number: signal.Signals, expected: Path, optbench: Callable, folder: Path
) -> None:
    process = start_run(folder, *LONG)
    run = wait_for_rows(folder, 10)
    began = time.monotonic()
    os.killpg(process.pid, number)
    _, err = process.communicate(timeout=30)
    if number != signal.SIGKILL:
        assert time.monotonic() - began < 5
        assert process.returncode == 130
        assert "goes on" in err
        assert "Traceback" not in err
        assert summary_of(run)["status"] == "interrupted"
        assert (run / "checkpoint.pt").exists()
    assert optbench("train", *LONG).code == 0
    assert without_timing(run) == without_timing(expected)
    differs = {k for k, v in summary_of(run).items() if v != summary_of(expected)[k]}
    timing = {"train_seconds", "inference_seconds_per_sample", "peak_memory_bytes", "resumed_from_step"}
    assert differs <= timing
    assert summary_of(run)["resumed_from_step"] is not None


def interrupt(folder: Path, *overrides: str) -> Path:
    command = [sys.executable, "-m", "runner.train", *overrides]
    process = subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    run = wait_for_rows(folder, 10)
    os.kill(process.pid, signal.SIGINT)
    out, _ = process.communicate(timeout=30)
    assert process.returncode == 130
    (line,) = [line for line in out.splitlines() if line.startswith("next")]
    assert line.split()[1:] == ["optbench", "train", *overrides]
    return run


def test_asked_for_more_an_interrupted_run_begins_anew(optbench: Callable, folder: Path) -> None:
    asked = ["epochs=150", "model.width=32", "optim=sgd", "optim.lr=0.3", "scheduler=constant", "threads=1"]
    run = interrupt(folder, *asked)
    more = ["save=best", "diagnostics=true", "metrics=[tests.own_parts.error_rate]", "eval_every=50"]
    assert optbench("train", *asked, *more).code == 0
    summary, rows = summary_of(run), rows_of(run)
    assert summary["resumed_from_step"] is None
    assert all(float(row["val_error_rate"]) == pytest.approx(1 - float(row["val_accuracy"]), abs=1e-6) for row in rows)
    assert [int(row["step"]) % 50 for row in rows[:-1]] == [0] * (len(rows) - 1)
    assert "best_val_error_rate" not in summary
    saved = torch.load(run / "checkpoint.pt", weights_only=True)["model"]
    assert set(saved) == {f"{n}.{p}" for n in ("hidden.0", "hidden.1", "readout") for p in ("weight", "bias")}
