"""Tables for papers are LaTeX that compiles, whatever runs are called, and round as their uncertainty tells."""

import math
import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from runner.report.render.latex import measured, tabular, text, value
from tests.support.made_sweep import made_run, make_sweep
from tests.support.reports import a_grid, report

ENGINE = next((e for e in ("tectonic", "pdflatex", "lualatex", "xelatex") if shutil.which(e)), None)
HOSTILE = r"_ % & # $ { } ~ ^ \ [x] < > | \input{secret} \\"


@pytest.mark.parametrize(
    ("numbers", "shown"),
    [
        ((0.88812, 0.8761, 0.9001), r"$0.888 \pm 0.012$"),
        ((0.88812, 0.8, 0.97), r"$0.888 \pm 0.088$"),
        ((0.5, 0.4, 0.6), r"$0.50 \pm 0.10$"),
        ((0.993, 0.988, 1.0), r"$0.9930 \pm 0.0070$"),
        ((12345.6, 12000.0, 12700.0), r"$12350 \pm 350$"),
        ((0.0995, 0.0, 0.199), r"$0.10 \pm 0.10$"),
        ((-1.25, -1.5, -1.0), r"$-1.25 \pm 0.25$"),
        ((3.2e-12, 3.1e-12, 3.3e-12), r"$(3.20 \pm 0.10) \times 10^{-12}$"),
        ((0.9, math.nan, math.nan), "$0.9$"),
        ((0.9, 0.9, 0.9), "$0.9$"),
        ((math.nan, math.nan, math.nan), "--"),
    ],
)
def test_a_number_has_the_digits_that_its_uncertainty_leaves(numbers: tuple[float, float, float], shown: str) -> None:
    assert measured(*numbers) == shown
    if shown != "--":
        assert measured(*numbers, bold=True) == f"$\\mathbf{{{shown[1:-1]}}}$"


def test_numbers_by_themselves_are_short() -> None:
    assert [value(v) for v in (0.01, 1e-7, math.inf, math.nan, 3, "a_b")] == [
        *("$0.01$", r"$1 \times 10^{-7}$", r"$\infty$", "--", "$3$", r"a\_b")
    ]


def unescaped(latex: str) -> str:
    """What is left when all that this module writes for single characters is taken out."""
    named = r"\\(textbackslash|textasciitilde|textasciicircum|textless|textgreater|textbar|ldots)\{\}"
    return re.sub(rf"{named}|\\[&%$#_{{}}]|\$\\(times|pm|infty|leq|geq)\$|\$-\$|\{{[\[*]\}}", "", latex)


@pytest.mark.parametrize("name", [HOSTILE, *HOSTILE.split(), "a\nb", "a\x07b\u202ec", "*", "[1,2]", "x" * 500, "±×∞"])
def test_nothing_in_a_name_directs_tex(name: str) -> None:
    assert not re.search(r"[\\&%$#_{}~^\n\x00-\x1f\u202e]", unescaped(text(name)))
    assert not text(name).startswith(("[", "*"))  # which would be what the line's end before it takes


def test_a_table_is_a_whole_tabular_with_its_caption_as_a_comment() -> None:
    found = tabular(["a_b", "n"], [[text("x&y"), "1"]], "Of\n\\end{tabular} % all", left=1)
    assert found.splitlines() == [
        r"% Of \end{tabular} % all",
        r"% \usepackage{booktabs}",
        r"\begin{tabular}{lr}",
        *(r"\toprule", r"a\_b & n \\", r"\midrule", r"x\&y & 1 \\", r"\bottomrule", r"\end{tabular}"),
    ]


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The files of a report on a grid of which an optimizer and a data set have hostile names."""
    runs = a_grid(np.random.default_rng(0), seeds=4)
    runs = [{**run, "optim": HOSTILE if run["optim"] == "sgd" else "adam"} for run in runs]
    runs += [{**run, "data": "wine_1", "final_val_accuracy": float(run["final_val_accuracy"]) - 0.1} for run in runs]
    folder = make_sweep(tmp_path_factory.mktemp("papers") / "sweep", runs, rows=False)
    report(folder)
    return folder / "report"


def test_papers_get_the_tables_that_they_show(written: Path) -> None:
    stems = {p.stem for p in written.glob("*.tex")}
    tables = ("settings", "best-of-each-optim", "best-of-each-init", "heatmap-init-optim", "learning-rate")
    assert stems >= {f"{i}-{name}" for i in (1, 2) for name in (*tables, "variance-explained")}
    index = pd.read_csv(written / "index.csv")
    assert {f"{stem}.tex" for stem in stems} == {f for f in index["file"] if f.endswith(".tex")}


def test_the_best_is_bold_and_rows_are_whole(written: Path) -> None:
    for file in written.glob("*.tex"):
        lines = file.read_text().splitlines()
        body = [line for line in lines if line.endswith(r" \\")]
        columns = re.fullmatch(r"\\begin\{tabular\}\{(\w+)\}", lines[2])
        assert columns is not None
        assert {len(re.split(r"(?<!\\)&", line)) for line in body} == {len(columns[1])}
        assert sum(r"\mathbf" in line for line in body) == 1, file.name
    best = (written / "1-settings.tex").read_text().splitlines()
    assert len(best) == 8 + 10 and "the best 10 of 12" in best[0]
    assert re.match(r"he\\_normal & adam & 0\.01 & 4 & \$\\mathbf\{0\.9\d+ \\pm 0\.0\d+\}\$", best[6])
    grid = (written / "1-heatmap-init-optim.tex").read_text()
    assert r"\_ \% \& \# \$ \{ \} \textasciitilde{}" in grid and "validation accuracy" in grid


def test_an_earlier_reports_tables_are_not_left_behind(tmp_path: Path) -> None:
    folder = make_sweep(tmp_path / "sweep", [made_run(0.9)], rows=False)
    (folder / "report").mkdir()
    (folder / "report" / "index.csv").write_text("file,shows\nsettings.tex,Every setting\n")
    (folder / "report" / "settings.tex").write_text("earlier")
    (folder / "report" / "mine.tex").write_text("of the user's own")
    report(folder)
    assert [p.name for p in (folder / "report").glob("*.tex")] == ["mine.tex"]


@pytest.mark.skipif(ENGINE is None, reason="no TeX")
def test_tex_compiles_them(written: Path, tmp_path: Path) -> None:
    assert ENGINE is not None
    tables = "\n\n".join(f"\\input{{{file}}}" for file in sorted(written.glob("*.tex")))
    source = "\\documentclass{article}\\usepackage{booktabs}\\begin{document}\n" + tables + "\n\\end{document}\n"
    (tmp_path / "paper.tex").write_text(source)
    flags = [] if ENGINE == "tectonic" else ["-interaction=nonstopmode", "-halt-on-error"]
    call = [ENGINE, *flags, "paper.tex"]
    done = subprocess.run(call, cwd=tmp_path, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout[-3000:]
