"""A table's cells as its file has them: plain numbers and booleans as such, everything else as text."""

import codecs
import contextlib
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import pandas as pd

from runner.errors import ConfigError, closest

DELIMITERS = (",", ";", "\t", "|")
"""What else may stand between cells, where a delimiter leaves a header whole."""
SEPARATORS = {"\\t": "\t", "whitespace": r"\s+", r"\s+": r"\s+"}
"""What a delimiter of several characters stands for."""
COMPRESSED = (".gz", ".bz2", ".zip", ".xz", ".zst", ".tar")
"""Endings of files that pandas unpacks."""
_EXPONENT = re.compile(r"[eE]\d*")


@dataclass(frozen=True)
class Reading:
    """How a file's text becomes cells, and cells numbers."""

    delimiter: str = ","
    decimal: str = "."
    thousands: str | None = None
    units: tuple[str, ...] = ()
    """Symbols beside numbers that are left out."""
    missing_values: tuple[str, ...] = ()
    """What means that a value is missing, beside an empty cell."""
    encoding: str = "utf-8"
    header: bool = True
    text: tuple[str, ...] = ()
    """Columns that are text whatever they look like."""

    @staticmethod
    def of(saved: Mapping[str, Any]) -> "Reading":
        """Return it from plain values."""
        settings: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in saved.items()}
        return Reading(**settings)

    def plain(self) -> dict[str, Any]:
        """Return it as plain values."""
        return {key: list(value) if isinstance(value, tuple) else value for key, value in asdict(self).items()}

    @property
    def separator(self) -> str:
        """The delimiter as pandas takes it."""
        return SEPARATORS.get(self.delimiter, self.delimiter)


def readings(reading: Reading) -> Iterator[Reading]:
    """Yield ways to read a file like another: with the delimiter that the other had, then with others."""
    yield reading
    for other in DELIMITERS:
        if other != reading.separator:
            yield replace(reading, delimiter=other)


def check(reading: Reading) -> None:
    """Refuse settings that contradict each other.

    Raises:
        ConfigError: naming them.
    """
    if len(reading.delimiter) != 1 and reading.delimiter not in SEPARATORS:
        raise ConfigError(
            f"data.delimiter must be one character, \\t for a tab, or whitespace, got {reading.delimiter!r}"
        )
    for key, value in (("decimal", reading.decimal), ("thousands", reading.thousands)):
        if value is not None and (len(value) != 1 or value.isalnum() or value in "+-"):
            raise ConfigError(f"data.{key} must be one character such as . or , got {value!r}")
    if reading.decimal == reading.thousands:
        raise ConfigError(f"data.decimal={reading.decimal} beside data.thousands={reading.thousands}: they must differ")
    if odd := [unit for unit in reading.units if not unit or unit[0].isdecimal() or _EXPONENT.fullmatch(unit)]:
        raise ConfigError(f"data.units must be symbols beside numbers, such as %, $, kg or m², got {odd[0]!r}")
    try:
        "".encode(reading.encoding)
    except LookupError as error:
        raise ConfigError(
            f"data.encoding must be one that Python knows, such as utf-8, latin-1 or cp1252, got {reading.encoding!r}"
        ) from error


def header_of(path: str, reading: Reading, key: str, unique: bool = True) -> list[str]:
    """Return the names of the columns; where the file has none, their places from 0.

    Raises:
        ConfigError: naming the key that named the file, if it cannot be read; with ``unique``, if it names a column
            twice.
    """
    first = _read(path, key, reading, header=None, nrows=1, dtype=str, keep_default_na=False)
    cells = [str(cell) for cell in first.iloc[0]] if len(first) else []
    if not cells:
        raise ConfigError(f"{key}={path} is empty")
    if not reading.header:
        return [str(place) for place in range(len(cells))]
    if unique and (twice := sorted({name for name in cells if name and cells.count(name) > 1})):
        values = key == "data.path" and all(_is_number(name) for name in cells)
        raise ConfigError(
            f"{key}={path} has several columns named {', '.join(twice)}: give each a name of its own in the header"
            + (", or say data.header=false if there is none" if values else "")
        )
    return [name or f"Unnamed: {place}" for place, name in enumerate(cells)]


def body_of(path: str, reading: Reading, key: str, names: Sequence[str], as_text: Sequence[str]) -> pd.DataFrame:
    """Return the rows: a column of plain numbers, of booleans, or of text, an empty cell missing.

    Args:
        path: the file.
        reading: how.
        key: that named it.
        names: of all columns.
        as_text: columns that are not to be taken for numbers.

    Raises:
        ConfigError: if it cannot be read, or rows have more cells than the header.
    """
    table = _read(
        path,
        key,
        reading,
        header=0 if reading.header else None,
        names=list(names),
        dtype=dict.fromkeys(as_text, str),
        decimal=reading.decimal,
        keep_default_na=False,
        na_values=[""],
        skip_blank_lines=len(names) > 1,  # of a single column it is a missing value
        low_memory=False,  # one type a column, whatever the chunk
    )
    if not isinstance(table.index, pd.RangeIndex):  # pandas took the first cells of each row for its name
        cells = table.index.nlevels + table.shape[1]
        raise ConfigError(
            f"{key}={path} has {cells} cells in a row, but {table.shape[1]} in its header: "
            "give each column a name, and remove delimiters at the ends of rows"
        )
    return table


def with_leading_zeros(
    path: str, reading: Reading, key: str, names: Sequence[str], asked: Sequence[str]
) -> dict[str, str]:
    """Return the columns that were asked for whose whole numbers have zeros before them, each with one as it stands.

    Args:
        path: the file.
        reading: how.
        key: that named it.
        names: of all columns.
        asked: those that were read as whole numbers.
    """
    if not asked or not _may_have_leading_zeros(path, reading):
        return {}
    header = 0 if reading.header else None
    cells = _read(path, key, reading, header=header, names=list(names), usecols=list(asked), dtype=str)
    found = {}
    for name in asked:
        words = cells[name].dropna()
        coded = words[words.str.fullmatch(r"\s*0\d+\s*")]
        if len(coded):
            found[name] = str(coded.iloc[0]).strip()
    return found


def _may_have_leading_zeros(path: str, reading: Reading) -> bool:
    """Say whether a cell may begin with 0 and a digit: the file is read once more where one does."""
    if Path(path).suffix in COMPRESSED:
        return True
    between = "" if reading.separator == SEPARATORS["whitespace"] else re.escape(reading.separator)
    begun = re.compile(rf"[\s\"{between}]0\d")
    with Path(path).expanduser().open(encoding=reading.encoding, errors="replace") as file:
        rest = "\n"
        while part := file.read(2**22):
            if begun.search(rest + part):
                return True
            rest = (rest + part)[-3:]
    return False


def _read(path: str, key: str, reading: Reading, **options: Any) -> pd.DataFrame:
    encoding = "utf-8-sig" if codecs.lookup(reading.encoding).name == "utf-8" else reading.encoding
    place = Path(path).expanduser()
    try:
        found: pd.DataFrame = pd.read_csv(place, sep=reading.separator, encoding=encoding, **options)
        return found
    except pd.errors.EmptyDataError as error:
        raise ConfigError(f"{key}={path} is empty") from error
    except UnicodeError as error:
        other = f"data.encoding names another, such as {_other_encoding(path)}"
        mended = other if key == "data.path" else f"write it in {reading.encoding}, as the training table is"
        raise ConfigError(f"{key}={path} is not text in {reading.encoding}: {error}; {mended}") from error
    except FileNotFoundError as error:
        beside = [p.name for p in place.parent.iterdir() if p.is_file()] if place.parent.is_dir() else []
        raise ConfigError(f"{key}={path}: there is no such file{closest(place.name, beside)}") from error
    except (OSError, ValueError) as error:
        said = str(error).removeprefix("Error tokenizing data. C error: ").strip()
        raise ConfigError(f"{key}={path} cannot be read as a table: {said}") from error


def _other_encoding(path: str) -> str:
    """Return an encoding that a file may be in."""
    content = Path(path).expanduser().read_bytes()
    if content[:2] in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE):
        return "utf-16"
    with contextlib.suppress(UnicodeError):
        content.decode("utf-8")
        return "utf-8"
    return "cp1252"


def _is_number(word: str) -> bool:
    try:
        float(word)
    except ValueError:
        return False
    return True
