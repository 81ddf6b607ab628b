"""Power laws of the loss over size: the fit against SciPy and simulations, and what the report says of it."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import optimize

from runner.report.load import load
from runner.report.scaling import best_of_each_size
from runner.report.settings import workloads
from runner.report.write import report
from runner.statistics import power_law
from runner.statistics.power_law import EXPONENTS, Law, fit
from tests.support.made_sweep import made_run, make_sweep

SIZES = np.array([1e3, 3e3, 1e4, 3e4, 1e5])


def law(sizes: np.ndarray, alpha: float = 0.5, floor: float = 0.2) -> np.ndarray:
    return floor + (sizes / 1e3) ** -alpha


def seeds(means: np.ndarray, sd: float, count: int, rng: np.random.Generator) -> list[np.ndarray]:
    """Runs whose losses scatter around their size's by a share ``sd``."""
    return list(means[:, None] * (1 + sd * rng.normal(size=(len(means), count))))


@pytest.mark.parametrize(("alpha", "floor"), [(0.5, 0.2), (0.076, 0.0), (2.0, 0.01)])
def test_a_law_without_noise_is_found_exactly(alpha: float, floor: float) -> None:
    found = fit(SIZES, [np.array([y]) for y in law(SIZES, alpha, floor)], draws=10)
    assert (found.exponent, found.floor) == pytest.approx((alpha, floor), rel=1e-4, abs=1e-5)
    assert found.coefficient * found.unit**found.exponent == pytest.approx(1e3**alpha, rel=1e-3)
    assert found.at(np.array([1e6]))[0] == pytest.approx(law(np.array([1e6]), alpha, floor)[0], rel=1e-3)
    assert found.error < 1e-5


@pytest.mark.parametrize("seed", range(5))
def test_the_fit_is_scipys(seed: int) -> None:
    (noisy,) = np.transpose(seeds(law(SIZES), 0.02, 1, np.random.default_rng(seed)))
    scaled = SIZES / np.exp(np.log(SIZES).mean())
    bounds = ([0, 0, EXPONENTS[0]], [10, 10, EXPONENTS[-1]])
    (floor, coefficient, alpha), _ = optimize.curve_fit(
        lambda x, e, a, b: e + a * x**-b, scaled, noisy, (0.1, 0.2, 0.5), sigma=noisy, bounds=bounds, xtol=1e-14
    )
    found = fit(SIZES, [np.array([y]) for y in noisy], draws=10)
    assert (found.exponent, found.floor, found.coefficient) == pytest.approx((alpha, floor, coefficient), rel=1e-4)


@pytest.mark.parametrize(
    ("sizes", "count", "sd", "alpha", "floor"),
    [(4, 1, 0.01, 0.5, 0.2), (6, 1, 0.03, 0.5, 0.2), (4, 3, 0.02, 0.3, 0.1), (6, 3, 0.03, 0.5, 0.2), (8, 5, 0.02, 1.0, 0.1)],
)  # fmt: skip
def test_intervals_cover_the_truth_in_about_95_of_100_simulations(
    sizes: int, count: int, sd: float, alpha: float, floor: float
) -> None:
    rng = np.random.default_rng(sizes + count)
    at, simulations = np.geomspace(1e3, 1e5, sizes), 250
    found = [fit(at, seeds(law(at, alpha, floor), sd, count, rng), draws=300) for _ in range(simulations)]
    for truth, intervals in ((alpha, [f.exponent_interval for f in found]), (floor, [f.floor_interval for f in found])):
        assert abs(np.mean([low <= truth <= high for low, high in intervals]) - 0.95) <= 0.045
    bands = [f.band(np.array([1e4])) for f in found]
    covered = [low[0] <= law(np.array([1e4]), alpha, floor)[0] <= high[0] for low, high in bands]
    assert abs(np.mean(covered) - 0.95) <= 0.045
    assert np.mean([f.over_seeds for f in found]) > (0.9 if count > 1 else -1)
    assert count > 1 or not any(f.over_seeds for f in found)


def test_more_seeds_make_the_interval_narrower() -> None:
    def width(count: int) -> float:
        rng = np.random.default_rng(count)
        found = [fit(SIZES, seeds(law(SIZES), 0.03, count, rng), draws=200).exponent_interval for _ in range(40)]
        return float(np.median([high - low for low, high in found]))

    assert width(12) == pytest.approx(width(3) / 2, rel=0.35)


EQUAL = 0.1 * 3
"""Neither 0.3 nor a number whose mean over sizes or seeds is itself: what is equal here is so but for rounding."""


@pytest.mark.parametrize("count", [1, 2, 3], ids="{} seeds".format)
@pytest.mark.parametrize("last_bits", [0, 3], ids=["alike", "alike but for rounding"])
@pytest.mark.parametrize("loss", [1.0, EQUAL, 1e-7, 9e5])
def test_equal_losses_fit_with_every_exponent(loss: float, last_bits: int, count: int) -> None:
    bits = np.random.default_rng(0).integers(-last_bits, last_bits + 1, (len(SIZES), count))
    found = fit(SIZES, list(loss * (1 + bits * np.finfo(float).eps)))
    assert (found.exponent, found.coefficient) == (0, 0)
    assert found.floor == pytest.approx(loss, rel=1e-14)
    assert found.exponent_interval == (0, EXPONENTS[-1])
    assert found.floor_interval == pytest.approx((loss, loss), rel=1e-14)
    assert found.error == 0 and not found.misfit and not found.over_seeds  # rounding is neither noise nor a misfit


def test_losses_that_rise_fit_with_every_exponent() -> None:
    found = fit(SIZES, [np.array([y]) for y in (1.0, 1.1, 1.2, 1.3, 1.4)])
    assert (found.exponent, found.coefficient) == (0, 0)
    assert found.exponent_interval == (0, EXPONENTS[-1])


def test_a_fall_far_smaller_than_its_floor_is_found_while_it_is_beyond_rounding() -> None:
    losses = 1 + 1e-8 * (law(SIZES, floor=0.0))
    found = fit(SIZES, [np.array([y]) for y in losses], draws=10)
    assert found.exponent == pytest.approx(0.5, rel=1e-3) and found.floor == pytest.approx(1)


def test_what_no_law_describes_is_told_from_the_spread_of_seeds() -> None:
    bumpy = np.array([1.0, 0.7, 0.9, 0.3, 0.5])
    found = fit(SIZES, seeds(bumpy, 0.01, 3, np.random.default_rng(0)))
    assert found.misfit and not found.over_seeds
    assert found.exponent_interval[0] <= EXPONENTS[0]  # residuals say how little is known
    straight = fit(SIZES, seeds(law(SIZES), 0.01, 3, np.random.default_rng(0)))
    assert not straight.misfit and straight.over_seeds


def test_the_same_losses_give_the_same_intervals() -> None:
    losses = seeds(law(SIZES), 0.02, 3, np.random.default_rng(0))
    one, other = (fit(SIZES, losses) for _ in range(2))
    assert isinstance(one, Law) and one.exponent_interval == other.exponent_interval
    assert len(one.draws) == power_law.DRAWS


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
    assert "losses of several kinds" in text and "alpha" not in text


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
