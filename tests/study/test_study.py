"""Studies: each is a sweep of ordinary runs and a rule; the rule can fail, and the verdict says so."""

import html
import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from runner.cli.main import main
from runner.errors import OptbenchError
from runner.report.load import load
from runner.report.sections import sensitivity
from runner.report.workloads import workloads
from runner.run.claim import run_job
from runner.run.job import Job
from runner.study import page, reference, steps
from runner.study.catalogue import STUDIES
from runner.study.names import CONTESTS
from runner.study.sayings import SAYINGS
from runner.study.study import VERDICT, damage, read_verdict
from tests.support.composed import compose_job
from tests.support.known import TINY
from tests.support.pages import ROOT

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


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (["relu-varience"], ["did you mean 'relu-variance'"]),
        (["--class", "ordering", "symmetry"], ["'symmetry'", "class ordering", "depth-30"]),
        (["--class", "theri"], ["--class", "theory, ordering", "'theri'", "did you mean 'theory'"]),
    ],
)
def test_an_unknown_study_or_class_is_refused_with_what_is_known(argv: list[str], words: list[str], optbench) -> None:
    refused = optbench("study", *argv)
    assert refused.code == 2
    assert all(word in refused.err for word in words), refused.err


@pytest.mark.slow
def test_the_reports_divergence_threshold_agrees_with_theory(optbench, folder: Path) -> None:
    assert optbench("study", "divergence-threshold").code == 0
    (workload,) = workloads(load(folder / "outputs/study-divergence-threshold"), "loss", None)
    found = sensitivity.sensitivity(workload, 1.0)
    assert found is not None
    table = found.tables[0].frame.set_index("optim")
    for name, threshold in steps.THRESHOLDS.items():
        assert table.at[name, "diverges_from_lr"] == pytest.approx(1.01 * threshold)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The outputs of ``optbench study decay-forms``."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("trained"))
        assert main(["study", "decay-forms"]) == 0
        return Path.cwd() / "outputs"


@pytest.fixture
def decay_forms(trained: Path, folder: Path) -> Path:
    """The folder of that study, copied to where the test works."""
    shutil.copytree(trained, folder / "outputs")
    return folder / "outputs/study-decay-forms"


def test_a_rule_can_fail(optbench, decay_forms: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(steps, "weights_of", lambda place: {"w": torch.zeros(1)})
    result = optbench("study", "decay-forms")
    assert result.code == 0 and "decay-forms: not_reproduced" in result.out
    verdict = json.loads((decay_forms / "verdict.json").read_text())
    assert verdict["verdict"] == "not_reproduced" and [r["holds"] for r in verdict["numbers"]] == [True, True, False]


@pytest.fixture(scope="module")
def ended(tmp_path_factory: pytest.TempPathFactory) -> tuple[Job, Path]:
    """A run with all records that studies read, and its outputs."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("ended"))
        job = compose_job([*TINY, "diagnostics=true", "save=last"])
        run_job(job, bar=False)
        return job, Path.cwd() / "outputs"


@pytest.mark.parametrize(
    ("file", "content"),
    [
        ("metrics.csv", lambda text: "".join(text.splitlines(keepends=True)[:3])),
        ("metrics.csv", lambda text: text.replace(text.splitlines()[2] + "\n", "")),
        ("metrics.csv", lambda text: "\0garbage\n" * 9),
        ("metrics.csv", lambda text: text.replace("train_loss", "train_lost", 1)),
        ("metrics.csv", None),
        ("summary.json", lambda text: text[:20]),
        ("config.yaml", None),
        ("config.yaml", lambda text: text.replace("seed: 0", "seed: 1", 1)),
        ("checkpoint.pt", None),
        ("checkpoint.pt", lambda text: "no zip"),
        ("layers.csv", None),
        ("layers.csv", lambda text: text[: len(text) // 2]),
        ("layers.csv", lambda text: text.replace("0.", "O.", 1)),
    ],
)
def test_a_damaged_record_is_named(
    file: str, content: Callable[[str], str] | None, ended: tuple[Job, Path], folder: Path
) -> None:
    job, outputs = ended
    shutil.copytree(outputs, folder / "outputs")
    assert damage(job) is None
    if content is None:
        (job.folder / file).unlink()
    else:
        (job.folder / file).write_text(content((job.folder / file).read_text(errors="replace")))
    found = damage(job)
    assert found is not None and file in found


def test_a_run_with_damaged_records_is_trained_again(optbench, decay_forms: Path) -> None:
    whole = optbench("study", "decay-forms")
    assert whole.code == 0 and whole.err.count("\n") == 1
    damaged = sorted(path.parent for path in decay_forms.glob("*/metrics.csv"))[1]
    (damaged / "metrics.csv").unlink()
    again = optbench("study", "decay-forms")
    assert again.code == 0 and again.out == whole.out
    assert all(word in again.err for word in (damaged.name, "metrics.csv", "trained again"))
    (old,) = (decay_forms / ".old").iterdir()
    assert old.name.startswith(damaged.name) and (damaged / "metrics.csv").is_file()
    assert optbench("study", "decay-forms").err == whole.err


def test_a_damaged_table_of_runs_is_not_judged_by(optbench, decay_forms: Path) -> None:
    whole = optbench("study", "decay-forms")
    before = (decay_forms / "runs.csv").read_text()
    (decay_forms / "runs.csv").write_text(before.replace("weight_decay,", "l2,"))
    assert optbench("study", "decay-forms").out == whole.out
    assert (decay_forms / "runs.csv").read_text() == before


def test_a_verdict_goes_when_a_run_has_to_be_trained_and_not_before(
    optbench, decay_forms: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    verdict = (decay_forms / "verdict.json").read_text()

    def broken(*ignored: object) -> None:
        raise OptbenchError("planted")

    with monkeypatch.context() as patched:
        patched.setattr("runner.study.study.plan", broken)
        assert optbench("study", "decay-forms").code == 1
    assert (decay_forms / "verdict.json").read_text() == verdict
    next(decay_forms.glob("*/checkpoint.pt")).unlink()
    monkeypatch.setattr("runner.study.study.launch", broken)
    assert optbench("study", "decay-forms").code == 1
    assert not any((decay_forms / name).exists() for name in VERDICT)


def test_every_study_has_a_name_of_its_own_a_source_a_rule_and_a_duration() -> None:
    assert len({s.name for s in STUDIES}) == len(STUDIES)
    for study in STUDIES:
        assert study.source and study.rule and study.seconds > 0
        assert study.kind == "ordering" or (study.kind == "theory" and study.seconds <= 60)


def test_the_page_shows_what_was_run_beside_the_shipped_verdicts(optbench, decay_forms: Path, folder: Path) -> None:
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


def test_a_verdict_by_another_rule_counts_as_not_run(decay_forms: Path) -> None:
    (study,) = [s for s in STUDIES if s.name == "decay-forms"]
    verdict = read_verdict(study)
    assert verdict is not None and verdict["runs"] == 6 and verdict["train_seconds"] > 0
    place = decay_forms / "verdict.json"
    for changed in (json.dumps(verdict | {"rule": "another"}), "{", "[]", "{}"):
        place.write_text(changed)
        assert read_verdict(study) is None
    place.unlink()
    assert read_verdict(study) is None


def test_a_row_of_numbers_reads_as_text() -> None:
    compared = {"compared": "a over b", "mean": 0.25, "low": -0.5, "high": 1.0, "expected": "x", "holds": True}
    assert page.in_words(compared) == "a over b: 0.25 [-0.5, 1]"
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
