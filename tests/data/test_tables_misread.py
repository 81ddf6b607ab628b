"""Tables that are easily misread: right at once, or refused with the settings that read them, and right with those."""

import gzip
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from runner.config.compose import Composer
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
    "write", ["{0}-{1:02}-{2:02}", "{2:02}.{1:02}.{0}", "{1}/{2}/{0}", "{0}-{1:02}-{2:02} 12:30:00"]
)
def test_a_column_of_dates_is_said_to_be_one(write: str, tmp_path: Path) -> None:
    dates = [write.format(2000 + i % 20, 1 + i % 12, 1 + i % 28) for i in range(300)]
    error = refused(table(tmp_path / "t.csv", {"x": NOISE, "day": dates, "y": ["a", "b"] * 150}), label="y")
    assert "the column day has" in str(error) and "it holds dates" in str(error)
    assert error.settings == {"exclude": ["day"]}
    words = [f"{i} a word" for i in range(300)]
    error = refused(table(tmp_path / "t.csv", {"x": NOISE, "day": words, "y": ["a", "b"] * 150}), label="y")
    assert "it holds dates" not in str(error)


@pytest.mark.parametrize(
    ("cells", "example"),
    [
        (["01067", "80331", "99974"], "01067"),
        (["80331", "00501", "10001"], "00501"),
        (["80331", "10", "0"], None),
        (["0.5", "0.07", "1"], None),
        (["1e5", "2e05", "3e7"], None),
    ],
)
@pytest.mark.parametrize(
    ("delimiter", "packed", "quote"), [(",", False, False), (";", True, False), ("\t", False, True)]
)
def test_numbers_with_zeros_before_them_are_told_from_others(
    cells: list[str], example: str | None, delimiter: str, packed: bool, quote: bool, tmp_path: Path
) -> None:
    columns = {"x": NOISE[:60], "zip": cells * 20, "day": ["2020-01-02", "2021-03-04"] * 30, "y": ["a", "b"] * 30}
    path = table(tmp_path / "t.csv", columns, delimiter, quote)
    if packed:
        path = path.with_suffix(".csv.gz")
        path.write_bytes(gzip.compress((tmp_path / "t.csv").read_bytes()))
    source = read_table(path, delimiter=delimiter, label="y")
    said = [note for note in source.notes if "zeros before" in note]
    assert [f"zip has zeros before its numbers, as in {example}" in note for note in said] == [True] * bool(example)
    if example:
        assert "give 'data.text=[zip]'" in said[0]
        as_told = read_table(path, delimiter=delimiter, label="y", text=["zip"])
        assert as_told.samples.x.shape[1] == source.samples.x.shape[1] + 2
        assert not any("zeros before" in note for note in as_told.notes)


@pytest.mark.parametrize(
    ("cells", "settings", "numbers"),
    [
        (["12,5", "3,14", "100,0"], {"decimal": ","}, [12.5, 3.14, 100.0]),
        (["12,5", "7", "1.250,75"], {"decimal": ",", "thousands": "."}, [12.5, 7.0, 1250.75]),
        (["1,250", "800", "12,000"], {"thousands": ","}, [1250.0, 800.0, 12000.0]),
        (["1,250.5", "800.25", "-12,000"], {"thousands": ","}, [1250.5, 800.25, -12000.0]),
        (["1 250", "800", "12 000 000"], {"thousands": " "}, [1250.0, 800.0, 12e6]),
        (["1'250", "800", "12'000"], {"thousands": "'"}, [1250.0, 800.0, 12000.0]),
        (["1_250", "800", "12_000"], {"thousands": "_"}, [1250.0, 800.0, 12000.0]),
        (["12%", "3.5%", "-7 %"], {"units": ["%"]}, [12.0, 3.5, -7.0]),
        (["$5", "$1,200.50", "-$3"], {"units": ["$"], "thousands": ","}, [5.0, 1200.5, -3.0]),
        (["5,50 €", "3 €", "1.200,00 €"], {"units": ["€"], "decimal": ",", "thousands": "."}, [5.5, 3.0, 1200.0]),
        (["0,101", "0,125", "0,250"], {"decimal": ","}, [0.101, 0.125, 0.25]),
        (["110,3 m²", "63 m²", "25,25 m²"], {"decimal": ",", "units": ["m²"]}, [110.3, 63.0, 25.25]),
        (["12 m2", "7.5 m2", "100m2"], {"units": ["m2"]}, [12.0, 7.5, 100.0]),
        (["21.5 °C", "-3 °C", "0°C"], {"units": ["°C"]}, [21.5, -3.0, 0.0]),
        (["50 km/h", "7.5 km/h", "130km/h"], {"units": ["km/h"]}, [50.0, 7.5, 130.0]),
        (["110平方米", "63.5 平方米", "25平方米"], {"units": ["平方米"]}, [110.0, 63.5, 25.0]),
        (["₩1,200", "₩800", "₩15,000"], {"units": ["₩"], "thousands": ","}, [1200.0, 800.0, 15000.0]),
        (["5 kg", "7.5 kg", "10kg"], {"units": ["kg"]}, [5.0, 7.5, 10.0]),
        (["1\u00a0250", "800", "12\u202f000"], {"thousands": " "}, [1250.0, 800.0, 12000.0]),
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
    assert any("other: of such a class there is one sample" in note for note in source.notes)


@pytest.mark.parametrize("first", [1234567890123456788, 2**63 - 1, 10**30, -(10**18)])
def test_labels_of_many_digits_stay_apart(first: int, tmp_path: Path) -> None:
    labels = [first + i % 3 for i in range(300)]
    source = read_table(table(tmp_path / "t.csv", {"x": NOISE, "y": labels}), label="y", kind="classes")
    assert source.labels == (str(first), str(first + 1), str(first + 2))
    assert source.samples.y.tolist() == [i % 3 for i in range(300)]


@pytest.mark.parametrize("word", ["NA", "NaN", "None", "null"])
def test_a_class_may_be_called_like_a_missing_number(word: str, tmp_path: Path) -> None:
    path = table(tmp_path / "t.csv", {"x": NOISE, "region": ["EU", word, "APAC"] * 100})
    for missing in ("refuse", "drop", "impute"):
        source = read_table(path, label="region", missing=missing)
        assert source.classes == 3 and np.bincount(source.samples.y.astype(int)).tolist() == [100] * 3
        (typed,) = [given for note in source.notes for given in shlex.split(note) if given.startswith("data.missing")]
        assert Composer.over().parse([typed])[0].value == [word]
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
    assert any("id counts the rows; 'data.exclude=[id]'" in note for note in source.notes)
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
        ({"units": ["e5"]}, "data.units must be symbols"),
        ({"encoding": "utf-99"}, "data.encoding must be one that Python knows"),
        ({"encoding": "rot13"}, "data.encoding must be one that Python knows"),
        ({"delimiter": "||"}, "data.delimiter must be one character"),
        ({"delimiter": ""}, "data.delimiter must be one character"),
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
        (b"x;y\n" + b"1;2\n" * 20, {}, "its header is one cell, 'x;y': try \"data.delimiter=';'\""),
        (b"x;y\n" + b"1;1,5\n" * 20, {}, "try \"data.delimiter=';'\""),
        (b"1,2\n" * 20, {}, "data.header=false"),
        (b"2,2\n" * 20, {}, "say data.header=false if there is none"),
        ("x,y\nJörg,1\n".encode() * 20, {"encoding": "utf-16"}, "names another, such as utf-8"),
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


def test_rows_of_more_cells_than_a_header_of_one_name_the_delimiter(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("x;y\n" + "1;1,5\n" * 20)
    with pytest.raises(ConfigError, match=r"has 2 cells in a row, but 1 in its header.*try \"data.delimiter=';'\""):
        read_table(tmp_path / "t.csv")


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


def test_a_minus_of_typesetters_is_a_minus(tmp_path: Path) -> None:
    path = table(tmp_path / "t.csv", {"x": ["\u22121.5", "2", "-3"] * 20, "y": ["a", "b", "a"] * 20})
    assert read_table(path, label="y").samples.x[:3, 0].tolist() == [-1.5, 2.0, -3.0]


def test_numbers_in_brackets_are_not_taken_for_categories(tmp_path: Path) -> None:
    """As accountants write what is below zero: no setting reads them, so that they are text on request alone."""
    path = table(tmp_path / "t.csv", {"x": ["3.00", "(4.50)", "12.25", "(1,200.00)"] * 20, "y": ["a", "b"] * 40}, ";")
    found = refused(path, delimiter=";", label="y")
    assert "almost all of it is numbers: '(4.50)', '(1,200.00)'" in str(found)
    assert found.settings == {"text": ["x"]}
    assert read_table(path, delimiter=";", label="y", text=["x"]).samples.x.shape == (80, 4)


def test_a_group_of_thousands_does_not_begin_with_zero(tmp_path: Path) -> None:
    path = table(tmp_path / "t.csv", {"x": [f"0,{i}" for i in range(101, 161)], "y": ["a", "b"] * 30}, quote=True)
    with pytest.raises(ConfigError, match="almost all of it is numbers"):
        read_table(path, label="y", thousands=",")
    assert read_as_told(path, label="y").samples.x[0, 0] == 0.101


def test_decimal_commas_of_three_digits_beside_others_are_fractions(tmp_path: Path) -> None:
    columns = {"a": [f"0,{100 + i}" for i in range(60)], "b": [f"{i % 7},5" for i in range(60)], "y": ["u", "v"] * 30}
    source = read_as_told(table(tmp_path / "t.csv", columns, ";"), delimiter=";", label="y")
    assert source.samples.x[:2].tolist() == [[0.1, 0.5], [0.101, 1.5]]


def test_commas_that_may_be_either_are_said_to_be(tmp_path: Path) -> None:
    found = refused(
        table(tmp_path / "t.csv", {"x": ["1,490", "2,750"] * 30, "y": ["u", "v"] * 30}, ";"), label="y", delimiter=";"
    )
    assert found.settings == {"thousands": ","} and "data.decimal=','" in str(found)


def test_a_remedy_never_costs_a_column_that_was_numbers(tmp_path: Path) -> None:
    columns = {"a": [f"{i}.250,50" for i in range(1, 71)], "b": [f"{i}.5" for i in range(1, 71)], "y": ["u", "v"] * 35}
    assert refused(table(tmp_path / "t.csv", columns, ";"), delimiter=";", label="y").settings is None


def test_booleans_with_missing_cells_are_booleans_however_they_are_spelled(tmp_path: Path) -> None:
    path = table(tmp_path / "t.csv", {"f": ["TRUE", "false", "", "NA", "True"] * 12, "y": ["u", "v"] * 30})
    x = read_table(path, label="y", missing="impute").samples.x
    assert x.shape == (60, 2) and x[:5, 1].tolist() == [0, 0, 1, 1, 0]
    assert np.array_equal(x[:5, 0], [1, 0, np.nan, np.nan, 1], equal_nan=True)
    labels = read_table(path, label="f", missing="drop", columns=["y"])
    assert labels.classes == 2 and labels.labels == ("false", "TRUE")


@pytest.mark.parametrize(
    ("cells", "called"),
    [
        (["00", "01"], ("00", "01")),
        (["0.0", "1.0"], ("0.0", "1.0")),
        ([" ok", "no"], ("no", "ok")),
        (["1", "01"], None),
    ],
)
def test_classes_are_called_as_the_file_writes_them(
    cells: list[str], called: tuple[str, ...] | None, tmp_path: Path
) -> None:
    path = table(tmp_path / "t.csv", {"x": NOISE, "y": cells * 150})
    if called is None:
        assert "is 1 everywhere" in str(refused(path, label="y"))
    else:
        assert read_table(path, label="y").labels == called


@pytest.mark.parametrize("word", ["-9,99", "-9.99"])
def test_a_number_may_mean_missing_however_it_is_written(word: str, tmp_path: Path) -> None:
    path = table(tmp_path / "t.csv", {"x": ["1,5", "-9,99", "3"] * 20, "y": ["u", "v"] * 30}, ";")
    source = read_table(path, label="y", delimiter=";", decimal=",", missing_values=[word], missing="drop")
    assert len(source.samples) == (40 if word == "-9,99" else 60)


def test_cells_with_line_ends_are_named(tmp_path: Path) -> None:
    rows = [f"{chr(34) if i in (3, 9) else ''}r,{i},{i % 2}" for i in range(40)]
    (tmp_path / "t.csv").write_text("a,b,y\n" + "\n".join(rows) + "\n")
    source = read_table(tmp_path / "t.csv", label="y")
    assert any("1 cells of a hold line ends" in note for note in source.notes)


@pytest.mark.parametrize("delimiter", ["whitespace", r"\s+"])
def test_any_number_of_spaces_stands_between_cells(delimiter: str, tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("x  y\n" + "".join(f" {v}   {'ab'[i % 2]}\n" for i, v in enumerate(NOISE)))
    assert read_table(tmp_path / "t.csv", label="y", delimiter=delimiter).samples.x[:, 0].tolist() == NOISE
