"""Data of one's own that have ``seed`` in their signature: each seed of a run has others, and settings share them."""

import csv
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from runner.report.load import load
from runner.report.workloads import workloads
from runner.run.baselines import COLUMNS
from tests.own_parts import drawn

DRAWN = ["data=custom", "data.target=tests.own_parts.drawn"]
QUICK = ["epochs=1", "model.width=8"]


def test_each_seed_has_its_data_and_the_split_is_another_matter(job: Callable) -> None:
    one, other = job(*DRAWN, "seed=1"), job(*DRAWN, "seed=2")
    assert np.array_equal(one.source.samples.x, drawn(1)[0])
    assert one.source.fingerprint != other.source.fingerprint and one.source.drawn_by == other.source.drawn_by
    assert job(*DRAWN, "seed=1", "optim=sgd").source.fingerprint == one.source.fingerprint
    assert job(*DRAWN, "seed=1", "data.args.samples=50").source.drawn_by != one.source.drawn_by
    assert job(*DRAWN, "seed=1", "data.split_seed=3").source.drawn_by == one.source.drawn_by


def test_a_seed_among_the_arguments_is_that_of_all_runs(job: Callable) -> None:
    one, other = (job(*DRAWN, "data.args.seed=7", f"seed={seed}") for seed in (1, 2))
    assert one.source.fingerprint == other.source.fingerprint and one.source.drawn_by is None
    assert np.array_equal(one.source.samples.x, drawn(7)[0])


@pytest.mark.baselines
def test_a_report_takes_their_seeds_for_seeds_of_one_setting(optbench: Callable, folder: Path) -> None:
    assert optbench("train", "-m", *DRAWN, *QUICK, "optim=sgd,adam", "seeds=3", "baselines=true").code == 0
    records = load(folder / "outputs/default")
    (found,) = workloads(records, None, None)
    assert records.warnings == [] and found.varying == ["seed"] and found.table["n"].tolist() == [3, 3]
    with (folder / "outputs/default/baselines.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert set(rows[0]) == set(COLUMNS)
    assert len({row["data_fingerprint"] for row in rows}) == 3  # each seed is held against what its own data allow


def test_other_data_for_one_seed_are_named(optbench: Callable, folder: Path) -> None:
    assert optbench("train", "-m", *DRAWN, *QUICK, "optim=sgd,adam", "seeds=2", "baselines=false").code == 0
    path = folder / "outputs/default/runs.csv"
    table = pd.read_csv(path, dtype=str, keep_default_na=False)
    table.loc[0, "data_fingerprint"] = "0" * 16
    table.to_csv(path, index=False)
    records = load(path.parent)
    assert len(workloads(records, None, None)) == 1
    assert "other samples for the same seed (1 seed" in records.warnings[0]


def test_a_teacher_of_another_seed_is_no_change_of_the_data(optbench: Callable, folder: Path) -> None:
    assert optbench("train", *DRAWN, *QUICK, "seed=0").code == 0
    (teacher,) = (folder / "outputs/default").glob("*-s0-*")
    taught = ["regularization=distillation", f"regularization.distillation.run={teacher}"]
    result = optbench("train", *DRAWN, *QUICK, "seed=1", *taught)
    assert result.code == 0, result.err
