"""Tables that are easily misread: right at once, or refused with the settings that read them, and right with those."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from runner.data import Source
from runner.errors import ConfigError, TableError
from tests.support.made_data import read_table

NOISE = [round(float(v), 3) for v in np.random.default_rng(0).normal(size=300)]


def table(path: Path, columns: dict[str, Sequence[Any]], delimiter: str = ",", quote: bool = False) -> Path:
    """Write columns as a file; cells with commas are quoted where the delimiter is one."""
    rows = zip(*columns.values(), strict=True)
    mark = '"' if quote else ""
    lines = [delimiter.join(columns), *(delimiter.join(f"{mark}{cell}{mark}" for cell in row) for row in rows)]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def refused(path: Path, **given: Any) -> TableError:
    with pytest.raises(TableError) as error:
        read_table(path, **given)
    return error.value


def read_as_told(path: Path, **given: Any) -> Source:
    """Read a table that is refused, under the settings that the refusal names."""
    settings = refused(path, **given).settings
    assert settings
    return read_table(path, **{**given, **settings})


@pytest.mark.parametrize(
    ("cells", "settings", "numbers"),
    [
        (["12,5", "3,14", "100,0"], {"decimal": ","}, [12.5, 3.14, 100.0]),
        (["12,5", "7", "1.250,75"], {"decimal": ",", "thousands": "."}, [12.5, 7.0, 1250.75]),
        (["1,250", "800", "12,000"], {"thousands": ","}, [1250.0, 800.0, 12000.0]),
        (["1,250.5", "800.25", "-12,000"], {"thousands": ","}, [1250.5, 800.25, -12000.0]),
        (["1 250", "800", "12 000 000"], {"thousands": " "}, [1250.0, 800.0, 12e6]),
        (["1'250", "800", "12'000"], {"thousands": "'"}, [1250.0, 800.0, 12000.0]),
        (["12%", "3.5%", "-7 %"], {"units": ["%"]}, [12.0, 3.5, -7.0]),
        (["$5", "$1,200.50", "-$3"], {"units": ["$"], "thousands": ","}, [5.0, 1200.5, -3.0]),
        (["5,50 €", "3 €", "1.200,00 €"], {"units": ["€"], "decimal": ",", "thousands": "."}, [5.5, 3.0, 1200.0]),
    ],
)
def test_numbers_in_other_dress_are_refused_with_the_settings_that_read_them(
    cells: list[str], settings: dict[str, Any], numbers: list[float], tmp_path: Path
) -> None:
    path = table(tmp_path / "t.csv", {"x": cells * 20, "y": ["a", "b", "a"] * 20}, ";")
    found = refused(path, delimiter=";", label="y")
    assert found.settings == settings and "almost all of it is numbers" in str(found)
    source = read_as_told(path, delimiter=";", label="y")
    assert source.samples.x[:3, 0].tolist() == numbers
    as_text = read_table(path, delimiter=";", label="y", text=["x"])
    assert as_text.samples.x.shape == (60, 3)


@pytest.mark.parametrize("word", ["?", "-", "missing", "n/k"])
def test_a_word_for_missing_does_not_make_a_number_a_text(word: str, tmp_path: Path) -> None:
    power = [str(60 + i % 90) if i % 50 else word for i in range(300)]
    path = table(tmp_path / "t.csv", {"power": power, "mpg": NOISE})
    assert refused(path, label="mpg").settings == {"missing_values": [word], "missing": "impute"}
    source = read_as_told(path, label="mpg")
    assert source.samples.x.shape == (300, 2) and np.isnan(source.samples.x[:, 0]).sum() == 6
    assert source.samples.x[:, 1].sum() == 6


@pytest.mark.parametrize(
    "cells", [["01", "02", "10"], ["2024-01-05", "2024-02-06", "2025-03-07"], ["1.2.3", "10.0.1", "2"]]
)
def test_codes_and_dates_are_no_numbers(cells: list[str], tmp_path: Path) -> None:
    path = table(tmp_path / "t.csv", {"x": [*cells * 20, "other"], "y": ["a", "b", "a"] * 20 + ["a"]})
    assert read_table(path, label="y").samples.x.shape == (61, 4)


def test_a_label_has_one_type_however_long_the_file(tmp_path: Path) -> None:
    labels = [f"0{1 + i % 3}" for i in range(19_999)] + ["other"]
    columns: dict[str, Sequence[Any]] = {f"f{i}": range(20_000) for i in range(40)}  # pandas reads it in several chunks
    source = read_table(table(tmp_path / "t.csv", columns | {"y": labels}), label="y")
    assert source.labels == ("01", "02", "03", "other")
    assert np.bincount(source.samples.y.astype(int)).tolist() == [6667, 6666, 6666, 1]
    assert any("of other there is one sample" in note for note in source.notes)


@pytest.mark.parametrize("first", [1234567890123456788, 2**63 - 1, 10**30, -(10**18)])
def test_labels_of_many_digits_stay_apart(first: int, tmp_path: Path) -> None:
    labels = [first + i % 3 for i in range(300)]
    source = read_table(table(tmp_path / "t.csv", {"x": NOISE, "y": labels}), label="y", kind="classes")
    assert source.labels == (first, first + 1, first + 2)
    assert source.samples.y.tolist() == [i % 3 for i in range(300)]


@pytest.mark.parametrize("word", ["NA", "None", "null"])
def test_a_class_may_be_called_like_a_missing_number(word: str, tmp_path: Path) -> None:
    path = table(tmp_path / "t.csv", {"x": NOISE, "region": ["EU", word, "APAC"] * 100})
    for missing in ("refuse", "drop", "impute"):
        source = read_table(path, label="region", missing=missing)
        assert source.classes == 3 and np.bincount(source.samples.y.astype(int)).tolist() == [100] * 3
        assert any(f"data.missing_values=[{word}]" in note for note in source.notes)
    assert refused(path, label="region", missing_values=[word]).settings == {"missing": "drop"}
    assert read_table(path, label="region", missing_values=[word], missing="drop").classes == 2


@pytest.mark.parametrize("start", [0, 1])
def test_a_nameless_column_that_counts_the_rows_is_no_feature(start: int, tmp_path: Path) -> None:
    path = table(tmp_path / "t.csv", {"": range(start, start + 300), "x": NOISE, "y": ["a", "b"] * 150})
    source = read_table(path, label="y")
    assert source.samples.x[:, 0].tolist() == NOISE
    assert "the nameless first column counts the rows and is left out" in source.notes[0]
    assert read_table(path, label="y", columns=["Unnamed: 0", "x"]).samples.x.shape == (300, 2)


def test_a_nameless_column_of_something_else_is_refused(tmp_path: Path) -> None:
    path = table(tmp_path / "t.csv", {"": NOISE, "x": NOISE, "y": ["a", "b"] * 150})
    assert "has no name in the header" in str(refused(path, label="y"))
    assert read_as_told(path, label="y").samples.x.shape == (300, 1)


def test_a_named_column_that_counts_the_rows_is_named(tmp_path: Path) -> None:
    source = read_table(table(tmp_path / "t.csv", {"id": range(300), "x": NOISE, "y": ["a", "b"] * 150}), label="y")
    assert any("id counts the rows; data.exclude=[id]" in note for note in source.notes)
    indexed = read_table(tmp_path / "t.csv", label="y", index="id")
    assert indexed.samples.x.shape == (300, 1) and indexed.notes == ()


def test_delimiters_at_the_end_of_all_lines_make_no_feature(tmp_path: Path) -> None:
    lines = ["x,y,", *(f"{v},{'ab'[i % 2]}," for i, v in enumerate(NOISE))]
    (tmp_path / "t.csv").write_text("\n".join(lines))
    source = read_table(tmp_path / "t.csv", label="y")
    assert source.samples.x.shape == (300, 1) and "no name and no value" in source.notes[0]


def test_a_header_that_names_a_column_twice_is_refused(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("x,y,y\n" + "1,0,0\n2,1,1\n" * 20)
    with pytest.raises(ConfigError, match="several columns named y"):
        read_table(tmp_path / "t.csv", label="y")


def test_rows_left_out_are_counted_with_the_columns_that_lack_values(tmp_path: Path) -> None:
    columns: dict[str, Sequence[Any]] = {
        "age": range(1000),
        "note": ["x" if i < 25 else "" for i in range(1000)],
        "y": [0 if i < 25 else i % 2 for i in range(1000)],
    }
    found = refused(table(tmp_path / "t.csv", columns), label="y", missing="drop")
    assert "is 0 everywhere in the 25 rows that are used" in str(found)
    assert "975 of 1000 rows are left out, as values are missing in note (975)" in str(found)
    some = table(tmp_path / "some.csv", columns | {"y": [i % 2 for i in range(1000)]})
    assert "975 of 1000 rows are left out" in read_table(some, label="y", missing="drop").notes[0]


def test_every_trouble_of_a_file_is_named_at_once_with_settings_that_end_all(tmp_path: Path) -> None:
    columns: dict[str, Sequence[Any]] = {
        "price": [f"{1000 + i:,}" for i in range(300)],
        "power": [str(i) if i % 40 else "?" for i in range(300)],
        "name": [f"name {i}" for i in range(300)],
        "empty": [""] * 300,
        "age": [str(i % 70) if i % 9 else "" for i in range(300)],
        "y": ["a", "b", "c"] * 100,
    }
    path = table(tmp_path / "t.csv", columns, ";")
    found = refused(path, delimiter=";", label="y")
    assert all(f"the column {name} " in str(found) for name in ("price", "power", "name", "empty"))
    assert "values are missing: age (34)" in str(found)
    assert [line[0] for line in found.overview[1:]] == list(columns)
    assert all(line[4].startswith("cannot be used") for line in found.overview[1:6])
    source = read_as_told(path, delimiter=";", label="y")
    assert source.samples.x.shape == (300, 3 + 2)  # price, power, age, and where the last two are missing


def test_texts_among_whole_numbers_are_told_from_numbers_by_a_setting(tmp_path: Path) -> None:
    path = table(tmp_path / "t.csv", {"zip": [f"{10000 + i % 4}" for i in range(300)], "y": NOISE})
    assert read_table(path, label="y").samples.x.shape == (300, 1)
    assert read_table(path, label="y", text=["zip"]).samples.x.shape == (300, 4)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"decimal": ".", "thousands": "."}, "data.decimal=. beside data.thousands=."),
        ({"decimal": "ab"}, "data.decimal must be one character"),
        ({"units": ["5"]}, "data.units must be symbols"),
        ({"encoding": "utf-99"}, "data.encoding must be one that Python knows"),
        ({"delimiter": ""}, "data.delimiter must be what stands between cells"),
        ({"index": "y"}, "data.index has data.label=y too"),
        ({"exclude": ["y"]}, "data.exclude has data.label=y too"),
        ({"exclude": ["xx"]}, r"data.exclude=xx is no column of .*did you mean 'x'"),
        ({"columns": ["x"], "exclude": ["x"]}, "data.columns has x too, which data.exclude leaves out"),
        ({"text": ["z"]}, "data.text=z is no column"),
        ({"label": None}, "data.label must be the column to predict\nvalid: x, y"),
    ],
)
def test_settings_that_do_not_fit_are_refused(settings: dict[str, Any], said: str, tmp_path: Path) -> None:
    path = table(tmp_path / "t.csv", {"x": NOISE, "y": ["a", "b"] * 150})
    with pytest.raises(ConfigError, match=said):
        read_table(path, **{"label": "y", **settings})


@pytest.mark.parametrize(
    ("content", "settings", "said"),
    [
        (b"", {}, "is empty"),
        (b"x,y\n", {}, "has a header and no rows"),
        (b"x,y\n1,2\n", {}, "has 1 row to use, which is too few"),
        (b"x,y\n" + b"1,2\n" * 20, {}, "is 2 everywhere: there is nothing to tell apart"),
        (b"x;y\n" + b"1;2\n" * 20, {}, "its header is one cell, 'x;y': try data.delimiter=';'"),
        (b"1,2\n" * 20, {}, "data.header=false"),
        ("name,y\nJörg,1\n".encode("cp1252") * 20, {}, "data.encoding names another, such as cp1252"),
        ("x,y\n1,2\n".encode("utf-16"), {}, "data.encoding names another, such as utf-16"),
        (b"x,y\n1,2\n" * 5 + b"1,2,3\n", {}, "cannot be read as a table: Expected 2 fields in line 11, saw 3"),
    ],
)
def test_a_file_that_is_no_such_table_is_refused(
    content: bytes, settings: dict[str, Any], said: str, tmp_path: Path
) -> None:
    (tmp_path / "t.csv").write_bytes(content)
    with pytest.raises(ConfigError) as error:
        read_table(tmp_path / "t.csv", label="y", **settings)
    assert said in str(error.value)


def test_a_file_without_a_header_is_read_by_places(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("".join(f"{v},{i % 2}\n" for i, v in enumerate(NOISE)))
    source = read_table(tmp_path / "t.csv", label="1", header=False)
    assert source.samples.x[:, 0].tolist() == NOISE and source.classes == 2


@pytest.mark.parametrize(
    ("values", "classes"),
    [([3, 5, 8] * 20, 3), ([0, 1] * 5, 2), (range(18), None), ([i % 12 for i in range(59)], None), (range(300), None)],
)
def test_whole_numbers_are_classes_where_they_recur(values: Sequence[int], classes: int | None, tmp_path: Path) -> None:
    path = table(tmp_path / "t.csv", {"x": NOISE[: len(values)], "y": values})
    assert read_table(path, label="y").classes == classes
    assert read_table(path, label="y", kind="numbers").classes is None
