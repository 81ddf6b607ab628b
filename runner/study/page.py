"""All studies on one page: what was found, by which rule, and what beginners are told against what was measured."""

import base64
import math
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

from runner.report.render.page import cell, command_line, document
from runner.run.job import OUTPUTS
from runner.run.record import write_whole, writing
from runner.study.catalogue import STUDIES
from runner.study.sayings import SAYINGS, Saying
from runner.study.study import Study, read_verdict

Verdicts = Mapping[str, Mapping[str, Any] | None]
"""What ``verdict.json`` holds, by the study's name; None of a study that was not run."""

PAGE = OUTPUTS / "studies.html"
WORDS = {
    "reproduced": "reproduced",
    "not_reproduced": "not reproduced",
    "inconclusive": "inconclusive",
    "not_run": "not run",
}


def write_page() -> Path:
    """Write the page from the verdicts that lie in ``outputs/``, and return where it is.

    Raises:
        RecordError: if it cannot be written.
    """
    with writing(PAGE):
        PAGE.parent.mkdir(exist_ok=True)
    write_whole(PAGE, page({study.name: read_verdict(study) for study in STUDIES}))
    return PAGE


def page(verdicts: Verdicts) -> str:
    """Return the page."""
    found = [_word(verdicts[study.name]) for study in STUDIES]
    counts = ", ".join(f"{found.count(word)} {said}" for word, said in WORDS.items() if word in found)
    sayings = "".join(
        f"<tr><td>“{escape(saying.told)}”</td><td>{escape(measured(saying, verdicts))}</td>"
        f"<td>{_link(saying.study)}</td></tr>"
        for saying in SAYINGS
    )
    listed = "".join(_line(study, verdicts[study.name]) for study in STUDIES)
    main = f"""<section class="answer" id="sayings"><h2>What beginners are told, and what was measured</h2>
{_table("Sayings", ("often told", "measured", "by"), sayings)}</section>
<section id="all"><h2>Every study</h2>
<p>A study is a sweep of ordinary runs and a rule that was fixed before them; the verdict is what the rule says. Those
of class theory must hold to their tolerance, those of class ordering with their 95 % confidence intervals.</p>
{_table("Every study", ("study", "class", "finding", "verdict"), listed)}</section>
{"".join(_section(study, verdicts[study.name]) for study in STUDIES)}"""
    footer = (
        "Tables sort by a click on a heading. A study's runs, numbers and plot lie in <code>study-…</code> beside it."
    )
    return document(
        "Published findings", f"{len(STUDIES)} studies: {counts}", main, footer, ("sayings", "Skip to them")
    )


def measured(saying: Saying, verdicts: Verdicts) -> str:
    """Return what was measured where a saying is told, or that its study was not run."""
    verdict = verdicts[saying.study]
    if verdict is None:
        return "not run"
    try:
        return saying.measured(verdict["numbers"])
    except (KeyError, TypeError, ValueError):
        return "its numbers cannot be read: run the study again"


def in_words(row: Mapping[str, Any]) -> str:
    """Return a row of a verdict's numbers as text, such as ``linear over constant: 0.008 [-0.001, 0.016]``."""
    cells = {name: value for name, value in row.items() if name not in ("expected", "holds")}
    named = [str(value) for value in cells.values() if isinstance(value, str)]
    told = {name: value for name, value in cells.items() if not isinstance(value, str)}
    if {"mean", "low", "high"} <= told.keys():
        mean, low, high = (_short(told[name]) for name in ("mean", "low", "high"))
        return f"{', '.join(named)}: {mean} [{low}, {high}]"
    values = ", ".join(f"{'' if n == 'found' else n.replace('_', ' ')} {_short(v)}".strip() for n, v in told.items())
    return f"{', '.join(named)}: {values}" if named else values


def _short(value: object) -> str:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return "–" if value is None else str(value)
    return "0" if value == 0 else f"{value:.4g}" if abs(value) < 1e4 and math.isfinite(value) else f"{value:,.0f}"


def _word(verdict: Mapping[str, Any] | None) -> str:
    return verdict["verdict"] if verdict is not None and verdict["verdict"] in WORDS else "not_run"


def _badge(word: str) -> str:
    return f'<span class="badge {word}">{WORDS[word]}</span>'


def _link(name: str) -> str:
    return f'<a href="#{escape(name)}">{escape(name)}</a>'


def _line(study: Study, verdict: Mapping[str, Any] | None) -> str:
    return (
        f'<tr><td>{_link(study.name)}</td><td class="keep">{study.kind}</td>'
        f'<td>{escape(study.finding)} <span class="soft">({escape(study.source)})</span></td>'
        f"<td>{_badge(_word(verdict))}</td></tr>"
    )


def _section(study: Study, verdict: Mapping[str, Any] | None) -> str:
    head = (
        f'<section class="study" id="{escape(study.name)}"><h2>{escape(study.name)} {_badge(_word(verdict))}</h2>'
        f'<p>{escape(study.finding)}. <span class="soft">{escape(study.source)}</span></p>'
        f"<p><b>Rule</b> {escape(study.rule)}.</p>"
    )
    again = command_line(f"optbench study {study.name}")
    if verdict is None:
        return f'{head}<p class="soft">Not run; it takes about {study.seconds} s on 2 cores.</p>{again}</section>\n'
    spent = f"{verdict['runs']} runs, {verdict['train_seconds']:,.0f} s of training in all"
    return f"{head}{_numbers(verdict['numbers'])}{_plot(study)}<p class='soft'>{spent}.</p>{again}</section>\n"


def _numbers(rows: Sequence[Mapping[str, Any]]) -> str:
    columns = list(dict.fromkeys(name for row in rows for name in row))
    lines = "".join(f"<tr>{''.join(cell(_shown(row.get(c))) for c in columns)}</tr>" for row in rows)
    return _table("Numbers", [c.replace("_", " ") for c in columns], lines)


def _table(label: str, heads: Sequence[str], lines: str) -> str:
    shown = "".join(f'<th scope="col"><button type="button">{escape(head)}</button></th>' for head in heads)
    same = "background: inherit; color: inherit"
    return (
        f'<div class="scroll" tabindex="0" role="region" aria-label="{label}" style="{same}">'
        f'<table class="wrap"><thead><tr>{shown}</tr></thead><tbody>{lines}</tbody></table></div>'
    )


def _shown(value: object) -> object:
    return {True: "yes", False: "no"}[value] if isinstance(value, bool) else value


def _plot(study: Study) -> str:
    """Return the plot as an image of its own, so that the names inside several do not meet."""
    try:
        held = base64.b64encode((study.folder / "plot.svg").read_bytes()).decode()
    except OSError:
        return ""
    alt = escape(f"Plot of {study.name}: {study.finding}")
    return f'<figure><div class="scroll"><img alt="{alt}" src="data:image/svg+xml;base64,{held}"></div></figure>'
