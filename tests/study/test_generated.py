"""How generated samples are judged, on runs whose errors and seconds are made up."""

from pathlib import Path

import pandas as pd
import pytest

from runner.report.load import Records
from runner.study.generated import LENGTHS, generated


def records(classic: float, classic_longer: float, seconds_of_the_generator: float) -> Records:
    """Runs of 5 seeds: a step takes a millisecond; of what is not said the error is 8 %."""
    rows = []
    for seed in range(5):
        noise = 1e-3 * (seed * 7 % 5)
        for steps in LENGTHS:
            for augment, error in (("none", 8.0), ("crop+rotate", classic if steps == LENGTHS[0] else classic_longer)):
                rows.append((augment, "0.0", steps, error, seed, noise, ""))
        rows += [(a, "1.0", LENGTHS[0], 8.0, seed, -noise, seconds_of_the_generator) for a in ("none", "crop+rotate")]
    runs = pd.DataFrame(
        {
            "run_id": [str(i) for i in range(len(rows))],
            "augment": [row[0] for row in rows],
            "data.generated": [row[1] for row in rows],
            "max_steps": [str(row[2]) for row in rows],
            "seed": [str(row[4]) for row in rows],
            "test_accuracy": [str(1 - (row[3] + row[5]) / 100) for row in rows],
            "train_seconds": [str(row[2] / 1000) for row in rows],
            "generated_seconds": [str(row[6]) for row in rows],
        }
    )
    return Records(Path(), runs, [], {})


@pytest.mark.parametrize(
    ("classic", "longer", "seconds", "holds", "steps"),
    [
        (6.0, 5.0, 3.5, True, 4000),  # 1 + 3.5 s hold 4,000 steps, not 8,000
        (6.0, 9.0, 3.5, False, 4000),
        (9.0, 5.0, 3.5, False, 4000),
        (6.0, 9.0, 0.5, True, None),  # no longer run fits into 1.5 s
        (6.0, 5.0, 99.0, True, 8000),
    ],
)
def test_generated_samples_must_do_worse_at_equal_steps_and_at_equal_seconds(
    classic: float, longer: float, seconds: float, holds: bool, steps: int | None
) -> None:
    found = generated(records(classic, longer, seconds))
    assert found.holds is holds
    said = found.numbers.set_index("compared")["mean"]
    assert said["generated less classic, equal steps, points"] == pytest.approx(8 - classic, abs=0.01)
    assert said["seconds, generated, 1000 steps, the generator's counted in"] == pytest.approx(1 + seconds)
    at_equal_seconds = [name for name in said.index if "equal seconds (classic" in name]
    lengths = [] if steps is None else [f"generated less classic, equal seconds (classic: {steps} steps), points"]
    assert at_equal_seconds == lengths
    if steps is not None:
        assert said[at_equal_seconds[0]] == pytest.approx(8 - longer, abs=0.01)
