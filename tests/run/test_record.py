"""Records: exact, whole, and harmless to what opens them."""

import csv
import math
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from optbench import load_runs
from runner.run import files, record
from tests.support.known import TINY
from tests.support.records import Result


@pytest.mark.parametrize("value", ["=1+1", "+1", "-cmd", "@x", "\tx"])
def test_a_text_is_never_a_formula(value: str) -> None:
    assert record.cell(value) == f"'{value}"


@pytest.mark.parametrize("value", [0.1, 1e-300, -2.5, 1 / 3, 3.0])
def test_a_number_is_written_exactly(value: float) -> None:
    assert float(str(record.cell(value))) == value


def test_a_summary_is_json_whatever_happened() -> None:
    assert record.finite({"a": math.nan, "b": math.inf, "c": 1.5}) == {"a": None, "b": None, "c": 1.5}


def test_a_torn_last_row_is_left_out(tmp_path: Path) -> None:
    (tmp_path / "metrics.csv").write_text("step,loss\n0,1.0\n1,0.")
    assert files.read_csv(tmp_path / "metrics.csv") == [{"step": "0", "loss": "1.0"}]


@pytest.mark.parametrize("separator", ["\u2028", "\x85", "\x0c"])
def test_a_row_ends_at_a_line_feed_alone(separator: str, tmp_path: Path) -> None:
    (tmp_path / "runs.csv").write_text(f"run_id,name\n0,a{separator}b\n", encoding="utf-8")
    assert files.read_csv(tmp_path / "runs.csv") == [{"run_id": "0", "name": f"a{separator}b"}]


def test_markup_in_a_name_is_text_or_refused(optbench: Callable, folder: Path) -> None:
    assert optbench("train", "name='<script>alert(1)</script>'", "max_steps=1").code == 2
    assert optbench("train", "name='<b>x'", "max_steps=1", "model.width=8").code == 0
    assert (folder / "outputs/<b>x/runs.csv").is_file()


def test_runs_csv_reads_as_numbers(optbench: Callable, folder: Path) -> None:
    optbench("train", "-m", "max_steps=2", "model.width=8", "optim=sgd,adam", "regularization=none,[l2,dropout]")
    runs = pd.read_csv(folder / "outputs/default/runs.csv")
    assert sorted(runs["regularization"]) == ["dropout+l2", "dropout+l2", "none", "none"]
    assert runs["optim.lr"].dtype == runs["test_loss"].dtype == float
    assert runs["seed"].tolist() == [0] * 4


def test_choices_and_measures_of_one_name_have_a_column_each(optbench: Callable, folder: Path) -> None:
    optbench("train", "stop=steps", "stop.steps.most=42", "epochs=50", "threads=1")
    runs = load_runs("outputs/default")
    assert runs["epochs"].tolist() == [50]
    assert runs["actual_epochs"].tolist() == [2]
    assert runs["threads"].tolist() == [1]


def test_runs_csv_comes_back_when_it_was_deleted(optbench: Callable, folder: Path) -> None:
    optbench("train", *TINY)
    before = (folder / "outputs/default/runs.csv").read_text()
    (folder / "outputs/default/runs.csv").unlink()
    assert "not trained again" in optbench("train", *TINY).out
    assert (folder / "outputs/default/runs.csv").read_text() == before


def test_a_run_that_ends_while_the_table_is_made_anew_is_in_it_as_it_ended(
    optbench: Callable, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert optbench("train", "-m", *TINY, "seed=0,1").code == 0
    sweep, read = folder / "outputs" / "default", record.row_of
    before = (sweep / "runs.csv").read_text()
    summary = next(sweep.glob("*-s0-*/summary.json"))
    ended = summary.rename(summary.with_name("later"))

    def slow(place: Path) -> dict[str, object]:
        found = read(place)
        if ended.exists() and place == summary.parent:
            ended.rename(summary)
        return found

    monkeypatch.setattr(record, "row_of", slow)
    assert record.rebuild_runs_csv(sweep) == 2
    assert sorted((sweep / "runs.csv").read_text().splitlines()) == sorted(before.splitlines())


@pytest.mark.parametrize("again", [[], ["-m"]], ids=["a run", "a sweep"])
def test_a_row_that_a_kill_left_behind_is_settled_by_the_same_command(
    again: list[str], optbench: Callable[..., Result], folder: Path
) -> None:
    """A process may be killed after a run's summary is written, and before its row is."""
    asked = ["train", *again, "model.width=8", "max_steps=3", "seed=0"]
    assert optbench(*asked).code == 0
    table = folder / "outputs/default/runs.csv"
    whole = table.read_text()
    assert ",completed," in whole
    table.write_text(whole.replace(",completed,", ",running,"))
    assert optbench(*asked).code == 0
    assert table.read_text() == whole


def test_a_large_table_of_runs_is_written_now_and_then_and_whole_at_the_end(
    optbench: Callable, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rows wait beside it meanwhile, where a report finds them."""
    monkeypatch.setattr(record, "LARGE_BYTES", 0)
    monkeypatch.setattr(record, "BYTES_A_SECOND", 1)
    written = []
    monkeypatch.setattr(record, "_write_runs", lambda *given, write=record._write_runs: written.append(write(*given)))
    settle = record.settle_runs_csv
    with monkeypatch.context() as patch:
        patch.setattr(record, "settle_runs_csv", lambda place: None)
        assert (
            optbench("train", "-m", *TINY, "seed=0,1,2", "engine=loop", "workers=1", "hydra/launcher=inline").code == 0
        )
    place = folder / "outputs" / "default"
    assert len(written) == 1
    assert {row["status"] for row in record.waiting_rows(place).values()} == {"completed"}
    found = optbench("report", str(place))
    assert found.code == 0 and "3 runs" in found.out, found.out
    settle(place)
    with (place / "runs.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["status"] for row in rows] == ["completed"] * 3
    assert not record.waiting_rows(place)
    assert record.rebuild_runs_csv(place) == 3
