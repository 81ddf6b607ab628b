"""The report as one HTML file that asks for nothing from outside it, and reads on a phone and by keyboard."""

import html
import math
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from runner.report.answer import Answer, Estimate
from runner.report.sections import Plot, Section, Table
from runner.report.settings import number

MOST_ROWS = 200
"""A table shows so many rows; its CSV has them all."""

HERE = Path(__file__).parent
POLICY = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; img-src data:"


def page(
    title: str,
    summary: str,
    answers: Sequence[tuple[Answer, Sequence[tuple[Section, dict[str, str]]]]],
    care: Sequence[str],
) -> str:
    """Return the page.

    Args:
        title: of the page.
        summary: what was run, in a line.
        answers: each workload's answer and sections, with their plots' SVG by name.
        care: what a reader must know before believing anything.
    """
    body, contents = [], []
    for at, (answer, sections) in enumerate(answers):
        name = answer.workload.name
        body.append(_answer(answer, f"answer-{at}"))
        contents.append((f"answer-{at}", f"Answer{f' for {name}' if name else ''}"))
        for i, (section, drawn) in enumerate(sections):
            anchor = f"section-{at}-{i}"
            contents.append((anchor, section.title + (f" ({name})" if name else "")))
            body.append(_section(section, drawn, anchor))
    links = "".join(f'<li><a href="#{anchor}">{_e(text)}</a></li>' for anchor, text in contents)
    cautious = "".join(f"<li>{_e(line)}</li>" for line in care)
    warned = f'<div class="care" role="note"><b>Read with care</b><ul>{cautious}</ul></div>' if care else ""
    first, rest = (body[0], body[1:]) if body else ("", [])
    footer = """Tables sort by a click on a heading. Every plot lies as PNG and SVG, every table as CSV, in
<a href="report/index.csv">report/</a> beside this page."""
    main = f"""{first}
{warned}
<nav aria-label="Contents"><ol>{links}</ol></nav>
{"".join(rest)}"""
    return document(title, summary, main, footer, ("answer-0", "Skip to the answer"))


def document(title: str, summary: str, main: str, footer: str, skip: tuple[str, str]) -> str:
    """Return a whole page that asks for nothing from outside.

    Args:
        title: of the page, as text.
        summary: the line below it, as text.
        main: its body, as HTML.
        footer: its last lines, as HTML.
        skip: the anchor that a keyboard reaches first, and what its link says.
    """
    style, script = ((HERE / name).read_text(encoding="utf-8") for name in ("page.css", "page.js"))
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{POLICY}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>{_e(title)}</title>
<link rel="icon" href="data:,">
<style>{style}</style>
</head>
<body>
<a class="skip" href="#{skip[0]}">{_e(skip[1])}</a>
<header><h1>{_e(title)}</h1><p class="soft">{_e(summary)}</p></header>
<main>
{main}
</main>
<footer><p class="soft">{footer}</p></footer>
<script>{script}</script>
</body>
</html>
"""


def _e(text: object) -> str:
    return html.escape(str(text).encode("utf-8", "replace").decode(), quote=True)


def _answer(answer: Answer, anchor: str) -> str:
    of = f" for {_e(answer.workload.name)}" if answer.workload.name else ""
    if answer.command is None:
        return f'<section class="answer" id="{anchor}"><h2>No answer yet{of}</h2><p>{_e(answer.verdict)}</p></section>'
    doubt = f'<p class="care" role="note">{_e(answer.doubt)}</p>' if answer.doubt else ""
    tiles = "".join(_tile(estimate, answer.workload.replicate_word) for estimate in answer.estimates)
    notes = "".join(f"<li>{_e(note)}</li>" for note in answer.notes)
    surer = "".join(
        f"<p>{_e(reason[:1].upper() + reason[1:])}:</p>{command_line(command)}" for reason, command in answer.surer
    )
    return f"""<section class="answer" id="{anchor}">
<h2>Use{of}</h2>
{command_line(answer.command)}{doubt}
<div class="tiles">{tiles}</div>
<p class="verdict">{_e(answer.verdict)}</p><p>{_e(answer.rivals)}</p>
<details><summary>How this was compared</summary><ul>{notes}</ul></details>
{f"<h3>To be surer</h3>{surer}" if surer else ""}
</section>"""


def _tile(estimate: Estimate, word: str) -> str:
    n = estimate.interval.n
    if estimate.interval.known:
        interval = f"{_value(estimate.low)} to {_value(estimate.high)}: 95 % interval of the mean of {n} {word}s"
        following = f"a new {word}: {_value(estimate.next_low)} to {_value(estimate.next_high)}"
    else:
        interval, following = "one seed: no interval", ""
    small = f'<span class="soft">{interval}<br>{following}</span>'
    return f'<div class="tile">{_e(estimate.title)}<b>{_value(estimate.interval.mean)}</b>{small}</div>'


def command_line(command: str) -> str:
    """Return a command beside a button that copies it."""
    button = '<button class="copy" type="button">Copy</button>'
    return f'<div class="command"><code tabindex="0">{_e(command)}</code>{button}</div>'


def _section(section: Section, drawn: dict[str, str], anchor: str) -> str:
    text = "".join(f"<p>{_e(line)}</p>" for line in section.text)
    plots = "".join(_plot(plot, drawn[plot.name]) for plot in section.plots)
    tables = "".join(_table(table) for table in section.tables)
    return f'<section id="{anchor}"><h2>{_e(section.title)}</h2>{text}{plots}{tables}</section>\n'


def _plot(plot: Plot, svg: str) -> str:
    files = f'<a href="report/{plot.name}.png">PNG</a> · <a href="report/{plot.name}.svg">SVG</a>'
    narrow = " narrow" if plot.width > 6 else ""
    return (
        f'<figure><div class="scroll" tabindex="0" role="region" aria-label="{_e(plot.title)}">'
        f'<div class="{narrow.strip()}" style="--wide: {plot.width:g}in">{svg}</div></div>'
        f"<figcaption>{_e(plot.title)} ({files})</figcaption></figure>\n"
    )


def _table(table: Table) -> str:
    frame = table.frame.head(MOST_ROWS)
    heads = "".join(
        f'<th scope="col"><button type="button">{_e(str(c).replace("_", " "))}</button></th>' for c in frame
    )
    lines = []
    columns = [frame[c].tolist() for c in frame]
    for cells in zip(*columns, strict=True):
        best = ' class="best"' if "best" in cells else ""
        lines.append(f"<tr{best}>{''.join(cell(value) for value in cells)}</tr>")
    more = f" The first {MOST_ROWS} of {len(table.frame):,} rows." if len(table.frame) > MOST_ROWS else ""
    note = f'<p class="note">{_e(table.note)}{more} <a href="report/{table.name}.csv">CSV</a></p>'
    shown = (
        f'<div class="scroll tall" tabindex="0" role="region" aria-label="{_e(table.title)}" '
        f'style="background: inherit; color: inherit"><table><thead><tr>{heads}</tr></thead>'
        f"<tbody>{''.join(lines)}</tbody></table></div>{note}"
    )
    if table.folded:
        return f"<details><summary>{_e(table.title)}</summary>{shown}</details>\n"
    return f"<h3>{_e(table.title)}</h3>{shown}\n"


def cell(value: object) -> str:
    """Return a table's cell, a number to the right."""
    if isinstance(value, float | int) and not isinstance(value, bool):
        return f'<td class="n" data-v="{"" if math.isnan(value) else repr(float(value))}">{_value(value)}</td>'
    text = "" if value is None or (isinstance(value, float) and pd.isna(value)) else str(value)
    shown = number(text)
    kind = ' class="n"' if shown != text or _is_number(text) else ""
    return f'<td{kind} data-v="{_e(text)}">{_e(shown)}</td>'


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _value(value: float) -> str:
    if math.isnan(value):
        return "–"
    if math.isinf(value):
        return "∞" if value > 0 else "−∞"
    if float(value).is_integer() and abs(value) < 1e9:
        return f"{value:,.0f}" if abs(value) >= 10_000 else f"{value:.0f}"
    return f"{value:.4g}"
