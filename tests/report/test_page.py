"""The page and the files beside it: they are what their names say and ask for nothing."""

import re
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import pandas as pd
import pytest

from runner.errors import RecordError
from runner.report.drawing.charts import plotly_js
from runner.report.render.page_tables import _values as page_values
from runner.report.sections.parallel import parallel
from runner.report.write import Asked
from tests.support.made_sweep import made_run, make_sweep
from tests.support.reports import Page, only_workload, report

PNG = b"\x89PNG\r\n\x1a\n"


def test_ids_stay_texts_that_look_like_numbers():
    for ids in (["12345678", "00012345"], ["123e4567", "3e000012"]):
        assert page_values(pd.Series(ids, name="run_id")) == ids
    assert page_values(pd.Series([9, 10, 100], name="runs")) == [9, 10, 100]
    assert page_values(pd.Series(["0.1", "1e-3", "he"], name="optim.lr")) == [0.1, 0.001, "he"]


def test_a_drawn_learning_rate_has_an_axis(tmp_path: Path):
    runs = [made_run(0.5 + i / 200, optim__lr=1e-4 * 1.1**i, seed=0) for i in range(50)]
    workload = only_workload(make_sweep(tmp_path / "sweep", runs, rows=False))
    plot = parallel(workload)
    assert plot is not None and plot.chart is not None
    (trace,) = plot.chart()["data"]
    rates, *_ = trace["dimensions"]
    assert rates["label"] == "optim.lr" and len(set(rates["values"])) == 50


@pytest.mark.pictures
def test_files_are_what_their_names_say(real_sweep: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(real_sweep)
    report("outputs/small")
    place = Path("outputs/small/report")
    index = pd.read_csv(place / "index.csv")
    assert set(index["file"]) | {"index.csv"} == {p.name for p in place.iterdir()}
    stems = {Path(f).stem for f in index["file"]}
    assert {"heatmap-init-optim", "learning-rate", "curves-step", "curves-train_seconds", "time-to-target"} <= stems
    assert {"layers", "settings", "variance-explained", "ranking"} <= stems
    for name in index["file"]:
        file = place / name
        if name.endswith(".png"):
            assert file.read_bytes().startswith(PNG)
        elif name.endswith(".pdf"):
            assert file.read_bytes().startswith(b"%PDF-")
        elif name.endswith(".svg"):
            assert ElementTree.parse(file).getroot().get("aria-label")
        elif name.endswith(".csv"):
            assert len(pd.read_csv(file).columns)


def test_it_never_imports_torch(real_sweep: Path):
    code = "import sys; from runner.cli.main import main; from matplotlib.figure import Figure; "
    code += "Figure.savefig = Figure.draw_without_rendering = lambda *_, **__: None; "
    code += "sys.exit(main(['report', 'outputs/small']) or 'torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], cwd=real_sweep, check=True, capture_output=True)


def test_the_page_is_one_file_that_asks_for_nothing(real_sweep: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(real_sweep)
    report("outputs/small")
    text = Path("outputs/small/report.html").read_text()
    page = Page(text)
    assert [o for o in page.outside if not o.startswith(("data:", "#"))] == []
    assert page.open == []
    assert len(page.ids) == len(set(page.ids))
    assert "default-src 'none'" in text
    ours = text.replace(plotly_js(), "")
    assert "@import" not in ours and "url(" not in ours and "http" not in re.sub(r"http-equiv", "", ours)
    assert len(ours) < 400_000


HOSTILE = ["<script>alert(1)</script>", "=HYPERLINK(1)", "$\\frac{", "a\x07b", "名前", "'; DROP", "x" * 500, "\u202e"]


@pytest.mark.pictures
@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_names_are_shown_as_they_are(tmp_path: Path, name: str):
    runs = [made_run(0.8 + s / 100, optim=o, seed=s) for o in ("adam", "sgd") for s in range(2)]
    runs = [{**r, "optim": name if r["optim"] == "sgd" else "adam", "stop_reason": name} for r in runs]
    folder = tmp_path / "sweep"
    make_sweep(folder, runs, rows=False)
    text = report(folder)
    assert "Use:" in text
    page = (folder / "report.html").read_text()
    assert "<script>alert" not in page
    assert Page(page).open == []
    for svg in (folder / "report").glob("*.svg"):
        ElementTree.parse(svg)
    assert not re.search(r"^[=@]", (folder / "report" / "settings.csv").read_text(), re.MULTILINE)


@pytest.mark.pictures
def test_hostile_names_of_columns_become_names_of_files(tmp_path: Path):
    column = 'x"><img src=q onerror=alert(1)>/..'
    runs = [made_run(0.8 + s / 100, optim=o, seed=s) | {column: v} for o in ("a", "b") for v in "cd" for s in range(2)]
    folder = make_sweep(tmp_path / "sweep", runs, rows=False, choices=[column])
    for _ in range(2):  # the second overwrites the first one's files
        report(folder)
    page = (folder / "report.html").read_text()
    assert "<img" not in page and Page(page).open == []
    assert list((folder / "report").glob("heatmap-optim-x*.png"))


def test_whole_numbers_are_shown_to_the_last_digit(tmp_path: Path):
    runs = [made_run(0.9, seed=4294967291) | {"peak_memory_bytes": 12345678901}]
    report(folder := make_sweep(tmp_path / "sweep", runs, rows=False))
    page = (folder / "report.html").read_text()
    assert "4294967291" in page and "12345678901" in page


def test_control_characters_do_not_reach_the_terminal(tmp_path: Path):
    runs = [made_run(0.8, optim=o, seed=s) for o in ("adam", "\x1b]0;owned\x07\u202ered") for s in range(2)]
    text = report(make_sweep(tmp_path / "sweep", runs, rows=False))
    assert "owned" in text and not {"\x1b", "\x07", "\u202e"} & set(text)


def test_a_single_runs_report_is_a_page_too(real_sweep: Path, optbench, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(real_sweep)
    place = next(p for p in Path("outputs/small").iterdir() if (p / "config.yaml").is_file())
    result = optbench("report", str(place))
    assert result.code == 0
    assert "only one setting was run" in result.out and "1 run in" in result.out
    page = (place / "report.html").read_text()
    assert "The run in full" in page and "Learning curves" in page
    assert "<h2>The run</h2>" in page and "<h2>Use</h2>" not in page and "can be best" not in page
    assert Page(page).open == []


def test_an_asked_for_target_and_axes_are_shown(real_sweep: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(real_sweep)
    report("outputs/small", Asked(target=0.5, axes=("optim.lr", "optim")))
    page = Path("outputs/small/report.html").read_text()
    assert "validation accuracy of at least 0.5." in page
    assert Path("outputs/small/report/heatmap-optim_lr-optim.png").is_file()
    assert not Path("outputs/small/report/heatmap-init-optim.png").is_file()  # an earlier report's is not left behind


def test_a_folder_that_cannot_be_written_is_one_message(tmp_path: Path):
    folder = make_sweep(tmp_path / "sweep", [made_run(0.9)])
    (folder / "report").write_text("a file of the user's")
    with pytest.raises(RecordError, match="cannot write"):
        report(folder)
    assert (folder / "report").read_text() == "a file of the user's"


def test_the_answer_stands_even_where_it_cannot_be_written(tmp_path: Path, optbench):
    folder = make_sweep(tmp_path / "sweep", [made_run(0.9)])
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (folder / "report").symlink_to(elsewhere)
    result = optbench("report", str(folder))
    assert result.code == 1 and "is a link" in result.err and "Use:" in result.out
    assert list(elsewhere.iterdir()) == []
