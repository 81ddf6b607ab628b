"""Studies: each is a sweep of ordinary runs and a rule; the rule can fail, and the verdict says so."""

import json
from pathlib import Path

import pytest

from runner.report import rates
from runner.report.load import load
from runner.report.settings import workloads
from runner.study import steps
from runner.study.theory import STUDIES

QUICK = ("quadratic-rates", "decay-forms", "muon-orthogonal")


@pytest.mark.parametrize(
    "name", [s.name if s.name in QUICK else pytest.param(s.name, marks=pytest.mark.slow) for s in STUDIES]
)
def test_every_theory_study_is_reproduced(name: str, optbench, folder: Path) -> None:
    result = optbench("study", name)
    assert result.code == 0
    assert f"{name}: reproduced" in result.out, result.out
    place = folder / "outputs" / f"study-{name}"
    verdict = json.loads((place / "verdict.json").read_text())
    assert {"study", "class", "verdict", "rule", "source", "numbers"} <= verdict.keys()
    assert (verdict["study"], verdict["class"], verdict["verdict"]) == (name, "theory", "reproduced")
    assert all(row["holds"] for row in verdict["numbers"])
    assert (place / "plot.png").read_bytes().startswith(b"\x89PNG") and (place / "numbers.csv").is_file()


def test_without_a_name_they_are_listed(optbench) -> None:
    listed = optbench("study").out.splitlines()
    assert [line.split()[0] for line in listed] == [s.name for s in STUDIES]
    assert optbench("study", "--class", "ordering").out == ""


def test_an_unknown_study_is_refused_with_the_nearest(optbench) -> None:
    refused = optbench("study", "relu-varience")
    assert refused.code == 2 and "did you mean 'relu-variance'" in refused.err


def test_a_rule_can_fail(optbench, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(steps.RATES, "gd", 0.97)
    result = optbench("study", "quadratic-rates")
    assert result.code == 0 and "quadratic-rates: not_reproduced" in result.out
    verdict = json.loads((folder / "outputs/study-quadratic-rates/verdict.json").read_text())
    assert verdict["verdict"] == "not_reproduced" and [r["holds"] for r in verdict["numbers"]].count(False) == 1


@pytest.mark.slow
def test_the_reports_divergence_threshold_agrees_with_theory(optbench, folder: Path) -> None:
    assert optbench("study", "divergence-threshold").code == 0
    (workload,) = workloads(load(folder / "outputs/study-divergence-threshold"), "loss", None)
    found = rates.sensitivity(workload, 1.0)
    assert found is not None
    table = found.tables[0].frame.set_index("optim")
    for name, threshold in steps.THRESHOLDS.items():
        assert table.at[name, "diverges_from_lr"] == pytest.approx(1.01 * threshold)


def test_names_are_those_of_folders_and_every_source_is_given() -> None:
    assert len({s.name for s in STUDIES}) == len(STUDIES)
    for study in STUDIES:
        assert study.source and study.rule and study.kind == "theory" and 0 < study.seconds <= 60
