"""Tables of the report's page: rows as data, which its script sorts, filters and shows."""

import html
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from runner.report.drawing.charts import as_json
from runner.report.section import Table

MOST_ROWS = 5_000
"""A table of the page holds so many rows; its CSV has them all."""
FIRST_COLUMNS = 7
"""So many columns are shown before all are asked for."""
DIGITS = 9
"""Significant digits that resting on a number shows: what a number of 32 bits has."""


def table_html(table: Table) -> str:
    """Return a table: its frame, filled by the page's script from the data beside it."""
    more = f"The first {MOST_ROWS:,} of {len(table.frame):,} rows. " if len(table.frame) > MOST_ROWS else ""
    title, name = html.escape(table.title), html.escape(table.name)
    note = f'<p class="note">{more}<a href="report/{name}.csv">CSV</a></p>'
    shown = f"""<div class="live" id="table-{name}">
<div class="tools"><label>Filter <input type="search" spellcheck="false" aria-label="Filter {title}"></label>
<button class="columns" type="button" hidden></button><span class="count soft" role="status"></span></div>
<div class="scroll tall" tabindex="0" role="region" aria-label="{title}">
<table><thead></thead><tbody></tbody></table></div>
<button class="more" type="button" hidden></button>
<script type="application/json">{as_json(_data(table), DIGITS)}</script></div>{note}"""
    if table.folded:
        return f"<details><summary>{title}</summary>{shown}</details>\n"
    return f"<h3>{title}</h3>{shown}\n"


def _data(table: Table) -> dict[str, Any]:
    """Return what the script reads: columns by their names, each as its values, and which are shown first."""
    frame = table.frame.head(MOST_ROWS)
    columns = [str(c) for c in frame]
    first = [columns.index(c) for c in table.first if c in columns] or list(range(min(FIRST_COLUMNS, len(columns))))
    verdict = columns.index("verdict") if "verdict" in columns else None
    inside = frame["in_set"].to_numpy(bool).tolist() if "in_set" in columns else None
    return {
        "columns": [c.replace("_", " ") for c in columns],
        "names": table.names,
        "first": first,
        "values": [_values(frame.iloc[:, i]) for i in range(len(columns))],
        "best": None if verdict is None else [v == "best" for v in frame["verdict"]],
        "inside": inside,
    }


def _values(column: "pd.Series[Any]") -> Sequence[Any]:
    """Return a column's cells: numbers, and texts that are numbers, as numbers.

    Ids are texts: eight hexadecimal digits may look like a number.
    """
    if column.dtype == bool:
        return ["yes" if v else "no" for v in column]
    if pd.api.types.is_numeric_dtype(column):
        return [int(v) if float(v).is_integer() and abs(v) < 1e15 else v for v in np.asarray(column, float).tolist()]
    if column.name in ("run_id", "runs"):
        return [str(v) for v in column]
    return [_cell(v) for v in column]


def _cell(value: object) -> object:
    if isinstance(value, float | int) and not isinstance(value, bool):
        return float(value)
    text = "" if value is None or value is pd.NaT else str(value)
    if is_number(text):  # a whole number stays one, and as it stands where a page's numbers could not hold it
        whole = text.removeprefix("-").isdecimal()
        return float(text) if not whole else int(text) if abs(int(text)) < 2**53 else text
    return text


def is_number(text: str) -> bool:
    """Say whether a cell's text is a number."""
    try:
        float(text)
    except ValueError:
        return False
    return True
