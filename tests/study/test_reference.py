"""The shipped verdicts: one of every study, by its present rule, with its plot; a fresh one is held against it."""

import json
from pathlib import Path
from typing import Any

import pytest

from runner.study import page, reference
from runner.study.catalogue import STUDIES
from runner.study.sayings import SAYINGS

SHIPPED = json.loads(reference.VERDICTS.read_text(encoding="utf-8"))
LARGEST_BYTES = 500_000
"""Of both files together."""


def test_every_study_has_a_shipped_verdict_by_its_present_rule_with_date_versions_and_plot() -> None:
    assert list(SHIPPED) == [s.name for s in STUDIES]
    for study in STUDIES:
        verdict = reference.of(study.name, study.rule)
        assert verdict is not None, f"{study.name}: run it, then scripts/table_studies.py"
        assert verdict["date"] and {"optbench", "torch"} <= verdict["versions"].keys()
        assert (verdict["verdict"] == "reproduced") == all(row["holds"] for row in verdict["numbers"])
        drawn = reference.plot(study.name)
        assert (drawn is None and "without its plot" in verdict["note"]) or (drawn or b"").startswith(b"<?xml")
    assert reference.VERDICTS.stat().st_size + reference.PLOTS.stat().st_size < LARGEST_BYTES


def test_theory_is_reproduced() -> None:
    assert all(SHIPPED[s.name]["verdict"] == "reproduced" for s in STUDIES if s.kind == "theory")


@pytest.mark.parametrize("name", list(SHIPPED))
def test_no_two_rows_of_a_verdict_are_called_alike(name: str) -> None:
    labels = [reference.label(row) for row in SHIPPED[name]["numbers"]]
    assert all(labels) and len(set(labels)) == len(labels)


def test_every_saying_is_told_with_the_shipped_numbers() -> None:
    told = [page.measured(saying, SHIPPED) for saying in SAYINGS]
    assert not any("not run" in text or "cannot be read" in text for text in told)
    assert all(any(character.isdigit() for character in text) for text in told)


def test_a_verdict_by_another_rule_is_no_reference() -> None:
    assert reference.of("sgd-step", "another rule") is None
    assert reference.of("nothing", "rule") is None and reference.plot("nothing") is None


def _verdict(numbers: list[dict[str, Any]], verdict: str = "reproduced") -> dict[str, Any]:
    return {"verdict": verdict, "numbers": numbers, "date": "2026-01-02", "versions": {"torch": "2.9"}}


def test_a_fresh_verdict_is_held_against_the_reference_number_by_number() -> None:
    rows = [{"what": "a", "found": 1.0, "holds": True}, {"what": "b", "found": 2.0, "expected": "≥ 1", "holds": True}]
    same = reference.compared(rows, "reproduced", _verdict(rows))
    assert "(2026-01-02, torch 2.9) says reproduced, too; 2 of 2 numbers are the same" in same
    changed = [rows[0], rows[1] | {"found": 2.5}]
    told = reference.compared(changed, "not_reproduced", _verdict(rows))
    assert "says reproduced;" in told and "1 of 2 numbers are the same" in told
    assert told.endswith("farthest: b: found is 2.5 and was 2")
    assert "no numbers that could be compared" in reference.compared(rows, "reproduced", _verdict([]))


def test_without_a_run_the_list_and_the_page_have_the_shipped_verdicts(optbench, folder: Path) -> None:
    listed = optbench("study").out.splitlines()
    of_studies = [line for line in listed if line.split()[0] in SHIPPED]
    assert len(of_studies) == len(STUDIES) and all(", shipped" in line for line in of_studies)
    assert any("not reproduced, shipped" in line for line in of_studies)
    assert optbench("study", "--page").code == 0
    text = (folder / "outputs/studies.html").read_text()
    assert "none of them run here" in text and "Not run" not in text
    assert "95 % intervals" in text and "of at most 2.5 %" in text
