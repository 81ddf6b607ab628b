"""The test set is read once, at the end, and has no part in any choice."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from tests.support.records import run_folder, summary_of, without_timing

CHOOSING = [
    *("regularization=early_stopping", "regularization.early_stopping.patience=6", "save=best"),
    *("scheduler=plateau", "scheduler.patience=2", "optim=adam", "optim.lr=0.03"),
]
"""Whatever looks at how good the network is: when to end, which weights to keep, when to lower the rate."""
RUN = ["data=custom", "data.target=tests.own_parts.tested", "model.width=16", "epochs=60", *CHOOSING]
OF_THE_DATA = {"run_id", "data_fingerprint"}
TIMING = {"train_seconds", "inference_seconds_per_sample", "peak_memory_bytes"}


@pytest.mark.parametrize("engine", ["loop", "fused"])
def test_another_test_set_changes_no_row_and_no_weight_and_only_what_it_measures(
    engine: str, optbench: Callable, folder: Path
) -> None:
    for name, other in (("one", "false"), ("other", "true")):
        result = optbench("train", *RUN, f"engine={engine}", f"data.args.other={other}", f"name={name}")
        assert result.code == 0, result.err
    one, other = run_folder(folder, "one"), run_folder(folder, "other")
    rows, summary, of_other = without_timing(one), summary_of(one), summary_of(other)
    assert summary["status"] == "stopped_early" and len({row["lr"] for row in rows}) > 1
    assert summary["final_val_loss"] == summary["best_val_loss"] < float(rows[-2]["val_loss"]), "weights are restored"
    assert rows == without_timing(other)
    kept, of_the_other = (torch.load(run / "checkpoint.pt", weights_only=True)["model"] for run in (one, other))
    assert kept.keys() == of_the_other.keys() and all(torch.equal(kept[key], of_the_other[key]) for key in kept)
    differs = {key for key, value in summary.items() if value != of_other[key]} - TIMING - OF_THE_DATA
    assert "test_loss" in differs and all(key.startswith("test_") for key in differs)
