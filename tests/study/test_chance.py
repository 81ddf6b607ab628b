"""What chance would give: a verdict by a 95 % interval on one side is wrong in one of forty studies, or fewer."""

import numpy as np
import pytest

from runner.study import chance, ordering
from runner.study.catalogue import STUDIES
from tests.support.made_records import made_records


def test_where_nothing_is_true_studies_are_reproduced_as_often_as_is_said() -> None:
    rng = np.random.default_rng(0)
    once = np.mean([_dropout(rng) for _ in range(400)])
    thrice = np.mean([_schedules(rng) for _ in range(100)])
    assert once <= chance.SIDE + 3 * (chance.SIDE / 400) ** 0.5
    assert thrice <= chance.SIDE + 3 * (chance.SIDE / 100) ** 0.5


def _dropout(rng: np.random.Generator) -> bool | None:
    rows = [
        {"regularization": kind, "seed": seed, "test_accuracy": accuracy, "test_loss": 1.0}
        for kind in ("none", "dropout")
        for seed, accuracy in enumerate(0.9 + 0.01 * rng.standard_normal(5))
    ]
    return ordering.dropout(made_records(rows)).holds


def _schedules(rng: np.random.Generator) -> bool | None:
    rows = []
    for name in ("constant", *ordering.SCHEDULES):
        for seed in range(5):
            validation, test = 0.9 + 0.01 * rng.standard_normal(2)
            measured = {"final_val_accuracy": validation, "test_accuracy": test}
            rows.append({"scheduler": name, "optim.lr": 0.1, "seed": seed} | measured)
    return ordering.schedules(made_records(rows)).holds


def _row(expected: str, low: float = 0.0, high: float = 1.0) -> dict[str, object]:
    return {"compared": "a", "mean": 0.5, "low": low, "high": high, "expected": expected, "holds": True}


def test_what_is_only_reported_or_has_no_interval_is_no_comparison() -> None:
    rows = [_row("interval above 0"), _row("within ± 0.5"), _row("reported"), _row("< 1", 0.4, 0.4)]
    assert chance.comparisons([*rows, {"what": "loss", "found": 1.0, "expected": "< 2", "holds": True}]) == 2


def test_chance_is_told_of_studies_with_intervals_alone() -> None:
    judged = {"rule": "the 95 % interval lies above 0", "numbers": [_row("interval above 0")] * 2}
    verdicts = [judged | {"verdict": "reproduced"}] * 2 + [judged | {"verdict": "not_reproduced"}] * 2
    found = chance.chance([*verdicts, {"rule": "± 0.05", "verdict": "reproduced", "numbers": []}])
    assert (found.studies, found.reproduced) == (4, 2)
    assert found.expected == pytest.approx(0.1) and found.independent == pytest.approx(4 * 0.025**2)
    # 1 less none (0.975⁴) less one (4·0.025·0.975³).
    assert found.tail == pytest.approx(1 - 0.975**4 - 4 * 0.025 * 0.975**3)
    assert "at most 0.1 of 4" in chance.in_words(found)
    assert chance.in_words(chance.chance([])) == "No study that judges by 95 % intervals was run."


def test_theory_has_tolerances_and_most_orderings_have_intervals() -> None:
    assert not any(chance.by_chance(s.rule) for s in STUDIES if s.kind == "theory")
    without = {s.name for s in STUDIES if s.kind == "ordering" and chance.by_chance(s.rule) is None}
    assert without == {"depth-30", "mnist1d-numbers"}
