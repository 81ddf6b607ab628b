"""What was trained can be used: tables by their columns, pictures, labels by name; and data that changed is refused."""

import csv
import io
import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from optbench import load_model
from runner.after.predict import part_of_data
from tests.support.made_data import make_pictures, make_table
from tests.support.records import Result, run_folder, summary_of

ROWS = 120


def write(path: Path, rows: list[dict[str, object]], names: list[str] | None = None, delimiter: str = ",") -> None:
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, names or list(rows[0]), delimiter=delimiter, extrasaction="ignore")
        writer.writeheader()
        writer.writerows(rows)


def made_rows() -> list[dict[str, object]]:
    """A table with every kind of column, some of them missing; the species follows from the length and the city."""
    rng = np.random.default_rng(0)
    rows: list[dict[str, object]] = []
    for i in range(ROWS):
        city, length = ("Oslo", "Rome", "Lima")[i % 3], round(float(rng.normal()), 3)
        species = "setosa" if length > 0 else "virginica" if city == "Oslo" else "adelie"
        length_cell: object = "" if i % 10 == 3 else length
        rows.append(
            {"id": i + 1, "length": length_cell, "city": city if i % 15 else "", "wet": i % 2 == 0, "species": species}
        )
    return rows


def table(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text)))


@pytest.fixture
def run(optbench: Callable, folder: Path) -> Path:
    write(folder / "flowers.csv", made_rows())
    asked = ["data=csv", "data.path=flowers.csv", "data.label=species", "data.missing=impute", "data.index=id"]
    trained = optbench("train", *asked, "epochs=20", "optim.lr=0.01", "model.width=16")
    assert trained.code == 0, trained.err
    return run_folder(folder)


def test_the_training_table_gives_the_predictions_of_the_runs_own_parts(
    run: Path, optbench: Callable, folder: Path
) -> None:
    names = ["wet", "species", "city", "id", "length"]  # in another order
    write(folder / "other.csv", made_rows(), names, ";")
    for path in ("flowers.csv", "other.csv"):
        whole = {row["sample"]: row for row in table(optbench("predict", str(run), "--input", path).out)}
        assert sorted(map(int, whole)) == list(range(ROWS))
        seen = []
        for part in ("train", "val", "test"):
            for row in table(optbench("predict", str(run), "--part", part).out):
                assert whole[row["sample"]] == row
                seen.append(row["sample"])
        assert sorted(seen) == sorted(whole)
    test = table(optbench("predict", str(run)).out)
    right = np.mean([row["target"] == row["prediction"] for row in test])
    assert right == pytest.approx(summary_of(run)["test_accuracy"])


@pytest.mark.parametrize("ending", [".pt2", ".onnx"])
def test_an_export_works_out_itself_where_a_column_is_missing(
    ending: str, run: Path, optbench: Callable, folder: Path
) -> None:
    samples = part_of_data(run, "test")
    names = (load_model(run).reading or {})["inputs"]
    assert names == ["length", "city=Lima", "city=Oslo", "city=Rome", "wet", "length missing", "city missing"]
    assert samples.x[:, 5:].any(0).all()
    raw = samples.x.copy()
    raw[raw[:, 5] == 1, 0] = np.nan
    raw[raw[:, 6] == 1, 1:4] = np.nan
    raw[:, 5:] = 0
    file = f"model{ending}"
    assert optbench("predict", str(run), "--export", file).code == 0
    if ending == ".pt2":
        program = torch.export.load(file).module()
        found = [program(torch.from_numpy(x)).detach().numpy() for x in (samples.x, raw)]
    else:
        session = pytest.importorskip("onnxruntime").InferenceSession(file)
        [given] = session.get_inputs()
        kind = np.float64 if "double" in given.type else np.float32
        found = [session.run(None, {given.name: x.astype(kind)})[-1] for x in (samples.x, raw)]
    np.testing.assert_allclose(found[1], found[0], atol=1e-6)


def test_labels_are_printed_by_name_and_all_probabilities_on_request(run: Path, optbench: Callable) -> None:
    (row, *_) = table(optbench("predict", str(run), "--probabilities").out)
    assert list(row) == [
        *("sample", "target", "prediction", "probability"),
        *("probability_adelie", "probability_setosa", "probability_virginica"),
    ]
    shares = {name.removeprefix("probability_"): float(row[name]) for name in list(row)[4:]}
    assert max(shares, key=shares.__getitem__) == row["prediction"] and sum(shares.values()) == pytest.approx(1)


def test_a_new_table_needs_no_label(run: Path, optbench: Callable, folder: Path) -> None:
    rows = made_rows()
    write(folder / "new.csv", rows, ["length", "city", "wet"])
    found = table(optbench("predict", str(run), "--input", "new.csv").out)
    assert list(found[0]) == ["sample", "prediction", "probability"] and len(found) == ROWS


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"city": "Paris"}, "city has 'Paris' in row 4, which training has not seen\nvalid: Lima, Oslo, Rome"),
        ({"length": "long"}, "length must be finite numbers, as in training, got 'long' in row 4"),
        ({"length": "inf"}, "length must be finite numbers, as in training, got 'inf' in row 4"),
        ({"wet": "maybe"}, "wet must be True or False, got 'maybe' in row 4"),
        ({"colour": "red"}, "has the columns colour, which the training table lacks"),
    ],
)
def test_values_that_training_has_not_seen_are_refused_by_name(
    change: dict[str, object], said: str, run: Path, optbench: Callable, folder: Path
) -> None:
    rows = made_rows()
    rows[4] |= change
    write(folder / "new.csv", rows, list(rows[4]))
    refused = optbench("predict", str(run), "--input", "new.csv")
    assert (refused.code, refused.out) == (2, "") and said in refused.err, refused.err


def test_missing_columns_and_values_are_refused_by_name(run: Path, optbench: Callable, folder: Path) -> None:
    write(folder / "new.csv", made_rows(), ["id", "city", "wet"])
    refused = optbench("predict", str(run), "--input", "new.csv")
    assert refused.code == 2 and "lacks the columns length, which the run was trained on" in refused.err
    whole = [row for row in made_rows() if row["length"] != "" and row["city"]]
    write(folder / "whole.csv", whole)
    asked = ["data=csv", "data.path=whole.csv", "data.label=species", "epochs=1", "name=whole"]
    assert optbench("train", *asked).code == 0
    write(folder / "holes.csv", made_rows())
    refused = optbench("predict", str(run_folder(folder, "whole")), "--input", "holes.csv")
    assert refused.code == 2 and "length is missing in row 3, 13, 23, 33, 43 …" in refused.err


def test_qualities_keep_their_numbers(optbench: Callable, folder: Path) -> None:
    rows: list[dict[str, object]] = [
        {"a": q + i / 1000, "b": q * 2.0, "quality": q} for i in range(40) for q in (3, 5, 8)
    ]
    write(folder / "wine.csv", rows, delimiter=";")
    asked = ["data=csv", "data.path=wine.csv", "data.delimiter=';'", "data.label=quality"]
    assert optbench("train", *asked, "epochs=60", "optim.lr=0.01", "model.width=16").code == 0
    run = str(run_folder(folder))
    (folder / "new.csv").write_text("b,a\n10.0,5.0\n16,8\n")
    (folder / "bare.csv").write_text("5.0,10.0\n8,16\n")  # no header: the columns in training's order
    for path in ("new.csv", "bare.csv"):
        found = optbench("predict", run, "--input", path)
        assert [row["prediction"] for row in table(found.out)] == ["5", "8"]
        assert ("is read as having no header, its columns as a, b" in found.err) == (path == "bare.csv")


def test_pictures_are_predicted_by_their_folders_names(optbench: Callable, folder: Path) -> None:
    make_pictures(folder / "pics")
    asked = ["data=image_folder", "data.path=pics", "data.size=8", "model=linear", "epochs=10", "optim.lr=0.01"]
    assert optbench("train", *asked).code == 0
    run = str(run_folder(folder))
    (row,) = table(optbench("predict", run, "--input", "pics/red/3.png").out)
    assert (row["sample"], row["prediction"]) == ("3.png", "red")
    found = table(optbench("predict", run, "--input", "pics").out)
    assert [row["sample"].partition("/")[0] for row in found] == [row["prediction"] for row in found]
    (folder / "none").mkdir()
    for path in ("none", "nowhere.png"):
        refused = optbench("predict", run, "--input", path)
        assert refused.code == 2 and path in refused.err


def test_numbers_have_no_probabilities(optbench: Callable, folder: Path) -> None:
    assert optbench("train", "data=diabetes", "epochs=1").code == 0
    refused = optbench("predict", str(run_folder(folder)), "--probabilities")
    assert refused.code == 2 and "this run predicts numbers" in refused.err


@pytest.mark.parametrize("command", [["--part", "test"], ["--export", "model.pt2"]])
def test_data_that_changed_under_a_run_is_refused(
    command: list[str], run: Path, optbench: Callable, folder: Path
) -> None:
    from runner.run.job import forget_data

    write(folder / "flowers.csv", [*made_rows()[:15], *made_rows()])
    forget_data()
    refused = optbench("predict", str(run), *command)
    assert refused.code == 2 and refused.out == ""
    assert "the data has changed since" in refused.err and "outputs/default" in refused.err
    assert not (folder / "model.pt2").exists()


def changed(path: Path, rows: int) -> None:
    from runner.run.job import forget_data

    make_table(path, rows)
    forget_data()


TABLE = ["data=csv", "data.path=t.csv", "data.label=bought", "max_steps=6", "eval_every=2", "batch.size=16"]


def test_a_run_that_was_begun_on_other_data_is_not_begun_beside_it(optbench: Callable, folder: Path) -> None:
    make_table(folder / "t.csv")
    assert optbench("train", *TABLE, "pause_at=2").code == 0
    changed(folder / "t.csv", 90)
    before = sorted(p.name for p in (folder / "outputs" / "default").iterdir())
    for more in ([], ["-m", "seed=0,1"]):
        refused = optbench("train", *more, *TABLE)
        assert refused.code == 2 and "the data has changed since it was begun in outputs/default" in refused.err
    assert sorted(p.name for p in (folder / "outputs" / "default").iterdir()) == before
    assert optbench("train", *TABLE, "name=anew").code == 0
    changed(folder / "t.csv", 60)
    assert optbench("train", *TABLE).code == 0  # the old data go on


def test_folds_of_changed_data_are_not_joined(optbench: Callable, folder: Path) -> None:
    make_table(folder / "t.csv")
    assert optbench("train", "-m", *TABLE, "data.folds=3", "data.fold=0,1").code == 0
    changed(folder / "t.csv", 90)
    refused = optbench("train", *TABLE, "data.folds=3", "data.fold=2")
    assert refused.code == 2 and re.search("the data has changed since fold [01] was trained", refused.err)
    assert optbench("train", *TABLE).code == 0  # no fold


@pytest.mark.parametrize(
    "taught",
    [["init=pretrained", "init.run={}"], ["regularization=distillation", "regularization.distillation.run={}"]],
)
def test_what_another_run_taught_is_refused_where_its_data_changed(
    taught: list[str], optbench: Callable, folder: Path
) -> None:
    make_table(folder / "t.csv")
    assert optbench("train", *TABLE).code == 0
    run = run_folder(folder)
    asked = [*TABLE, *(word.format(run) for word in taught), "name=student"]
    assert optbench("train", *asked).code == 0
    changed(folder / "t.csv", 90)
    refused = optbench("train", *asked)
    assert refused.code == 2 and f"run={run}: the data has changed since" in refused.err
    shutil.copy(folder / "t.csv", folder / "elsewhere.csv")  # other data on purpose
    assert optbench("train", *[w.replace("t.csv", "elsewhere.csv") for w in asked]).code == 0


def test_a_file_without_a_header_is_read_by_its_width(optbench: Callable, folder: Path) -> None:
    rows = [[f"{i * 37 % 100 / 10:g}", "uv"[i % 2], str(i * i % 97), str(i)] for i in range(60)]
    for name, columns in (("t.csv", [0, 1, 2, 3]), ("new.csv", [0, 2, 3]), ("bare.csv", [0, 2]), ("odd.csv", [0])):
        (folder / name).write_text("".join(",".join(row[c] for c in columns) + "\n" for row in rows))
    asked = ["data=csv", "data.path=t.csv", "data.header=false", "data.label=1", "data.exclude=['3']"]
    assert optbench("train", *asked, "epochs=2", "model.width=8").code == 0
    run = str(run_folder(folder))
    whole, new, bare = (table(optbench("predict", run, "--input", n).out) for n in ("t.csv", "new.csv", "bare.csv"))
    assert [row["target"] for row in whole] == ["u", "v"] * 30
    assert [{k: v for k, v in row.items() if k != "target"} for row in whole] == new == bare
    refused = optbench("predict", run, "--input", "odd.csv")
    assert refused.code == 2 and "has 1 columns: the training table has 4" in refused.err


@pytest.mark.parametrize("swap", [("setosa", "sick"), ("length,", "lengths,")])
def test_names_that_changed_are_a_change_of_the_data(
    swap: tuple[str, str], run: Path, optbench: Callable, folder: Path
) -> None:
    from runner.run.job import forget_data

    path = folder / "flowers.csv"
    path.write_text(path.read_text().replace(*swap))
    forget_data()
    refused = optbench("predict", str(run))
    assert refused.code == 2 and "its classes or columns are called otherwise" in refused.err
    asked = ["data=csv", "data.path=flowers.csv", "data.label=species", "data.missing=impute", "data.index=id"]
    again = optbench("train", *asked, "epochs=20", "optim.lr=0.01", "model.width=16")
    assert "is trained again, the old one kept in .old/" in again.err
    assert optbench("predict", str(run)).code == 0


def test_one_row_may_lack_what_training_knows_to_fill(run: Path, optbench: Callable, folder: Path) -> None:
    for cell in ("", "NA"):
        (folder / "new.csv").write_text(f"length,city,wet\n{cell},Oslo,TRUE\n")
        assert len(table(optbench("predict", str(run), "--input", "new.csv").out)) == 1
    write(folder / "whole.csv", [row for row in made_rows() if row["length"] != "" and row["city"]])
    asked = ["data=csv", "data.path=whole.csv", "data.label=species", "epochs=1", "name=whole", "data.missing=impute"]
    assert optbench("train", *asked).code == 0  # nothing was missing then
    (folder / "new.csv").write_text("id,length,city,wet\n7,,Oslo,True\n")
    assert optbench("predict", str(run_folder(folder, "whole")), "--input", "new.csv").code == 0


def test_no_row_of_a_single_column_is_lost(optbench: Callable, folder: Path) -> None:
    write(folder / "t.csv", [{"a": i % 7 / 2, "y": "uv"[i % 2]} for i in range(60)])
    asked = ["data=csv", "data.path=t.csv", "data.label=y", "epochs=1", "data.missing=impute"]
    assert optbench("train", *asked).code == 0
    (folder / "new.csv").write_text("a\n1\n\n3\n")
    found = table(optbench("predict", str(run_folder(folder)), "--input", "new.csv").out)
    assert [row["sample"] for row in found] == ["0", "1", "2"]


def test_samples_come_from_stdin_and_a_pipe_that_cannot_be_read_twice_is_refused(
    run: Path, optbench: Callable, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def piped(content: bytes) -> Result:
        monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(content)))
        return optbench("predict", str(run), "--input", "-")

    of_file = optbench("predict", str(run), "--input", "flowers.csv")
    assert piped((folder / "flowers.csv").read_bytes()).out == of_file.out
    refused = piped(b"city,wet\nOslo,True\n")
    assert refused.code == 2 and "--input=- lacks the columns length" in refused.err
    os.mkfifo(folder / "pipe")
    refused = optbench("predict", str(run), "--input", "pipe")
    assert refused.code == 2 and "give --input - for stdin" in refused.err
