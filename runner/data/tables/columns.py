"""What a column of a table holds: numbers, booleans or text; and text that was meant to be numbers."""

import re
from dataclasses import dataclass, field
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
MOST_WORDS = 5
"""A column with more different texts than this beside its numbers is no column of numbers."""

_GROUPED = r"\d{1,3}(?:[,.' \u00a0\u202f]\d{3})+"
_SYMBOLS = "$€£¥₹%‰°"
_DECORATED = re.compile(
    rf"[-+]?\s*(?P<before>[{_SYMBOLS}]?)\s*[-+]?"
    rf"(?P<whole>{_GROUPED}|\d+)(?:(?P<mark>[.,])\d+)?\s*(?P<after>[{_SYMBOLS}]?)"
)
_CODE = re.compile(r"[-+]?0\d+")
"""A number with zeros before it, which is a code."""

Numbers = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Column:
    """A column, understood."""

    name: str
    kind: str
    """number, boolean or text."""
    missing: npt.NDArray[np.bool_]
    """Which rows have no value, ``[n]``."""
    values: npt.NDArray[Any]
    """``[n]``: numbers in float64, NaN where missing; booleans; or texts, empty where missing."""
    distinct: int
    """Different values."""
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


def understand(cells: pd.Series, reading: Reading) -> Column:
    """Return what a column holds; one that is declared text is text."""
    name, n = str(cells.name), len(cells)
    if pd.api.types.is_bool_dtype(cells):
        values = cells.to_numpy(bool)
        return Column(name, "boolean", np.zeros(n, bool), values, len(np.unique(values)), cells)
    if pd.api.types.is_numeric_dtype(cells) and name not in reading.text:
        numbers = cells.to_numpy(np.float64).copy()
        numbers[np.isin(numbers, _as_numbers(pd.Series(reading.missing_values, dtype=object)))] = np.nan
        return _of_numbers(name, numbers, cells)
    codes, words = pd.factorize(cells.astype(object), use_na_sentinel=True)
    stripped = pd.Series([str(word).strip() for word in words], dtype=object)
    empty = stripped.isin(["", *reading.missing_values]).to_numpy(bool)
    missing = np.where(codes < 0, True, empty[codes]) if len(words) else np.ones(n, bool)
    if name not in reading.text and not missing.all():
        absent = empty | stripped.isin(NO_NUMBER).to_numpy(bool)
        numbers = _as_numbers(_without_decoration(stripped, reading))
        if not np.isnan(numbers[~absent]).any() and not absent.all():
            numbers[absent | np.isin(numbers, _as_numbers(pd.Series(reading.missing_values, dtype=object)))] = np.nan
            return _of_numbers(name, np.where(codes < 0, np.nan, numbers[codes]), cells)
        if stripped[~absent].isin([*TRUE, *FALSE]).all() and not absent.all():
            missing |= np.where(codes < 0, True, absent[codes])
            if not missing.any():
                values = stripped.isin(TRUE).to_numpy(bool)[codes]
                return Column(name, "boolean", missing, values, len(np.unique(values)), cells)
    texts = np.where(missing, "", cells.astype(object).map(str, na_action="ignore").to_numpy())
    column = Column(name, "text", missing, texts, len(set(texts[~missing])), cells)
    return column if name in reading.text or missing.all() else _doubted(column, reading)


def _of_numbers(name: str, numbers: Numbers, cells: pd.Series) -> Column:
    missing = np.isnan(numbers)
    return Column(name, "number", missing, numbers, len(np.unique(numbers[~missing])), cells)


def _as_numbers(words: pd.Series) -> Numbers:
    """Return plain numbers as pandas reads them from a file; what is none is NaN."""
    return pd.to_numeric(words, errors="coerce").to_numpy(np.float64, na_value=np.nan).copy()


def _without_decoration(words: pd.Series, reading: Reading) -> pd.Series:
    """Return numbers as they are written plainly; what is no number under this reading, as an empty text."""
    if not reading.units and reading.thousands is None and reading.decimal == ".":
        return words
    mark = re.escape(reading.decimal)
    group = re.escape(reading.thousands) if reading.thousands else None
    grouped = re.compile(rf"([-+]?\d{{1,3}}(?:{group}\d{{3}})+)((?:{mark}\d*)?)") if group else None
    plain = re.compile(rf"[-+]?(?:\d+{mark}?\d*|{mark}\d+)(?:[eE][-+]?\d+)?")

    def plainly(word: str) -> str:
        sign = word[:1] if word[:1] in "+-" else ""
        bare = word.removeprefix(sign)
        for unit in reading.units:
            bare = bare.removeprefix(unit).removesuffix(unit).strip()
        bare = sign + bare
        if grouped and reading.thousands and (found := grouped.fullmatch(bare)):
            bare = found[1].replace(reading.thousands, "") + found[2]
        return bare.replace(reading.decimal, ".") if plain.fullmatch(bare) else ""

    return words.map(plainly)


def _doubted(column: Column, reading: Reading) -> Column:
    """Return a column of text, with what it would take to be numbers where almost all of it is."""
    words = pd.Series([text.strip() for text in column.values[~column.missing]], dtype=object)
    counts = words.value_counts()
    different = pd.Series(counts.index, dtype=object)
    codes = different.map(lambda word: _CODE.fullmatch(word) is not None).to_numpy(bool)
    plain = ~np.isnan(_as_numbers(_without_decoration(different, reading))) & ~codes
    decorated = [None if plain[i] or codes[i] else _DECORATED.fullmatch(word) for i, word in enumerate(different)]
    alike = plain | np.array([found is not None for found in decorated])
    if counts.to_numpy()[alike].sum() < ALMOST_ALL * len(words):
        return column
    rest = [word for word, is_like in zip(different, alike, strict=True) if not is_like]
    if len(rest) > MOST_WORDS:
        return column
    settings = _settings_for([found for found in decorated if found], reading)
    absent = [word for word in rest if word not in NO_NUMBER]
    if absent:
        settings["missing_values"] = [*reading.missing_values, *absent]
    shown = [word for word, found in zip(different, decorated, strict=True) if found is not None][:2]
    named = tuple(dict.fromkeys([*shown, *absent]))
    return Column(**{**vars(column), "odd": named, "settings": settings})


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
