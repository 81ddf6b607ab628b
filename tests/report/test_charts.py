"""Charts are plain data: what they show is what was found, and JSON holds it whatever its names are."""

import json
import math
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from runner.report.drawing import charts
from runner.report.drawing.looks import colours, looks_of_settings
from runner.report.load import load
from runner.report.section import DOUBLE, SINGLE
from runner.report.sections import grids, histories, parallel, ranking, sensitivity
from runner.report.sections.classified import classified, missing
from runner.report.write import Asked, _sections
from tests.support.made_sweep import made_run, make_sweep
from tests.support.reports import a_grid, only_workload


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_sweep(tmp_path_factory.mktemp("charts") / "sweep", a_grid(np.random.default_rng(0)))


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (math.nan, "null"),
        (math.inf, "null"),
        (0.1 + 0.2, "0.3"),
        (np.float32(1) / 3, "0.333333"),
        (True, "true"),
        (None, "null"),
        (np.array([1, 2]), "[1,2]"),
        ({"a": [1.5, "x"]}, '{"a":[1.5,"x"]}'),
        ("</script><!--", '"\\u003c/script>\\u003c!--"'),
    ],
)
def test_json_is_compact_and_may_stand_in_a_page(value: object, text: str):
    assert charts.as_json(value) == text
    json.loads(text)


def test_every_plot_has_a_chart_that_is_json_and_a_width_of_a_journals_column(folder: Path):
    records, workload = load(folder), only_workload(folder)
    answer = SimpleNamespace(workload=workload)
    part = SimpleNamespace(answer=answer, records=records, scaling=None, beside=None, search=(), whole=workload)
    plots = [p for s in _sections(part, Asked()) for p in s.plots]
    assert len(plots) >= 7
    for plot in plots:
        assert plot.width in (SINGLE, DOUBLE)
        found = json.loads(charts.as_json(plot.chart()))
        assert found["data"] and found["layout"]["meta"]["panels"] >= 1


def test_cells_of_a_heat_map_that_differ_differ_in_colour(folder: Path):
    workload = only_workload(folder)
    plot = grids.heat_maps(workload, ("init", "optim.lr")).plots[0]
    shades = plot.chart()["data"][0]["z"]
    assert len(np.unique(shades)) == shades.size == 6
    assert shades.min() == 0 and shades.max() == 1


def test_cells_that_can_be_best_are_marked(folder: Path):
    workload = only_workload(folder)
    chart = grids.heat_maps(workload, ("optim", "optim.lr")).plots[0].chart()
    marked = sum(grids.MARK in text for row in chart["data"][0]["text"] for text in row)
    found = workload.best_of(["optim", "optim.lr"]).values()
    assert marked == len(chart["layout"]["shapes"]) == sum(bool(workload.table.at[s, "in_set"]) for s in found)


def test_the_ranking_fills_those_that_can_be_best(folder: Path):
    workload = only_workload(folder)
    chart = ranking.ranking(workload).plots[0].chart()
    dots = {t["name"]: t for t in chart["data"] if t["mode"] == "markers" and t.get("showlegend") is False}
    assert len(dots[ranking.CAN]["x"]) == int(workload.table["in_set"].head(10).sum())
    assert sum(len(t["x"]) for t in dots.values()) == 10
    best = dots[ranking.CAN]["text"][0]
    assert best.startswith(f"{workload.table['mean'].iloc[0]:.5g} ")


def test_a_choice_has_one_colour_in_every_chart(folder: Path):
    workload, records = only_workload(folder), load(folder)
    known = colours(workload)
    assert len(set(known.values())) == 2 + 2 + 3  # no two choices share one here
    curves = histories.learning_curves(workload, records).plots[0].chart()
    lines = {t["name"]: t["line"]["color"] for t in curves["data"] if t["mode"] == "lines"}
    assert {known["optim", "adam"], known["optim", "sgd"]} == set(lines.values())
    rates = sensitivity.sensitivity(workload, 1).plots[0].chart()
    of_init = {t["name"]: t["line"]["color"] for t in rates["data"] if t.get("mode") == "lines+markers"}
    assert of_init == {name: known["init", name] for name in ("he_normal", "xavier_uniform")}
    two = looks_of_settings(workload, [0, 1])
    assert two[0].stroke != two[1].stroke and two[0].symbol != two[1].symbol  # colour is never alone


def test_curves_are_of_the_error_on_a_logarithmic_scale_in_validation_and_training(tmp_path: Path):
    runs = [made_run(v + s / 1000, optim=o, seed=s) for o, v in (("adam", 0.99), ("sgd", 0.95)) for s in range(3)]
    folder = make_sweep(tmp_path / "sweep", runs)
    chart = histories.learning_curves(only_workload(folder), load(folder)).plots[0].chart()
    assert chart["layout"]["yaxis"]["type"] == "log"
    last = {t["name"]: t["y"][-1] for t in chart["data"] if t["mode"] == "lines" and t["xaxis"] == "x"}
    assert last == pytest.approx({"adam": 0.009, "sgd": 0.049})
    assert {t["xaxis"] for t in chart["data"]} == {"x", "x2"}


def test_lines_of_parallel_coordinates_are_the_rows_of_the_table(folder: Path):
    workload = only_workload(folder)
    (trace,) = parallel.parallel(workload).chart()["data"]
    assert list(trace["customdata"]) == list(range(12))
    of_optim = next(d for d in trace["dimensions"] if d["label"] == "optim")
    assert [of_optim["ticktext"][v] for v in of_optim["values"]] == workload.table["optim"].tolist()
    assert list(trace["line"]["color"]) == sorted(trace["line"]["color"], reverse=True)  # the table has the best first


def with_validation(folder: Path, of: list[list[int]]) -> None:
    """Give every run what a classifier of two classes records."""
    held = {"samples": 20, "labels": ["cat", "dog"], "confusion": of, "positive_share": 0.5}
    held |= {"true_positive_rate": [min(1.0, 0.5 + i / 100) for i in range(101)], "precision": [0.9] * 101}
    for place in folder.glob("*-*-*/"):
        (place / "validation.json").write_text(json.dumps(held))


def test_where_the_best_setting_errs_is_shown_of_its_runs_together(tmp_path: Path):
    runs = [made_run(v, optim=o, seed=s) for o, v in (("adam", 0.9), ("sgd", 0.8)) for s in range(3)]
    folder = make_sweep(tmp_path / "sweep", runs)
    workload, records = only_workload(folder), load(folder)
    assert classified(workload, records) is None and "no validation.json" in missing(workload, records)
    with_validation(folder, [[0, 0, 8], [0, 1, 2], [1, 1, 10]])
    section = classified(workload, records)
    assert missing(workload, records) is None
    assert any("cat taken for dog, 6 times in all, 20 %" in said for said in section.text)
    roc, matrix = (plot.chart() for plot in section.plots)
    assert matrix["data"][0]["z"] == pytest.approx(np.array([[0.8, 0.2], [0.0, 1.0]]))
    assert roc["layout"]["xaxis"]["title"]["text"] == "false positive rate"
    next(iter(folder.glob("*adam*s0-*"))).joinpath("validation.json").write_text("{")
    assert any("2 of the best setting's 3 runs" in said for said in classified(workload, records).text)
