"""Write docs/studies.md: every study's finding, rule, numbers and verdict, from the verdicts in ``outputs/``.

    cd FOLDER && optbench study all && python scripts/table_studies.py

It trains nothing: what was not run by the present rule is listed as not run.
"""

import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs" / "studies.md"
HEAD = """# Published findings, and what was measured

`optbench study all` runs every study and judges it by a rule that was fixed before the run; `outputs/studies.html`
shows them with their plots. This table is of one such run (`python scripts/table_studies.py` writes it). A mean of
seeds stands with its 95 % interval in brackets; seconds are about what a study takes on 2 cores.
"""
STUDIES_HEAD = """
| study | finding and source | rule | measured | verdict | runs | seconds |
| --- | --- | --- | --- | --- | --- | --- |
"""
SAYINGS_HEAD = """
## What beginners are told

| often told | measured | by |
| --- | --- | --- |
"""


def main() -> int:
    """Read the verdicts and write the page."""
    sys.path.insert(0, str(ROOT))
    from runner.study import page
    from runner.study.catalogue import STUDIES
    from runner.study.sayings import SAYINGS
    from runner.study.study import read_verdict

    verdicts = {study.name: read_verdict(study) for study in STUDIES}
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
    sayings = [row([f"“{s.told}”", page.measured(s, verdicts), f"`{s.study}`"]) for s in SAYINGS]
    PAGE.write_text(HEAD + STUDIES_HEAD + "".join(lines) + SAYINGS_HEAD + "".join(sayings), encoding="utf-8")
    print(f"{PAGE}: {len(STUDIES)} studies, {sum(v is not None for v in verdicts.values())} of them run")
    return 0


def row(cells: list[str]) -> str:
    """Return a table's row: a pipe in a cell would end it."""
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |\n"


if __name__ == "__main__":
    raise SystemExit(main())
