"""One command from a table to a predictor; what is wrong with the table is cured where it can be, and said."""

import signal
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from runner.errors import ConfigError
from runner.search import automatic
from runner.search.asked import BudgetError
from tests.support.killed import PATIENCE_SECONDS, wait_until

FAST = ["model.width=4", "model.depth=1", "max_steps=4", "eval_every=4", "--trials", "2"]


@pytest.fixture
def table(folder: Path) -> str:
    """A table as it comes: semicolons, decimal commas, missing cells, a column that counts the rows."""
    rng = np.random.default_rng(0)
    lines = ["id;a;b;kind"]
    for i in range(60):
        a, b = rng.normal(), rng.normal()
        cell = "" if i % 9 == 0 else f"{a:.3f}".replace(".", ",")
        lines.append(f"{i + 1};{cell};{b:.3f};{'yes' if a + b > 0 else 'no'}".replace(".", ","))
    (folder / "messy.csv").write_text("\n".join(lines) + "\n")
    return "messy.csv"


def test_a_messy_table_becomes_a_predictor(table: str, optbench: Callable, folder: Path) -> None:
    found = optbench("auto", table, "--label", "kind", *FAST)
    assert found.code == 0, found.err
    assert "data.missing=impute" in found.err and "id counts the rows and is left out" in found.err
    assert "kind    text" in found.out and "the best of 2 settings" in found.out
    assert (folder / "outputs/auto-messy/report.html").is_file()
    (line,) = (line for line in found.out.splitlines() if line.startswith("predict "))
    predicted = optbench(*line.split()[2:-1], table)
    assert predicted.code == 0 and len(predicted.out.splitlines()) == 61, predicted.err
    again = optbench("auto", table, "--label", "kind", *FAST)
    assert again.code == 0 and line in again.out.splitlines()


def test_a_column_of_sentences_is_read_as_text(folder: Path) -> None:
    from runner.cli.auto import _checked, parser

    words = ["good", "bad", "fine", "poor", "tea", "rain", "sun"]
    rng = np.random.default_rng(0)
    rows = [f"{i},{' '.join(rng.choice(words, 9))},{'up' if i % 2 else 'down'}" for i in range(150)]
    (folder / "t.csv").write_text("id,said,mood\n" + "\n".join(rows) + "\n")
    overrides, said = _checked(parser().parse_args(["t.csv", "--label", "mood"]))
    assert overrides[:2] == ["data=text_csv", "data.text=said"] and "data.label=mood" in overrides
    assert any("said holds sentences" in line for line in said)


@pytest.mark.parametrize(
    ("file", "column", "name"),
    [
        ("данные.csv", "序号", "auto-данные"),
        ("Übersicht 1.csv", "#", "auto-Übersicht_1"),
        (f"{'ж' * 60}.csv", "id (row)", f"auto-{'ж' * 40}"),
    ],
    ids=["Cyrillic", "umlaut", "long"],
)
def test_names_in_any_script_are_taken(file: str, column: str, name: str, folder: Path) -> None:
    from runner.cli.auto import _checked, parser

    rows = [f"{i},{i * 37 % 11},{'up' if i % 2 else 'down'}" for i in range(60)]
    (folder / file).write_text(f"{column},x,mood\n" + "\n".join(rows) + "\n", encoding="utf-8")
    overrides, said = _checked(parser().parse_args([file, "--label", "mood"]))
    assert f"name='{name}'" in overrides and f"data.exclude=['{column}']" in overrides, overrides
    assert any(line.startswith(f"{column} counts the rows") for line in said)
    with pytest.raises(ConfigError, match="is too long"):
        _checked(parser().parse_intermixed_args([file, "--label", "mood", "name=" + "n" * 95]))


@pytest.mark.parametrize("encoding", ["cp1252", "utf-16"])
def test_a_table_that_is_not_utf_8_is_read_and_that_is_said(encoding: str, folder: Path) -> None:
    from runner.cli.auto import _checked, parser

    rows = [f"{i % 7};{'groß' if i % 3 else 'klein'}" for i in range(60)]
    (folder / "t.csv").write_text("Länge;Größe\n" + "\n".join(rows) + "\n", encoding=encoding)
    overrides, said = _checked(parser().parse_args(["t.csv", "--label", "Größe"]))
    assert f"data.encoding={encoding}" in overrides and "data.delimiter=';'" in overrides
    assert said[0] == f"t.csv is not text in UTF-8: read with  data.encoding={encoding}"


def test_a_folder_is_pictures_and_an_import_path_a_model(folder: Path) -> None:
    (folder / "pets").mkdir()
    assert automatic.meant("pets", None, []).overrides == ("data=image_folder", "data.path=pets")
    found = automatic.meant("mine.Net", None, ["data=wine"])
    assert found.overrides == ("model=custom", "model.target=mine.Net") and found.name == "auto-Net"
    with pytest.raises(ConfigError, match="give its data too"):
        automatic.meant("mine.Net", None, [])
    with pytest.raises(ConfigError, match="the folders in pets are the classes"):
        automatic.meant("pets", "x", [])


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ([], "TABLE|FOLDER"),
        (["mesy.csv", "--label", "kind"], "did you mean 'messy.csv'?"),
        (["messy.csv"], "--label COLUMN says which column of messy.csv to predict"),
        (["messy.csv", "--label", "knd"], "did you mean 'kind'?"),
        (["messy.csv", "--lable", "kind"], "did you mean '--label'?"),
        (["messy.csv", "--label", "kind", "--budget", "0"], "--budget must be a time above 0"),
        (["messy.csv", "--label", "kind", "--trials", "0"], "--trials must be a whole number"),
        (["messy.csv", "--label", "kind", "data=wine"], "leave data=wine out"),
        (["messy.csv", "--label", "kind", "modle=mlp"], "did you mean"),
        (["messy.csv", "--label", "kind", "dry_run=true"], "dry_run=true beside auto"),
    ],
    ids=lambda v: " ".join(v) if isinstance(v, list) else "",
)
def test_what_cannot_be_meant_is_refused_and_nothing_is_written(
    asked: list[str], said: str, table: str, optbench: Callable, folder: Path
) -> None:
    refused = optbench("auto", *asked)
    assert refused.code == 2 and said in refused.err and "Traceback" not in refused.err, refused.err
    assert [path.name for path in folder.iterdir()] == [table]


@pytest.mark.slow
def test_a_short_budget_is_searched_with_a_smaller_generation_and_the_same_command_keeps_it(
    table: str, optbench: Callable, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where a run takes a second, sixteen and the finals of five take 53 s, four and those of one 14 s."""
    monkeypatch.setattr("runner.search.tune.estimate_seconds", lambda jobs, workers: float(len(jobs)))
    monkeypatch.setattr("runner.search.tune.Search._seconds", lambda self: 0.0)
    asked = ["auto", table, "--label", "kind", *FAST[:-1], "16", "baselines=false"]
    refused = optbench(*asked, "--budget", "3s")
    assert refused.code == 2 and "give --budget" in refused.err and not (folder / "outputs").exists()
    found = optbench(*asked, "--budget", "20s")
    assert found.code == 0, found.err
    assert "4 settings are tried at a time in place of 16, and 1 in place of 5 with new seeds" in found.err
    again = optbench(*asked, "--budget", "10m")
    assert again.code == 0, again.err


@pytest.mark.slow
def test_a_budget_too_short_for_four_runs_is_searched_with_shorter_ones_and_the_same_command_keeps_them(
    table: str, optbench: Callable, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def five_seconds_a_run(jobs: list, workers: int) -> float:
        return sum(job.config["epochs"] for job in jobs) / 100

    monkeypatch.setattr("runner.search.tune.estimate_seconds", five_seconds_a_run)
    monkeypatch.setattr("runner.search.tune.Search._seconds", lambda self: 0.0)
    asked = ["auto", table, "--label", "kind", *FAST[:2], "--trials", "4", "baselines=false"]
    found = optbench(*asked, "--budget", "10s")
    assert found.code == 0, found.err
    said = (
        "4 settings of 57 epochs in place of 500 are tried at a time in place of 16, and 1 in place of 5 with new seeds"
    )
    assert said in found.err
    again = optbench(*asked, "--budget", "10m")
    assert again.code == 0 and "epochs=57" in again.err, again.err


def test_runs_are_shortened_to_what_a_budget_leaves_but_not_if_their_length_was_given(job: Callable) -> None:
    asked = ["data=wine", "batch.size=16"]
    long = job(*asked, "epochs=100", "eval_every=40")
    error = BudgetError("too long", seconds_a_run=2.0, seconds_left=14.0)  # 4 and 10 runs take 28 s
    found = automatic.shorter(error, long, [*asked, "epochs=100", "eval_every=40", "name=a"], asked)
    assert found == ([*asked, "name=a", "epochs=40", "eval_every=18"], 40)
    for given in ("epochs=100", "max_steps=500"):
        with pytest.raises(BudgetError, match="too long"):
            automatic.shorter(error, long, [*asked, "epochs=100"], [*asked, given])
    with pytest.raises(BudgetError, match="too long"):
        automatic.shorter(BudgetError("too long", 200.0, 14.0), long, [*asked, "epochs=100"], asked)
    kept = automatic.shorter(error, long, [*asked, "epochs=100", "eval_every=7"], [*asked, "eval_every=7"])
    assert kept == ([*asked, "eval_every=7", "epochs=40"], 40)


@pytest.mark.slow
def test_ctrl_c_says_how_to_go_on_and_the_same_command_does(table: str, folder: Path, python_m: Callable) -> None:
    command = ["runner", "auto", table, "--label", "kind", *FAST[:-1], "6", "baselines=false"]
    process = python_m(*command)
    wait_until(lambda: bool(list(folder.glob("outputs/*/*/summary.json"))), process)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=PATIENCE_SECONDS)
    assert process.returncode == 130 and "the same command goes on from here" in err and "Traceback" not in err
    again = python_m(*command)
    out, err = again.communicate(timeout=PATIENCE_SECONDS)
    assert again.returncode == 0 and "predict optbench predict" in out, err
