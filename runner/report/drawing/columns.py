"""A table on the terminal."""

import math
import textwrap
from collections.abc import Sequence

import pandas as pd

from runner.report.drawing.figures import short
from runner.report.settings import number

WIDTH = 110
"""Of sentences; commands and tables are never broken."""


def filled(line: str) -> str:
    """Return a sentence in lines, those after the first set in."""
    return textwrap.fill(line, WIDTH, subsequent_indent="  ", break_on_hyphens=False)


def aligned(frame: pd.DataFrame) -> str:
    """Return a table in columns."""
    lines = [list(map(str, frame.columns))]
    return aligned_rows([*lines, *([_cell(v) for v in row] for row in frame.to_numpy(dtype=object))])


def aligned_rows(lines: Sequence[Sequence[str]]) -> str:
    """Return rows of cells in columns."""
    widths = [max(len(line[i]) for line in lines) for i in range(len(lines[0]))]
    return "\n".join("  ".join(c.ljust(w) for c, w in zip(line, widths, strict=True)).rstrip() for line in lines)


def _cell(value: object) -> str:
    if isinstance(value, float):
        return "–" if math.isnan(value) else f"{value:.4g}"
    return short(number(str(value))) or "–"
