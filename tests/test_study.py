"""Studies: each is a sweep of ordinary runs and a rule; the rule can fail, and the verdict says so."""

import json
from pathlib import Path

import pandas as pd
import pytest

from runner.errors import OptbenchError
from runner.report import rates
from runner.report.load import Records, load
from runner.report.settings import workloads
from runner.study import ordering, steps
from runner.study.catalogue import STUDIES
from runner.study.study import VERDICT

QUICK = ("quadratic-rates", "decay-forms", "muon-orthogonal", "smoothing-floor")


@pytest.mark.parametrize(
    "name",
    [
        s.name if s.name in QUICK else pytest.param(s.name, marks=pytest.mark.slow)
        for s in STUDIES
        if s.kind == "theory"
    ],
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
    ordering = optbench("study", "--class", "ordering").out.splitlines()
    assert [line.split()[0] for line in ordering] == [s.name for s in STUDIES if s.kind == "ordering"]


def test_an_unknown_study_is_refused_with_the_nearest(optbench) -> None:
    refused = optbench("study", "relu-varience")
    assert refused.code == 2 and "did you mean 'relu-variance'" in refused.err


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (["--class", "ordering", "symmetry"], ["'symmetry'", "class ordering", "depth-30"]),
        (["--class", "theri"], ["--class", "theory, ordering", "'theri'", "did you mean 'theory'"]),
    ],
)
def test_a_class_that_does_not_fit_is_refused_with_what_does(argv: list[str], words: list[str], optbench) -> None:
    refused = optbench("study", *argv)
    assert refused.code == 2
    assert all(word in refused.err for word in words), refused.err


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


@pytest.mark.parametrize(
    ("study", "file", "content"),
    [
        ("decay-forms", "metrics.csv", lambda text: "".join(text.splitlines(keepends=True)[:3])),
        ("decay-forms", "metrics.csv", lambda text: text.replace(text.splitlines()[2] + "\n", "")),
        ("decay-forms", "metrics.csv", lambda text: "\0garbage\n" * 9),
        ("decay-forms", "metrics.csv", lambda text: text.replace("train_loss", "train_lost", 1)),
        ("decay-forms", "metrics.csv", None),
        ("decay-forms", "summary.json", lambda text: text[:20]),
        ("decay-forms", "config.yaml", None),
        ("decay-forms", "config.yaml", lambda text: text.replace("seed: 0", "seed: 1", 1)),
        ("decay-forms", "checkpoint.pt", None),
        ("decay-forms", "checkpoint.pt", lambda text: "no zip"),
        ("lsuv", "layers.csv", None),
        ("lsuv", "layers.csv", lambda text: text[: len(text) // 2]),
        ("lsuv", "layers.csv", lambda text: text.replace("0.", "O.", 1)),
    ],
)
def test_a_run_with_damaged_records_is_trained_again(study: str, file: str, content, optbench, folder: Path) -> None:
    whole = optbench("study", study)
    assert whole.code == 0 and whole.err.count("\n") == 1
    place = folder / "outputs" / f"study-{study}"
    damaged = sorted(p for p in place.iterdir() if (p / file).is_file())[1]
    if content is None:
        (damaged / file).unlink()
    else:
        (damaged / file).write_text(content((damaged / file).read_text(errors="replace")))
    again = optbench("study", study)
    assert again.code == 0, again.err
    assert again.out == whole.out
    assert damaged.name in again.err and "trained again" in again.err and file in again.err
    (old,) = (place / ".old").iterdir()
    assert old.name.startswith(damaged.name) and (damaged / file).is_file()
    assert optbench("study", study).err == whole.err


def test_a_damaged_table_of_runs_is_not_judged_by(optbench, folder: Path) -> None:
    whole = optbench("study", "decay-forms")
    table = folder / "outputs/study-decay-forms/runs.csv"
    before = table.read_text()
    table.write_text(before.replace("weight_decay,", "l2,"))
    assert optbench("study", "decay-forms").out == whole.out
    assert table.read_text() == before


def test_a_verdict_goes_when_a_run_has_to_be_trained_and_not_before(
    optbench, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    optbench("study", "decay-forms")
    place = folder / "outputs/study-decay-forms"
    verdict = (place / "verdict.json").read_text()

    def broken(*ignored: object) -> None:
        raise OptbenchError("planted")

    with monkeypatch.context() as patched:
        patched.setattr("runner.sweep.plan.plan", broken)
        assert optbench("study", "decay-forms").code == 1
    assert (place / "verdict.json").read_text() == verdict
    next(place.glob("*/checkpoint.pt")).unlink()
    monkeypatch.setattr("runner.sweep.workers.run_jobs", broken)
    assert optbench("study", "decay-forms").code == 1
    assert not any((place / name).exists() for name in VERDICT)


@pytest.mark.parametrize(
    ("power", "bend", "told", "holds"),
    [
        (1.0, 300, 1.05, [True, True, True]),
        (0.7, 300, 1.0, [False, True, True]),
        (1.0, 10**5, 1.0, [True, False, True]),
        (1.0, 300, 1.2, [True, True, False]),
    ],
)
def test_batch_scaling_holds_where_steps_fall_as_1_over_the_batch_then_flatten(
    power: float, bend: int, told: float, holds: list[bool], monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = []
    for seed in range(4):
        for size in (2**k for k in range(3, 13)):
            for lr in (0.1, 0.2):  # at the second rate the target is not reached, or later
                steps = (1 + 0.01 * seed) * 1000 * (size**-power + bend**-power)
                late = "" if size > 64 else str(2 * steps)
                row = {"batch": "fixed", "batch.size": str(size), "optim.lr": str(lr), "seed": str(seed)}
                rows.append({**row, "steps_to_target": str(steps) if lr == 0.1 else late, "noise_scale": ""})
        row = {"batch": "adaptive", "batch.size": "256", "optim.lr": "0.02", "seed": str(seed)}
        rows.append({**row, "steps_to_target": "", "noise_scale": str(told * 500)})
    runs = pd.DataFrame(rows).assign(run_id=[str(i) for i in range(len(rows))])
    monkeypatch.setattr("runner.study.noise_scale.of_each_sample", lambda place: 500.0)
    places = {identifier: Path(identifier) for identifier in runs["run_id"]}
    found = ordering.batch_scaling(Records(Path(), runs, [], places, []))
    assert found.holds == all(holds)
    assert found.numbers["holds"].tolist()[:3] == holds


def test_names_are_those_of_folders_and_every_source_is_given() -> None:
    assert len({s.name for s in STUDIES}) == len(STUDIES)
    for study in STUDIES:
        assert study.source and study.rule and study.seconds > 0
        assert study.kind == "ordering" or (study.kind == "theory" and study.seconds <= 60)
