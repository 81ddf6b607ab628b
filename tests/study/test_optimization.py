"""The judgement on the edge of stability holds where records show it, and fails where they do not."""

import numpy as np
import pytest

from runner.report.load import Records
from runner.study import optimization
from tests.support.made_records import judged, made_records


@pytest.mark.parametrize(("late", "holds"), [(1.02, [True, True]), (0.5, [True, False]), (1.5, [True, False])])
def test_the_sharpness_must_end_near_2_over_the_rate(
    late: float, holds: list[bool], monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = [{"optim.lr": lr, "seed": seed} for lr in (0.02, 0.05) for seed in range(3)]

    def sharpness(records: Records, run_id: str, column: str) -> tuple[np.ndarray, np.ndarray]:
        rate = float(str(rows[int(run_id)]["optim.lr"]))
        steps = np.arange(0.0, 101)
        share = np.where(steps > 70, late if rate == 0.05 else 1.0, 0.2) + 0.005 * int(str(rows[int(run_id)]["seed"]))
        return steps, share * 2 / rate

    monkeypatch.setattr(optimization, "over_steps", sharpness)
    assert judged(optimization.edge_of_stability(made_records(rows))) == holds
