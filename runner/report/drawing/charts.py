"""Charts of the page: plotly's figures as plain dictionaries, and the JSON that they are written as."""

import html
import importlib.util
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from runner.errors import RecordError
from runner.report.drawing.looks import Look

Chart = dict[str, Any]
"""``{"data": [...], "layout": {...}}``."""
Numbers = Sequence[float] | npt.NDArray[Any]

DIGITS = 6
"""Significant digits of a chart's numbers."""
WIDE_DECADES = 2.5
"""From so many on, a logarithmic axis has a tick at each power of ten alone."""
INK, SOFT = "var(--ink)", "var(--soft)"
"""Colours that follow the page's, light or dark: its script puts them in."""
ORDER_COLOURS = ["#b5481f", "#e0a065", "#d9d4c7", "#74a9cf", "#1f62a5"]
"""From the worst, red, to the best, blue: told apart by the colour-blind, and seen on white and on black."""
ORDER = [[i / 4, colour] for i, colour in enumerate(ORDER_COLOURS)]
"""The same as plotly's scale."""


def plotly_js() -> str:
    """Return plotly.js as the installed package holds it, which is not imported: that would take a second.

    Raises:
        RecordError: if the package is not there.
    """
    spec = importlib.util.find_spec("plotly")
    if spec is None or spec.origin is None:
        raise RecordError("the report's page needs the package plotly: pip install plotly")
    path = Path(spec.origin).parent / "package_data" / "plotly.min.js"
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise RecordError(f"cannot read {path}: {error.strerror or error}; install plotly again") from error


def as_json(value: object, digits: int = DIGITS) -> str:
    """Return compact JSON that may stand inside a page: numbers rounded, those that are none as null.

    Args:
        value: of dictionaries, sequences, arrays, texts and numbers.
        digits: significant ones of a number.
    """
    if isinstance(value, str):
        text = json.dumps(value.encode("utf-8", "replace").decode(), ensure_ascii=False)
        return text.replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")
    if value is None or isinstance(value, bool | np.bool_):
        return {None: "null", True: "true", False: "false"}[None if value is None else bool(value)]
    if isinstance(value, int | np.integer):
        return str(int(value))
    if isinstance(value, float | np.floating):
        return f"{value:.{digits}g}" if math.isfinite(value) else "null"
    if isinstance(value, Mapping):
        return "{" + ",".join(f"{as_json(str(k))}:{as_json(v, digits)}" for k, v in value.items()) + "}"
    if isinstance(value, np.ndarray):
        value = value.tolist()
    assert isinstance(value, list | tuple), f"{type(value)} is no JSON"
    return "[" + ",".join(as_json(v, digits) for v in value) + "]"


def label(text: str, most: int = 60) -> str:
    """Return a text that plotly shows as it is: it takes tags for its own; what is too long loses its middle."""
    return html.escape(shortened("".join(c if c.isprintable() else "�" for c in text), most), quote=False)


def shortened(text: str, most: int) -> str:
    """Return a text of at most so many characters: what is too long loses its middle."""
    return text if len(text) <= most else f"{text[: most // 2 - 1]}…{text[-(most // 2) :]}"


def wrapped(text: str, width: int = 26) -> str:
    """Return a text in lines for the side of a chart."""
    lines, line = [], ""
    for word in text.split(" "):
        if line and len(line) + len(word) + 1 > width:
            lines.append(line)
            line = word
        else:
            line = f"{line} {word}".strip()
    return "<br>".join(label(part, width + 14) for part in [*lines, line])


def axis(number: int, letter: str = "") -> str:
    """Return plotly's name of a panel's axis: x, x2, …; of the layout's key with ``axis`` behind the letter."""
    return f"{letter}{number + 1 if number else ''}"


def layout(
    titles: Sequence[str],
    x: Sequence[Mapping[str, Any]],
    y: Sequence[Mapping[str, Any]],
    columns: int = 2,
    height: int = 300,
    least: int = 0,
    legend: bool = True,
    **more: Any,
) -> dict[str, Any]:
    """Return the layout of panels side by side, which the page's script puts below each other where it is narrow.

    Args:
        titles: of the panels.
        x: each panel's horizontal axis.
        y: each panel's vertical axis.
        columns: panels beside each other at most.
        height: of a panel, in pixels.
        least: the width below which the chart scrolls instead of shrinking, in pixels.
        legend: whether there is one.
        more: of plotly's layout.
    """
    found: dict[str, Any] = {"meta": {"panels": len(titles), "columns": columns, "height": height, "least": least}}
    for i, (title, of_x, of_y) in enumerate(zip(titles, x, y, strict=True)):
        found[axis(i, "xaxis")], found[axis(i, "yaxis")] = dict(of_x), dict(of_y)
        if title:
            place = {"xref": f"{axis(i, 'x')} domain", "yref": f"{axis(i, 'y')} domain", "x": 0, "y": 1}
            found.setdefault("annotations", []).append(
                {"text": f"<b>{label(title)}</b>", **place, "yanchor": "bottom", "xanchor": "left", "showarrow": False}
            )
    found["showlegend"] = legend
    return found | more


def named(title: str, **more: Any) -> dict[str, Any]:
    """Return an axis with a title."""
    return {"title": {"text": label(title)}, "automargin": True, **more}


def logarithmic(title: str, values: Numbers, wide: float = WIDE_DECADES, **more: Any) -> dict[str, Any]:
    """Return a logarithmic axis with ticks that are written out.

    Args:
        title: of the axis.
        values: all that is drawn.
        wide: from so many decades on the ticks are powers of ten alone; below, 2 and 5 times them too.
        more: of plotly's axis.
    """
    found = np.asarray(values, float)
    found = found[np.isfinite(found) & (found > 0)]
    if not len(found):
        return named(title, **more)
    low, high = math.log10(found.min()), math.log10(found.max())
    factors = (1,) if high - low >= wide else (1, 2, 5)
    step = max(1, round((high - low) / 8))
    powers = [p for p in range(math.floor(low) - 1, math.ceil(high) + 2) if p % step == 0 or len(factors) > 1]
    ticks = [float(f"{f}e{p}") for p in powers for f in factors]
    return named(title, type="log", tickvals=ticks, ticktext=[f"{t:g}" for t in ticks], **more)


def line(x: Numbers, y: Numbers, name: str, look: Look, panel: int = 0, first: bool = True, **more: Any) -> Chart:
    """Return a line of a panel; of several of one name, the ``first`` stands in the legend and hides all."""
    found = {
        "type": "scatter",
        "mode": "lines",
        "x": np.asarray(x),
        "y": np.asarray(y),
        "name": label(name),
        "legendgroup": label(name),
        "showlegend": first,
        "line": {"color": look.colour, "dash": look.stroke, "width": 2},
        "hovertemplate": "%{x:.4~g}: %{y:.4~g}",
        "xaxis": axis(panel, "x"),
        "yaxis": axis(panel, "y"),
    }
    return found | more


def band(x: Numbers, low: Numbers, high: Numbers, name: str, look: Look, panel: int = 0) -> Chart:
    """Return the area between two curves, pale, hidden with the line of its name."""
    x, low, high = (np.asarray(v, float) for v in (x, low, high))
    known = np.isfinite(x) & np.isfinite(low) & np.isfinite(high)
    red, green, blue = (int(look.colour[i : i + 2], 16) for i in (1, 3, 5))
    return {
        "type": "scatter",
        "mode": "none",
        "x": np.concatenate([x[known], x[known][::-1]]),
        "y": np.concatenate([low[known], high[known][::-1]]),
        "fill": "toself",
        "fillcolor": f"rgba({red},{green},{blue},0.18)",
        "legendgroup": label(name),
        "showlegend": False,
        "hoverinfo": "skip",
        "xaxis": axis(panel, "x"),
        "yaxis": axis(panel, "y"),
    }
