"""Several sweeps are read together; nothing that no report wrote is overwritten."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import optbench as package
from runner.errors import ConfigError, RecordError
from runner.report.write import Asked
from tests.support.made_sweep import made_run, make_sweep
from tests.support.reports import Page, report


def a_sweep(folder: Path, better: float = 0.2, **choices: Any) -> Path:
    values = {"adam": 0.7 + better, "sgd": 0.7}
    runs = [{**made_run(v + s / 100, optim=o, seed=s), **choices} for o, v in values.items() for s in range(3)]
    return make_sweep(folder, runs, choices=("epochs",))


def test_each_folder_has_its_answer_and_all_of_them_one_section(tmp_path: Path):
    folders = [a_sweep(tmp_path / name, data=name) for name in ("digits", "wine")]
    text = report(folders)
    assert "For digits · mlp:" in text and "For wine · mlp:" in text
    assert "Across 2 workloads" in text and "12 runs in" in text
    page = (tmp_path / "report.html").read_text()
    assert "Across workloads" in page and Page(page).open == []
    answers = json.loads((tmp_path / "report" / "answer.json").read_text())
    assert [a["workload"] for a in answers] == ["digits · mlp", "wine · mlp"]
    assert not any((folder / "report.html").exists() for folder in folders)
    assert {"performance-profile.png", "mean-ranks.svg"} <= set(pd.read_csv(tmp_path / "report/index.csv")["file"])


def test_workloads_of_the_same_name_are_told_apart_by_their_folders_and_count_once(tmp_path: Path):
    folders = [a_sweep(tmp_path / name, data=data) for name, data in (("a", "digits"), ("b", "digits"), ("c", "wine"))]
    text = report(folders)
    assert f"For digits · mlp ({tmp_path / 'a'}):" in text and f"For digits · mlp ({tmp_path / 'b'}):" in text
    assert "Across 2 workloads" in text
    assert "is of the same data, model and length as" in (tmp_path / "report.html").read_text()


def test_a_broken_folder_does_not_keep_the_others_from_their_answer(tmp_path: Path):
    good = a_sweep(tmp_path / "good")
    failed = make_sweep(tmp_path / "failed", [made_run(None, "failed", seed=s) for s in range(2)])
    torn = make_sweep(tmp_path / "torn", [made_run(0.9)], rows=False)
    (torn / "runs.csv").write_text("init,opt")
    text = report([good, failed, torn])
    assert "Use:" in text
    assert f"left out: {failed}: " in text and f"left out: {torn}: " in text
    with pytest.raises(ConfigError, match="nothing to report yet"):
        report([failed, torn])


def test_caveats_name_their_folder(tmp_path: Path):
    first = a_sweep(tmp_path / "a")
    second = make_sweep(tmp_path / "b", [made_run(0.9), made_run(None, "diverged", seed=1)])
    assert f"{second}: 1 run diverged" in report([first, second])


def test_what_cannot_be_read_together_is_refused(tmp_path: Path, optbench, monkeypatch: pytest.MonkeyPatch):
    for name in ("outputs/one", "outputs/two", "elsewhere/three"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        a_sweep(tmp_path / name)
    monkeypatch.chdir(tmp_path)
    run = next(p for p in Path("outputs/one").iterdir() if p.is_dir())
    (run / "config.yaml").write_text("seed: 0\n")
    for argv, said in (
        (["outputs/one", "outputs/one/"], "outputs/one is given twice"),
        (["outputs/one", "outputs/two/../one"], "outputs/two/../one is given twice, as outputs/one too"),
        (["outputs/one", "outputs/tow"], "did you mean 'two'?"),
        (["outputs/two", str(run)], "is a run; beside other folders give its sweep's"),
        (["outputs/one", "elsewhere/three"], "say where the report goes with --into FOLDER"),
        (["outputs/one", "outputs/two", "--into", "outputs/one/runs.csv"], "is a file: give a folder"),
    ):
        result = optbench("report", *argv)
        assert result.code == 2 and said in result.err and result.out == "", argv
    assert list(tmp_path.rglob("report*")) == []
    assert optbench("report", "outputs/one", "elsewhere/three", "--into", "new/place").code == 0
    assert Path("new/place/report.html").is_file() and Path("new/place/report/index.csv").is_file()


def test_from_python_too(tmp_path: Path):
    found = package.report([a_sweep(tmp_path / "a", data="digits"), a_sweep(tmp_path / "b", data="wine")])
    assert found.page == tmp_path / "report.html" and found.page.is_file()
    assert len(found.commands) == 2
    into = package.report(tmp_path / "a", into=tmp_path / "there").page
    assert into == tmp_path / "there" / "report.html" and into.is_file()


def test_a_page_that_is_none_of_ours_is_kept(tmp_path: Path):
    folders = [a_sweep(tmp_path / "a"), a_sweep(tmp_path / "b", data="wine")]
    (tmp_path / "report.html").write_text("<title>My report</title>")
    with pytest.raises(RecordError, match=r"no report of optbench; move it away, or .* --into FOLDER"):
        report(folders)
    assert (tmp_path / "report.html").read_text() == "<title>My report</title>"
    assert not (tmp_path / "report").exists()


def test_a_sweep_that_is_called_report_is_kept(tmp_path: Path):
    folders = [a_sweep(tmp_path / "a"), a_sweep(tmp_path / "report", data="wine")]
    with pytest.raises(RecordError, match="it is the folder of a sweep"):
        report(folders)
    assert not (tmp_path / "report.html").exists()


def test_a_file_among_the_reports_that_is_the_users_is_kept(tmp_path: Path):
    folder = a_sweep(tmp_path / "a")
    (folder / "report").mkdir()
    (folder / "report" / "settings.csv").write_text("mine")
    with pytest.raises(RecordError, match="no file of a report"):
        report(folder)
    assert (folder / "report" / "settings.csv").read_text() == "mine"
    (folder / "report" / "settings.csv").rename(folder / "report" / "notes.csv")
    report(folder)
    report(folder, Asked(metric="val_loss"))  # again, over its own
    assert (folder / "report" / "notes.csv").read_text() == "mine"


def test_a_report_that_is_cut_short_is_written_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    folder = a_sweep(tmp_path / "a")

    def stops(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr("runner.report.write.page", stops)
        with pytest.raises(KeyboardInterrupt):
            report(folder)
    assert (folder / "report" / "settings.csv").is_file() and not (folder / "report.html").exists()
    assert "shows it all" in report(folder)


def test_a_choice_with_a_diverged_run_comes_behind_and_poisons_nothing(tmp_path: Path):
    folders = []
    for name in ("digits", "wine", "mnist"):
        runs = [
            made_run(v + s / 100, optim=o, seed=s, data=name)
            for o, v in (("adam", 0.9), ("sgd", 0.8))
            for s in range(4)
        ]
        runs[0] = made_run(None, "diverged", optim="adam", seed=0, data=name)
        folders.append(make_sweep(tmp_path / name, runs))
    report(folders)
    table = pd.read_csv(tmp_path / "report" / "across.csv").set_index("optim")
    assert table["mean_rank"].to_dict() == {"adam": 2.0, "sgd": 1.0}
    assert np.isfinite(table[["iqm", "iqm_low", "iqm_high", "score", "score_low", "score_high"]].to_numpy()).all()


def test_six_workloads_tell_two_choices_apart_and_five_do_not(tmp_path: Path):
    folders = [a_sweep(tmp_path / f"d{i}", data=f"d{i}", better=0.1 + i / 100) for i in range(6)]
    assert "no test over workloads can tell 2 choices apart" in (
        report(folders[:5]) and (tmp_path / "report.html").read_text()
    )
    report(folders)
    table = pd.read_csv(tmp_path / "report" / "across.csv", dtype={"group": str})
    assert list(table["group"]) == ["1", "2"] and list(table["mean_rank"]) == [1.0, 2.0]
    assert list(table["iqm"].round(6)) == [1.0, pytest.approx(table["iqm"][1])] and table["iqm"][1] < 1


def test_a_workload_that_compares_nothing_does_not_keep_the_others_from_it(tmp_path: Path):
    folders = [a_sweep(tmp_path / name, data=name) for name in ("digits", "wine")]
    alone = make_sweep(tmp_path / "mnist", [made_run(0.9, data="mnist", seed=s) for s in range(3)])
    more = make_sweep(tmp_path / "more", [made_run(0.5, data="more", optim=o) for o in ("adam", "sgd", "adamw")])
    assert "Across 3 workloads" in report([*folders, alone, more])
    page = (tmp_path / "report.html").read_text()
    assert "mnist · mlp compares no optim, and has no part in it" in page
    assert "1 choice that only some workloads have has no part in it" in page
