"""What each choice is worth is said in a sentence, with its interval."""

import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from runner.report.equivalent import with_margin
from runner.report.sections.matters import levels, matters, sentences
from runner.statistics.scores import compare
from tests.support.made_sweep import made_run, make_sweep
from tests.support.reports import a_grid, only_workload, report


def grid(folder: Path, means: dict[tuple[str, str], float], seeds: int = 6, noise: float = 0.004) -> Path:
    rng = np.random.default_rng(1)
    runs = [
        made_run(m + rng.normal(0, noise), init=i, optim=o, seed=s) for (i, o), m in means.items() for s in range(seeds)
    ]
    return make_sweep(folder, runs)


def test_what_beats_what_is_said_in_points(tmp_path: Path):
    cells = {("he_normal", "adam"): 0.9, ("he_normal", "sgd"): 0.899, ("zeros", "adam"): 0.5, ("zeros", "sgd"): 0.5}
    init, optim, *rest = sentences(with_margin(only_workload(grid(tmp_path / "s", cells)), 0.01))
    assert init.startswith("Initializer: he_normal beats zeros by 4")
    assert optim.startswith("Optimizer: ") and "is as good as" in optim
    assert not any("depend on each other" in line for line in rest)
    assert rest[-1].startswith("The initializer matters most")


def test_an_interaction_is_named_with_what_each_gains(tmp_path: Path):
    cells = {("he_normal", "adam"): 0.9, ("he_normal", "sgd"): 0.7, ("zeros", "adam"): 0.6, ("zeros", "sgd"): 0.69}
    said = " ".join(sentences(with_margin(only_workload(grid(tmp_path / "s", cells)), 0.01)))
    assert "Initializer and optimizer depend on each other" in said
    assert re.search(
        r"he_normal against zeros gains (29|30|31)[.\d]* points with adam and [01]\.\d+ points with sgd", said
    )


def test_a_gain_is_above_0_of_a_loss_too(tmp_path: Path):
    cells = {("he_normal", "adam"): 0.1, ("he_normal", "sgd"): 0.3, ("zeros", "adam"): 0.8, ("zeros", "sgd"): 0.4}
    rng = np.random.default_rng(0)
    runs = [
        made_run(None, init=i, optim=o, seed=s) | {"final_val_loss": loss + rng.normal(0, 0.004)}
        for (i, o), loss in cells.items()
        for s in range(6)
    ]
    workload = only_workload(make_sweep(tmp_path / "s", runs))
    said = " ".join(sentences(with_margin(workload, 0.01)))
    assert re.search(r"he_normal against zeros gains 0\.(69|7|70)\d* with adam and 0\.(09|1|10)\d* with sgd", said)
    section = matters(workload)
    assert section is not None
    (contrast,) = section.tables[1].frame.to_dict("records")
    assert contrast["gain"] == pytest.approx(0.7, abs=0.01) and contrast["gain there"] == pytest.approx(0.1, abs=0.01)
    assert contrast["difference"] == pytest.approx(0.6, abs=0.02)


def test_seeds_that_are_not_shared_tell_apart_what_the_set_does(tmp_path: Path):
    runs = [made_run(0.9 + 0.002 * s, optim="sgd", seed=s) for s in range(3)]
    runs += [made_run(0.5 + 0.002 * s, optim="adamw", seed=s) for s in range(3, 6)]
    (level,) = [level for level in levels(only_workload(make_sweep(tmp_path / "s", runs))) if level.value == "adamw"]
    assert level.verdict == "worse" and level.difference.low > 0.3


def test_few_seeds_leave_an_effect_open_and_one_seed_says_nothing(tmp_path: Path):
    cells = {("he_normal", "adam"): 0.9, ("zeros", "adam"): 0.89}
    (said,) = sentences(only_workload(grid(tmp_path / "three", cells, seeds=3, noise=0.03)))
    assert "cannot be told from" in said
    assert sentences(only_workload(grid(tmp_path / "one", cells, seeds=1))) == ()


def test_three_alike_results_are_as_good_only_where_the_answer_says_so(tmp_path: Path):
    alike, noisy = (0.900, 0.905, 0.895), (0.93, 0.86, 0.90)
    scores = {("he_normal", "adam"): alike, ("zeros", "adam"): alike}
    scores |= {("he_normal", "sgd"): noisy, ("zeros", "sgd"): noisy}
    runs = [made_run(x, init=i, optim=o, seed=s) for (i, o), of in scores.items() for s, x in enumerate(of)]
    text = " ".join(report(make_sweep(tmp_path / "s", runs)).split())
    assert "None is known to be as good yet, within 1 point" in text
    assert "Initializer: he_normal cannot be told from zeros (0 points" in text and "is as good as zeros" not in text


def test_an_effect_is_at_every_other_axis_own_best(tmp_path: Path):
    """he_normal is best with adam, zeros with sgd: they are held against each other there."""
    cells = {("he_normal", "adam"): 0.9, ("he_normal", "sgd"): 0.5, ("zeros", "adam"): 0.4, ("zeros", "sgd"): 0.8}
    workload = only_workload(grid(tmp_path / "s", cells))
    of_init = [level for level in levels(workload) if level.axis == "init"]
    assert [workload.words(level.setting) for level in of_init] == ["he_normal, adam", "zeros, sgd"]
    assert abs(of_init[1].difference.mean - 0.1) < 0.02


def test_rates_are_compared_within_the_leading_optimizer(tmp_path: Path):
    """sgd's best rate is 1, adam's 0.01: that says nothing of 1 against 0.01."""
    means = {("adam", 0.01): 0.9, ("adam", 0.1): 0.7, ("sgd", 0.01): 0.3, ("sgd", 0.1): 0.8, ("sgd", 1.0): 0.85}
    runs = [
        made_run(mean + s / 1000, optim=o, optim__lr=lr, seed=s) for (o, lr), mean in means.items() for s in range(4)
    ]
    workload = only_workload(make_sweep(tmp_path / "s", runs))
    assert [workload.words(x.setting) for x in levels(workload) if x.axis == "optim.lr"] == [
        "adam, optim.lr=0.01",
        "adam, optim.lr=0.1",
    ]
    assert any(line.startswith("Learning rate with adam: 0.01 beats 0.1 by 20 points") for line in sentences(workload))


def test_a_difference_by_rounding_alone_is_none():
    held = compare(np.array([0.1, 0.2, 0.3]), np.array([[0.3, 0.1, 0.2]]))
    assert held.difference[0] == 0.0


def test_heat_map_robustness_table_and_answer_name_the_same_best_rate(tmp_path: Path):
    """Two rates have the same mean; the lower loss decides, everywhere."""
    runs = [
        {**made_run(0.9, init="he_normal", optim="adam", optim__lr=lr, seed=s), "final_val_loss": loss}
        for lr, loss in ((0.001, 0.4), (0.01, 0.3), (0.1, 0.5))
        for s in range(3)
    ]
    runs += [
        made_run(0.7, init="zeros", optim="adam", optim__lr=lr, seed=s) for lr in (0.001, 0.01, 0.1) for s in range(3)
    ]
    folder = make_sweep(tmp_path / "sweep", runs)
    text = report(folder)
    assert "optim.lr=0.01" in next(line for line in text.splitlines() if line.startswith("optbench train"))
    robust = pd.read_csv(folder / "report" / "learning-rate.csv").set_index("init")
    assert robust.at["he_normal", "best_lr"] == 0.01


def test_a_network_that_does_not_learn_is_not_advised_a_larger_rate(tmp_path: Path):
    runs = [r for r in a_grid(np.random.default_rng(0), seeds=3) if r["init"] == "he_normal"]
    runs += [
        made_run(0.1 + lr / 100, init="zeros", optim="adam", optim__lr=lr, seed=s)
        for lr in (0.01, 0.1, 1.0)
        for s in range(3)
    ]
    folder = make_sweep(tmp_path / "sweep", runs)
    report(folder)
    robust = pd.read_csv(folder / "report" / "learning-rate.csv").set_index(["init", "optim"])
    assert pd.isna(robust.at[("zeros", "adam"), "values_to_add"])
    assert robust.at[("zeros", "adam"), "edge"] == "largest"
    assert "On the edge of what was tried" not in (folder / "report.html").read_text()
