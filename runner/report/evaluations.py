"""Read the runs' own ``metrics.csv``: every evaluation of every run, as one table."""

import csv
import io
import math
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from tqdm import tqdm

from runner.measures import HEADLINES

BATCH_BYTES = 32 * 2**20
"""So much of the runs' CSVs is parsed at a time."""
LARGEST_BYTES = 256 * 2**20
"""A larger ``metrics.csv`` is left out, and named."""
LARGEST_NUMBER = 1e100
"""A larger one is no measurement, and its square is infinite."""
FIRST = ("step", "train_seconds", "val_loss", "train_loss")
DRAWN = (*(f"train_{name}" for name in HEADLINES if name != "loss"), "sharpness")
"""Read as well where they are recorded: curves show them."""


@dataclass(frozen=True)
class Evaluations:
    """What was read, and what could not be."""

    rows: pd.DataFrame
    """A row an evaluation: ``run_id``, then numbers."""
    caveats: tuple[tuple[str, list[str]], ...]
    """What is wrong with files, ``{runs}`` standing for how many, and the names of the runs."""
    unread: int
    """Rows left out."""


def read_evaluations(known: Sequence[str], places: Mapping[str, Path]) -> Evaluations:
    """Read every run's ``metrics.csv``; files with the same header are parsed together, which is what makes it fast.

    Args:
        known: ids of the runs.
        places: each one's folder.
    """
    batches: dict[bytes, list[bytes]] = {}
    held, lines = 0, 0
    found: list[pd.DataFrame] = []
    torn, without, huge = [], [], []

    def parse() -> None:
        nonlocal held
        found.extend(_parse(header, bodies) for header, bodies in batches.items())
        batches.clear()
        held = 0

    show = sys.stderr.isatty()
    for number, identifier in enumerate(tqdm(known, desc="reading", unit="run", disable=not show, leave=False)):
        path = places[identifier] / "metrics.csv"
        try:
            if not path.is_file():
                without.append(path.parent.name)
                continue
            if path.stat().st_size > LARGEST_BYTES:
                huge.append(path.parent.name)
                continue
            text = path.read_bytes()
        except OSError:
            without.append(path.parent.name)
            continue
        header, _, body = text.partition(b"\n")
        if not body.endswith(b"\n") and body:
            body = body[: body.rfind(b"\n") + 1]
            torn.append(path.parent.name)
        if not body:
            without.append(path.parent.name)
            continue
        mark = b"%d," % number
        batches.setdefault(header.rstrip(b"\r"), []).append(mark + body[:-1].replace(b"\n", b"\n" + mark) + b"\n")
        held += len(body)
        lines += body.count(b"\n")
        if held > BATCH_BYTES:
            parse()
    parse()
    caveats = (
        ("{runs} with a torn last row, left out", torn),
        ("{runs} without rows in metrics.csv: no curve", without),
        ("{runs} with a metrics.csv of over 256 MiB: no curve", huge),
    )
    if not found:
        nothing = pd.DataFrame({"run_id": pd.Series(dtype=str), **{c: pd.Series(dtype=float) for c in FIRST}})
        return Evaluations(nothing, caveats, 0)
    rows = _with_ids(pd.concat(found, ignore_index=True), known)
    return Evaluations(rows, caveats, max(0, lines - len(rows)))


def _with_ids(rows: pd.DataFrame, known: Sequence[str]) -> pd.DataFrame:
    """Return the rows that can be read, with their run's id in the place of its number."""
    wrong = rows["number"].isna() | (rows["number"] % 1 != 0) | ~rows["number"].between(0, len(known) - 1)
    rows = rows[~(wrong | rows["step"].isna())]
    of = np.asarray(known, object)[rows["number"].astype(int)]
    rows = rows.drop(columns="number")
    run_id = pd.Categorical(of, categories=pd.unique(np.asarray(known, object)))
    rows.insert(0, "run_id", pd.Series(run_id, index=rows.index))
    return rows.reset_index(drop=True)


def _parse(header: bytes, bodies: list[bytes]) -> pd.DataFrame:
    names = next(csv.reader([header.decode("utf-8", "replace").replace("\0", "�")]), [])
    read = [n for n in dict.fromkeys(names) if n in (*FIRST, *DRAWN) or n.startswith("val_")]
    at = [names.index(n) + 1 for n in read]
    table = pd.read_csv(
        io.BytesIO(b"-1" + b"," * len(names) + b"\n" + b"".join(bodies)),  # a first row as wide as the header says
        header=None,
        names=list(range(len(names) + 1)),
        usecols=[0, *at],
        encoding_errors="replace",
        on_bad_lines="skip",
        quoting=csv.QUOTE_NONE,
        low_memory=False,
        index_col=False,
    )
    columns = {name: numbers(table[i]) for name, i in zip(["number", *read], [0, *at], strict=True)}
    return pd.DataFrame(columns).reindex(columns=["number", *dict.fromkeys([*FIRST, *read])])


def numbers(column: "pd.Series[Any]") -> "pd.Series[float]":
    """Return a column's numbers, NaN where a cell holds none or one that is not finite."""
    if column.dtype == float:
        found = column
    else:
        try:
            found = pd.to_numeric(column, errors="coerce").astype(float)
        except OverflowError:  # a whole number of hundreds of digits
            found = column.map(as_number).astype(float)
    return found.where(found.abs() < LARGEST_NUMBER)


def as_number(cell: object) -> float:
    """Return a cell's number, NaN where it holds none."""
    try:
        return float(str(cell))
    except ValueError:
        return math.nan
