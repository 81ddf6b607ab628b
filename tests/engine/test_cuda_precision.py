"""On CUDA: the loss scaler survives a stop, and determinism is what a whole run has."""

import copy
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from runner.engine.state import start
from runner.run.build import build
from tests.support.loops import never, rows_from, untimed
from tests.support.records import run_folder, without_timing

pytestmark = pytest.mark.cuda


@pytest.mark.parametrize("more", [[], ["regularization=[ema,grad_clip,l2]"], ["model=cnn"]], ids=str)
@pytest.mark.parametrize("stop_at", [1, 17])
def test_a_scaled_run_goes_on_to_the_same_rows_and_scale(stop_at: int, more: list[str], job: Callable) -> None:
    """The scale begins so large that the first steps are skipped: a run that forgot it would skip more."""
    run = build(job("optim=adamw", "epochs=3", "amp=fp16", "device=cuda", "model.width=16", *more))
    undisturbed = start(run)
    _overflow_first(undisturbed.scaler)
    expected = rows_from(undisturbed, never)
    assert undisturbed.skipped_steps > 0
    interrupted = start(run)
    _overflow_first(interrupted.scaler)
    rows = rows_from(interrupted, lambda state, loss: state.step == stop_at)
    resumed = start(run)
    resumed.load_state_dict(copy.deepcopy(interrupted.state_dict()))
    rows += rows_from(resumed, never)
    assert resumed.skipped_steps == undisturbed.skipped_steps
    assert resumed.scaler is not None and undisturbed.scaler is not None
    assert resumed.scaler.state_dict() == undisturbed.scaler.state_dict()
    for row, of_it in zip(untimed(rows), untimed(expected), strict=True):
        assert row == {
            k: pytest.approx(v, rel=1e-2, nan_ok=True) if isinstance(v, float) else v for k, v in of_it.items()
        }


def _overflow_first(scaler: torch.amp.GradScaler | None) -> None:
    assert scaler is not None
    scaler.load_state_dict({**scaler.state_dict(), "scale": 2.0**40})


@pytest.mark.parametrize("model", ["mlp", "cnn"])
def test_deterministic_runs_write_the_same_bytes(model: str, optbench: Callable, folder: Path) -> None:
    asked = ["train", f"model={model}", "model.width=16", "epochs=2", "device=cuda", "deterministic=true"]
    for name in ("first", "second"):
        found = optbench(*asked, "regularization=dropout", f"name={name}")
        assert found.code == 0, found.err
    assert without_timing(run_folder(folder, "first")) == without_timing(run_folder(folder, "second"))


@pytest.mark.parametrize("kind", ["rnn", "lstm", "gru"])
def test_layers_of_recurrent_networks_can_be_looked_into(kind: str, optbench: Callable, folder: Path) -> None:
    """cuDNN's have no gradient in evaluation mode."""
    asked = ["model=rnn", f"model.kind={kind}", "model.width=8", "epochs=1", "diagnostics=true", "device=cuda"]
    found = optbench("train", *asked)
    assert found.code == 0, found.err
    assert (run_folder(folder) / "layers.csv").read_text().count("\n") > 1
