"""What is as good as the leader, within a margin, and what of it costs least."""

from pathlib import Path

import numpy as np
import pytest

from runner.report.equivalent import cheapest, default_margin, equivalents, with_margin
from runner.report.write import Asked
from tests.support.made_sweep import made_run, make_sweep
from tests.support.reports import only_workload, report


def a_pair(
    folder: Path, seeds: int, behind: float = 0.001, noise: float = 0.002, seconds: tuple[float, float] = (9, 3)
):
    """Adam ahead of SGD by exactly ``behind``, both with noise over seeds."""
    drawn = np.random.default_rng(0).normal(0, noise, (2, seeds))
    drawn -= drawn.mean(1, keepdims=True)
    runs = [
        {**made_run(value + x, optim=o, seed=s), "train_seconds": cost}
        for o, value, cost, of in zip(("adam", "sgd"), (0.93, 0.93 - behind), seconds, drawn, strict=True)
        for s, x in enumerate(of)
    ]
    return make_sweep(folder, runs)


def test_the_cheapest_of_those_that_are_as_good_is_recommended(tmp_path: Path):
    text = " ".join(report(a_pair(tmp_path / "sweep", 10)).split())
    assert "optbench train optim=sgd" in text
    assert "the cheapest that is as good as the leader" in text
    assert "It takes 3 s of training against 9 s." in text


def test_what_costs_the_same_is_no_reason_to_leave_the_leader(tmp_path: Path):
    text = " ".join(report(a_pair(tmp_path / "sweep", 10, seconds=(9, 8.5))).split())
    assert "optbench train optim=adam" in text and "the cheapest that is as good as the leader" not in text
    assert "As good as the leader, within 1 point: sgd." in text


def test_three_seeds_name_the_cheapest_and_how_many_it_takes(tmp_path: Path):
    text = " ".join(report(a_pair(tmp_path / "sweep", 3, noise=0.01)).split())
    assert "2 of 2 settings can be the best (95 %); this one leads" in text
    assert "None is known to be as good yet, within 1 point" in text
    assert "it takes about" in text and "seeds to say" in text
    assert "optbench train optim=adam" in text


def test_a_wider_margin_makes_more_equivalent_and_a_narrow_one_nothing(tmp_path: Path):
    workload = only_workload(a_pair(tmp_path / "sweep", 10))
    assert equivalents(with_margin(workload, 0.05)) == [1]
    assert equivalents(with_margin(workload, 1e-4)) == []
    assert "worse" not in set(with_margin(workload, 0.05).table["verdict"])
    text = " ".join(report(tmp_path / "sweep", Asked(margin=1e-4)).split())
    assert "within 0.01 points" in text and "None is known to be as good" in text


def test_equivalence_is_asked_inside_the_set_alone(tmp_path: Path):
    """Ten seeds tell half a point apart: what is worse is worse, however little, whatever the margin."""
    workload = only_workload(a_pair(tmp_path / "sweep", 10, behind=0.02))
    assert list(with_margin(workload, 0.5).table["verdict"]) == ["best", "worse"]


@pytest.mark.parametrize(
    ("measure", "value", "trivial", "margin"), [("val_accuracy", 0.9, 0.1, 0.01), ("val_loss", 0.5, 2.5, 0.1)]
)
def test_the_margin_is_a_point_or_a_share_of_what_is_gained(tmp_path: Path, measure, value, trivial, margin):
    runs = [
        {**made_run(None, "completed", optim=o, seed=s), f"final_{measure}": value}
        for o in ("sgd", "adam")
        for s in (0, 1)
    ]
    workload = only_workload(make_sweep(tmp_path / "sweep", runs))
    assert default_margin(workload, trivial) == pytest.approx(margin)


def test_without_a_baseline_a_loss_has_no_margin_and_says_so(tmp_path: Path):
    runs = [
        {**made_run(None, "completed", optim=o, seed=s), "final_val_loss": 0.5 + s / 10}
        for o in ("sgd", "adam")
        for s in range(3)
    ]
    folder = make_sweep(tmp_path / "sweep", runs, rows=False)
    assert default_margin(only_workload(folder), None) is None
    assert "give --margin" in " ".join(report(folder).split())


def test_memory_decides_where_time_does_not(tmp_path: Path):
    folder = a_pair(tmp_path / "sweep", 5, seconds=(3, 3))
    workload = only_workload(folder)
    workload.table["memory_bytes"] = [2e6, 1e6]
    assert cheapest(workload, [1]) == 1
    workload.table["memory_bytes"] = [np.nan, 1e6]
    assert cheapest(workload, [1]) == 0


def test_what_is_called_cheaper_saves_a_tenth_itself(tmp_path: Path):
    """Of 1 s, 0.85 s saves a tenth and 0.92 s does not, though those two are within a tenth of each other."""
    runs = [made_run(0.9 - i / 100, optim=o, seed=s) for i, o in enumerate(("sgd", "adam", "adamw")) for s in range(3)]
    workload = only_workload(make_sweep(tmp_path / "sweep", runs, rows=False))
    workload.table["train_seconds"] = [1.0, 0.92, 0.85]
    assert cheapest(workload, [1, 2]) == 2
    workload.table["train_seconds"] = [1.0, 0.89, 0.85]
    assert cheapest(workload, [1, 2]) == 1  # the better one of two that cost the same
