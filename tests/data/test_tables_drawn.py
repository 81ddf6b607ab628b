"""Tables drawn at random, held against the values that they were written from and scikit-learn's transformers."""

import csv
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.impute import SimpleImputer
from sklearn.preprocessing import MinMaxScaler, OneHotEncoder, StandardScaler

from runner.data import Source
from runner.data.split import split
from runner.data.tables import features
from tests.support.made_data import read_table

WORDS = ("a", "b c", "Zürich", "naïve", "x;y", "NA", "no, yes", "10 kg", "  padded", "TRUEish")
NAMES = ("age", "größe", "a b", "x,y", "1st", "c;d", "Preis €", "label?", "é", "n_1", "t\tab")


@dataclass
class Drawn:
    """A column: its values, None where missing, and as they are written."""

    kind: str
    values: list[Any]
    written: list[str]


def draw_column(rng: np.random.Generator, n: int, style: dict[str, Any], may_miss: bool) -> Drawn:
    kind = str(rng.choice(["float", "whole", "large", "boolean", "text"]))
    values: list[Any]
    if kind == "float":
        values = [float(v) for v in rng.normal(size=n) * 10.0 ** rng.integers(-6, 7)]
    elif kind == "whole":
        values = [int(v) for v in rng.integers(-50, 50, n)]
    elif kind == "large":
        values = [int(v) for v in rng.integers(1000, 10 ** rng.integers(4, 10), n)]
    elif kind == "boolean":
        values = [True, False, *map(bool, rng.integers(0, 2, n - 2))]
    else:
        values = [str(v) for v in rng.choice(WORDS[: rng.integers(2, len(WORDS) + 1)], n)]
    if may_miss and rng.random() < 0.5:
        for i in rng.choice(n, size=max(1, n // 6), replace=False):
            values[i] = None
    written = [write(value, kind, rng, style) for value in values]
    if kind == "text":  # spaces around it are none of it
        values = [None if value is None else value.strip() for value in values]
    return Drawn(kind, values, written)


def write(value: Any, kind: str, rng: np.random.Generator, style: dict[str, Any]) -> str:
    if value is None:
        words = ["", *style["missing_values"]] + (["NA", "nan"] if kind in ("float", "whole", "large") else [])
        return str(rng.choice(words))
    if kind == "large" and style["thousands"]:
        return f"{value:,}".replace(",", style["thousands"])
    if kind == "float":
        return repr(value).replace(".", style["decimal"])
    return str(value)


def draw_label(rng: np.random.Generator, n: int, style: dict[str, Any]) -> tuple[list[Any], list[str], bool]:
    """Return the labels, as they are written, and whether they are classes."""
    kind = rng.choice(["text", "boolean", "whole", "huge", "number"])
    if kind == "number":
        values = [float(v) for v in rng.normal(size=n)]
        return values, [repr(v).replace(".", style["decimal"]) for v in values], False
    classes: list[Any] = {
        "text": ["yes", "NA", "no"],
        "boolean": [False, True],
        "whole": [3, 5, 7, 8],
        "huge": [10**19, 10**19 + 1, 10**19 + 2],
    }[str(kind)]
    values = [classes[i % len(classes)] for i in rng.permutation(n)]
    return values, [str(v) for v in values], True


def expected_features(drawn: dict[str, Drawn], train: np.ndarray, impute: bool) -> np.ndarray:
    """Return what scikit-learn makes of the features, fitted on the rows of train."""
    blocks, marks = [], []
    for column in drawn.values():
        missing = np.array([value is None for value in column.values])
        if column.kind == "text":
            texts = np.array(column.values, dtype=object).reshape(-1, 1)
            encoder = OneHotEncoder(categories=[sorted(set(texts[~missing, 0]))], sparse_output=False)
            filler = SimpleImputer(strategy="most_frequent", missing_values=None).fit(texts[train])
            blocks.append(encoder.fit_transform(filler.transform(texts) if impute else texts))
        else:
            numbers = np.array([np.nan if v is None else float(v) for v in column.values]).reshape(-1, 1)
            usual = "most_frequent" if column.kind == "boolean" else "median"
            blocks.append(SimpleImputer(strategy=usual).fit(numbers[train]).transform(numbers))
        if impute and missing.any():
            marks.append(missing.astype(float).reshape(-1, 1))
    return np.concatenate([*blocks, *marks], axis=1)


def check_one(seed: int, folder: Path) -> None:
    rng = np.random.default_rng(seed)
    n = int(rng.integers(24, 80))
    style = {
        "decimal": str(rng.choice([".", ","])),
        "missing_values": [[], ["?"], ["-999", "unknown"]][rng.integers(3)],
        "delimiter": str(rng.choice([",", ";", "\t", "|"])),
        "encoding": str(rng.choice(["utf-8", "utf-8-sig", "utf-16", "cp1252"])),
    }
    style["thousands"] = {".": [None, ",", " "], ",": [None, "."]}[style["decimal"]][rng.integers(2)]
    missing = str(rng.choice(["refuse", "drop", "impute"]))
    names = [str(name) for name in rng.permutation(NAMES)[: rng.integers(2, 7)]]
    label, *others = names
    drawn = {name: draw_column(rng, n, style, missing != "refuse") for name in others}
    labels, written, are_classes = draw_label(rng, n, style)
    order = [str(name) for name in rng.permutation(names)]
    cells = {label: written} | {name: column.written for name, column in drawn.items()}
    path = folder / f"{seed}.csv"
    with path.open("w", newline="", encoding=style["encoding"]) as file:
        writer = csv.writer(file, delimiter=style["delimiter"])
        writer.writerow(order)
        writer.writerows(zip(*(cells[name] for name in order), strict=True))

    settings = style | {"encoding": style["encoding"].replace("-sig", ""), "label": label, "missing": missing}
    source = read_table(path, **settings)
    drawn = {name: drawn[name] for name in order if name != label}
    kept = np.array([missing != "drop" or all(c.values[i] is not None for c in drawn.values()) for i in range(n)])
    assert source.samples.at.tolist() == np.flatnonzero(kept).tolist()  # no row is lost, none is moved
    assert (source.classes is not None) == are_classes
    normalize = str(rng.choice(["standard", "minmax"]))
    shares = {"split_seed": seed, "val_fraction": 0.2, "fraction": 1.0}
    data = split(source, **shares, normalize=normalize, dtype="float64")
    parts = [data.train, data.val, data.test]
    assert sorted(row for part in parts for row in part.at.tolist()) == np.flatnonzero(kept).tolist()

    rows = np.flatnonzero(kept)
    place = {row: i for i, row in enumerate(rows)}
    used = {k: Drawn(c.kind, [c.values[row] for row in rows], []) for k, c in drawn.items()}
    train = np.array([place[row] for row in data.train.at])
    x = expected_features(used, train, missing == "impute")
    scaler = (StandardScaler() if normalize == "standard" else MinMaxScaler()).fit(x[train])
    for part in parts:
        np.testing.assert_allclose(part.x, scaler.transform(x[[place[row] for row in part.at]]), rtol=1e-9, atol=1e-9)
        true = [labels[row] for row in part.at]
        if are_classes:
            assert [str(source.labels[y]) for y in part.y] == [str(value) for value in true]
        else:
            assert part.y[:, 0].tolist() == true
    check_new_table(path, source, settings, order, label, folder / f"{seed}-other.csv")


def check_new_table(
    path: Path, source: Source, settings: dict[str, Any], order: list[str], label: str, other: Path
) -> None:
    """Read the table as a new one, in another order of columns and without its label: the same inputs."""
    with path.open(newline="", encoding=settings["encoding"].replace("utf-8", "utf-8-sig")) as file:
        rows = list(csv.DictReader(file, delimiter=settings["delimiter"]))
    with other.open("w", newline="", encoding=settings["encoding"]) as file:
        names = [name for name in reversed(order) if name != label]
        writer = csv.DictWriter(file, names, delimiter=settings["delimiter"], extrasaction="ignore")
        writer.writeheader()
        writer.writerows(rows[row] for row in source.samples.at)
    assert source.reading is not None
    found, _ = features.read_like(str(other), source.reading, source.labels, "--input")
    np.testing.assert_array_equal(found.x, source.samples.x)


@pytest.mark.parametrize("block", range(5))
def test_a_table_is_what_it_was_written_from(block: int, tmp_path: Path) -> None:
    for seed in range(20 * block, 20 * (block + 1)):
        check_one(seed, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("block", range(5, 25))
def test_more_tables_are_what_they_were_written_from(block: int, tmp_path: Path) -> None:
    test_a_table_is_what_it_was_written_from(block, tmp_path)
