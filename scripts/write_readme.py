"""Write what README.md and docs/quickstart.md tell of measurements and of what commands print.

python scripts/write_readme.py            # the numbers that other pages' tables hold
python scripts/write_readme.py --run      # the outputs too: runs the commands, a few minutes
python scripts/write_readme.py --check    # do the numbers stand there?
"""

import argparse
import json
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pages import rewrite

ROOT = Path(__file__).resolve().parent.parent
README, QUICKSTART = ROOT / "README.md", ROOT / "docs" / "quickstart.md"
WIDTH = 120
GRID, FASTER = "64 × digits", "a process a core / auto"
BY_HAND = "optbench / loop by hand"
REPLAYED = 1.5
"""A run that is so many times as fast as by ``engine=loop`` was trained as a graph."""


@dataclass(frozen=True)
class Output:
    """A command of a page and what stands below it of its output."""

    page: Path
    command: str
    """As the page has it; its block ends with it."""
    start: str
    """What was typed before, below ``outputs/``, or an example's folder."""
    before: str = ""
    """A command that is run first."""
    lines: Sequence[str] = ()
    """Starts of the paragraphs that are shown, in order."""
    marked: bool = False
    """Whether the block stands behind ``<!-- output: command -->``, and not right behind the command's own."""


OUTPUTS = (
    Output(
        README,
        "optbench report outputs/grid",
        "",
        "optbench train -m experiment=grid",
        ("Boosted trees", "Use:", "optbench train", "validation accuracy", r"\d+ of \d+ settings", "- Initializer"),
    ),
    Output(
        README,
        "optbench data data=csv data.path=wine.csv data.label=cultivar data.index=bottle data.missing=impute",
        "own_table",
        lines=("column", "bottle", "malic_acid", "cultivar"),
    ),
    Output(
        README,
        "optbench report outputs/signs",
        "own_optimizer",
        "optbench train -m name=signs seeds=3 epochs=5 + optim=custom optim.target=mine.SignMomentum "
        "optim.lr=0.0003,0.001,0.003 + optim=adamw optim.lr=0.001,0.003,0.01",
        (r"\d+ of \d+ settings", "- Optimizer"),
    ),
    Output(
        QUICKSTART,
        "optbench report outputs/demo",
        "",
        "optbench train -m experiment=demo",
        (r"\d+ runs in", "", "Boosted trees", "", "Use:", "optbench train", "", "validation accuracy", "test accuracy"),
        marked=True,
    ),
)


def _number(cell: str) -> float:
    return float(cell.replace(",", ""))


def headlines() -> list[tuple[str, str]]:
    """Return what README.md says of other pages' numbers: what stands there, as a pattern, and what should.

    Raises:
        ValueError: if a page no longer has its row.
    """
    speed = (ROOT / "docs" / "speed.md").read_text(encoding="utf-8")
    head = re.search(rf"^\| grid \|.*\| {FASTER} \|.*$", speed, re.MULTILINE)
    row = re.search(rf"^\| {GRID}.*$", speed[head.start() :] if head else "", re.MULTILINE)
    if head is None or row is None:
        raise ValueError(f"docs/speed.md has no row of {GRID} with a column {FASTER}")
    faster = float(row[0].split("|")[head[0].split("|").index(f" {FASTER} ")])
    cuda = (ROOT / "docs" / "cuda.md").read_text(encoding="utf-8").splitlines()
    begin = next((i for i, line in enumerate(cuda) if f"| {BY_HAND} |" in line), None)
    if begin is None:
        raise ValueError(f"docs/cuda.md has no column {BY_HAND}")
    heads = cuda[begin].split("|")
    column, ours, looped = (heads.index(f" {head} ") for head in (BY_HAND, "optbench", "optbench, engine=loop"))
    rows = [line.split("|") for line in cuda[begin + 2 :]]
    end = next((i for i, cells in enumerate(rows) if len(cells) <= column), len(rows))
    small = [cells for cells in rows[:end] if _number(cells[ours]) > REPLAYED * _number(cells[looped])]
    times = [_number(cells[column]) for cells in small]
    studies = json.loads((ROOT / "runner" / "study" / "reference.json").read_text(encoding="utf-8"))
    return [
        (r"[\d.]+ × as fast as a process", f"{faster:.0f} × as fast as a process"),
        (r"\([\d.]+ to [\d.]+ × as fast as a loop", f"({min(times):.2g} to {max(times):.2g} × as fast as a loop"),
        (r"\[\d+ findings\]", f"[{len(studies)} findings]"),
    ]


def with_headlines(text: str) -> str:
    """Return README.md with the numbers of other pages.

    Raises:
        ValueError: if it has lost a sentence that holds one.
    """
    for pattern, said in headlines():
        text, count = re.subn(pattern, said, text)
        if count != 1:
            raise ValueError(f"README.md has {count} places like {pattern}")
    return text


def printed(typed: str, folder: Path) -> str:
    """Return what a command prints."""
    words = shlex.split(typed)[1:]
    done = subprocess.run([sys.executable, "-m", "runner", *words], cwd=folder, capture_output=True, text=True)
    if done.returncode not in (0, 2):
        raise SystemExit(f"{typed}: {done.stderr}")
    return done.stdout or done.stderr


def excerpt(output: str, starts: Sequence[str]) -> str:
    """Return a paragraph for each start, the next one that begins so, wrapped; without a start an empty line."""
    paragraphs = re.split(r"\n(?!  )", output)
    found, at = [], 0
    for start in starts:
        if not start:
            found.append("")
            continue
        at = next(i for i in range(at, len(paragraphs)) if re.match(start, paragraphs[i]))
        one = re.sub(r"\n  +", " ", paragraphs[at]).rstrip() if len(paragraphs[at]) > WIDTH else paragraphs[at].rstrip()
        command = one.startswith("optbench train ")
        found.append(one if command else textwrap.fill(one, WIDTH, subsequent_indent="  ", break_on_hyphens=False))
    return "\n".join(found)


def main() -> int:
    """Write, or check."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", action="store_true", help="run the commands and write their outputs")
    parser.add_argument("--check", action="store_true", help="write nothing; exit code 1 if the numbers differ")
    arguments = parser.parse_args()
    text = README.read_text(encoding="utf-8")
    new = with_headlines(text)
    if arguments.check:
        if new != text:
            print("README.md does not have its pages' numbers: python scripts/write_readme.py", file=sys.stderr)
        return int(new != text)
    README.write_text(new, encoding="utf-8")
    for output in OUTPUTS if arguments.run else ():
        with tempfile.TemporaryDirectory() as place:
            folder = Path(place) / "there"
            shutil.copytree(ROOT / "examples" / output.start, folder) if output.start else folder.mkdir()
            if output.before:
                printed(output.before, folder)
            shown = excerpt(printed(output.command, folder), output.lines)
        print(f"{output.command}\n{shown}\n")
        begins = f"<!-- output: {output.command} -->\n" if output.marked else f"{output.command}\n```\n\n"
        rewrite(output.page, (f"{begins}```text", "```"), shown)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
