"""How many studies would be reproduced by chance alone: a verdict is a test, and many tests are made."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from scipy import stats

SIDE = 0.025
"""How often a 95 % interval lies wholly beyond a bound on one side of it, where the truth is at the bound."""
INTERVAL = "95 % interval"
"""What a rule says that judges by one."""

Rows = Sequence[Mapping[str, Any]]


def by_chance(rule: str) -> float | None:
    """Return at most how likely a study is reproduced of which nothing is true; None where no interval judges.

    A rule may ask for several intervals. All of them must hold, so that none of them is less sure than one alone.
    """
    return SIDE if INTERVAL in rule else None


def comparisons(rows: Rows) -> int:
    """Return by how many intervals a verdict's rows are judged: what is only reported, and what has none, do not."""
    return sum(
        {"low", "high"} <= row.keys()
        and row["low"] != row["high"]
        and str(row["expected"]).startswith(("interval", "within"))
        for row in rows
    )


@dataclass(frozen=True)
class Chance:
    """What chance would give of the studies that judge by intervals and were run."""

    studies: int
    reproduced: int
    expected: float
    """At most so many of them, were nothing true of any."""
    independent: float
    """So many, were the comparisons of each study independent of each other."""
    tail: float
    """How likely chance is to give as many as were reproduced, or more; at most."""


def chance(verdicts: Iterable[Mapping[str, Any]]) -> Chance:
    """Return how many of some verdicts, as ``verdict.json`` holds them, would be reproduced by chance."""
    judged = [v for v in verdicts if by_chance(str(v["rule"])) is not None]
    reproduced = sum(v["verdict"] == "reproduced" for v in judged)
    return Chance(
        len(judged),
        reproduced,
        SIDE * len(judged),
        sum(SIDE ** max(1, comparisons(v["numbers"])) for v in judged),
        float(stats.binom.sf(reproduced - 1, len(judged), SIDE)),
    )


def in_words(found: Chance) -> str:
    """Return what chance would give as two sentences."""
    if not found.studies:
        return "No study that judges by 95 % intervals was run."
    tail = "below 1e-12" if found.tail < 1e-12 else f"{found.tail:.2g}"
    return (
        f"Of {found.studies} studies that judge by 95 % intervals, {found.reproduced} were reproduced. If no finding "
        f"were true, chance would reproduce each with a probability of at most {100 * SIDE:g} %: so often an interval "
        f"lies wholly on the side that its rule names. That makes at most {found.expected:.1f} of {found.studies}, and "
        f"about {found.independent:.1g} where a rule's comparisons are independent, as all must hold; the probability "
        f"of {found.reproduced} or more is {tail}. The other studies have tolerances, which chance does not meet."
    )
