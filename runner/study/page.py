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
from runner.study import chance, reference
from runner.study.catalogue import STUDIES
from runner.study.sayings import SAYINGS, Saying
from runner.study.study import Study, read_verdict

Verdicts = Mapping[str, Mapping[str, Any] | None]
"""What ``verdict.json`` holds, by the study's name; None of a study without one."""

PAGE = OUTPUTS / "studies.html"
WORDS = {
    "reproduced": "reproduced",
    "not_reproduced": "not reproduced",
    "inconclusive": "inconclusive",
    "not_run": "not run",
}


def write_page() -> Path:
    """Write the page from the verdicts in ``outputs/`` and the shipped ones, and return where it is.

    Raises:
        RecordError: if it cannot be written.
    """
    with writing(PAGE):
        PAGE.parent.mkdir(exist_ok=True)
    write_whole(PAGE, page({study.name: read_verdict(study) for study in STUDIES}))
    return PAGE


def references() -> Verdicts:
    """Return the shipped verdict of every study that has one by its present rule."""
    return {study.name: reference.of(study.name, study.rule) for study in STUDIES}


def page(own: Verdicts) -> str:
    """Return the page, with the shipped verdict of each study that was not run."""
    shipped = references()
    verdicts = {name: verdict or shipped[name] for name, verdict in own.items()}
    found = [_word(verdicts[study.name]) for study in STUDIES]
    counts = ", ".join(f"{found.count(word)} {said}" for word, said in WORDS.items() if word in found)
    here = sum(verdict is not None for verdict in own.values())
    others = f"{here or 'none'} of them run here, the others as the package ships them"
    sayings = "".join(
        f"<tr><td>“{escape(saying.told)}”</td><td>{escape(measured(saying, verdicts))}</td>"
        f"<td>{_link(saying.study)}</td></tr>"
        for saying in SAYINGS
    )
    listed = "".join(_line(study, verdicts[study.name], own[study.name] is not None) for study in STUDIES)
    by_chance = chance.in_words(chance.chance(verdict for verdict in verdicts.values() if verdict is not None))
    main = f"""<section class="answer" id="sayings"><h2>What beginners are told, and what was measured</h2>
{_table("Sayings", ("often told", "measured", "by"), sayings)}</section>
<section id="chance"><h2>What chance would give</h2><p>{escape(by_chance)}</p></section>
<section id="all"><h2>Every study</h2>
<p>A study is a sweep of ordinary runs and a rule that was fixed before them; the verdict is what the rule says. Those
of class theory must hold to their tolerance, most of class ordering with their 95 % confidence intervals.</p>
{_table("Every study", ("study", "class", "finding", "verdict", "run"), listed)}</section>
{"".join(_section(study, own[study.name], shipped[study.name]) for study in STUDIES)}"""
    footer = (
        "Tables sort by a click on a heading. A study's runs, numbers and plot lie in <code>study-…</code> beside it "
        "where it was run."
    )
    summary = f"{len(STUDIES)} studies: {counts}; {others}"
    return document("Published findings", summary, main, footer, ("sayings", "Skip to them"))


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


def _line(study: Study, verdict: Mapping[str, Any] | None, here: bool) -> str:
    run = "" if verdict is None else "here" if here else f"shipped, {verdict['date']}"
    return (
        f'<tr><td>{_link(study.name)}</td><td class="keep">{study.kind}</td>'
        f'<td>{escape(study.finding)} <span class="soft">({escape(study.source)})</span></td>'
        f'<td>{_badge(_word(verdict))}</td><td class="keep">{run}</td></tr>'
    )


def _section(study: Study, own: Mapping[str, Any] | None, shipped: Mapping[str, Any] | None) -> str:
    verdict = own or shipped
    head = (
        f'<section class="study" id="{escape(study.name)}"><h2>{escape(study.name)} {_badge(_word(verdict))}</h2>'
        f'<p>{escape(study.finding)}. <span class="soft">{escape(study.source)}</span></p>'
        f"<p><b>Rule</b> {escape(study.rule)}.</p>"
    )
    again = command_line(f"optbench study {study.name}")
    if verdict is None:
        return f'{head}<p class="soft">Not run; it takes about {study.seconds} s on 2 cores.</p>{again}</section>\n'
    spent = f"{verdict['runs']} runs"
    if verdict["train_seconds"] is not None:
        spent += f", {verdict['train_seconds']:,.0f} s of training in all"
    if own is None:
        spent += f"; {reference.made_by(verdict)}, as shipped. It takes about {study.seconds} s on 2 cores"
    elif shipped is not None:
        spent += f"; {reference.compared(own['numbers'], own['verdict'], shipped)}"
    beside = shipped["numbers"] if own is not None and shipped is not None else None
    numbers = _numbers(verdict["numbers"], beside)
    return f"{head}{numbers}{_plot(study, own is not None)}<p class='soft'>{escape(spent)}.</p>{again}</section>\n"


def _numbers(rows: Sequence[Mapping[str, Any]], shipped: Sequence[Mapping[str, Any]] | None) -> str:
    columns = list(dict.fromkeys(name for row in rows for name in row))
    more = [] if shipped is None else ["reference"]
    lines = ""
    for row in rows:
        judged = row if row.get("expected") != "reported" else {**row, "holds": None}
        cells = [cell(_shown(judged.get(c))) for c in columns]
        if shipped is not None:
            cells.append(cell(_reference(row, shipped)))
        kind = "" if row.get("holds", True) else ' class="not_reproduced"'
        lines += f"<tr{kind}>{''.join(cells)}</tr>"
    return _table("Numbers", [*(c.replace("_", " ") for c in columns), *more], lines)


def _reference(row: Mapping[str, Any], shipped: Sequence[Mapping[str, Any]]) -> str:
    """Return the shipped numbers of a row, with their interval where they have one."""
    found = reference.beside(row, shipped)
    if {"mean", "low", "high"} <= found.keys():
        return f"{_short(found['mean'])} [{_short(found['low'])}, {_short(found['high'])}]"
    return ", ".join(_short(value) for value in found.values()) or "–"


def _table(label: str, heads: Sequence[str], lines: str) -> str:
    shown = "".join(f'<th scope="col"><button type="button">{escape(head)}</button></th>' for head in heads)
    same = "background: inherit; color: inherit"
    return (
        f'<div class="scroll" tabindex="0" role="region" aria-label="{label}" style="{same}">'
        f'<table class="wrap"><thead><tr>{shown}</tr></thead><tbody>{lines}</tbody></table></div>'
    )


def _shown(value: object) -> object:
    return {True: "yes", False: "no"}[value] if isinstance(value, bool) else value


def _plot(study: Study, here: bool) -> str:
    """Return the plot as an image of its own, so that the names inside several do not meet."""
    if here:
        try:
            drawn = (study.folder / "plot.svg").read_bytes()
        except OSError:
            return ""
    elif (shipped := reference.plot(study.name)) is not None:
        drawn = shipped
    else:
        return ""
    held = base64.b64encode(drawn).decode()
    alt = escape(f"Plot of {study.name}: {study.finding}")
    return f'<figure><div class="scroll"><img alt="{alt}" src="data:image/svg+xml;base64,{held}"></div></figure>'
