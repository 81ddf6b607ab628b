"""Records that are torn, missing, damaged or not of the kind: each is named, none ends in a traceback."""

import re
import shutil
from pathlib import Path
from random import Random

import numpy as np
import pandas as pd
import pytest

from runner.errors import ConfigError
from runner.report.write import report as answer
from tests.support.made_sweep import made_run, make_sweep
from tests.support.reports import a_grid, report


def test_torn_and_missing_records_are_named(tmp_path: Path):
    runs = [made_run(0.9, optim=o, seed=s) for o in ("sgd", "adam") for s in range(3)]
    runs += [made_run(None, "running", optim="adamw"), made_run(0.9, "odd", optim="adamw", seed=1)]
    folder = make_sweep(tmp_path / "sweep", runs)
    places = sorted(p for p in folder.iterdir() if p.is_dir())
    with (places[0] / "metrics.csv").open("a") as file:
        file.write("120,6,0.")
    (places[1] / "metrics.csv").write_text("")
    (places[2] / "metrics.csv").write_bytes(b"step,val_accuracy\n\xff\xfe,x\n1,0.5,9,9,9\n\0,,\n")
    of_sgd = [p for p in places if "-sgd-" in p.name]
    (of_sgd[0] / "summary.json").unlink()
    shutil.rmtree(of_sgd[1])
    with (folder / "runs.csv").open("a") as file:
        file.write("a,b,c\nhe_normal,adam")
    text = " ".join(report(folder).split())
    assert "torn last row, left out" in text
    assert "without rows in metrics.csv" in text
    assert "rows of metrics.csv files cannot be read" in text
    assert "without summary.json" in text
    assert "without a folder" in text
    assert "runs.csv is torn: row 10, the last row left out" in text
    assert "an unknown status" in text
    assert "interrupted, not counted" in text


def test_runs_on_the_way_are_named_and_not_counted(tmp_path: Path):
    from runner.run.lock import holding

    runs = [made_run(0.9, seed=0), made_run(None, "running", seed=1, run_id="0000cafe")]
    folder = make_sweep(tmp_path / "sweep", runs)
    with holding(folder / ".locks" / "0000cafe"):
        assert "1 run on the way, not counted yet" in report(folder)


def test_a_run_without_the_measure_is_named(tmp_path: Path):
    runs = [made_run(0.9, seed=0), {**made_run(None, seed=1), "final_val_loss": 0.5}]
    assert "1 run ended without validation accuracy" in report(make_sweep(tmp_path / "sweep", runs))


ODD = [b"nan", b"inf", b"1e999", b"", b"\0", b"\xff", b'"', b",", b"\n", b"$", b"<b>", b"-5", b"running", b"9" * 400]


@pytest.mark.parametrize("seed", range(8))
def test_damaged_records_never_end_in_a_traceback(real_sweep: Path, tmp_path: Path, seed: int):
    folder = tmp_path / "small"
    shutil.copytree(real_sweep / "outputs" / "small", folder)
    random = Random(seed)
    files = [folder / "runs.csv"] * 3 + sorted(folder.glob("*/metrics.csv")) + sorted(folder.glob("*/layers.csv"))
    for _ in range(20):
        file = random.choice(files)
        lines = file.read_bytes().split(b"\n")
        at = random.randrange(len(lines))
        cells = lines[at].split(b",")
        cells[random.randrange(len(cells))] = random.choice(ODD)
        lines[at] = b",".join(cells)
        text = b"\n".join(lines)
        file.write_bytes(text[: random.randrange(len(text) + 1)] if random.random() < 0.1 else text)
    try:
        said = report(folder)
    except ConfigError as error:  # where runs.csv has nothing left to judge by
        said = str(error)
    assert re.search(r"runs in|no run has ended|no rows", said)


def test_runs_csv_is_not_needed(real_sweep: Path, tmp_path: Path):
    copy = tmp_path / "small"
    shutil.copytree(real_sweep / "outputs" / "small", copy)
    (copy / "runs.csv").unlink()
    assert "12 settings" in report(copy)


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        (["nowhere"], "there is no folder nowhere"),
        (["."], "holds no runs; did you mean"),
        (["outputs/smal"], "did you mean 'small'?"),
        (["outputs/small", "--metric", "val_acuracy"], "did you mean 'accuracy'?"),
        (["outputs/small", "--metric", "test_accuracy"], "choose by val_accuracy"),
        (["outputs/small", "--axes", "init,optm"], "did you mean 'optim'?"),
        (["outputs/small", "--axes", "init"], "takes two axes"),
        (["outputs/small", "--axes", "init,init"], "two different axes"),
        (["outputs/small", "--target", "2"], "accuracy lies between 0 and 1"),
        (["outputs/small", "--metric", "f1", "--target", "97"], "validation f1 lies between 0 and 1"),
        (["outputs/small", "--margin", "1"], "--margin 1: validation accuracy lies between 0 and 1; 0.01 is a point"),
        (["outputs/small", "--target", "high"], "must be a finite number"),
        (["outputs/small", "--target", "nan"], "must be a finite number"),
        (["outputs/small", "--within", "0"], "--within must be"),
    ],
)
def test_what_cannot_be_reported_is_refused(real_sweep: Path, optbench, monkeypatch, argv: list[str], said: str):
    monkeypatch.chdir(real_sweep)
    shutil.rmtree("outputs/small/report", ignore_errors=True)
    result = optbench("report", *argv)
    assert result.code == 2 and said in result.err
    assert not Path("outputs/small/report").exists()


def test_nothing_ended_yet_is_no_traceback(tmp_path: Path):
    folder = make_sweep(tmp_path / "sweep", [made_run(None, "interrupted")])
    with pytest.raises(ConfigError, match="nothing to report yet"):
        report(folder)


def test_a_union_of_grids_misses_nothing_and_a_hole_in_a_grid_is_named(tmp_path: Path):
    union = [
        made_run(0.9, optim=o, optim__lr=lr, seed=s)
        for o, lrs in (("sgd", (0.1, 1)), ("adam", (0.001, 0.01)))
        for lr in lrs
        for s in range(3)
    ]
    assert "of the grid are missing" not in (
        report(make_sweep(tmp_path / "union", union)) and (tmp_path / "union/report.html").read_text()
    )
    holed = [
        r
        for r in a_grid(np.random.default_rng(0))
        if not (r["optim"] == "sgd" and r["optim.lr"] == 0.1 and r["init"] == "he_normal")
    ]
    report(make_sweep(tmp_path / "holed", holed))
    assert "5 runs of the grid are missing" in (tmp_path / "holed/report.html").read_text()
    assert len(pd.read_csv(tmp_path / "holed/report/missing.csv")) == 5


def test_a_mark_that_a_spreadsheet_puts_first_is_no_part_of_a_name(tmp_path: Path):
    folder = make_sweep(tmp_path / "sweep", [made_run(0.9, init="zeros"), made_run(0.8, init="default")])
    runs = folder / "runs.csv"
    runs.write_bytes(b"\xef\xbb\xbf" + runs.read_bytes())
    assert "optbench train init=zeros" in report(folder)


def test_numbers_that_are_none_are_no_measurement(tmp_path: Path):
    runs = [made_run(v, seed=s) for s, v in enumerate((1e308, -1e308, 0.9))] + [made_run(0.8, seed=10**25)]
    text = report(make_sweep(tmp_path / "sweep", runs))
    assert "2 runs ended without validation accuracy" in text and "seed=-" not in text


def test_the_text_reads_no_runs_own_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    folder = make_sweep(tmp_path / "sweep", a_grid(np.random.default_rng(0), seeds=2))

    def read(*_: object) -> None:
        raise AssertionError("metrics.csv was read")

    monkeypatch.setattr("runner.report.load.read_evaluations", read)
    found = answer(folder)
    assert "Use:" in found.text
    with pytest.raises(AssertionError, match="was read"):  # the page does
        found.write()


def test_a_run_of_an_older_version_has_the_defaults_of_settings_that_came_later(tmp_path: Path):
    later = {"class_weights": "none", "stop.all": "false", "init.bias_std": "0.0"}
    old = [made_run(0.9, optim__lr=0.01, seed=seed) for seed in (0, 1)]
    new = [
        made_run(0.8, optim__lr=rate, seed=seed, **later) for rate, seed in ((0.01, 2), (0.1, 0), (0.1, 1), (0.1, 2))
    ]
    folder = make_sweep(tmp_path / "sweep", [*old, *new], choices=[*later, "optim.tolerance_grad"])
    text = report(folder)
    assert "2 settings (optim.lr 2), 3 seeds" in text
    assert not any(key in text for key in later)
