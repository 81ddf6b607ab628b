"""Write docs/modern.md and its picture from the packed records of ``optbench study modern`` and ``crowded``.

    python scripts/table_modern.py                # from the records that the repository keeps
    cd FOLDER && python scripts/table_modern.py --keep    # copy the shards packed in FOLDER/outputs into it before

It trains nothing; ``scripts/rerun_headlines.py`` judges the two headline claims on fresh seeds.
"""

import argparse
import json
import math
import shutil
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from runner.report.drawing.figures import render  # noqa: E402
from runner.statistics import pools  # noqa: E402
from runner.study.contest import crowded, modern, packed, plan, rules, speed, verdict  # noqa: E402
from runner.study.contest.catalogue import CROWDED, LARGE, LENGTHS, MODERN  # noqa: E402
from runner.study.contest.choice import chosen  # noqa: E402
from runner.study.contest.plan import Contest  # noqa: E402
from runner.study.study import WORDS  # noqa: E402

PAGE, PICTURE = ROOT / "docs" / "modern.md", ROOT / "docs" / "pictures" / "modern.svg"
SAID = {holds: word.replace("_", " ") for holds, word in WORDS.items()}


def main() -> int:
    """Write the page."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--keep", action="store_true", help="copy the shards packed in ./outputs before")
    if parser.parse_args().keep:
        for contest in (MODERN, CROWDED, LARGE):
            for path in packed.place(contest).glob("*.csv.gz"):
                print(shutil.copyfile(path, packed.SHIPPED / path.name))
    frame, told = packed.read(MODERN)
    crowd, told_crowd = packed.read(CROWDED)
    found = modern.on_workloads(MODERN, frame)
    PICTURE.write_bytes(render(modern.profile_plot(found), ["svg"])["svg"])
    text = "\n".join(
        [
            *head(frame, crowd, told, told_crowd),
            *newer(frame, found),
            *each_workload(found),
            *to_target(found),
            *many(crowd),
            *once_more(frame),
            *not_run(frame, crowd, told, told_crowd),
        ]
    )
    PAGE.write_text("\n".join(line.rstrip() for line in text.splitlines()) + "\n", encoding="utf-8")
    print(f"{PAGE}: {len(frame)} and {len(crowd)} runs, {len(text.split())} words")
    return 0


def head(frame: pd.DataFrame, crowd: pd.DataFrame, told: list[dict[str, Any]], more: list[dict[str, Any]]) -> list[str]:
    """Return what the page is about."""
    seconds = sum(float(one["seconds"]) for one in (*told, *more))
    versions = sorted({f"torch {one['torch']}" for one in (*told, *more)})
    days = sorted({str(one["day"]) for one in (*told, *more)})
    return [
        "# Newer optimizers against tuned AdamW",
        "",
        f"{len(frame):,} and {len(crowd):,} runs, {seconds / 60:.0f} minutes of a shared machine's time on "
        f"{', '.join(days)}, {', '.join(versions)}. `python scripts/table_modern.py` writes this page from the packed "
        "records in `runner/study/records`; `optbench study modern` and `optbench study crowded` judge them, and "
        "`--shard 1/6` runs a shard that is not there. The rules were fixed before the runs. All of it is of small "
        "networks and short runs (220 to 440 steps), for which defaults are too slow, AdamW's too: nothing here says "
        "what an optimizer does for a large model.",
        "",
    ]


def newer(frame: pd.DataFrame, found: list[modern.OnWorkload]) -> list[str]:
    """Return the table: claimed, at defaults, tuned."""
    judged = modern.judge(MODERN, frame)
    numbers = judged.numbers
    lines = [
        "## Claimed, at defaults, tuned",
        "",
        f"**{rules.MODERN_FINDING}** ({rules.MODERN_SOURCE}): **{SAID[judged.holds]}**. {rules.MODERN_RULE}.",
        "",
        "A speed-up of 2 is half the steps. ¼ and 4 are ends of what was measured: they stand for less and more. An "
        "interval is 95 %; *reached*: workloads on which the median run came within 5 % of tuned AdamW's last "
        "loss; *best*: workloads on which it can be the best by test loss (95 %); *edge*: workloads on which the rate "
        "chosen is from the lowest (−) or highest (+) 15th of its range: a wider one might have held a better.",
        "",
    ]
    rows = []
    for _, row in numbers.iterrows():
        claimed = "–" if math.isnan(float(row["claimed"])) else f"{row['claimed']:g}"
        on = int(row["workloads"])
        rows.append(
            [
                f"`{row['optimizer']}`",
                claimed,
                speed_up(row["defaults"], row["defaults_low"], row["defaults_high"]),
                speed_up(row["tuned"], row["tuned_low"], row["tuned_high"]),
                f"{row['reached']} of {on}",
                f"{row['can_be_best']} of {on}",
                edges(found, str(row["optimizer"])),
            ]
        )
    lines += table(("optimizer", "claimed", "at defaults", "tuned", "reached", "best", "edge"), rows)
    counted = numbers[numbers["claimed"].notna() & (numbers["workloads"] >= rules.LEAST_WORKLOADS)]
    below = counted.loc[counted["holds"].astype(bool), "optimizer"]
    ended = [name for name in counted["optimizer"] if "+" in edges(found, str(name))]
    lines += [
        "",
        f"The verdict counts {len(counted)} claims, of optimizers on {rules.LEAST_WORKLOADS} workloads or more.",
    ]
    lines += [f"Below them: {named(below)}. At the upper end of their ranges on some workload: {named(ended)}; what a"]
    lines += ["wider range would have given these is not known.", ""]
    others = numbers[(numbers["optimizer"] != "adamw") & (numbers["workloads"] > 1)]
    faster = list(others.loc[others["tuned_low"] > 1, "optimizer"])
    slower = list(others.loc[others["tuned_high"] < 1, "optimizer"])
    lines += [
        f"On 2 workloads or more, tuned, faster than AdamW: {named(faster)}. Slower: {named(slower)}. The others "
    ]
    lines += ["are not told from it."]
    lines += [
        f"Each of {len(others)} intervals misses once in 20 by chance. A budget is a number of trials: what is tuned "
        "is the rate and, where an option's YAML has a range for it, the decay. `muon` is not for models without a "
        "hidden linear layer. Claims:",
        "",
    ]
    for contender in MODERN.contenders:
        if contender.claimed is not None and contender.name in set(numbers["optimizer"]):
            lines.append(f"- `{contender.name}` {contender.claimed:g} ×: {contender.claim} ({contender.source})")
    return [*lines, ""]


def edges(found: list[modern.OnWorkload], name: str) -> str:
    """Return on how many workloads an optimizer's rate was chosen at an end of its range."""
    parts = {(part.workload.name, part.contender.name): part for part in plan.every_part(MODERN)}
    ends = [
        plan.edge(MODERN, parts[one.name, name], chosen(one.parts[name], max(MODERN.budgets))[1])
        for one in found
        if name in one.parts
    ]
    told = [f"{ends.count(end)} {sign}" for end, sign in ((-1, "−"), (1, "+")) if end in ends]
    return ", ".join(told)


def each_workload(found: list[modern.OnWorkload]) -> list[str]:
    """Return the speed-ups on each workload, and the sets that can be best."""
    names = [c.name for c in MODERN.contenders if any(c.name in one.parts for one in found)]
    rows = []
    for name in names:
        cells = [
            speed_up(*speed.interval(one.tuned[name], len(MODERN.seeds))) if name in one.parts else "–" for one in found
        ]
        rows.append([f"`{name}`", *cells])
    lines = ["## Each workload, tuned", "", *table(("optimizer", *(one.name for one in found)), rows), ""]
    lines += [f"- {one.name} can be best: {named(one.best)}." for one in found]
    return [*lines, ""]


def to_target(found: list[modern.OnWorkload]) -> list[str]:
    """Return steps and seconds to the targets, and the performance profile."""
    names = [c.name for c in MODERN.contenders if any(c.name in one.parts for one in found)]
    steps, seconds = (modern.profile(found, seconds=clock).set_index("optimizer") for clock in (False, True))
    rows = []
    for name in names:
        cells = [_there(one, name) if name in one.parts else "–" for one in found]
        scores = [
            ranged(*of.loc[name, ["score", "low", "high"]]) if name in of.index else "–" for of in (steps, seconds)
        ]
        rows.append([f"`{name}`", *cells, *scores])
    heads = ("optimizer", *(one.name for one in found), "score, steps", "score, seconds")
    return [
        "## Steps and seconds to the target",
        "",
        "Median steps of 12 seeds to a validation loss 5 % above tuned AdamW's last, a processor's seconds of "
        "one run by itself, evaluations left out, and how many seeds got there where not all did. The score is of the "
        "performance profile, 1 at best. Within a decaying schedule all are late: the speed-ups above are of "
        "whole runs.",
        "",
        *table(heads, rows),
        "",
        "![Share of workloads solved within a ratio of the fastest](pictures/modern.svg)",
        "",
    ]


def _there(one: modern.OnWorkload, name: str) -> str:
    times = one.times[name]
    median, reached = float(pools.median_times(times)), int(np.isfinite(times).sum())
    if not reached:
        return "never"
    count = "" if reached == len(times) else f", {reached}"
    if not math.isfinite(median):
        return f"late{count}"
    return f"{median:.0f} ({median * speed.seconds_a_step(one.parts[name]):.2f} s{count})"


def many(crowd: pd.DataFrame) -> list[str]:
    """Return the verdict on several defaults against one that is tuned."""
    judged = crowded.judge(CROWDED, crowd)
    lines = [
        "## Several at their defaults, or one tuned",
        "",
        f"**{rules.CROWDED_FINDING}** ({rules.CROWDED_SOURCE}): **{SAID[judged.holds]}**. {rules.CROWDED_RULE}.",
        "",
    ]
    if not len(judged.numbers):
        return [*lines, "No cell has all 15 optimizers yet.", ""]
    rows = [
        [str(r["compared"]), ranged(r["mean"], r["low"], r["high"]) if r["low"] != r["high"] else f"{r['mean']:.3g}"]
        for _, r in judged.numbers.iterrows()
    ]
    (few, alone), rows = (float(n) for n in judged.numbers["mean"][-2:]), rows[:-2]
    lines += [*table(("test points, best of defaults less AdamW at the best of 20 trials", "95 %"), rows), ""]
    lines += [f"Of each cell {few:.3g} optimizers can be the best in the mean; in {alone:.0f} cells one alone can.", ""]
    lines += [f"{len(crowd):,} runs are packed, of {len(plan.cells(CROWDED))} cells those above.", ""]
    budgets = CROWDED.budgets
    rows = [
        [f"`{r['optimizer']}`", *(f"{r[f'best_of_{b}']:.1f}" for b in budgets), str(r["can_be_best"])]
        for _, r in crowded.by_budget(CROWDED, crowd).iterrows()
    ]
    heads = ("optimizer", "defaults", *(f"best of {b}" for b in budgets[1:]), "cells where it can be best")
    return [*lines, "Mean test accuracy over cells and seeds, %:", "", *table(heads, rows), ""]


def once_more(frame: pd.DataFrame) -> list[str]:
    """Return what the headline claims came to on other seeds."""
    lines = ["## Once more, on other seeds", ""]
    if not packed.HEADLINES.is_file():
        return [*lines, "Not run: `python scripts/rerun_headlines.py` does.", ""]
    told = json.loads(packed.HEADLINES.read_text(encoding="utf-8"))
    lines.append("`python scripts/rerun_headlines.py` runs the finals of both anew; what was chosen stays chosen.")
    lines.append("")
    rows = [[f"`{one['contest']}`", one["seeds"], one["first"], one["again"], one["runs"]] for one in told]
    lines += table(("claim", "seeds", "first verdict", "verdict on these seeds", "runs"), rows)
    first = modern.judge(MODERN, frame).numbers.set_index("optimizer")
    for one in (one for one in told if one["contest"] == MODERN.name):
        now = pd.DataFrame(one["numbers"]).set_index("optimizer")
        both = [name for name in now.index if name in first.index and now.loc[name, "workloads"] > 1]
        faster = [n for n in both if min(first.loc[n, "tuned_low"], now.loc[n, "tuned_low"]) > 1]
        slower = [n for n in both if max(first.loc[n, "tuned_high"], now.loc[n, "tuned_high"]) < 1]
        lines += [
            "",
            f"{len(now)} of {len(first)} optimizers were run again.",
        ]
        lines += [f"Faster than tuned AdamW both times: {named(faster)}. Slower both times: {named(slower)}."]
    return [*lines, ""]


def not_run(
    frame: pd.DataFrame, crowd: pd.DataFrame, told: list[dict[str, Any]], more: list[dict[str, Any]]
) -> list[str]:
    """Return what is missing and what it would take, by what was measured."""
    measured = seconds_a_run((*told, *more))
    lines = ["## What was not run, and what it takes", ""]
    rows = [[name, f"{value:.2f}"] for name, value in measured.items()]
    lines += ["Seconds of a processor that a run took, planning and records counted (others used the machine too):", ""]
    lines += [*table(("workload", "seconds a run"), rows), ""]
    for contest, of in ((MODERN, frame), (CROWDED, crowd)):
        lines += [f"- {line}" for line in verdict.said_of(contest, of, measured)]
    hours = _hours(LARGE, measured)
    runs = sum(plan.runs_of(LARGE, part) for part in plan.every_part(LARGE))
    unknown = [w.name for w in LARGE.workloads if w.name not in measured]
    guessed = f" ({', '.join(unknown)}: by single runs that were tried)" if unknown else ""
    lines.append(
        f"- `optbench study crowded-large --shard 1/{len(plan.cells(LARGE))}` … : {runs:,.0f} runs at most, about "
        f"{hours:.1f} hours in all by these figures{guessed}."
    )
    return lines


def seconds_a_run(told: Iterable[dict[str, Any]]) -> dict[str, float]:
    """Return the seconds of a processor that a run took on each workload, from what shards took."""
    seconds, runs = dict[str, float](), dict[str, int]()
    for one in told:
        for cell, (spent, count) in one["processor"].items():
            name = cell.partition(" ")[0]
            seconds[name], runs[name] = seconds.get(name, 0.0) + spent, runs.get(name, 0) + count
    return {name: seconds[name] / runs[name] for name in sorted(runs)}


def _hours(contest: Contest, measured: dict[str, float]) -> float:
    parts = plan.every_part(contest)
    return sum(plan.runs_of(contest, p) * measured.get(p.workload.name, p.workload.seconds) for p in parts) / 3600


def speed_up(value: float, low: float, high: float) -> str:
    """Return a speed-up and its interval; at an end of what was measured, that it is beyond."""
    least, most = min(LENGTHS), max(LENGTHS)
    if low == high and low in (least, most):
        return f"≥ {most:g}" if low == most else f"≤ {least:g}"
    return ranged(value, low, high)


def ranged(value: float, low: float, high: float) -> str:
    """Return a value and its interval."""
    return f"{value:.3g} [{low:.3g}, {high:.3g}]" if low != high else f"{value:.3g}"


def named(names: Iterable[str]) -> str:
    """Return names as a list in words."""
    return ", ".join(f"`{name}`" for name in names) or "none"


def table(heads: Iterable[str], rows: Iterable[Iterable[object]]) -> list[str]:
    """Return a table's lines."""
    heads = list(heads)
    lines = ["| " + " | ".join(heads) + " |", "| " + " | ".join("---" for _ in heads) + " |"]
    return lines + ["| " + " | ".join(str(cell) for cell in row) + " |" for row in rows]


if __name__ == "__main__":
    raise SystemExit(main())
