"""Settings are told apart as far as their seeds allow, and no further."""

import json
import shlex
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from runner.errors import ConfigError
from runner.report.load import Records, load
from runner.report.settings import Workload
from runner.report.workloads import workloads
from runner.report.write import Asked
from tests.support.made_sweep import made_run, make_sweep
from tests.support.reports import a_grid, only_workload, report


def test_a_planted_difference_is_found(tmp_path: Path):
    workload = only_workload(make_sweep(tmp_path / "sweep", a_grid(np.random.default_rng(0))))
    assert workload.words(0) == "he_normal, adam, optim.lr=0.01"
    assert workload.rivals == []
    assert (workload.table["verdict"][1:] == "worse").all()


def simulated(rng: np.random.Generator, means: list[float], seeds: int) -> Workload:
    """A workload of one axis whose settings have known means; seeds are shared."""
    shared = rng.normal(0, 0.01, seeds)
    rows = [
        {"optim": f"o{k}", "seed": str(s), "run_id": f"{k}{s}", "status": "completed"}
        | {
            "final_val_accuracy": repr(float(m + shared[s] + rng.normal(0, 0.01))),
            "test_accuracy": repr(float(m + rng.normal(0, 0.01))),
        }
        for k, m in enumerate(means)
        for s in range(seeds)
    ]
    records = Records(Path("made"), pd.DataFrame(rows, dtype=str), ["optim", "seed"], {})
    (workload,) = workloads(records, None, None)
    return workload


@pytest.mark.parametrize(
    "seeds", [pytest.param(3, marks=pytest.mark.slow), 5, pytest.param(10, marks=pytest.mark.slow)]
)
def test_no_winner_is_declared_where_nothing_differs(seeds: int):
    rng = np.random.default_rng(seeds)
    winners = worse = 0
    for _ in range(200):
        workload = simulated(rng, [0.9, 0.9, 0.9], seeds)
        winners += workload.rivals == []
        worse += (workload.table["verdict"] == "worse").any()
    assert winners <= 0.05 * 200
    assert worse <= 0.05 * 200  # any setting at all wrongly told from the luckiest one


@pytest.mark.parametrize("seeds", [5, pytest.param(10, marks=pytest.mark.slow)])
def test_a_difference_of_three_deviations_is_found(seeds: int):
    rng = np.random.default_rng(seeds)
    found = [simulated(rng, [0.9, 0.9, 0.95], seeds) for _ in range(50)]
    assert np.mean([w.table.at[0, "optim"] == "o2" and w.rivals == [] for w in found]) >= 0.9


@pytest.mark.parametrize(
    "seeds", [pytest.param(3, marks=pytest.mark.slow), 5, pytest.param(10, marks=pytest.mark.slow)]
)
def test_the_test_interval_of_the_best_covers_its_truth(seeds: int):
    """Validation chose, so validation flatters; the test measure had no part in the choice and does not."""
    rng = np.random.default_rng(seeds)
    covered = []
    for _ in range(200):
        row = simulated(rng, [0.9, 0.9, 0.9, 0.9], seeds).table.iloc[0]
        covered.append(row["test_low"] <= 0.9 <= row["test_high"])
    assert abs(np.mean(covered) - 0.95) <= 0.04  # 200 simulations: a standard error of 0.015


def test_diverged_and_failed_seeds_rank_a_setting_last(tmp_path: Path):
    runs = [made_run(0.8, optim="sgd", seed=s) for s in range(3)]
    runs += [made_run(0.99, optim="adam", seed=0), made_run(None, "diverged", optim="adam", seed=1)]
    runs += [made_run(0.98, optim="adam", seed=2)]
    runs += [made_run(None, "failed", optim="adamw", seed=s) for s in range(3)]
    folder = make_sweep(tmp_path / "sweep", runs)
    workload = only_workload(folder)
    assert list(workload.table["optim"]) == ["sgd", "adam", "adamw"]
    assert list(workload.table["verdict"]) == ["best", "diverges or fails", "diverges or fails"]
    assert not workload.table["in_set"][1:].any()
    text = report(folder)
    assert "1 run diverged" in text and "3 runs failed" in text


def test_a_newcomer_on_lucky_seeds_does_not_lead(tmp_path: Path):
    """Seeds differ by more than settings do: a mean over other seeds says nothing until the seeds' part is taken off."""
    luck = [0.0, 0.01, 0.02, 0.03, 0.04, 0.05]
    runs = [made_run(0.9 + luck[s], optim="adam", seed=s) for s in range(6)]
    runs += [made_run(0.896 + luck[s] + 1e-4 * s, optim="sgd", seed=s) for s in range(3, 6)]
    workload = only_workload(make_sweep(tmp_path / "sweep", runs))
    assert list(workload.table["optim"]) == ["adam", "sgd"]
    assert workload.table.at[1, "mean"] > workload.table.at[0, "mean"]
    assert workload.table.at[1, "difference"] < 0


def test_a_sweep_with_exploded_and_diverged_runs_tells_the_good_ones_apart(tmp_path: Path):
    """Whatever a rate that is too large comes to, a good setting's seeds are not moved by it."""
    r2 = {"0.01": (0.50, 0.43, 0.46), "0.1": (-0.7, -0.6, -0.8), "1": (-7e5, -2e6, -2e6), "3": (-5e8, -1e9, -1e9)}
    runs = [
        {**made_run(0.5, optim__lr=lr, seed=s), "final_val_r2": v} for lr, of in r2.items() for s, v in enumerate(of)
    ]
    runs += [made_run(None, "diverged", optim__lr="10", seed=s) for s in (0, 1)]
    runs += [{**made_run(0.5, optim__lr="10", seed=2), "final_val_r2": -5e18}]
    (workload,) = workloads(load(make_sweep(tmp_path / "sweep", runs)), "val_r2", None)
    table = workload.table
    assert list(table["optim.lr"]) == ["0.01", "0.1", "1", "3", "10"]
    assert list(table["verdict"]) == ["best", *["worse"] * 3, "diverges or fails"]


def test_a_measure_of_ones_own_needs_a_direction(tmp_path: Path):
    runs = [{**made_run(0.9, optim=o), "final_val_mine": v} for o, v in (("sgd", 1.0), ("adam", 2.0))]
    folder = make_sweep(tmp_path / "sweep", runs)
    with pytest.raises(ConfigError, match="--better higher"):
        report(folder, Asked(metric="mine"))
    assert "optim=sgd" in report(folder, Asked(metric="mine", better="lower")).splitlines()[3]


def test_folds_are_replicates_and_no_axis(optbench, folder: Path):
    sweep = ["train", "-m", "data.folds=3", "data.fold=0,1,2", "optim.lr=0.01,0.011", "max_steps=5", "model.width=8"]
    assert optbench(*sweep).code == 0
    workload = only_workload(folder / "outputs" / "default")
    assert workload.axes == ["optim.lr"] and workload.replicate_word == "fold"
    assert workload.replicates == ["data.fold=0", "data.fold=1", "data.fold=2"]
    assert list(workload.table["n"]) == [3, 3]
    assert workload.step == 1 / 479  # of 1438 samples, cut into 480, 479 and 479
    assert any("Bengio" in caveat for caveat in workload.caveats)
    text = optbench("report", "outputs/default").out
    assert "mean of 3 folds" in text
    more = next(line for line in text.splitlines() if "data.split_seed=" in line)
    assert optbench("train", "-m", "dry_run=true", *shlex.split(more)[3:]).code == 0
    words = dict(w.split("=", 1) for w in shlex.split(more) if "=" in w)
    splits = len(words["data.split_seed"].split(","))
    assert words["data.fold"] == "0,1,2" and words["data.folds"] == "3" and splits >= 2


def test_other_numbers_of_folds_are_not_chosen_among(optbench, folder: Path):
    few = ["optim.lr=0.01,0.1", "max_steps=2", "model.width=8"]
    grid = ["+", "data.folds=2", "data.fold=0,1", "+", "data.folds=3", "data.fold=0,1,2"]
    assert optbench("train", "-m", *few, *grid).code == 0
    found = workloads(load(folder / "outputs" / "default"), None, None)
    assert [len(w.replicates) for w in found] == [2, 3] and all(w.axes == ["optim.lr"] for w in found)


def test_a_target_that_is_not_obeyed_is_no_axis(optbench, folder: Path):
    for seed, value in ((0, 0.5), (1, 0.9)):
        target = ["target.metric=val_accuracy", f"target.value={value}"]
        assert optbench("train", "-m", f"seed={seed}", "optim.lr=0.01,0.1", "max_steps=2", *target).code == 0
    assert only_workload(folder / "outputs" / "default").axes == ["optim.lr"]


@pytest.mark.parametrize(("several", "axes"), [(False, ["optim"]), (True, ["optim", "compress.ticket.run"])])
def test_each_seeds_own_ticket_is_no_axis_and_several_of_a_seed_are_one(several: bool, axes: list[str], tmp_path: Path):
    runs = [
        made_run(0.9 + seed / 100, optim=optim, seed=seed, compress="ticket", compress__ticket__run=f"of-{seed}-{kind}")
        for optim in ("sgd", "adam")
        for seed in range(3)
        for kind in range(1 + several)
    ]
    folder = make_sweep(tmp_path / "sweep", runs, choices=("compress", "compress.ticket.run"))
    assert only_workload(folder).axes == axes


def test_a_crash_is_a_missing_run_and_divergence_is_counted(tmp_path: Path):
    rng = np.random.default_rng(0)
    runs = [made_run(0.9 + rng.normal(0, 0.01), optim=o, seed=s) for o in ("sgd", "adam", "adamw") for s in range(4)]
    runs[4], runs[8] = made_run(None, "failed", optim="adam", seed=0), made_run(None, "diverged", optim="adamw", seed=0)
    table = only_workload(make_sweep(tmp_path / "sweep", runs)).table.set_index("optim")
    assert table.at["adam", "verdict"] in ("best", "open") and table.at["adam", "n"] == 3
    assert table.at["adamw", "verdict"] == "diverges or fails"


def test_one_diverged_run_among_54_costs_its_own_setting_alone(tmp_path: Path):
    runs = a_grid(np.random.default_rng(0), seeds=3)
    runs[5] = {**made_run(None, "diverged"), **{k: runs[5][k] for k in ("init", "optim", "optim.lr", "seed")}}
    text = report(make_sweep(tmp_path / "sweep", runs))
    assert "1 diverged or failed more often" in text and "of 12 settings" in text


def test_a_newcomer_with_fewer_seeds_can_lead_and_is_compared_on_those_it_shares(tmp_path: Path):
    rng = np.random.default_rng(0)
    runs = [made_run(0.9 + rng.normal(0, 0.004), optim=o, seed=s) for o in ("sgd", "adam") for s in range(12)]
    runs += [made_run(0.98 + rng.normal(0, 0.004), optim="adamw", seed=s) for s in range(5)]
    workload = only_workload(make_sweep(tmp_path / "sweep", runs))
    assert workload.table.at[0, "optim"] == "adamw"
    assert list(workload.table["verdict"][1:]) == ["worse", "worse"]


def test_settings_with_the_same_trouble_are_compared_all_the_same(tmp_path: Path):
    rng = np.random.default_rng(0)
    runs = [made_run(None, "diverged", optim=o, seed=0) for o in ("sgd", "adam")]
    runs += [made_run(0.9 + rng.normal(0, 0.02), optim=o, seed=s) for o in ("sgd", "adam") for s in range(1, 5)]
    workload = only_workload(make_sweep(tmp_path / "sweep", runs))
    assert list(workload.table["verdict"]) == ["best", "open"]


def test_two_seeds_that_agree_prove_nothing(tmp_path: Path):
    runs = [made_run(k / 143, optim=o, seed=s) for o, k in (("sgd", 100), ("adam", 101)) for s in range(2)]
    text = report(make_sweep(tmp_path / "sweep", runs))
    assert "2 of 2 settings can be the best" in text
    (low, high) = json.loads((tmp_path / "sweep/report/answer.json").read_text())[0]["measures"]["validation accuracy"][
        "interval"
    ]
    assert high - low > 0.01  # a step of 1/143 is the least that two seeds leave open


def test_seeds_that_change_nothing_are_said_to(tmp_path: Path):
    runs = [
        {**made_run(None, optim=o, seed=s), "final_val_loss": v}
        for o, v in (("sgd", 0.25), ("adam", 0.125))
        for s in range(3)
    ]
    text = " ".join(report(make_sweep(tmp_path / "sweep", runs)).split())
    assert "seeds give identical results" in text and "moves in steps" not in text
