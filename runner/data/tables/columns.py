"""What a column of a table holds: numbers, booleans or text; and text that was meant to be numbers."""

import re
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from runner.data.tables.cells import Reading

NO_NUMBER = frozenset(
    "#N/A,#N/A N/A,#NA,-1.#IND,-1.#QNAN,-NaN,-nan,1.#IND,1.#QNAN,<NA>,N/A,NA,NULL,NaN,None,n/a,nan,null".split(",")  # noqa: SIM905
)
"""What programs write for a missing number; pandas' own list. Among text it is text: NA may be North America."""
TRUE, FALSE = ("True", "TRUE", "true"), ("False", "FALSE", "false")
ALMOST_ALL = 0.9
"""A column of text of which so large a share reads as numbers was meant to be numbers."""
SENTENCE = 3
"""A column of text whose cells have as many words on average is taken for sentences."""
MOST_WORDS = 5
"""A column with more different texts than this beside its numbers is no column of numbers."""

_GROUPED = r"[1-9]\d{0,2}(?:[,.' _]\d{3})+"
_SYMBOLS = "$€£¥₹₽₩₺₴₪₫₱฿%‰°"
_UNIT = r"(?u:°?[^\W\d_]{1,8}[23²³]?(?:/[^\W\d_]{1,8}[23²³]?)?)"
"""A word of any script, such as kg, m², °C, km/h."""
_DECORATED = re.compile(
    rf"[-+]?\s*(?P<before>[{_SYMBOLS}]?)\s*[-+]?"
    rf"(?P<whole>{_GROUPED}|\d+)(?:(?P<mark>[.,])\d+)?(?:[eE][-+]?\d+)?\s*(?P<after>{_UNIT}|[{_SYMBOLS}])?",
    re.ASCII,
)
_IN_BRACKETS = re.compile(r"^\((.*)\)$")
"""As accountants write what is below zero."""
_DATE = re.compile(r"(?:\d{4}([-/.])\d{1,2}\1\d{1,2}|\d{1,2}([-/.])\d{1,2}\2(?:\d{4}|\d\d))(?!\d)", re.ASCII)
_CODE = re.compile(r"[-+]?0\d+", re.ASCII)
"""A number with zeros before it, which is a code."""
_OTHER_SIGNS = str.maketrans({"\u2212": "-", "\u00a0": " ", "\u202f": " "})
"""The minus of typesetters, and spaces that do not break."""

Numbers = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Column:
    """A column, understood."""

    name: str
    kind: str
    """number, boolean or text."""
    missing: Flags
    """Which rows have no value, ``[n]``."""
    values: npt.NDArray[Any]
    """``[n]``: numbers in float64, NaN where missing; booleans, False where missing; or texts, empty where missing."""
    written: pd.Series
    """The cells as they were read."""
    odd: tuple[str, ...] = ()
    """Texts that keep it from being numbers, of a column of text which almost all is numbers; no more than a few."""
    settings: dict[str, Any] = field(default_factory=dict)
    """Of data, which would make it numbers; empty where none would."""

    @property
    def was_meant_as_numbers(self) -> bool:
        """Almost all of its texts are numbers."""
        return bool(self.odd or self.settings)

    @property
    def reads_as(self) -> str:
        """What else a column of text holds: dates, or sentences; nothing of another."""
        cells = pd.Series(self.values[~self.missing], dtype=object)
        if cells.map(lambda cell: _DATE.match(cell) is not None).mean() >= ALMOST_ALL:
            return "; it holds dates: the year, or the days since the first one, is a number"
        return self.as_sentences

    @property
    def as_sentences(self) -> str:
        """What reads it where it is text whose cells are of several words each; nothing of another."""
        cells = self.values[~self.missing]
        if sum(len(cell.split()) for cell in cells) < SENTENCE * len(cells):
            return ""
        return f"; it reads as sentences, which data=text_csv data.text={self.name} classifies"

    def distinct(self, rows: Flags | None = None) -> int:
        """Return how many different values some rows have; None: all."""
        return len(set(self.values[~self.missing if rows is None else rows & ~self.missing].tolist()))


def understand(cells: pd.Series, reading: Reading) -> Column:
    """Return what a column holds; one that is declared text is text."""
    name, is_text = str(cells.name), str(cells.name) in reading.text
    if pd.api.types.is_bool_dtype(cells) and not is_text:
        values = cells.to_numpy(bool)
        return Column(name, "boolean", np.isin(values, _booleans(reading.missing_values)), values, cells)
    if pd.api.types.is_numeric_dtype(cells) and not is_text:
        numbers = cells.to_numpy(np.float64).copy()
        numbers[np.isin(numbers, _missing_numbers(reading))] = np.nan
        return Column(name, "number", np.isnan(numbers), numbers, cells)
    codes, words = pd.factorize(cells.astype(object), use_na_sentinel=True)
    stripped = pd.Series([str(word).strip() for word in words], dtype=object)
    empty = stripped.isin(["", *reading.missing_values]).to_numpy(bool)
    missing = _at(codes, empty, True)
    if not is_text and not missing.all():
        absent = empty | stripped.isin(NO_NUMBER).to_numpy(bool)
        numbers = numbers_of(stripped, reading)
        if not absent.all() and not np.isnan(numbers[~absent]).any():
            numbers[absent | np.isin(numbers, _missing_numbers(reading))] = np.nan
            found = _at(codes, numbers, np.nan)
            return Column(name, "number", np.isnan(found), found, cells)
        if not absent.all() and stripped[~absent].isin([*TRUE, *FALSE]).all():
            missing = _at(codes, absent, True)
            return Column(name, "boolean", missing, _at(codes, stripped.isin(TRUE).to_numpy(bool), False), cells)
    texts = np.where(missing, "", _at(codes, stripped.to_numpy(object), ""))
    column = Column(name, "text", missing, texts, cells)
    return column if is_text or missing.all() else _doubted(column, reading)


def _at(codes: npt.NDArray[np.int64], of_words: npt.NDArray[Any], of_none: object) -> npt.NDArray[Any]:
    """Return what holds of each word in the rows that have it, and what holds of rows that have none."""
    if not len(of_words):
        return np.full(len(codes), of_none)
    return np.where(codes < 0, np.asarray(of_none, of_words.dtype), of_words[codes])


def _booleans(words: tuple[str, ...]) -> list[bool]:
    return [word in TRUE for word in words if word in (*TRUE, *FALSE)]


def _missing_numbers(reading: Reading) -> Numbers:
    """Return the numbers that mean that a value is missing."""
    return numbers_of(pd.Series(reading.missing_values, dtype=object), reading)


def numbers_of(words: pd.Series, reading: Reading) -> Numbers:
    """Return texts as numbers, plain ones as pandas reads them from a file; what is none is NaN."""
    plain = pd.to_numeric(_without_decoration(words, reading), errors="coerce")
    return plain.to_numpy(np.float64, na_value=np.nan).copy()


def _without_decoration(words: pd.Series, reading: Reading) -> pd.Series:
    """Return numbers as they are written plainly; what is no number under this reading, as an empty text."""
    words = words.map(lambda word: word.translate(_OTHER_SIGNS) if not word.isascii() else word)
    if not reading.units and reading.thousands is None and reading.decimal == ".":
        return words
    mark = re.escape(reading.decimal)
    between = reading.thousands.translate(_OTHER_SIGNS) if reading.thousands else None
    group = re.escape(between) if between else None
    grouped = re.compile(rf"([1-9]\d{{0,2}}(?:{group}\d{{3}})+)((?:{mark}\d*)?)", re.ASCII) if group else None
    plain = re.compile(rf"(?:\d+{mark}?\d*|{mark}\d+)(?:[eE][-+]?\d+)?", re.ASCII)

    def plainly(word: str) -> str:
        bare, sign = word, ""
        for _ in range(2):  # a sign stands before or behind a symbol
            if bare[:1] in ("+", "-") and not sign:
                sign, bare = bare[0], bare[1:].strip()
            for unit in reading.units:
                bare = bare.removeprefix(unit).removesuffix(unit).strip()
        if grouped and between and (found := grouped.fullmatch(bare)):
            bare = found[1].replace(between, "") + found[2]
        return sign + bare.replace(reading.decimal, ".") if plain.fullmatch(bare) else ""

    return words.map(plainly)


def _doubted(column: Column, reading: Reading) -> Column:
    """Return a column of text, with what it would take to be numbers where almost all of it is."""
    counts = pd.Series(column.values[~column.missing], dtype=object).value_counts()
    different = pd.Series(counts.index, dtype=object)
    codes = different.map(lambda word: _CODE.fullmatch(word) is not None).to_numpy(bool)
    plain = ~np.isnan(numbers_of(different, reading)) & ~codes
    decorated = [
        None if plain[i] or codes[i] else _DECORATED.fullmatch(_IN_BRACKETS.sub(r"\1", word.translate(_OTHER_SIGNS)))
        for i, word in enumerate(different)
    ]
    if len({match["after"] for match in decorated if match and _is_word(match["after"])}) > 1:
        decorated = [None if match and _is_word(match["after"]) else match for match in decorated]
    alike = plain | np.array([found is not None for found in decorated])
    if counts.to_numpy()[alike].sum() < ALMOST_ALL * counts.sum():
        return column
    rest = [word for word, is_like in zip(different, alike, strict=True) if not is_like]
    if len(rest) > MOST_WORDS:
        return column
    settings = _settings_for([found for found in decorated if found], reading)
    absent = [word for word in rest if word not in NO_NUMBER]
    if absent:
        settings["missing_values"] = [*reading.missing_values, *absent]
    shown = [word for word, found in zip(different, decorated, strict=True) if found is not None][:2]
    return replace(column, odd=tuple(dict.fromkeys([*shown, *absent])), settings=settings)


def _is_word(unit: str | None) -> bool:
    return any(map(str.isalpha, unit or ""))


def _settings_for(found: list[re.Match[str]], reading: Reading) -> dict[str, Any]:
    """Return the settings under which decorated numbers are read, as far as these tell."""
    settings: dict[str, Any] = {}
    units = dict.fromkeys(match[side] for match in found for side in ("before", "after") if match[side])
    if new := [unit for unit in units if unit not in reading.units]:
        settings["units"] = [*reading.units, *new]
    if any(match["mark"] == "," for match in found):
        settings["decimal"] = ","
    between = {c for match in found for c in match["whole"] if not c.isdigit()}
    if separators := between - {settings.get("decimal", reading.decimal)}:
        settings["thousands"] = min(separators)
    return settings


def is_ambiguous(column: Column) -> bool:
    """Say whether the commas of a column may stand between thousands, or before fractions of three digits."""
    return column.settings.keys() == {"thousands"} and column.settings["thousands"] == ","


def all_whole(column: Column) -> bool:
    """Say whether a column of numbers holds whole ones alone."""
    values = column.values[~column.missing]
    return bool(len(values) and np.isfinite(values).all() and (values % 1 == 0).all())


def counts_rows(column: Column) -> bool:
    """Say whether a column counts the rows, from 0 or from 1."""
    if column.kind != "number" or column.missing.any() or len(column.values) < 2:
        return False
    return column.values[0] in (0, 1) and bool((np.diff(column.values) == 1).all())
