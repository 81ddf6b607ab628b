"""``optbench data``: what a data set holds, without training."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.made_data import make_pictures, make_table


def lines_of(text: str) -> list[list[str]]:
    return [line.split() for line in text.splitlines()]


def test_a_table_is_shown_column_by_column_and_part_by_part(optbench: Callable, folder: Path) -> None:
    make_table(folder / "t.csv")
    found = optbench("data", "data=csv", "data.path=t.csv", "data.label=bought")
    assert found.code == 0 and found.err == ""
    lines = lines_of(found.out)
    assert ["city", "text", "0", "3", "3", "features,", "one", "a", "category"] in lines
    assert ["bought", "text", "0", "2", "the", "label:", "2", "classes"] in lines
    assert ["samples", "44", "4", "12"] in lines
    shares = [line for line in lines if line[:1] in (["yes"], ["no"]) and line[-1].endswith("%")]
    assert len(shares) == 2 and sum(int(n) for line in shares for n in line[1:4]) == 60
    assert sorted(p.name for p in folder.iterdir()) == ["t.csv"]


def test_columns_are_shown_before_one_of_them_is_chosen(optbench: Callable, folder: Path) -> None:
    make_table(folder / "t.csv")
    found = optbench("data", "data=csv", "data.path=t.csv")
    assert found.code == 0 and "data.label=… says which column to predict" in found.err
    assert [line[0] for line in lines_of(found.out)] == ["column", "age", "city", "income", "bought"]


def test_a_table_in_trouble_is_shown_with_the_settings_that_help(optbench: Callable, folder: Path) -> None:
    path = make_table(folder / "t.csv")
    path.write_text(path.read_text() + "?,Rome,2.0,yes\n")
    asked = ["data=csv", "data.path=t.csv", "data.label=bought"]
    found = optbench("data", *asked)
    assert found.code == 2 and "cannot be used: it is text, though almost all of it is numbers: '?'" in found.out
    assert "it can be used with  \"data.missing_values=['?']\" data.missing=impute" in found.err
    assert optbench("data", *asked, "data.missing_values=['?']", "data.missing=impute").code == 0
    assert optbench("train", *asked).err == found.err


@pytest.mark.parametrize(
    ("asked", "shown"),
    [
        ([], [["samples", "1295", "143", "359"], ["9", "130", "14", "36", "10.0%"]]),
        (["data=breast_cancer"], [["benign", "258", "28", "71", "62.7%"]]),
        (["data=diabetes"], [["target:", "most", "346", "283", "332"]]),
        (["data=text"], [["inputs", "64", "characters", "of", "35", "different", "ones"]]),
        (["data=image_folder", "data.path=pics"], [["inputs", "[3,", "32,", "32]", "of", "uint8"]]),
        (["data.folds=5", "data.fold=1"], [["samples", "1150", "288", "359"]]),
    ],
)
def test_any_data_set_is_shown(asked: list[str], shown: list[list[str]], optbench: Callable, folder: Path) -> None:
    make_pictures(folder / "pics")
    found = optbench("data", *asked)
    assert found.code == 0
    assert [line for line in shown if line not in lines_of(found.out)] == []


def test_what_is_no_data_set_is_refused(optbench: Callable, folder: Path) -> None:
    for asked in (["data=csv", "data.path=nowhere.csv"], ["data=digts"], ["data=csv", "data.label=y"]):
        refused = optbench("data", *asked)
        assert refused.code == 2 and refused.out == "" and "Traceback" not in refused.err
    (folder / "mine.csv").write_text("a,y\n1,2\n")
    assert "there is no such file; did you mean 'mine.csv'?" in optbench("data", "data=csv", "data.path=min.csv").err


def test_codes_of_more_values_than_a_column_may_have_are_to_be_left_out(optbench: Callable, folder: Path) -> None:
    rows = "".join(f"{i},{i % 60 + 1000:05d},{'yes' if i % 2 else 'no'}\n" for i in range(120))
    (folder / "t.csv").write_text("a,zip,bought\n" + rows)
    asked = ["data", "data=csv", "data.path=t.csv", "data.label=bought"]
    found = optbench(*asked)
    assert found.code == 0 and "if they are codes, give 'data.exclude=[zip]'" in found.out + found.err
    assert optbench(*asked, "data.exclude=[zip]").code == 0
