"""Runs that were interrupted go on, or begin anew where more is asked of them."""

import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from runner.cli.main import main
from tests.support import killed
from tests.support.killed import PATIENCE_SECONDS, wait_for_rows
from tests.support.records import rows_of, run_folder, summary_of, without_timing

NETWORK = ["init=he", "model.width=32", "regularization=dropout", "threads=1"]
RUN = [*NETWORK, "epochs=8"]


@pytest.fixture(scope="module")
def expected(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run that was left alone."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("undisturbed"))
        assert main(["train", *RUN]) == 0
        return run_folder(Path.cwd())


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL], ids=lambda n: n.name)
def test_an_interrupted_run_goes_on_to_the_same_rows(
    number: signal.Signals, expected: Path, optbench: Callable, folder: Path
) -> None:
    said = killed.stop(folder, "train", *RUN, evaluations=5, number=number)
    run = run_folder(folder)
    if number != signal.SIGKILL:
        assert "goes on" in said and "Traceback" not in said
        assert summary_of(run)["status"] == "interrupted"
        assert (run / "checkpoint.pt").exists()
    assert optbench("train", *RUN).code == 0
    assert without_timing(run) == without_timing(expected)
    differs = {k for k, v in summary_of(run).items() if v != summary_of(expected)[k]}
    timing = {"train_seconds", "inference_seconds_per_sample", "peak_memory_bytes", "resumed_from_step"}
    assert differs <= timing
    assert summary_of(run)["resumed_from_step"] is not None


def test_ctrl_c_ends_a_run_at_once_with_what_goes_on_from_there(folder: Path, python_m: Callable) -> None:
    asked = [*NETWORK, "epochs=1000000", "eval_every=20", "baselines=false"]
    process = python_m("runner.train", *asked)
    wait_for_rows(folder, 10, process)
    os.killpg(process.pid, signal.SIGINT)
    out, err = process.communicate(timeout=PATIENCE_SECONDS)
    assert process.returncode == 130 and "goes on" in err and "Traceback" not in err
    (line,) = [line for line in out.splitlines() if line.startswith("next")]
    assert line.split()[1:] == ["optbench", "train", *asked]


def test_asked_for_more_an_interrupted_run_begins_anew(optbench: Callable, folder: Path) -> None:
    asked = ["epochs=8", "model.width=32", "optim=sgd", "optim.lr=0.3", "scheduler=constant", "threads=1"]
    said = killed.stop(folder, "train", *asked, evaluations=5, number=signal.SIGINT)
    assert f"optbench train {' '.join(asked)}\n" in said
    run = run_folder(folder)
    more = ["save=best", "diagnostics=true", "metrics=[tests.own_parts.error_rate]", "eval_every=35"]
    assert optbench("train", *asked, *more).code == 0
    summary, rows = summary_of(run), rows_of(run)
    assert summary["resumed_from_step"] is None
    assert all(float(row["val_error_rate"]) == pytest.approx(1 - float(row["val_accuracy"]), abs=1e-6) for row in rows)
    assert [int(row["step"]) % 35 for row in rows[:-1]] == [0] * (len(rows) - 1)
    assert "best_val_error_rate" not in summary
    saved = torch.load(run / "checkpoint.pt", weights_only=True)["model"]
    assert set(saved) == {f"{n}.{p}" for n in ("hidden.0", "hidden.1", "readout") for p in ("weight", "bias")}
