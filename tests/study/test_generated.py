"""How generated samples are judged, on runs whose errors and seconds are made up."""

import pytest

from runner.report.load import Records
from runner.study.generated import LENGTHS, generated
from tests.support.made_records import made_records


def records(classic: float, classic_longer: float, seconds_of_the_generator: float) -> Records:
    """Runs of 5 seeds: a step takes a millisecond; where nothing else is given, the test error is 8 %."""
    kinds = [("none", 0, steps, 8.0) for steps in LENGTHS] + [("crop+rotate", 0, LENGTHS[0], classic)]
    kinds += [("crop+rotate", 0, steps, classic_longer) for steps in LENGTHS[1:]]
    kinds += [("none", 1, LENGTHS[0], 8.0), ("crop+rotate", 1, LENGTHS[0], 8.0)]
    rows: list[dict[str, object]] = []
    for seed in range(5):
        for augment, drawn, steps, error in kinds:
            noise = 1e-3 * (seed * 7 % 5) * (-1 if drawn else 1)
            row = {"augment": augment, "data.generated": drawn, "max_steps": steps, "seed": seed}
            row |= {"test_accuracy": 1 - (error + noise) / 100, "train_seconds": steps / 1000}
            rows.append(row | ({"generated_seconds": seconds_of_the_generator} if drawn else {}))
    return made_records(rows)


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
