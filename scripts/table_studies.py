"""Write the shipped verdicts, docs/studies.md and a table of docs/findings.md from the verdicts in ``outputs/``.

    cd FOLDER && optbench study all && python scripts/table_studies.py
    python scripts/table_studies.py --check         # do the pages hold the shipped verdicts?

It trains nothing. A study that was not run there keeps the verdict that the package has of it, if that is by the
present rule.
"""

import argparse
import io
import json
import sys
import textwrap
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pages import rewrite

ROOT = Path(__file__).parent.parent
PAGE, FINDINGS = ROOT / "docs" / "studies.md", ROOT / "docs" / "findings.md"
MARKS = ("<!-- sayings -->", "<!-- end of sayings -->")
HEAD = """# Published findings, and what was measured

`optbench study all` runs every study and judges it by a rule that was fixed before the run; `outputs/studies.html`
shows them with their plots. This table is of the verdicts that the package ships, last made on {date} with
{versions} (`python scripts/table_studies.py` writes both). A mean of seeds stands with its 95 % interval in brackets;
seconds are about what a study takes on 2 cores.{earlier}

{chance}
"""
STUDIES_HEAD = """
| study | finding and source | rule | measured | verdict | runs | seconds |
| --- | --- | --- | --- | --- | --- | --- |
"""
SAYINGS_HEAD = """
| often told | measured | by |
| --- | --- | --- |
"""
EARLIEST = (1980, 1, 1, 0, 0, 0)
"""Of every file in the archive, so that the same plots are the same archive."""


def main() -> int:
    """Read the verdicts and write the files."""
    sys.path.insert(0, str(ROOT))
    from runner.study import reference
    from runner.study.catalogue import STUDIES
    from runner.study.study import read_verdict

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="do the pages hold the shipped verdicts?")
    check = parser.parse_args().check
    shipped = {study.name: reference.of(study.name, study.rule) for study in STUDIES}
    if check:
        found = FINDINGS.read_text(encoding="utf-8").partition(MARKS[0])[2].partition(MARKS[1])[0].strip()
        if PAGE.read_text(encoding="utf-8") == table(shipped) and found == sayings(shipped).strip():
            return 0
        print(f"{PAGE} or {FINDINGS} lacks the shipped verdicts: python scripts/table_studies.py", file=sys.stderr)
        return 1
    verdicts, plots, run = {}, {}, 0
    for study in STUDIES:
        own = read_verdict(study)
        lies = study.folder / "plot.svg"
        drawn = reference.plot(study.name) if own is None else lies.read_bytes() if lies.exists() else None
        if (verdict := own or shipped[study.name]) is not None:
            verdicts[study.name] = verdict
            plots[study.name] = drawn
        run += own is not None
    lines = ",\n".join(f"{json.dumps(n)}: {json.dumps(v, ensure_ascii=False)}" for n, v in verdicts.items())
    reference.VERDICTS.write_text(f"{{\n{lines}\n}}\n", encoding="utf-8")
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as held:
        for name, drawn in plots.items():
            if drawn is not None:
                about = zipfile.ZipInfo(f"{name}.svg", EARLIEST)
                about.compress_type = zipfile.ZIP_DEFLATED
                held.writestr(about, drawn)
    reference.PLOTS.write_bytes(archive.getvalue())
    known = {study.name: verdicts.get(study.name) for study in STUDIES}
    PAGE.write_text(table(known), encoding="utf-8")
    rewrite(FINDINGS, MARKS, sayings(known).strip())
    print(f"{PAGE}: {len(STUDIES)} studies, {run} of them run here, {len(verdicts)} with a verdict")
    return 0


def table(verdicts: Mapping[str, Mapping[str, Any] | None]) -> str:
    """Return the page of docs/."""
    from runner.study import chance, page
    from runner.study.catalogue import STUDIES

    lines = []
    for study in STUDIES:
        verdict = verdicts[study.name]
        found = ["–", "not run", "–"]
        if verdict is not None:
            said = "<br>".join(page.in_words(row) for row in verdict["numbers"])
            word = page.WORDS[verdict["verdict"]]
            found = [said, f"**{word}**", str(verdict["runs"])]
        cells = [f"`{study.name}`", f"{study.finding} ({study.source})", study.rule, *found, str(study.seconds)]
        lines.append(row(cells))
    run = [verdict for verdict in verdicts.values() if verdict is not None]
    last = max(run, key=lambda verdict: str(verdict["date"]))
    head = HEAD.format(
        versions=", ".join(f"{name} {version}" for name, version in last["versions"].items()),
        date=last["date"],
        earlier="".join(f" {name} stands as of {v['date']}." for name, v in verdicts.items() if v and "note" in v),
        chance=chance.in_words(chance.chance(run)),
    )
    head = "\n\n".join(textwrap.fill(part, 119, break_on_hyphens=False) for part in head.split("\n\n")) + "\n"
    return head + STUDIES_HEAD + "".join(lines) + "\n## What beginners are told\n" + sayings(verdicts)


def sayings(verdicts: Mapping[str, Mapping[str, Any] | None]) -> str:
    """Return the table of what is often told, and what was measured."""
    from runner.study import page
    from runner.study.sayings import SAYINGS

    told = [row([f"“{s.told}”", page.measured(s, verdicts), f"`{s.study}`"]) for s in SAYINGS]
    return SAYINGS_HEAD + "".join(told)


def row(cells: list[str]) -> str:
    """Return a table's row: a pipe in a cell would end it."""
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |\n"


if __name__ == "__main__":
    raise SystemExit(main())
