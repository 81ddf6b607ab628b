"""The user's own sentences: a column of a table, from which another one is predicted."""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from runner.data import Array, Samples, Source
from runner.data.tables.cells import Reading, body_of, check, header_of, readings
from runner.data.tables.columns import understand
from runner.data.tables.features import rows_named
from runner.data.tables.table import HEADINGS, Roles, Table, Trouble
from runner.data.tables.target import as_called, written
from runner.data.vocabulary import Codes, Corpus, Splitting, Vocabulary, read
from runner.errors import ConfigError, TableError, closest

KIND = "sentences"
"""Of a ``Source.reading``."""
_HELPS = ("missing", "missing_values", "kind")
"""Settings of ``data=csv`` that may help with a label here too; units and the like are not among them."""


def text_csv(
    *,
    path: str,
    text: str | None,
    label: str | None,
    unit: str,
    lowercase: bool,
    vocabulary: int,
    least: int,
    length: int,
    kind: str,
    missing: str,
    missing_values: list[str],
    delimiter: str,
    encoding: str,
    header: bool,
    test_fraction: float,
) -> Source:
    """Read a column of sentences and one of targets.

    Args:
        path: the file.
        text: the column to read; None, of this or the next, is refused with the columns that there are.
        label: the column to predict.
        unit: what a text is cut into, ``words`` or ``characters``.
        lowercase: capitals are read as small letters.
        vocabulary: tokens that are known at most.
        least: times that a token occurs in training, or it is not known.
        length: tokens that are read of a text at most.
        kind: of the targets: ``classes``, ``numbers``, or ``auto``, as for ``tables.csv``.
        missing: of rows without a text or a label: ``refuse`` or ``drop``.
        missing_values: what means missing, beside an empty cell; all that follow are as in ``tables.csv`` too.
        delimiter, encoding, header: of the file.
        test_fraction: the share of the rows held out.

    Raises:
        TableError: naming what cannot be used, and the settings by which it can.
    """
    as_text = () if text is None else (text,)
    reading = Reading(delimiter, missing_values=tuple(missing_values), encoding=encoding, header=header, text=as_text)
    _refuse_odd_names(path, reading, text, label)
    table = Table(path, reading, Roles(label, as_text, (), None, kind, missing))
    if text is None or table.target is None:
        raise _unnamed(table, "text" if text is None else "label")
    texts, splitting = table.columns[text].values[table.kept].tolist(), Splitting(unit, lowercase)
    x, tokens, lengths = read(texts, splitting, length)
    _refuse_trouble(table, text, lengths)
    y, labels = table.target.encoded
    return Source(
        Samples(x, y, np.flatnonzero(table.kept)),
        None if labels is None else len(labels),
        _fingerprint(texts, y),
        test_fraction=test_fraction,
        notes=tuple(_notes(table, text, lengths, length, unit)),
        labels=labels,
        reading=_reading(table, text),
        overview=_overview(table, text, lengths, {}),
        corpus=Corpus(splitting, tokens, vocabulary, least),
    )


def _reading(table: Table, text: str) -> dict[str, Any]:
    """Return how a file like a table becomes texts and labels, as plain values."""
    assert table.target is not None, "it was asked for"
    return {
        "kind": KIND,
        "reading": table.reading.plain(),
        "column": text,
        "label": table.target.column.name,
        "label_kind": table.target.column.kind,
        "names": table.names,
    }


def _unnamed(table: Table, key: str) -> TableError:
    """Return what refuses a table of which a column is not chosen yet."""
    lacking = f"data.{key} must be the column to {'read' if key == 'text' else 'predict'}"
    return TableError(f"{lacking}\nvalid: {', '.join(table.names)}", _columns(table), None)


def _refuse_odd_names(path: str, reading: Reading, text: str | None, label: str | None) -> None:
    """Refuse settings that contradict each other, and columns that are not there.

    Raises:
        ConfigError: naming the key.
    """
    check(reading)
    names = header_of(path, replace(reading, text=()), "data.path")
    if text is not None and text not in names:
        bare = Table(path, replace(reading, text=()), Roles(None, (), (), None, "auto", "refuse"))
        hint = bare.hint() or closest(text, names)
        raise ConfigError(f"data.text={text} is no column of {path}{hint}\nvalid: {', '.join(names)}")
    if text is not None and text == label:
        raise ConfigError(f"data.text={text} is data.label too: what is read cannot be what is predicted")


def _refuse_trouble(table: Table, text: str, lengths: Codes) -> None:
    """Refuse a table that cannot be used as it is.

    Raises:
        TableError: naming every trouble, and settings under which there is none, where some are known.
    """
    assert table.target is not None, "it was asked for"
    column, troubles = table.columns[text], list[Trouble]()
    empty = column.missing
    if empty.all():
        troubles.append(Trouble(text, "has no text in any row: there is nothing to read", {}))
    elif empty.any() and table.roles.missing == "refuse":
        said = f"has no text in {_counted(empty)}, such as row {rows_named(empty)}"
        troubles.append(Trouble(text, said, {"missing": "drop"}))
    if not troubles or troubles[0].settings:
        troubles += table.troubles_of_target(table.target)
    if not troubles:
        return
    said = "\n".join(
        [f"data.path={table.path} cannot be used as it is:"]
        + [f"  the column {trouble.column} {trouble.said}" for trouble in troubles]
    )
    settings: dict[str, Any] | None = {}
    for trouble in troubles:
        ours = {key: value for key, value in trouble.settings.items() if key in _HELPS}
        ours |= {"kind": "classes"} if len(ours) < len(trouble.settings) else {}
        settings = None if settings is None or not trouble.settings else settings | ours
    raise TableError(said, _overview(table, text, lengths, {t.column: t.said for t in troubles}), settings)


def _counted(which: npt.NDArray[np.bool_]) -> str:
    count = int(which.sum())
    return "1 row" if count == 1 else f"{count} rows"


def _fingerprint(texts: Sequence[str], y: Array) -> str:
    """Return 16 hexadecimal digits of texts and targets, however they are cut into tokens."""
    digest = hashlib.sha256()
    for text in texts:
        digest.update(text.encode("utf-8", "surrogatepass") + b"\0")
    digest.update(f"{y.dtype.str}{y.shape}".encode())
    digest.update(np.ascontiguousarray(y).data)
    return digest.hexdigest()[:16]


def _notes(table: Table, text: str, lengths: Codes, length: int, unit: str) -> Iterator[str]:
    """Yield what was done, in sentences."""
    path = f"data.path={table.path}"
    if dropped := table.dropped():
        yield f"{path}: {dropped.removeprefix('; ')}"
    if cut := int((lengths > length).sum()):
        most = f"{lengths.max():,} {unit}"
        yield (
            f"{path}: {cut:,} of {len(lengths):,} texts are cut to data.length={length} {unit}; the longest has {most}"
        )
    if unit == "words" and lengths.max() == 1:
        yield f"{path}: {text} has one word in each row; data=csv reads such a column as a category"
    assert table.target is not None, "it was asked for"
    if few := table.target.lone_classes():
        yield f"{path}: {', '.join(few[:5])}: of such a class there is one sample, which only one part can have"


def _columns(table: Table) -> tuple[tuple[str, ...], ...]:
    """Return a line a column, the headings first, before it is known which are used."""
    lines: list[tuple[str, ...]] = [(*HEADINGS[:4], "words on average")]
    for name, *found, _ in table.overview()[1:]:
        cells = table.columns[name].values[~table.columns[name].missing]
        words = sum(len(str(cell).split()) for cell in cells) / max(1, len(cells))
        lines.append((name, *found, f"{words:.1f}" if found[0] == "text" else ""))
    return tuple(lines)


def _overview(table: Table, text: str, lengths: Codes, troubles: Mapping[str, str]) -> tuple[tuple[str, ...], ...]:
    """Return a line a column, the headings first."""
    lines: list[tuple[str, ...]] = [HEADINGS]
    for name, kind, missing, distinct, becomes in table.overview()[1:]:
        if name in troubles:
            becomes = f"cannot be used: it {troubles[name]}"
        elif name == text and len(lengths):
            becomes = f"the text: {lengths.mean():.1f} tokens on average, {lengths.max()} at most"
        lines.append((name, kind, missing, distinct, becomes))
    return tuple(lines)


def read_like(
    path: str, saved: Mapping[str, Any], length: int, labels: Sequence[str] | None, key: str
) -> tuple[Samples, str | None]:
    """Read a table that has the column of texts which a run was trained on, with or without the label.

    Args:
        path: the file.
        saved: how the training table was read, and the run's vocabulary.
        length: tokens of a text that the run reads.
        labels: what its classes are called; None where the targets are numbers.
        key: that named the file.

    Returns:
        Numbers ``[n, length]`` and the row of each; of targets the label's values as they stand in the table, classes
        as training called them, ``[n]``, or none, ``[n, 0]``. And what is to be said of it.

    Raises:
        ConfigError: if the column is not there, or a row has no text.
    """
    reading, names = _columns_of(path, saved, key)
    column, label = saved["column"], saved["label"] if saved["label"] in names else None
    table = body_of(path, reading, key, names, [column, *([label] if label else [])])
    if len(table) == 0:
        raise ConfigError(f"{key}={path} has no rows")
    cells = understand(table[column], reading)
    if cells.missing.any():
        raise ConfigError(f"{key}={path}: {column} has no text in row {rows_named(cells.missing)}")
    known = Vocabulary.of(saved["vocabulary"])
    texts = cells.values.tolist()
    x, at = known.encoded(texts, length), np.arange(len(texts))
    cut = sum(len(known.splitting.tokens(text)) > length for text in texts)
    note = f"{key}={path}: {cut:,} of {len(texts):,} texts are cut to {length} tokens, which the run reads at most"
    if label is None:
        return Samples(x, np.empty((len(x), 0)), at), note if cut else None
    words = written(table[label])
    y = words if labels is None else np.array(as_called(words, list(labels), saved["label_kind"]), dtype=object)
    return Samples(x, y, at), note if cut else None


def _columns_of(path: str, saved: Mapping[str, Any], key: str) -> tuple[Reading, list[str]]:
    """Return how a file is read, and what its columns are called in training's words; the delimiter may be another."""
    reading, column, every = Reading.of(saved["reading"]), saved["column"], list(saved["names"])
    if not reading.header:
        layouts = [every, [name for name in every if name != saved["label"]], [column]]
        count = len(header_of(path, reading, key))
        if found := next((layout for layout in layouts if len(layout) == count), None):
            return reading, found
        raise ConfigError(f"{key}={path} has {count} columns: the training table has {len(every)}")
    for tried in readings(reading):
        if column in header_of(path, tried, key, unique=False):
            return tried, header_of(path, tried, key)
    names = header_of(path, reading, key, unique=False)
    raise ConfigError(
        f"{key}={path} lacks the column {column}, which the run was trained on{closest(column, names)}\n"
        f"it has: {', '.join(names)}"
    )
