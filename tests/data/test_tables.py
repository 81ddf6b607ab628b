"""Tables: numbers, categories and classes of a CSV file, and what would be misread."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from runner.data.tables.target import as_called
from runner.errors import ConfigError, TableError
from tests.support.made_data import make_table, read_table


def test_a_table_becomes_numbers_categories_and_classes(tmp_path: Path) -> None:
    path = make_table(tmp_path / "table.csv")
    source = read_table(path, label="bought")
    assert source.classes == 2 and source.samples.x.shape == (60, 1 + 3 + 1)
    assert (source.samples.x[:, 1:4].sum(1) == 1).all()  # Lima, Oslo, Rome
    assert source.samples.x[:3, 1:4].tolist() == [[0, 0, 1], [0, 1, 0], [1, 0, 0]]
    assert np.array_equal(source.samples.y == 1, source.samples.x[:, 0] > 40)
    number = read_table(path, label="income", columns=["age"])
    assert number.classes is None and number.samples.x.shape == (60, 1) and number.samples.y.shape == (60, 1)
    assert read_table(path, label="age", kind="numbers").classes is None


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"label": "bougt"}, "did you mean 'bought'"),
        ({"label": "bought", "columns": ["agee"]}, "did you mean 'age'"),
        ({"label": "bought", "columns": ["bought"]}, "what is predicted"),
        ({"label": "bought", "kind": "numbers"}, "holds texts, which are no numbers"),
        ({"label": "income", "kind": "classes"}, "which are no classes"),
        ({"label": "bought", "columns": ["age", "income", "age"]}, "data.columns names age twice"),
    ],
)
def test_a_table_that_does_not_fit_is_refused(settings: dict, said: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=said):
        read_table(make_table(tmp_path / "table.csv"), **settings)


@pytest.mark.parametrize(
    ("header", "row", "label", "said"),
    [
        ("a,y", "0.5,{i},1", "y", "3 cells in a row, but 2 in its header"),
        ("a,y", "0.5,{i},1,2", "y", "4 cells in a row, but 2 in its header"),
        ("y", "{i}", "y", "the column y is the only column: nothing is left to predict it from"),
        ("a,y", "{i},inf", "y", "the column y holds a number that is not finite"),
        ("a,y", "inf,{i}", "y", "the column a holds a number that is not finite"),
    ],
)
def test_a_table_that_would_be_misread_is_refused(
    header: str, row: str, label: str, said: str, optbench: Callable, folder: Path
) -> None:
    (folder / "table.csv").write_text("\n".join([header, *(row.format(i=i) for i in range(40))]) + "\n")
    refused = optbench("train", "data=csv", "data.path=table.csv", f"data.label={label}", "max_steps=1")
    assert refused.code == 2 and said in refused.err, refused.err
    assert [p.name for p in folder.iterdir()] == ["table.csv"]


def test_labels_of_another_file_are_called_as_training_called_them() -> None:
    words = np.array(["true", "FALSE", "yes", "1", "", "maybe"], dtype=object)
    assert as_called(words, ["False", "True"], "boolean") == ["True", "False", "yes", "1", "", "maybe"]
    assert as_called(np.array(["1.0", "2", "x"], dtype=object), ["1", "2"], "number") == ["1", "2", "x"]


def test_missing_values_are_refused_by_name_or_dropped(tmp_path: Path) -> None:
    path = make_table(tmp_path / "table.csv")
    path.write_text(path.read_text() + "33,,2.0,yes\n,Rome,2.0,no\n")
    with pytest.raises(TableError, match=r"values are missing: age \(1\), city \(1\)") as refused:
        read_table(path, label="bought")
    assert refused.value.settings == {"missing": "impute"}
    dropped = read_table(path, label="bought", missing="drop")
    assert len(dropped.samples) == 60
    assert "2 of 62 rows are left out, as values are missing in age (1), city (1)" in dropped.notes[0]
