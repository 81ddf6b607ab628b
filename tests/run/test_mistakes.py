"""Runs that an older version made wrongly are trained again, the old folder kept; all others stay."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.records import run_folder, summary_of

SWA = ["regularization=swa", "model.width=8", "epochs=1"]
STOPPED = ["regularization=early_stopping", "model.width=8", "epochs=1"]
NEAR = "x,c,y\n" + "".join(f"{i % 7},{98.6 if i % 2 else 98.60000000000001},{i % 2}\n" for i in range(60))


def made_by(run: Path, version: str) -> None:
    summary = json.loads((run / "summary.json").read_text())
    (run / "summary.json").write_text(json.dumps(summary | {"optbench_version": version}))


@pytest.mark.parametrize(
    ("asked", "version", "said"),
    [
        ([*SWA, "model.normalization=batch"], "0.1.0", "batch norm's statistics of the averaged weights"),
        ([*SWA, "model.normalization=batch"], "0.2.0", ""),
        (SWA, "0.1.0", ""),
        (["data=csv", "data.path=near.csv", "data.label=y", "epochs=1"], "0.1.9", "a feature that is constant but for"),
        (["data=csv", "data.path=near.csv", "data.label=y", "epochs=1", "data.normalize=none"], "0.1.9", ""),
        ([*STOPPED, "optim=asgd"], "0.1.0", "the averages at the end were judged in the place of the best weights"),
        ([*STOPPED, "optim=asgd", "regularization.early_stopping.restore_best=false"], "0.1.0", ""),
        (STOPPED, "0.1.0", ""),
        (["data=diabetes", "epochs=1"], "0.1.0", ""),
        (["epochs=1", "model.width=8"], "0.1.0", ""),
    ],
)
def test_what_was_wrong_is_trained_again(
    asked: list[str], version: str, said: str, optbench: Callable, folder: Path
) -> None:
    (folder / "near.csv").write_text(NEAR)
    assert optbench("train", *asked).code == 0
    run = run_folder(folder)
    made_by(run, version)
    again = optbench("train", *asked)
    assert again.code == 0
    assert ("trained again, the old one kept in .old/" in again.err) == bool(said) and said in again.err
    old = folder / "outputs" / "default" / ".old"
    assert len(list(old.iterdir()) if old.exists() else []) == bool(said)
    assert (summary_of(run_folder(folder))["optbench_version"] == version) == (not said or version == "0.2.0")


def test_a_mistake_of_any_version_counts(job: Callable) -> None:
    from runner.config.check import mistake

    made = job(*SWA, "model.normalization=batch")
    assert mistake(made.config, made.known, "0.1.9") and mistake(made.config, made.known, "0.2.0") is None
