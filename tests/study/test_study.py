"""Studies: each is a sweep of ordinary runs and a rule; the rule can fail, and the verdict says so."""

import html
import json
import re
import shutil
import statistics
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from runner.errors import OptbenchError
from runner.report.load import Records, load
from runner.report.sections import sensitivity
from runner.report.workloads import workloads
from runner.study import generalization, optimization, ordering, page, reference, steps
from runner.study.catalogue import STUDIES
from runner.study.names import CONTESTS
from runner.study.sayings import SAYINGS
from runner.study.study import VERDICT, read_verdict
from tests.support.records import Result

QUICK = (
    *("quadratic-rates", "decay-forms", "muon-orthogonal", "smoothing-floor", "sgd-step", "rmsprop-still"),
    *("ema-rate", "early-decay"),
)


@pytest.mark.pictures
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
    assert [line.split()[0] for line in listed] == [*(s.name for s in STUDIES), *CONTESTS]
    ordering = optbench("study", "--class", "ordering").out.splitlines()
    assert [line.split()[0] for line in ordering] == [*(s.name for s in STUDIES if s.kind == "ordering"), *CONTESTS]


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
    found = sensitivity.sensitivity(workload, 1.0)
    assert found is not None
    table = found.tables[0].frame.set_index("optim")
    for name, threshold in steps.THRESHOLDS.items():
        assert table.at[name, "diverges_from_lr"] == pytest.approx(1.01 * threshold)


KEPT: dict[str, tuple[Result, Path]] = {}
"""What studies said, and a copy of their runs."""


@pytest.fixture
def studied(optbench, folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Result]:
    """A study that has been run in this folder: really once, then its runs are copied there."""

    def study(name: str) -> Result:
        if name in KEPT:
            shutil.copytree(KEPT[name][1], folder / "outputs")
        else:
            KEPT[name] = optbench("study", name), tmp_path_factory.mktemp(name) / "outputs"
            shutil.copytree(folder / "outputs", KEPT[name][1])
        return KEPT[name][0]

    return study


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
def test_a_run_with_damaged_records_is_trained_again(
    study: str, file: str, content, optbench, studied: Callable[[str], Result], folder: Path
) -> None:
    whole = studied(study)
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
        patched.setattr("runner.study.study.plan", broken)
        assert optbench("study", "decay-forms").code == 1
    assert (place / "verdict.json").read_text() == verdict
    next(place.glob("*/checkpoint.pt")).unlink()
    monkeypatch.setattr("runner.study.study.launch", broken)
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


ROOT = Path(__file__).parents[2]


def test_the_page_shows_what_was_run_beside_the_shipped_verdicts(optbench, folder: Path) -> None:
    ran = optbench("study", "decay-forms", "sgd-step")
    assert ran.out.splitlines()[-1] == "outputs/studies.html shows them all"
    text = (folder / "outputs/studies.html").read_text()
    assert "; 2 of them run here, the others as the package ships them" in text
    drawn = sum(reference.plot(study.name) is not None for study in STUDIES)
    assert text.count("data:image/svg+xml;base64,") == drawn and "http" not in text.replace("http-equiv", "")
    for study in STUDIES:
        assert f'id="{study.name}"' in text
        section, here = _section_of(text, study.name), study.name in ("decay-forms", "sgd-step")
        assert html.escape(study.source) in section and html.escape(study.rule) in section
        assert f"optbench study {study.name}" in section
        assert (f"takes about {study.seconds} s" in section) == ("as shipped" in section) == (not here)
        assert (">reference</button>" in section) == ("numbers are the same to 0.1%" in section) == here
    assert "0.1 at step 2, 0.1 at step 101" in text  # the rate of the runs: what the saying is told against
    assert all(f"“{html.escape(saying.told)}”" in text for saying in SAYINGS)
    (folder / "outputs/studies.html").unlink()
    assert optbench("study", "--page").code == 0
    assert (folder / "outputs/studies.html").read_text() == text


def _section_of(text: str, name: str) -> str:
    return text.partition(f'id="{name}"')[2].partition("</section>")[0]


def test_a_verdict_by_another_rule_counts_as_not_run(optbench, folder: Path) -> None:
    (study,) = [s for s in STUDIES if s.name == "decay-forms"]
    assert read_verdict(study) is None
    optbench("study", study.name)
    verdict = read_verdict(study)
    assert verdict is not None and verdict["runs"] == 6 and verdict["train_seconds"] > 0
    place = folder / "outputs/study-decay-forms/verdict.json"
    for changed in (json.dumps(verdict | {"rule": "another"}), "{", "[]", "{}"):
        place.write_text(changed)
        assert read_verdict(study) is None


def test_what_is_measured_is_in_the_verdicts_own_numbers() -> None:
    named = {s.name for s in STUDIES}
    assert all(saying.study in named for saying in SAYINGS)
    assert page.in_words(
        {"compared": "a over b", "mean": 0.25, "low": -0.5, "high": 1.0, "expected": "x", "holds": 1}
    ) == ("a over b: 0.25 [-0.5, 1]")
    assert page.in_words({"init": "he", "log2_slope": -1.0009, "expected": -1.0}) == "he: log2 slope -1.001"
    assert page.in_words({"what": "moved", "found": 0.0}) == "moved: 0"


def test_the_shipped_tables_are_of_the_present_studies() -> None:
    """The numbers are of one run, on one machine; names, rules and sayings are the catalogue's."""
    text, findings = (ROOT / "docs/studies.md").read_text(), (ROOT / "docs/findings.md").read_text()
    rows = [[c.strip().replace("\\|", "|") for c in re.split(r"(?<!\\)\|", line)[1:-1]] for line in text.splitlines()]
    studies = [r for r in rows if len(r) == 7][2:]
    assert [(*r[:3], r[6]) for r in studies] == [
        (f"`{s.name}`", f"{s.finding} ({s.source})", s.rule, str(s.seconds)) for s in STUDIES
    ]
    assert all(
        r[3] and r[4] in ("**reproduced**", "**not reproduced**", "**inconclusive**", "not run") for r in studies
    )
    for saying in SAYINGS:
        assert f"“{saying.told}”" in text
        assert any(f"“{saying.told}”" in line and f"`{saying.study}`" in line for line in findings.splitlines())


def _records(rows: list[dict[str, object]]) -> Records:
    runs = pd.DataFrame([{k: str(v) for k, v in row.items()} for row in rows])
    return Records(Path("."), runs, [], {})


@pytest.mark.parametrize(("gained", "holds"), [(0.01, True), (0.001, False), (-0.01, False)])
def test_what_lowers_the_test_error_must_do_so_beyond_the_seeds(gained: float, holds: bool) -> None:
    noise = [0.0, 0.003, -0.003, 0.004, -0.004]
    kinds = [("none", "none", 0.0), ("dropout", "none", gained), ("ema", "none", 0.01), ("none", "crop+rotate", 0.01)]
    rows = []
    for kind, augment, more in kinds:
        for seed, n in enumerate(noise if (kind, augment) != ("none", "none") else [0.0] * 5):
            rows.append({"regularization": kind, "augment": augment, "seed": seed, "test_accuracy": 0.95 + more + n})
    found = generalization.regularization(_records(rows))
    assert found.holds is holds
    row = found.numbers[found.numbers["compared"].str.contains("dropout")].iloc[0]
    assert row["mean"] == pytest.approx(-100 * gained)
    # Student's 97.5 % quantile at 4 degrees of freedom times the standard error, in points.
    half = 2.776445 * 100 * statistics.stdev(noise) / 5**0.5
    assert (row["low"], row["high"]) == pytest.approx((row["mean"] - half, row["mean"] + half), rel=1e-5)


@pytest.mark.parametrize(("stopped", "holds"), [(0.5, True), (0.6, False), (1.5, False)])
def test_early_stopping_must_end_near_the_best_length(stopped: float, holds: bool) -> None:
    loss = dict(zip(generalization.LENGTHS, (1.0, 0.8, 0.6, 0.5, 0.6, 0.8, 1.0, 1.2), strict=True))
    rows: list[dict[str, object]] = []
    for seed in range(3):
        shared = {"seed": seed, "actual_epochs": 12.0}
        more = 0.001 * seed
        rows += [shared | {"regularization": "none", "epochs": e, "test_loss": v + more} for e, v in loss.items()]
        rows.append(
            shared
            | {"regularization": "early_stopping", "epochs": generalization.LENGTHS[-1], "test_loss": stopped + more}
        )
    assert generalization.early_stopping(_records(rows)).holds is holds


@pytest.mark.parametrize(("adam", "holds"), [(0.95, True), (0.946, True), (0.944, False)])
def test_tuned_adam_must_not_be_worse_by_half_a_point(adam: float, holds: bool) -> None:
    best = {"sgd": 0.95, "momentum": 0.95, "rmsprop": 0.95, "adam": adam}
    rows = []
    for seed in range(3):
        for optim, lr in optimization.DEFAULT_RATES.items():
            eps = 1e-8 if optim in ("rmsprop", "adam") else ""
            accuracy = best.get(optim, 0.9) + 0.0001 * seed
            settings = {"optim": optim, "optim.eps": eps, "optim.momentum": 0.9 if optim == "momentum" else ""}
            measured = {"seed": seed, "final_val_accuracy": accuracy, "test_accuracy": accuracy}
            rows.append(settings | {"optim.lr": lr} | measured)
            # Worse on validation and better on test: it must not be chosen.
            rows.append(settings | {"optim.lr": 10.0, "seed": seed, "final_val_accuracy": 0.5, "test_accuracy": 1.0})
    found = optimization.inclusion(_records(rows))
    tuned = found.numbers.iloc[:3]
    assert tuned["mean"].tolist() == pytest.approx([100 * (adam - 0.95)] * 3)
    assert bool(tuned["holds"].all()) is holds


@pytest.mark.parametrize(
    ("gained", "diagonal", "holds"),
    [(0.02, True, [True, True]), (0.0, True, [False, True]), (0.02, False, [True, False])],
)
def test_decoupled_decay_must_win_and_be_separable_beyond_the_seeds(
    gained: float, diagonal: bool, holds: list[bool]
) -> None:
    """Adam with L2 is best along a diagonal of the grid, or not; AdamW is best at one rate, whatever the decay."""
    rows = []
    for seed, luck in enumerate((0.0, 0.004, -0.003, 0.002, -0.001, 0.003)):
        for i in range(6):
            for j in range(6):
                lr, decay = 10.0 ** (i - 4), 10.0 ** (j - 6)
                plain = 0.6 - 0.01 * abs(i - 2) - 0.001 * (5 * i + 7 * j + seed) % 0.006
                bent = 0.6 - 0.01 * abs(i - j) - 0.001 * (5 * i + 7 * j + seed) % 0.006
                measured = {"seed": seed, "optim.lr": lr}
                accuracy = plain + gained + luck
                rows.append(
                    measured | {"optim": "adamw", "optim.weight_decay": decay / lr, "final_val_accuracy": accuracy}
                )
                accuracy = bent if diagonal else plain
                rows.append(
                    measured
                    | {"optim": "adam", "regularization.l2.strength": decay / lr, "final_val_accuracy": accuracy}
                )
    found = ordering.adamw_decoupling(_records(rows))
    assert found.numbers["holds"].tolist()[:2] == holds and found.holds == all(holds)


@pytest.mark.parametrize(("gained", "holds"), [(0.01, True), (0.0, False)])
def test_averaged_weights_must_beat_the_last_ones(gained: float, holds: bool) -> None:
    kinds = {
        ("linear", "none", "none"): 0.96,
        ("linear", "none", "dropout"): 0.95,
        ("linear", "crop+rotate", "none"): 0.97,
        ("constant", "crop+rotate", "none"): 0.96,
        ("constant", "crop+rotate", "ema"): 0.96 + gained,
    }
    rows = [
        {"scheduler": s, "augment": a, "regularization": r, "seed": seed, "test_accuracy": v + 1e-3 * (seed * i % 3)}
        for i, ((s, a, r), v) in enumerate(kinds.items())
        for seed in range(3)
    ]
    found = generalization.augmentation(_records(rows))
    assert found.holds is holds
    assert found.numbers["mean"].tolist()[1:] == pytest.approx([-1.0, -100 * gained, 1.0], abs=0.11)
