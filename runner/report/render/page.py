"""The report as one HTML file that asks for nothing from outside it, and reads on a phone and by keyboard."""

import html
import math
from collections.abc import Sequence
from pathlib import Path

from runner.report.answer import Answer, Estimate
from runner.report.drawing import charts
from runner.report.drawing.figures import FORMATS
from runner.report.equivalent import SECONDS, recommended
from runner.report.render.page_tables import is_number, table_html
from runner.report.section import Plot, Section
from runner.report.settings import number

HERE = Path(__file__).parent
POLICY = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'{}; img-src data: blob:"
COMPILES = " 'unsafe-eval'"
"""Plotly's parallel coordinates compile the programs that draw them; nothing can be loaded to be compiled."""


def page(
    name: str,
    summary: str,
    answers: Sequence[tuple[Answer, Sequence[Section]]],
    care: Sequence[str],
    first: Sequence[str],
) -> str:
    """Return the page.

    Args:
        name: of the sweep.
        summary: what was run, in a line.
        answers: each workload's answer and sections.
        care: what a reader must know before believing anything.
        first: what is said before every answer.

    Raises:
        RecordError: if plotly is not there.
    """
    body, contents = [], []
    for at, (answer, sections) in enumerate(answers):
        of = answer.workload.name
        body.append(_answer(answer, f"answer-{at}"))
        contents.append((f"answer-{at}", f"Answer{f' for {of}' if of else ''}"))
        for i, section in enumerate(sections):
            anchor = f"section-{at}-{i}"
            contents.append((anchor, section.title + (f" ({of})" if of else "")))
            body.append(_section(section, anchor))
    links = "".join(f'<li><a href="#{anchor}">{_e(text)}</a></li>' for anchor, text in contents)
    cautious = "".join(f"<li>{_e(line)}</li>" for line in care)
    warned = f'<div class="care" role="note"><b>Read with care</b><ul>{cautious}</ul></div>' if care else ""
    before = "".join(f'<p class="care" role="note">{_e(line)}</p>' for line in first)
    answered, rest = (body[0], body[1:]) if body else ("", [])
    footer = """Every chart lies as PNG, SVG and PDF, every table as CSV, in <a href="report/index.csv">report/</a>
beside this page. Tables sort by a click on a heading; a chart zooms by dragging, a double click shows all of it again,
and a click on a legend hides a line."""
    main = f"""{before}{answered}
{warned}
<nav aria-label="Contents"><ol>{links}</ol></nav>
<noscript><p class="care">Charts and tables need JavaScript; report/ beside this page has them as files.</p></noscript>
{"".join(rest)}"""
    about = answers[0][0].workload.about if len(answers) == 1 else f"{len(answers)} workloads"
    title = f"{about} · {name}" if about else name
    scripts = (charts.plotly_js(), *(_beside(file) for file in ("tables.js", "charts.js")))
    return document(title, summary, main, footer, ("answer-0", "Skip to the answer"), scripts)


def document(
    title: str, summary: str, main: str, footer: str, skip: tuple[str, str], scripts: Sequence[str] = ()
) -> str:
    """Return a whole page that asks for nothing from outside.

    Args:
        title: of the page, as text.
        summary: the line below it, as text.
        main: its body, as HTML.
        footer: its last lines, as HTML.
        skip: the anchor that a keyboard reaches first, and what its link says.
        scripts: further scripts, which may compile others.
    """
    style, script = _beside("page.css"), _beside("page.js")
    run = "\n".join(f"<script>{code}</script>" for code in (script, *scripts))
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{POLICY.format(COMPILES if scripts else "")}">
<meta name="generator" content="optbench report">
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
{run}
</body>
</html>
"""


def _beside(name: str) -> str:
    return (HERE / name).read_text(encoding="utf-8")


def _e(text: object) -> str:
    return html.escape(str(text).encode("utf-8", "replace").decode(), quote=True)


def _answer(answer: Answer, anchor: str) -> str:
    workload = answer.workload
    of = f" for {_e(workload.name)}" if workload.name else ""
    about = f'<p class="soft">{_e(workload.about)}</p>' if workload.name and workload.about else ""
    warnings = "".join(f'<p class="care" role="note">{_e(said)}</p>' for said in answer.warnings)
    if answer.command is None:
        said = f"{warnings}<p>{_e(answer.verdict)}</p>"
        return f'<section class="answer" id="{anchor}"><h2>No answer yet{of}</h2>{about}{said}</section>'
    doubt = f'<p class="care" role="note">{_e(answer.doubt)}</p>' if answer.doubt else ""
    notes = "".join(f"<li>{_e(note)}</li>" for note in answer.notes)
    matters = "".join(f"<li>{_e(said)}</li>" for said in answer.matters)
    several = len(workload.table) > 1
    head = f"Use{of}" if several else f"The run{of}" if len(workload.runs) == 1 else f"The only setting{of}"
    compared, further = ("How this was compared", "To be surer") if several else ("To know", "What to try next")
    surer = "".join(f"<p>{_e(reason)}:</p>{command_line(command)}" for reason, command in answer.surer)
    return f"""<section class="answer" id="{anchor}">
<h2>{head}</h2>{about}{warnings}
{command_line(answer.command)}{doubt}
<div class="tiles">{_tiles(answer)}</div>
<p class="verdict">{_e(answer.verdict)}</p>{f"<p>{_e(answer.rivals)}</p>" if answer.rivals else ""}
{f"<h3>What matters</h3><ul>{matters}</ul>" if matters else ""}
{f"<details><summary>{compared}</summary><ul>{notes}</ul></details>" if notes else ""}
{f"<details><summary>{further}</summary>{surer}</details>" if surer else ""}
</section>"""


def _tiles(answer: Answer) -> str:
    workload = answer.workload
    tiles = [_estimate(estimate, workload.replicate_word) for estimate in answer.estimates]
    seconds = workload.of(recommended(workload), SECONDS)
    if math.isfinite(seconds):
        tiles.append(_tile("training time", f"{_value(float(f'{seconds:.3g}'))} s", "of one run, evaluations apart"))
    if (settings := workload.known) > 1:
        inside = int(workload.table["in_set"].sum())
        said = f"of {settings:,} settings cannot be told from the best" if inside > 1 else f"of {settings:,} settings"
        tiles.append(_tile("can be best", f"{inside:,}", said))
    return "".join(tiles)


def _estimate(estimate: Estimate, word: str) -> str:
    n = estimate.interval.n
    if not estimate.interval.known:
        return _tile(estimate.title, _value(estimate.interval.mean), f"one {word}: no interval")
    interval = f"{_value(estimate.low)} to {_value(estimate.high)}, 95 % interval of the mean of {n} {word}s"
    following = f"a new {word}: {_value(estimate.next_low)} to {_value(estimate.next_high)}"
    return _tile(estimate.title, _value(estimate.interval.mean), f"{interval}<br>{following}")


def _tile(title: str, value: str, small: str) -> str:
    return f'<div class="tile">{_e(title)}<b>{value}</b><span class="soft">{small}</span></div>'


def command_line(command: str) -> str:
    """Return a command beside a button that copies it."""
    button = '<button class="copy" type="button">Copy</button>'
    return f'<div class="command"><code tabindex="0">{_e(command)}</code>{button}</div>'


def _section(section: Section, anchor: str) -> str:
    text = "".join(f"<p>{_e(line)}</p>" for line in section.text)
    plots = "".join(_plot(plot) for plot in section.plots)
    tables = "".join(table_html(table) for table in section.tables)
    return f'<section id="{anchor}"><h2>{_e(section.title)}</h2>{text}{plots}{tables}</section>\n'


def _plot(plot: Plot) -> str:
    """Return a plot's chart and its data."""
    assert plot.chart is not None, "every plot of a report has a chart"
    files = " · ".join(f'<a href="report/{_e(plot.name)}.{kind}">{kind.upper()}</a>' for kind in FORMATS)
    caption = f"<figcaption>{_e(plot.title)} ({files})</figcaption>"
    return (
        f'<figure><div class="chart" tabindex="0" role="group" aria-label="{_e(plot.alt)}"></div>'
        f'<script type="application/json">{charts.as_json(plot.chart())}</script>{caption}</figure>\n'
    )


def cell(value: object) -> str:
    """Return a table's cell, a number to the right."""
    if isinstance(value, float | int) and not isinstance(value, bool):
        return f'<td class="n" data-v="{"" if math.isnan(value) else repr(float(value))}">{_value(value)}</td>'
    text = "" if value is None else str(value)
    kind = ' class="n"' if is_number(text) else ""
    return f'<td{kind} data-v="{_e(text)}">{_e(number(text))}</td>'


def _value(value: float) -> str:
    if math.isnan(value):
        return "–"
    if math.isinf(value):
        return "∞" if value > 0 else "−∞"
    if float(value).is_integer() and abs(value) < 1e9:
        return f"{value:,.0f}" if abs(value) >= 10_000 else f"{value:.0f}"
    return f"{value:.4g}"
