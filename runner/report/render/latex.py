r"""Tables for papers: LaTeX that needs no package but booktabs, numbers rounded to their uncertainty, the best in bold.

Own code rather than pandas' Styler, which needs jinja2, escapes less and does not round to an uncertainty.
"""

import math
import re
import unicodedata
from collections.abc import Iterator, Sequence

import pandas as pd

from runner.measures import title
from runner.report.answer import best_of_each
from runner.report.section import Section, Table
from runner.report.settings import LR, Workload, number

MOST_SETTINGS = 10
GRID = ("init", "optim")
HEADS = {
    "init": "initializer",
    "optim": "optimizer",
    LR: "learning rate",
    "best_lr": "best learning rate",
    "diverges_from_lr": "diverges from",
    "edge": "edge of what was tried",
    "p": "$p$",
    "share": "share of variance",
}
MEANT = {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"}
MEANT |= {c: f"\\{c}" for c in "&%$#_{}"}
MEANT |= {"<": r"\textless{}", ">": r"\textgreater{}", "|": r"\textbar{}", '"': "''"}
MEANT |= {"×": r"$\times$", "±": r"$\pm$", "∞": r"$\infty$", "−": "$-$", "≤": r"$\leq$", "≥": r"$\geq$"}
MEANT |= {"–": "--", "…": r"\ldots{}"}


def for_papers(workload: Workload, sections: Sequence[Section]) -> Iterator[tuple[str, str, str]]:
    """Return the file's stem, the title and the LaTeX of each table of a workload that a paper would show."""
    front = ""
    for table in (table for section in sections for table in section.tables):
        stem = re.sub(r"^\d+-", "", table.name)
        front = table.name.removesuffix(stem) if stem != "across" else front
        if stem == "settings":
            yield table.name, "The best settings", settings(workload)
        elif stem == f"heatmap-{GRID[0]}-{GRID[1]}":
            yield table.name, table.title, grid(workload, table)
        elif stem == "learning-rate":
            yield table.name, table.title, learning_rate(workload, table)
        elif stem == "across":
            yield table.name, table.title, across(table)
        elif stem == "variance-explained":
            yield table.name, table.title, explained(table)
    for axis in (axis for axis in reversed(GRID) if axis in workload.axes and len(workload.table) > 1):
        yield f"{front}best-of-each-{axis}", f"Best of each {_head(axis)}", best(workload, axis)


def settings(workload: Workload) -> str:
    """Return the best settings with their intervals and verdicts."""
    frame = workload.table.head(MOST_SETTINGS)
    of = f"the best {len(frame)} of {len(workload.table)} settings" if len(workload.table) > len(frame) else "settings"
    of = "the finalists of a search" if workload.is_picked else of
    return _settings_table(workload, frame, [*workload.axes], f"{_of(workload)}: {of}.")


def best(workload: Workload, axis: str) -> str:
    """Return the best setting of each of an axis's values."""
    axes = [axis, *(a for a in workload.axes if a != axis)]
    frame = best_of_each(workload, axis, list(workload.table.columns))
    return _settings_table(workload, frame, axes, f"{_of(workload)}: the best of each {_head(axis)}.")


def _settings_table(workload: Workload, frame: pd.DataFrame, axes: Sequence[str], caption: str) -> str:
    measure = workload.measure
    tested = frame["test_mean"].notna().any()
    heads = [*map(_head, axes), f"{workload.replicate_word}s", measure.title]
    heads += [title(measure.test)] if tested else []
    rows = []
    for i, row in frame.iterrows():
        first = i == workload.best
        cells = [*(text(number(str(row[a])) or "–") for a in axes), str(int(row["n"]))]
        cells.append(measured(row["mean"], row["low"], row["high"], bold=first))
        cells += [measured(row["test_mean"], row["test_low"], row["test_high"])] if tested else []
        rows.append([*cells, text(row["verdict"])])
    return tabular([*heads, "verdict"], rows, f"{caption} {_spread(workload)}", left=len(axes), last_left=True)


def grid(workload: Workload, table: Table) -> str:
    """Return initializer × optimizer, each cell at its own best of all other choices."""
    down, across = GRID
    row_levels, columns = workload.levels(down), workload.levels(across)
    cells = {(str(r[down]), str(r[across])): r for _, r in table.frame.iterrows()}
    rows = []
    for level in row_levels:
        line = [text(level)]
        for column in columns:
            row = cells.get((level, column))
            first = workload.best_of([down, across]).get((level, column)) == workload.best
            if row is None:
                line.append("--")
            elif row["n"]:
                line.append(measured(row["mean"], row["low"], row["high"], bold=first))
            else:
                line.append("diverged or failed" if row["bad"] else "--")
        rows.append(line)
    caption = f"{_of(workload)}: {_head(down)} by {_head(across)}, each at its own best of everything else."
    return tabular([_head(down), *columns], rows, f"{caption} {_spread(workload)}", left=1)


def learning_rate(workload: Workload, table: Table) -> str:
    """Return how robust each choice is to the learning rate."""
    frame = table.frame
    names = list(map(str, frame.columns))
    axes = names[: names.index("best_lr")]
    wide = next(name for name in names if name.startswith("decades_within_"))
    within = wide.removeprefix("decades_within_").removesuffix("_percent")
    top = (frame["mean"] * workload.measure.sign).max()
    rows = []
    for _, row in frame.iterrows():
        cells = [*(text(row[a]) for a in axes), value(row["best_lr"])]
        cells.append(measured(row["mean"], row["low"], row["high"], bold=row["mean"] * workload.measure.sign == top))
        rows.append([*cells, value(row[wide]), value(row["diverges_from_lr"]), text(row["edge"] or "–")])
    heads = [*map(_head, axes), _head("best_lr"), workload.measure.title, f"decades within {within} %"]
    caption = f"{_of(workload)}: robustness to the learning rate. {_spread(workload)}"
    heads += [_head("diverges_from_lr"), _head("edge")]
    return tabular(heads, rows, caption, left=len(axes), last_left=True)


def across(table: Table) -> str:
    """Return how choices do on all data sets together."""
    frame = table.frame
    names = list(map(str, frame.columns))
    by = "score" if "score" in names else "iqm"  # without times there are no scores of a profile
    choices = names[: names.index(by)]
    rest = names[len(choices) :]
    top = frame[by].max()
    rows = [
        [*(text(row[c]) for c in choices), *(_bold(value(row[c]), c == by and row[c] == top) for c in rest)]
        for _, row in frame.iterrows()
    ]
    return tabular(list(map(_head, names)), rows, "Across workloads.", left=len(choices))


def explained(table: Table) -> str:
    """Return the share of the variance that each choice explains, with its interval."""
    rows = []
    top = table.frame["share"].max()
    for _, row in table.frame.iterrows():
        known = math.isfinite(row["low"]) and math.isfinite(row["high"])
        interval = f"$[{row['low']:.2f}, {row['high']:.2f}]$" if known else "--"
        rows.append([text(row["choice"]), _bold(f"${row['share']:.2f}$", row["share"] == top), interval])
    caption = "Share of the variance of the runs' ranks that each choice explains, with its 95 % interval."
    return tabular([_head("choice"), _head("share"), "95 % interval"], rows, caption, left=1)


def tabular(
    heads: Sequence[str], rows: Sequence[Sequence[str]], caption: str, left: int, last_left: bool = False
) -> str:
    """Return a table; heads are texts, rows are LaTeX.

    Args:
        heads: of the columns.
        rows: cells as this module's ``text``, ``value`` and ``measured`` return them.
        caption: what the table shows, which becomes a comment.
        left: so many columns are flush left, the others flush right.
        last_left: whether the last one is flush left too.
    """
    columns = "l" * left + "r" * (len(heads) - left)
    columns = columns[:-1] + "l" if last_left else columns
    said = " ".join("".join(c if c.isprintable() else " " for c in caption).split())
    lines = [f"% {said}", r"% \usepackage{booktabs}", f"\\begin{{tabular}}{{{columns}}}", r"\toprule"]
    lines += [f"{' & '.join(h if h == '$p$' else text(h) for h in heads)} \\\\", r"\midrule"]
    lines += [f"{' & '.join(row)} \\\\" for row in rows]
    return "\n".join([*lines, r"\bottomrule", r"\end{tabular}"]) + "\n"


def text(found: object) -> str:
    r"""Return a text as LaTeX prints it; what directs a terminal or the writing's direction is left out."""
    shown = " ".join("".join(c if c.isspace() or unicodedata.category(c)[0] != "C" else "" for c in str(found)).split())
    escaped = "".join(MEANT.get(c, c) for c in shown)
    return f"{{{escaped[0]}}}{escaped[1:]}" if escaped[:1] in ("[", "*") else escaped  # which would be the \\'s before


def value(found: object) -> str:
    """Return a number to four digits, anything else as a text."""
    if not isinstance(found, int | float) or isinstance(found, bool):
        return text(found)
    if math.isnan(found):
        return "--"
    if math.isinf(found):
        return r"$\infty$" if found > 0 else r"$-\infty$"
    return f"${_scientific(f'{found:.4g}')}$"


def measured(mean: float, low: float, high: float, bold: bool = False) -> str:
    r"""Return a mean ± half of its interval, rounded to two digits of it: 0.888 ± 0.012.

    The larger half counts where one end is that of what the measure can be.
    """
    if not math.isfinite(mean):
        return "--"
    half = max(high - mean, mean - low)
    if not math.isfinite(half) or half <= 0:
        shown = _scientific(f"{mean:.4g}")
    else:
        digits = 1 - math.floor(math.log10(float(f"{half:.1e}")))
        if digits > 8 or digits < -3:  # so small or so large that the zeros would be all there is to see
            power = math.floor(math.log10(max(abs(mean), half)))
            digits = max(0, min(12, digits + power))
            shown = f"({mean / 10**power:.{digits}f} \\pm {half / 10**power:.{digits}f}) \\times 10^{{{power}}}"
        else:
            shown = f"{round(mean, digits):.{max(0, digits)}f} \\pm {round(half, digits):.{max(0, digits)}f}"
    return f"$\\mathbf{{{shown}}}$" if bold else f"${shown}$"


def _scientific(shown: str) -> str:
    mantissa, e, power = shown.partition("e")
    return f"{mantissa} \\times 10^{{{int(power)}}}" if e else shown


def _bold(cell: str, best: bool) -> str:
    return f"$\\mathbf{{{cell[1:-1]}}}$" if best and cell.startswith("$") else cell


def _head(column: str) -> str:
    return HEADS.get(column, column.replace("_", " "))


def _of(workload: Workload) -> str:
    return workload.name or workload.about or "All runs"


def _spread(workload: Workload) -> str:
    return (
        f"± is half of the 95 % interval of the mean over {workload.replicate_word}s; the best by "
        f"{workload.measure.title} is bold."
    )
