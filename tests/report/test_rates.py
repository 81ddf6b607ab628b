"""Learning rates: how wide the good ones reach, where they diverge, and how soon a target is reached."""

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from runner.report import rates
from runner.report.load import load
from runner.report.sections import target
from runner.report.workloads import workloads
from tests.support.made_sweep import made_run, make_sweep
from tests.support.reports import report


def curve(means: list[float], diverged: list[int] | None = None, higher: bool = True) -> rates.Curve:
    """Rates whose settings come in the order of their means, as those of a table do."""
    lr = np.array([1e-3, 1e-2, 1e-1, 1.0])[: len(means)]
    values = np.array(means)
    places = (-values if higher else values).argsort().argsort()
    trouble = np.array(diverged or [0] * len(lr))
    return rates.Curve((), places, lr, values, values, values, trouble, trouble)


def test_decades_within_by_hand():
    assert rates.decades_within(curve([0.9, 1.0, 1.0, 0.5]), 1.0, 5, True) == pytest.approx(0.5 + 1 + 0.1)
    assert rates.decades_within(curve([0.9, 1.0, 1.0, math.nan], [0, 0, 0, 3]), 1.0, 5, True) == pytest.approx(1.5)
    assert rates.decades_within(curve([2.0, 1.0, 1.0, 2.0]), 1.0, 5, False) == pytest.approx(0.05 + 1 + 0.05)
    assert rates.decades_within(curve([1.0, 1.0, 0.1], [0, 1, 0]), 1.0, 5, True) == 0


def test_edge_by_hand():
    assert rates.edge(curve([0.9, 1.0, 0.9]), True) is None
    assert rates.edge(curve([0.8, 0.9, 1.0]), True) == ("largest", [0.32, 1.0])
    assert rates.edge(curve([1.0, 0.9, 0.8]), True) == ("smallest", [0.0001, 0.00032])
    assert rates.edge(curve([1.0, 0.9, 0.8], higher=False), False) == ("largest", [0.32, 1.0])
    assert rates.edge(curve([0.8, 1.0, 1.0]), True) is None
    assert rates.edge(curve([0.8, 1.0, math.nan], [0, 0, 2]), True) is None  # beyond it diverges: not an edge


def test_the_best_rate_is_the_tables_and_a_crash_is_a_missing_run():
    lucky = replace(curve([0.8, 0.9, 0.95]), settings=np.array([2, 0, 1]))  # at the largest rate one seed alone
    assert lucky.best == 1 and rates.edge(lucky, True) is None
    inside = replace(curve([0.8, 0.96, 0.95]), settings=np.array([2, 1, 0]))
    assert inside.best == 2 and rates.edge(inside, True) == ("largest", [0.32, 1.0])
    crashed = replace(curve([0.8, 0.95, 0.9]), bad=np.array([0, 1, 0]), diverged=np.zeros(3, int))
    assert crashed.best == 1 and rates.edge(crashed, True) is None


@pytest.mark.parametrize("lr", [(1e307, 1e308), (1.5e308, 1.7e308), (5e-324, 1e308)])
def test_beyond_the_largest_number_there_is_no_rate_to_add(lr: tuple[float, float]):
    at = replace(curve([0.8, 0.9]), lr=np.array(lr))
    assert rates.edge(at, True) is None
    end, added = rates.edge(replace(at, lr=np.array([1e306, 1e307])), True) or ("", [])
    assert (end, added) == ("largest", [3.2e307, 1e308])
    assert rates.edge(replace(curve([0.9, 0.8]), lr=np.array([5e-324, 1e-322])), True) is None


def test_time_to_target_keeps_runs_that_never_reach_it(tmp_path: Path):
    runs = [made_run(0.9, optim="sgd", seed=0), made_run(0.5, optim="sgd", seed=1)]
    runs += [made_run(0.9, "diverged", optim="sgd", seed=2), made_run(0.8, optim="adam", seed=0)]
    records = load(make_sweep(tmp_path / "sweep", runs))
    (workload,) = workloads(records, None, None)
    found = target.times(workload, records, 0.7)
    assert len(found) == 4
    by_status = found.assign(status=workload.runs.set_index("run_id")["status"].reindex(found.index))
    assert sorted(by_status["reached"]) == [False, False, True, True]
    assert not by_status.loc[by_status["status"] == "diverged", "reached"].any()
    section = target.time_to_target(workload, records, 0.7, 1.0)
    assert section is not None
    table = section.tables[0].frame.set_index("optim")
    assert table.at["sgd", "runs"] == 3 and table.at["sgd", "reached"] == 1
    # reached at 80 steps of 100: S = 2/3 after it
    assert table.at["sgd", "restricted_mean_steps"] == pytest.approx(80 + 20 * 2 / 3)
    assert table.at["sgd", "par10_steps"] == pytest.approx((80 + 1000 + 1000) / 3)


def test_failed_runs_are_not_called_diverged(tmp_path: Path):
    runs = [made_run(0.9, optim__lr=0.01, seed=s) for s in range(2)] + [
        made_run(None, "failed", optim__lr=0.1, seed=s) for s in range(2)
    ]
    report(make_sweep(tmp_path / "sweep", runs))
    points = pd.read_csv(tmp_path / "sweep/report/learning-rate-points.csv").set_index("optim.lr")
    assert points.at[0.1, "diverged"] == 0 and points.at[0.1, "failed"] == 2
    assert pd.read_csv(tmp_path / "sweep/report/learning-rate.csv")["diverges_from_lr"].isna().all()
