"""A table with a column to predict: what becomes of each column, and what stands in the way."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from runner.config.hydra_door import written
from runner.data import Samples, Source, fingerprint
from runner.data.tables.cells import DELIMITERS, Reading, body_of, check, header_of, with_leading_zeros
from runner.data.tables.columns import Column, all_whole, counts_rows, is_ambiguous, numbers_of, understand
from runner.data.tables.features import MOST_CATEGORIES, Feature, encode
from runner.data.tables.target import Target
from runner.errors import ConfigError, TableError, closest
from runner.shell import joined

EXACT = 2**53
"""Whole numbers from here on are rounded in float64."""
LEAST_ROWS = 10
MOST_ROUNDS = 4
"""Of settings tried until a table can be read."""
HEADINGS = ("column", "type", "missing", "distinct", "what becomes of it")


@dataclass(frozen=True)
class Roles:
    """What is asked of a table's columns."""

    label: str | None
    columns: tuple[str, ...]
    exclude: tuple[str, ...]
    index: str | None
    kind: str
    missing: str


@dataclass(frozen=True)
class Trouble:
    """Why a column cannot be used, and the settings of data by which it can; none where no setting helps."""

    column: str
    said: str
    settings: dict[str, Any]


class Table:
    """A file read under some settings."""

    def __init__(self, path: str, reading: Reading, roles: Roles) -> None:
        """Read it.

        Raises:
            ConfigError: if it cannot be read, or a setting names no column of its.
        """
        check(reading)
        self.path, self.reading, self.roles = path, reading, roles
        self.names = header_of(path, reading, "data.path")
        self._check_names()
        as_text = [name for name in (*reading.text, *([roles.label] if roles.label else ())) if name in self.names]
        try:
            cells = body_of(path, reading, "data.path", self.names, as_text)
        except ConfigError as error:
            raise ConfigError(f"{error}{self.hint()}") from error
        self.rows = len(cells)
        if not self.rows:
            raise ConfigError(f"data.path={path} has a header and no rows")
        self.columns = {name: understand(cells[name], reading) for name in self.names}
        self.index, self.idle = self._index(), self._idle()

    def _check_names(self) -> None:
        roles, valid = self.roles, ", ".join(self.names)
        asked = {
            "data.label": [roles.label] if roles.label is not None else [],
            "data.columns": roles.columns,
            "data.exclude": roles.exclude,
            "data.index": [roles.index] if roles.index is not None else [],
            "data.text": self.reading.text,
        }
        for key, names in asked.items():
            if twice := next((name for i, name in enumerate(names) if name in names[:i]), None):
                raise ConfigError(f"{key} names {twice} twice, got {list(names)}")
            for name in names:
                if name not in self.names:
                    hint = self.hint() or closest(name, self.names)
                    raise ConfigError(f"{key}={name} is no column of {self.path}{hint}\nvalid: {valid}")
        for key in ("data.columns", "data.exclude", "data.index"):
            if roles.label in asked[key]:
                raise ConfigError(f"{key} has data.label={roles.label} too, which is what is predicted")
        for name in (*roles.exclude, *asked["data.index"]):
            if name in roles.columns:
                key = "data.exclude" if name in roles.exclude else "data.index"
                raise ConfigError(f"data.columns has {name} too, which {key} leaves out")

    def hint(self) -> str:
        """Return what may be wrong where a column is missing."""
        if len(self.names) == 1 and (other := next((d for d in DELIMITERS if d in self.names[0]), None)):
            shown = "'data.delimiter=\\t'" if other == "\t" else f"\"data.delimiter='{other}'\""
            return f"; its header is one cell, {self.names[0]!r}: try {shown}"
        if self.reading.header and not np.isnan(numbers_of(pd.Series(self.names, dtype=object), self.reading)).any():
            return "; its first line holds numbers: data.header=false if they are values"
        return ""

    def _index(self) -> str | None:
        """Return the column that names the rows: as asked, or a nameless first one that counts them."""
        if self.roles.index is not None:
            return self.roles.index
        first = self.columns[self.names[0]]
        nameless = self.reading.header and first.name == "Unnamed: 0" and first.name not in self._asked_for
        return first.name if nameless and counts_rows(first) else None

    def _idle(self) -> list[str]:
        """Return columns without a name and without a value, as delimiters at the ends of rows make them."""
        nameless = (c for place, c in enumerate(self.columns.values()) if c.name == f"Unnamed: {place}")
        return [c.name for c in nameless if c.missing.all() and c.name not in self._asked_for]

    @cached_property
    def _asked_for(self) -> set[str]:
        label = [self.roles.label] if self.roles.label else []
        return {*self.roles.columns, *self.roles.exclude, *self.reading.text, *label}

    @cached_property
    def features(self) -> list[Column]:
        """The columns to predict from, in order."""
        left_out = {*self.roles.exclude, self.roles.label, self.index, *self.idle}
        chosen = self.roles.columns or [name for name in self.names if name not in left_out]
        return [self.columns[name] for name in chosen]

    @cached_property
    def kept(self) -> npt.NDArray[np.bool_]:
        """Which rows are used, ``[n]``."""
        kept = np.ones(self.rows, bool)
        if self.label is not None and self.roles.missing != "refuse":
            kept &= ~self.label.missing
        if self.roles.missing == "drop":
            for column in self.features:
                kept &= ~column.missing
        return kept

    @cached_property
    def troubles(self) -> list[Trouble]:
        """Everything that stands in the way, column by column."""
        found = [trouble for column in self.features for trouble in self._of_feature(column)]
        if self.target is None:
            return found
        return found + list(self.troubles_of_target(self.target))

    @property
    def label(self) -> Column | None:
        """The column to predict."""
        return None if self.roles.label is None else self.columns[self.roles.label]

    @cached_property
    def target(self) -> Target | None:
        """What is predicted."""
        return None if self.label is None else Target(self.label, self.roles.kind, self.kept)

    def _of_feature(self, column: Column) -> Iterator[Trouble]:
        name, gone = column.name, int(column.missing.sum())
        out = self._without(name)
        if self.reading.header and name.startswith("Unnamed: ") and name not in self._asked_for:
            yield Trouble(name, "has no name in the header", out)
        elif gone == self.rows:
            yield Trouble(name, "has no value in any row", out)
        elif column.was_meant_as_numbers:
            yield self._meant_as_numbers(column)
        elif column.kind == "number" and np.isinf(column.values).any():
            yield self._infinite(column)
        else:
            if column.kind == "text" and (many := column.distinct(self.kept)) > MOST_CATEGORIES:
                yield Trouble(name, f"has {many} categories, more than {MOST_CATEGORIES}{column.reads_as}", out)
            if gone and self.roles.missing == "refuse":
                yield Trouble(name, f"has {gone} missing values", {"missing": "impute"})

    def _without(self, name: str) -> dict[str, Any]:
        if self.roles.columns:
            return {"columns": [column for column in self.roles.columns if column != name]}
        return {"exclude": [*self.roles.exclude, name]}

    def _meant_as_numbers(self, column: Column) -> Trouble:
        """Return what would make numbers of a column; where nothing does, it is text on request."""
        as_numbers = replace(self.reading, **{k: _frozen(v) for k, v in column.settings.items()})
        shown = ", ".join(repr(word) for word in column.odd)
        said = f"is text, though almost all of it is numbers: {shown}"
        if is_ambiguous(column):
            said += " (\"data.decimal=','\" takes the comma for the mark before a fraction)"
        if "decimal" not in column.settings and understand(column.written, as_numbers).was_meant_as_numbers:
            return Trouble(column.name, said, {"text": [*self.reading.text, column.name]})
        return Trouble(column.name, said, column.settings)

    def troubles_of_target(self, target: Target) -> Iterator[Trouble]:
        """Yield what stands in the way of predicting a column."""
        column, gone = target.column, int(target.column.missing.sum())
        if gone == self.rows:
            yield Trouble(column.name, "has no value in any row: there is nothing to predict", {})
        elif target.was_meant_as_numbers:
            yield self._meant_as_numbers(column)
        elif self.roles.kind == "numbers" and column.kind != "number":
            yield Trouble(column.name, "holds texts, which are no numbers", {"kind": "classes"})
        elif column.kind == "number" and np.isinf(column.values).any():
            yield self._infinite(column)
        elif gone and self.roles.missing == "refuse":
            yield Trouble(column.name, f"has {gone} missing values", {"missing": "drop"})
        elif not self.features:
            yield Trouble(column.name, "is the only column: nothing is left to predict it from", {})
        elif (used := int(self.kept.sum())) < LEAST_ROWS:
            rows = "1 row" if used == 1 else f"{used} rows"
            yield Trouble(column.name, f"has {rows} to use, which is too few{self.dropped()}", {})
        elif target.classes is not None:
            yield from self._of_classes(target, target.classes)

    def _of_classes(self, target: Target, classes: Sequence[Any]) -> Iterator[Trouble]:
        name, used = target.column.name, int(self.kept.sum())
        left = f" in the {used} rows that are used" if used < self.rows else ""
        if len(classes) == 1:
            said = f"is {classes[0]} everywhere{left}: there is nothing to tell apart{self.dropped()}"
            yield Trouble(name, said, {})
        elif len(classes) > max(2, used // 2):
            helps = {"kind": "numbers"} if target.column.kind == "number" else {}
            yield Trouble(name, f"has {len(classes)} different values{left}, which are no classes", helps)

    def _infinite(self, column: Column) -> Trouble:
        words = column.written.map(str, na_action="ignore").to_numpy(object)[np.isinf(column.values)]
        settings = {"missing_values": [*self.reading.missing_values, *sorted(set(words))]}
        return Trouble(column.name, "holds a number that is not finite", settings)

    def dropped(self) -> str:
        """Say how many rows are left out, and because of which columns."""
        if self.kept.all():
            return ""
        looked_at = [c for c in (*(self.features if self.roles.missing == "drop" else ()), self.label) if c is not None]
        counts = {c.name: int(c.missing.sum()) for c in looked_at if c.missing.any()}
        because = ", ".join(f"{name} ({count})" for name, count in counts.items())
        left = int((~self.kept).sum())
        return f"; {left} of {self.rows} rows are left out, as values are missing in {because}"

    def overview(self) -> tuple[tuple[str, ...], ...]:
        """Return a line a column, the headings first."""
        troubles: dict[str, list[str]] = {}
        for trouble in self.troubles:
            troubles.setdefault(trouble.column, []).append(f"cannot be used: it {trouble.said}")
        lines = []
        for name, column in self.columns.items():
            becomes = "; ".join(troubles.get(name, [])) or self._becomes(column)
            kind = "whole" if column.kind == "number" and all_whole(column) else column.kind
            lines.append((name, kind, str(int(column.missing.sum())), str(column.distinct()), becomes))
        return HEADINGS, *lines

    def _becomes(self, column: Column) -> str:
        if self.target is not None and column is self.target.column:
            return "the target" if self.target.classes is None else f"the label: {len(self.target.classes)} classes"
        if column.name == self.index:
            return "names the rows"
        if column not in self.features:
            return "left out" + (", as it is empty" if column.name in self.idle else "")
        filled = self.roles.missing == "impute" and column.missing.any()
        more = " and one that says where it is missing" if filled else ""
        if column.kind == "text":
            return f"{column.distinct(self.kept)} features, one a category{more}"
        return f"a feature{more}" + (", the same in every row" if column.distinct() == 1 else "")

    def source(self, test_fraction: float) -> Source:
        """Return the data set.

        Raises:
            TableError: naming every trouble, and settings under which there is none.
        """
        if self.target is None:
            said = f"data.label must be the column to predict\nvalid: {', '.join(self.names)}"
            raise TableError(said, self.overview(), None)
        if self.troubles:
            raise TableError(self._refusal(), self.overview(), self._remedy())
        kept = self.kept
        features = [Feature.of(column, kept) for column in self.features]
        marked = [c.name for c in self.features if self.roles.missing == "impute" and c.missing.any()]
        x, categories = encode(features, marked, {c.name: (c.values[kept], c.missing[kept]) for c in self.features})
        y, labels = self.target.encoded
        samples = Samples(x, y, np.flatnonzero(kept))
        reading = {
            "kind": "table",
            "reading": self.reading.plain(),
            "features": [feature.plain() for feature in features],
            "marked": marked,
            "inputs": [*(name for feature in features for name in feature.inputs), *(f"{m} missing" for m in marked)],
            "label": self.target.column.name,
            "label_kind": self.target.column.kind,
            "missing": self.roles.missing,
            "names": self.names,
        }
        classes = None if labels is None else len(labels)
        return Source(
            samples,
            classes,
            fingerprint(samples),
            test_fraction=test_fraction,
            notes=tuple(self._notes()),
            labels=labels,
            reading=reading,
            overview=self.overview(),
            categories=categories,
        )

    def _notes(self) -> Iterator[str]:
        """Yield what was done, in sentences."""
        path = f"data.path={self.path}"
        if dropped := self.dropped():
            yield f"{path}: {dropped.removeprefix('; ')}"
        if self.index is not None and self.roles.index is None:
            yield f"{path}: the nameless first column counts the rows and is left out"
        if self.idle:
            yield f"{path}: {', '.join(self.idle)} {'has' if len(self.idle) == 1 else 'have'} no name and no value"
        whole = [c.name for c in self.features if c.kind == "number" and all_whole(c)]
        for name, code in with_leading_zeros(self.path, self.reading, "data.path", self.names, whole).items():
            given = _typed("text", [*self.reading.text, name])
            if self.columns[name].distinct(self.kept) > MOST_CATEGORIES:
                given = _typed("exclude", [*self.roles.exclude, name])
            yield f"{path}: {name} has zeros before its numbers, as in {code}; if they are codes, give {given}"
        for column in self.features:
            if counts_rows(column):
                yield f"{path}: {column.name} counts the rows; {_typed('exclude', [column.name])} leaves it out"
            if column.kind == "number" and all_whole(column) and np.abs(column.values[~column.missing]).max() >= EXACT:
                yield f"{path}: {column.name} holds whole numbers of 16 digits and more, whose last ones are rounded"
        for column in (*self.features, *([self.label] if self.label is not None else ())):
            if column.kind == "text" and column.name not in self.reading.text:
                words = [w for w in ("NA", "N/A", "NaN", "nan", "null", "NULL", "None", "?") if w in column.values]
                if words:
                    shown = ", ".join(words)
                    yield (
                        f"{path}: {column.name} has {shown} among its texts, taken as a value; "
                        f"{_typed('missing_values', words)} takes it for missing"
                    )
                if broken := sum("\n" in value for value in column.values):
                    yield f"{path}: {broken} cells of {column.name} hold line ends, as a stray quote would make them"
        if self.target is not None and (few := self.target.lone_classes()):
            yield f"{path}: {', '.join(few[:5])}: of such a class there is one sample, which only one part can have"

    def _refusal(self) -> str:
        lines = [f"data.path={self.path} cannot be used as it is:"]
        lacking = [t for t in self.troubles if "missing" in t.settings]
        lines += [f"  the column {t.column} {t.said}" for t in self.troubles if t not in lacking]
        if lacking:
            lines.append("  values are missing: " + ", ".join(f"{t.column} ({t.said.split()[1]})" for t in lacking))
        return "\n".join(lines)

    def _remedy(self) -> dict[str, Any] | None:
        """Return settings under which there is no trouble; None where none are found."""
        table, settings = self, dict[str, Any]()
        for _ in range(MOST_ROUNDS):
            if not table.troubles:
                break
            if any(not trouble.settings for trouble in table.troubles):
                return None
            settings |= _together([settings, *(trouble.settings for trouble in table.troubles)])
            try:
                table = Table(
                    self.path,
                    replace(self.reading, **{k: _frozen(v) for k, v in settings.items() if k in vars(self.reading)}),
                    replace(self.roles, **{k: _frozen(v) for k, v in settings.items() if k in vars(self.roles)}),
                )
            except ConfigError:
                return None
        return settings if not table.troubles and self._keeps_numbers(table) else None

    def _keeps_numbers(self, other: "Table") -> bool:
        """Say whether every column that is numbers under these settings is so under those of another, and used."""
        used = {column.name for column in other.features if column.kind == "number"}
        troubled = {trouble.column for trouble in self.troubles}
        numbers = [c for c in self.features if c.kind == "number" and c.name not in troubled]
        return all(column.name in used for column in numbers)


def _together(found: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Return all settings; lists of one are joined, but of columns to use, which each leaves one out of."""
    settings: dict[str, Any] = {}
    decimals = {one["decimal"] for one in found if "decimal" in one}
    found = [{k: v for k, v in one.items() if k != "thousands" or v not in decimals} for one in found]
    for one in found:
        for key, value in one.items():
            if not isinstance(value, list) or key not in settings:
                settings[key] = value
            elif key == "columns":
                settings[key] = [name for name in settings[key] if name in value]
            else:
                settings[key] = list(dict.fromkeys([*settings[key], *value]))
    if settings.get("missing") == "impute" or {one.get("missing") for one in found} >= {"impute"}:
        settings["missing"] = "impute"  # which leaves rows without a label out too
    return settings


def _frozen(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def _typed(key: str, names: Sequence[str]) -> str:
    """Return a setting that is a list of texts as it is typed in a shell."""
    return joined([f"data.{key}={written(list(names))}"])
