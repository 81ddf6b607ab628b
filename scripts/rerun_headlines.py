"""Judge the two headline claims of docs/modern.md again, on seeds that no packed run has.

    cd FOLDER && python scripts/rerun_headlines.py [modern|crowded]

What the trials chose stays chosen; the finals of ``optbench study modern`` and those that the verdict of ``crowded``
compares are run anew, and judged by the same rules. Exits with 1 where a verdict is another one.
``scripts/table_modern.py`` puts what was found on the page.
"""

import argparse
import json
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from runner.study.contest import crowded, packed, shards, verdict  # noqa: E402
from runner.study.contest.catalogue import CROWDED, MODERN  # noqa: E402
from runner.study.study import WORDS  # noqa: E402

FIRST = 1000
"""The first of the other seeds."""


def main() -> int:
    """Run, judge and write what was found."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    known = {contest.name: contest for contest in (MODERN, CROWDED)}
    parser.add_argument("claims", nargs="*", metavar="CLAIM", help=", ".join(known))
    asked = parser.parse_args().claims
    if odd := [name for name in asked if name not in known]:
        parser.error(f"{odd[0]!r} is none of {', '.join(known)}")
    same = True
    for contest in (known[name] for name in asked or known):
        frame, _ = packed.read(contest)
        judge, began = verdict.JUDGES[contest.name], time.monotonic()
        seeds = range(FIRST, FIRST + len(contest.seeds))
        which = crowded.compared_parts(contest, frame) if contest is CROWDED else None
        anew = shards.again(contest, frame, seeds, lambda text: print(text, flush=True), which)
        before, now = judge(contest, frame), judge(contest, anew)
        same &= before.holds is now.holds
        runs = int(anew["seed"].isin(seeds).sum())
        found = {"contest": contest.name, "seeds": f"{seeds[0]} to {seeds[-1]}", "runs": runs}
        found |= {"first": WORDS[before.holds], "again": WORDS[now.holds]}
        found |= {"seconds": round(time.monotonic() - began, 1)}
        found["numbers"] = json.loads(now.numbers.to_json(orient="records", double_precision=5))
        keep(found)
        print(f"{contest.name}: {found['first']}, on other seeds {found['again']}")
        print(now.numbers.to_string(index=False))
    return 0 if same else 1


def keep(found: dict[str, object]) -> None:
    """Put what was found into the file, in the place of what it says of the same contest."""
    told = json.loads(packed.HEADLINES.read_text(encoding="utf-8")) if packed.HEADLINES.is_file() else []
    told = sorted([*(one for one in told if one["contest"] != found["contest"]), found], key=lambda one: one["contest"])
    packed.HEADLINES.write_text(json.dumps(told, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    raise SystemExit(main())
