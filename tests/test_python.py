"""Sweeps, reports and curves from Python: the same as the command line's."""

import html
import pydoc
import re
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import optbench
from runner.errors import ConfigError, RecordError

GRID = ["init=he,xavier", "optim=sgd,adamw", "optim.lr=1e-3,1e-2", "seeds=2", "epochs=1", "model.width=8", "workers=1"]


@pytest.fixture
def command(request: pytest.FixtureRequest) -> Callable:
    """The command line, whose fixture has the package's name."""
    return request.getfixturevalue("optbench")


@pytest.fixture(scope="module")
def swept(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, optbench.Sweep]:
    """The folder that a sweep was started in, and the sweep."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("swept"))
        return Path.cwd(), optbench.sweep(*GRID)


@pytest.fixture
def grid(swept: tuple[Path, optbench.Sweep], folder: Path, monkeypatch: pytest.MonkeyPatch) -> optbench.Sweep:
    """The sweep, in the folder that it was started in."""
    monkeypatch.chdir(swept[0])
    return swept[1]


@cache
def report_of(sweep: optbench.Sweep) -> optbench.Report:
    """Its report, drawn once for all tests."""
    return sweep.report()


def test_a_sweep_is_what_the_command_line_runs(grid: optbench.Sweep, command: Callable) -> None:
    assert grid.folder == Path("outputs/default") and len(grid.run_ids) == 16
    assert grid.runs["status"].tolist() == ["completed"] * 16
    assert grid.runs["run_id"].tolist() == list(grid.run_ids)
    again = command("train", "-m", *GRID)
    assert again.code == 0 and len(list(grid.folder.glob("*/summary.json"))) == 16
    assert optbench.sweep(GRID).run_ids == grid.run_ids


def test_a_report_is_what_the_command_line_prints(grid: optbench.Sweep, command: Callable) -> None:
    found = report_of(grid)
    printed = command("report", "outputs/default").out
    assert printed.startswith(str(found)) and found.page.is_file()
    assert len(found.commands) == 1 and found.commands[0] in printed
    assert repr(found) == found.text and repr(grid) == "Sweep of 16 runs in outputs/default"
    by_loss = optbench.report(grid.folder, metric="val_loss", within=5)
    assert "validation loss" in by_loss.text


def test_curves_hold_every_evaluation_with_the_choices_that_vary(grid: optbench.Sweep) -> None:
    found = grid.curves
    assert {"init", "optim", "optim.lr", "seed"} <= set(found.columns[: list(found.columns).index("run_id")])
    assert len(found) == 32 and sorted(found["step"].unique()) == [0, 21]
    row = found[(found["run_id"] == grid.run_ids[0]) & (found["step"] == 21)].iloc[0]
    metrics = pd.read_csv(next(grid.folder.glob(f"*-{grid.run_ids[0]}")) / "metrics.csv")
    assert row["val_loss"] == metrics["val_loss"].iloc[-1]


def test_runs_and_curves_become_labelled_arrays(grid: optbench.Sweep) -> None:
    runs = optbench.to_xarray(grid.runs)
    assert dict(runs.sizes) == {"init": 2, "optim": 2, "optim.lr": 2, "seed": 2}
    chosen = runs.sel({"init": "he_normal", "optim": "adamw", "optim.lr": 0.01, "seed": 1})
    row = grid.runs[(grid.runs["init"] == "he_normal") & (grid.runs["optim"] == "adamw")]
    row = row[(row["optim.lr"] == 0.01) & (row["seed"] == 1)].iloc[0]
    assert float(chosen["test_loss"]) == row["test_loss"] and str(chosen["run_id"].item()) == row["run_id"]
    curves = grid.to_xarray()
    assert dict(curves.sizes) == {"init": 2, "optim": 2, "optim.lr": 2, "seed": 2, "step": 2}
    assert not np.isnan(curves["val_loss"]).any()
    with pytest.raises(ConfigError, match="several rows have the same"):
        optbench.to_xarray(pd.concat([grid.runs, grid.runs]))


def test_results_show_themselves_in_a_notebook(grid: optbench.Sweep) -> None:
    found = report_of(grid)
    shown = found._repr_html_()
    assert found.commands[0] in shown and str(found.page) in shown and len(shown) < 3000
    (answer,) = found.answers
    assert f"{answer['measures']['validation accuracy']['mean']:.4g}" in shown
    assert answer["command"] == found.commands[0]
    assert html.escape(answer["verdict"]) in shown and html.escape(answer["rivals"]) in shown
    assert "16 runs" in grid._repr_html_() and "<table" in grid._repr_html_()


def test_a_reports_tables_are_read_by_their_names(grid: optbench.Sweep) -> None:
    found = report_of(grid)
    assert len(found.table("settings")) == 8 and {"init", "optim"} <= set(found.table("heatmap-init-optim"))
    with pytest.raises(ConfigError, match="'setings' is no table; did you mean 'settings'"):
        found.table("setings")


def test_runs_are_written_for_tensorboard(grid: optbench.Sweep) -> None:
    pytest.importorskip("tensorboard")
    optbench.report(grid.folder, tensorboard="events")
    assert len(list(Path().glob("events/*/seed=*/*tfevents*"))) == 16
    with pytest.raises(ConfigError, match="--tensorboard"):
        optbench.report(grid.folder, tensorboard="outputs")


def test_what_is_not_there_is_refused(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigError, match="lrr"):
        optbench.sweep("optim.lrr=1,2")
    with pytest.raises(ConfigError, match="dry_run=true is for the command line"):
        optbench.sweep("optim=sgd,adam", "dry_run=true")
    for read in (optbench.report, optbench.curves):
        with pytest.raises((ConfigError, RecordError), match="nowhere"):
            read("nowhere")
    with pytest.raises(ConfigError, match="within must be"):
        optbench.report("nowhere", within=0)
    with pytest.raises(ConfigError, match="better must be higher or lower"):
        optbench.report("nowhere", better="more")
    monkeypatch.setitem(sys.modules, "xarray", None)
    with pytest.raises(ConfigError, match=r"optbench\[xarray\]"):
        optbench.to_xarray(pd.DataFrame({"seed": [0], "run_id": ["a"]}))


def test_help_lists_what_there_is() -> None:
    assert {*optbench.__all__} <= set(dir(optbench))
    assert all(name in (optbench.__doc__ or "") for name in optbench.__all__ if name.islower())
    shown = pydoc.plain(pydoc.render_doc(optbench))
    for name in optbench.__all__:
        assert re.search(rf"^    (class )?{name}\(", shown, re.MULTILINE), name


LOSS = """import torch.nn.functional as F


def loss(outputs, y):
    return {factor} * F.cross_entropy(outputs, y)
"""


def test_a_part_that_was_edited_is_trained_as_it_is_now(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = ["loss=edited_part.loss", "model.width=8", "epochs=1"]
    found = []
    for factor in (1, 9):
        (folder / "edited_part.py").write_text(LOSS.format(factor=factor))
        found.append(optbench.train(*asked))
    losses = [result.summary["final_val_loss"] for result in found]
    assert found[0].folder != found[1].folder and losses[1] > 3 * losses[0]
    monkeypatch.delitem(sys.modules, "edited_part")


def test_a_choice_that_some_runs_lack_is_a_label_of_its_own() -> None:
    rows = pd.DataFrame(
        {"optim": ["sgd", "sgd", "adamw"], "optim.momentum": [0.0, 0.9, None], "seed": 0, "run_id": [*"abc"]}
        | {"final_val_loss": [0.1, 0.2, 0.3]}
    )
    array = optbench.to_xarray(rows)["final_val_loss"]
    assert array.sel({"optim": "adamw", "optim.momentum": ""}).item() == 0.3
    assert array.sel({"optim": "sgd", "optim.momentum": "0.9"}).item() == 0.2
    assert np.isnan(array.sel({"optim": "adamw", "optim.momentum": "0.9"}).item())


def test_what_has_no_rows_yet_is_shown_as_empty(folder: Path) -> None:
    assert optbench.train("model.width=8", "max_steps=1").metrics.shape[0] == 2
    (place,) = folder.glob("outputs/default/default-*")
    (place / "metrics.csv").write_text("")
    assert optbench.Result({}, place, True).metrics.empty
    (row,) = optbench.load_runs("outputs/default").to_dict("records")
    assert len(optbench.Sweep(place.parent, (row["run_id"], "ffffffff")).runs) == 1
