"""Several data sets: judged apart, scored together."""

import re
from pathlib import Path

import pandas as pd

from tests.support.made_sweep import made_run, make_sweep
from tests.support.reports import Page, report


def test_mixed_measures_are_judged_apart(tmp_path: Path):
    runs = [made_run(0.9, seed=s) for s in range(2)]
    for s in range(2):
        numbers = {"final_val_loss": 0.1, "final_val_r2": 0.8 + s / 10, "test_r2": 0.7}
        runs.append({**made_run(None, data="linear_regression", seed=s), **numbers})
    text = report(make_sweep(tmp_path / "sweep", runs))
    assert "For digits:" in text and "validation accuracy" in text
    assert "For linear_regression:" in text and "validation r2" in text
    assert len([line for line in text.splitlines() if re.match("optbench train (?!-m)", line)]) == 2


def test_several_data_sets_are_scored_together(tmp_path: Path):
    runs = [
        made_run((0.9 if optim == "adam" else 0.6) + seed / 100, optim=optim, data=data, seed=seed)
        for optim in ("adam", "sgd")
        for data in ("digits", "mnist", "wine")
        for seed in range(3)
    ]
    folder = make_sweep(tmp_path / "sweep", runs)
    report(folder)
    table = pd.read_csv(folder / "report" / "across.csv").set_index("optim")
    assert table.at["adam", "score"] == 1.0 and table.at["sgd", "score"] == 0.0
    assert table.at["adam", "mean_rank"] == 1.0 and table.at["sgd", "targets_reached"] == 0
    page = (folder / "report.html").read_text()
    assert "Across workloads" in page and Page(page).open == []


def test_of_runs_that_have_not_ended_nobody_knows_when_they_get_there(tmp_path: Path):
    of = {"adam": ("completed", "interrupted", "interrupted"), "sgd": ("completed",) * 3}
    runs = [
        made_run(0.9 if status == "completed" else 0.3, status, optim=optim, data=data, seed=seed)
        for optim, statuses in of.items()
        for data in ("digits", "wine")
        for seed, status in enumerate(statuses)
    ]
    folder = make_sweep(tmp_path / "sweep", runs)
    report(folder)
    table = pd.read_csv(folder / "report" / "across.csv").set_index("optim")
    assert table["targets_reached"].to_dict() == {"adam": 2, "sgd": 2} and table["score"].to_list() == [1.0, 1.0]


def test_means_that_differ_by_rounding_alone_share_their_rank(tmp_path: Path):
    of = {"adam": 0.95, "sgd": 0.9832167832167832, "momentum": 0.9832167832167833}
    runs = [
        made_run(value, optim=optim, data=data, seed=0) for optim, value in of.items() for data in ("digits", "wine")
    ]
    folder = make_sweep(tmp_path / "sweep", runs)
    report(folder)
    table = pd.read_csv(folder / "report" / "across.csv").set_index("optim")
    assert table["mean_rank"].to_dict() == {"sgd": 1.5, "momentum": 1.5, "adam": 3.0}
