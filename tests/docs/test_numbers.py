"""Numbers that pages tell of studies are those of the shipped verdicts."""

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest

from runner.study import page, reference
from runner.study.catalogue import STUDIES
from runner.study.sayings import SAYINGS
from tests.support.pages import ROOT

NUMBER = re.compile(r"(?<![\w.])[−-]?\d[\d,]*(?:\.\d+)?(?:e-?\d+)?")
SHIPPED = {study.name: reference.of(study.name, study.rule) for study in STUDIES}


def told(name: str) -> Iterator[tuple[str, str]]:
    """Yield the studies that a page names and what it says of each: a row, a bullet, a paragraph."""
    text = (ROOT / "docs" / name).read_text(encoding="utf-8")
    for part in re.split(r"\n(?=\| |- \*\*|\n)", text):
        studies = re.findall(r"`optbench study ([\w-]+)`|\*\*([\w-]+)\*\*:|\(`([\w-]+)`\)", part)
        names = [name for found in studies for name in found if name in SHIPPED]
        if len(names) == 1:
            yield names[0], re.sub(r"`[^`]*`|\*\*[^*]*\*\*", "", part)


def known(study: str) -> list[float]:
    """Return the numbers of a verdict, of its rule, and of what is said of it."""
    verdict: dict[str, Any] | None = SHIPPED[study]
    assert verdict is not None
    measured = [v for row in verdict["numbers"] for v in row.values() if isinstance(v, float)]
    rule = next(one for one in STUDIES if one.name == study)
    said = " ".join(page.measured(s, SHIPPED) for s in SAYINGS if s.study == study)
    words = f"{json.dumps(verdict['numbers'], ensure_ascii=False)} {rule.rule} {rule.finding} {said}"
    powers = [10**v for v in measured if abs(v) < 6]
    return [*measured, *(100 * v for v in measured), *powers, *(number(found) for found in NUMBER.findall(words))]


def number(text: str) -> float:
    return float(text.replace("−", "-").replace(",", ""))


def is_rounded(text: str, values: list[float]) -> bool:
    """Whether a number is one of some values, rounded as it is written; its sign may be in the words."""
    digits = len(text.partition("e")[0].partition(".")[2])
    unit = 10.0**-digits if "e" not in text else number(text) / 10
    return any(abs(abs(number(text)) - abs(value)) <= 0.5 * unit * (1 + 1e-6) for value in values)


INTERVAL = re.compile(rf"({NUMBER.pattern})[^\[\]\d]*\[({NUMBER.pattern}), ({NUMBER.pattern})\]")


def is_measured(found: tuple[str, ...], study: str) -> bool:
    """Whether a mean and its interval are those of one row, in its unit or in percent, or of its opposite."""
    verdict = SHIPPED[study]
    assert verdict is not None
    rows = [r for r in verdict["numbers"] if {"mean", "low", "high"} <= r.keys() and r["mean"] is not None]
    return any(
        all(is_rounded(text, [scale * row[key]]) for text, key in zip(found, keys, strict=True))
        for row in rows
        for scale in (1, 100)
        for keys in (("mean", "low", "high"), ("mean", "high", "low"))
    )


def test_a_mean_stands_beside_its_own_interval() -> None:
    told_of = [(of, found) for of, said in told("findings.md") for found in INTERVAL.findall(said)]
    assert len(told_of) > 5
    assert [(of, found) for of, found in told_of if not is_measured(found, of)] == []


@pytest.mark.parametrize("name", ["findings.md", "zh/claims.md"])
def test_numbers_of_studies_are_those_of_the_shipped_verdicts(name: str) -> None:
    parts = list(told(name))
    assert len(parts) > 10
    wrong = [(of, n) for of, said in parts for n in NUMBER.findall(said) if not is_rounded(n, known(of))]
    assert wrong == []


def test_numbers_of_generated_samples_are_those_of_the_shipped_verdict() -> None:
    said = (ROOT / "docs" / "generated.md").read_text(encoding="utf-8").split("## Against augmentation")[1]
    numbers = NUMBER.findall(said)
    assert len(numbers) > 20 and [n for n in numbers if not is_rounded(n, known("generated"))] == []
