"""What the report says of how the loss falls with size."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from runner.report.load import load
from runner.report.sections.scaling import best_of_each_size
from runner.report.workloads import workloads
from runner.report.write import report
from tests.support.laws import SIZES, law
from tests.support.made_sweep import made_run, make_sweep


def a_family(widths: dict[int, float], sd: float = 0.01, count: int = 3, **more: object) -> list[dict[str, object]]:
    """Runs of several widths at two rates, the better one with the losses given; test losses are a tenth higher."""
    rng = np.random.default_rng(0)
    runs = []
    for width, loss in widths.items():
        for lr, worse in ((0.01, 1.0), (0.1, 1.5)):
            for seed in range(count):
                value = float(worse * loss * (1 + sd * rng.normal()))
                run = made_run(0.9, optim__lr=lr, seed=seed, model__width=width) | more
                run |= {"final_val_loss": value, "test_loss": 1.1 * value}
                runs.append(run | {"parameters": 100 * width, "flops_per_sample": 250 * width})
    return runs


FALLING = {width: float(y) for width, y in zip((10, 30, 100, 300, 1000), law(SIZES), strict=True)}


@pytest.mark.pictures
def test_the_report_fits_the_best_of_each_size(tmp_path: Path) -> None:
    found = report(make_sweep(tmp_path / "sweep", a_family(FALLING)))
    assert "Scaling: loss = E + A·N^(−α) over 5 distinct parameter counts, 1,000 to 100,000" in found.text
    assert "not identifiable" not in found.text
    found.write()
    laws = pd.read_csv(tmp_path / "sweep/report/scaling-law.csv")
    assert list(zip(laws["against"], laws["loss"], strict=True)) == [
        *(("parameters", "validation"), ("parameters", "test")),
        *(("FLOPs a sample", "validation"), ("FLOPs a sample", "test")),
    ]
    assert ((laws["alpha_low"] < 0.5) & (laws["alpha_high"] > 0.5)).all()
    assert (
        (laws["E_low"] < 0.2 * np.array([1, 1.1, 1, 1.1])) & (laws["E_high"] > 0.2 * np.array([1, 1.1, 1, 1.1]))
    ).all()
    assert laws["alpha"][0] == pytest.approx(laws["alpha"][2]) and laws["E"][0] == pytest.approx(laws["E"][2])
    assert laws["A"].to_numpy() == pytest.approx([1e3**0.5, 1.1 * 1e3**0.5, 2500**0.5, 1.1 * 2500**0.5], rel=0.25)
    best = pd.read_csv(tmp_path / "sweep/report/scaling.csv")
    assert best["setting"].str.contains("optim.lr=0.01").all() and (best["runs"] == 3).all()
    assert best["validation_loss"][:5].to_numpy() == pytest.approx(list(FALLING.values()), rel=0.03)
    page = (tmp_path / "sweep/report.html").read_text()
    assert "How does the loss fall with size?" in page and "report/scaling.png" in page
    assert (tmp_path / "sweep/report/scaling.png").read_bytes().startswith(b"\x89PNG")


def test_a_setting_that_diverged_for_a_seed_is_not_the_best_of_its_size(tmp_path: Path) -> None:
    runs = a_family(FALLING)
    for run in runs:
        if run["optim.lr"] == 0.01 and run["seed"] == 0 and run["model.width"] == 100:
            run["status"] = "diverged"
            for measure in ("final_val_loss", "final_val_accuracy", "test_loss", "test_accuracy"):
                del run[measure]
    records = load(make_sweep(tmp_path / "sweep", runs))
    (workload,) = workloads(records, None, None)
    sizes = best_of_each_size(workload, records, "parameters")
    rates = [workload.table.at[s.setting, "optim.lr"] for s in sizes]
    assert rates == ["0.01", "0.01", "0.1", "0.01", "0.01"]


def test_the_test_loss_has_no_part_in_the_choice(tmp_path: Path) -> None:
    runs = a_family(FALLING)
    for run in runs:
        run["test_loss"] = 1 / run["final_val_loss"]
    records = load(make_sweep(tmp_path / "sweep", runs))
    (workload,) = workloads(records, None, None)
    assert {workload.table.at[s.setting, "optim.lr"] for s in best_of_each_size(workload, records, "parameters")} == {
        "0.01"
    }


@pytest.mark.parametrize(
    ("runs", "said"),
    [
        (a_family({10: 1.0, 30: 0.8, 100: 0.7}), "3 distinct parameter counts: to fit"),
        (a_family({10: 1.0, 30: 1.1, 100: 1.2, 300: 1.3}), "not identifiable: the loss does not fall with size"),
        (a_family({10: 1.0, 30: 0.99, 100: 1.0, 300: 0.98}, sd=0.1), "not identifiable"),
        (a_family({10: 1.0, 30: 0.5, 100: 0.5, 300: 0.5}), "not identifiable: the interval of α has no upper end"),
        (a_family({w: y - 0.19 for w, y in FALLING.items()}, sd=0.1), "the interval of E begins at 0"),
        (a_family(FALLING | {100: 0.58}), "further from the law than seeds explain"),
    ],
)
def test_it_says_plainly_when_there_is_no_law(runs: list[dict[str, object]], said: str, tmp_path: Path) -> None:
    text = report(make_sweep(tmp_path / "sweep", runs)).text
    assert said in " ".join(text.split()), text


def test_losses_of_several_kinds_are_not_fitted(tmp_path: Path) -> None:
    runs = a_family(FALLING)
    for number, run in enumerate(runs):
        run["model.loss"] = "mse" if number % 2 else "cross_entropy"
    folder = make_sweep(tmp_path / "sweep", runs)
    table = (folder / "runs.csv").read_text()
    (folder / "runs.csv").write_text(table.replace("model.loss", "loss", 1))
    text = report(folder).text
    assert "losses of several kinds" in text and "alpha" not in text and "α" not in text


def test_sizes_that_happen_to_differ_are_not_spoken_of(tmp_path: Path) -> None:
    runs = [made_run(0.9, model=m, seed=s) | {"parameters": p} for m, p in (("mlp", 10), ("cnn", 20)) for s in range(3)]
    assert "Scaling" not in report(make_sweep(tmp_path / "sweep", runs)).text


def test_real_runs_end_to_end(optbench, folder: Path) -> None:
    family = ["model.width=8", "model.width_multiplier=0.25,0.5,1,2,4", "optim=adam", "optim.lr=1e-2,3e-2", "seeds=2"]
    assert optbench("train", "-m", "name=family", *family, "epochs=4").code == 0
    found = optbench("report", "outputs/family")
    assert found.code == 0 and "5 distinct parameter counts" in found.out
    laws = pd.read_csv("outputs/family/report/scaling-law.csv")
    best = pd.read_csv("outputs/family/report/scaling.csv")
    assert len(laws) == 4 and len(best) == 10
    runs = pd.read_csv("outputs/family/runs.csv")
    means = runs.groupby(["parameters", "optim.lr"])["final_val_loss"].mean().groupby("parameters").min()
    assert best["validation_loss"][:5].to_numpy() == pytest.approx(means.to_numpy())
    assert json.loads(Path("outputs/family/report/answer.json").read_text())
