"""The judgements on whole networks hold where records show it, and fail where they do not."""

from collections.abc import Sequence

import numpy as np
import pytest

from runner.report.load import Records
from runner.study import networks
from tests.support.made_records import judged, made_records, predicting

SEEDS = range(5)


@pytest.mark.parametrize(
    ("cost", "share", "holds"),
    [(0.002, 0.8, [True, True]), (0.02, 0.8, [False, True]), (0.002, 0.7, [True, False])],
)
def test_pruning_must_cut_enough_and_cost_less_than_a_point(cost: float, share: float, holds: list[bool]) -> None:
    rows = [
        {"compress": kind, "seed": seed, "test_accuracy": 0.98 - lost * (1 + 0.1 * seed), "sparsity": cut}
        for kind, lost, cut in (("none", 0.0, ""), ("prune", cost, share))
        for seed in SEEDS
    ]
    assert judged(networks.gradual_pruning(made_records(rows))) == holds


@pytest.mark.parametrize(("off", "holds"), [(3.0, True), (5.0, False)])
def test_each_published_number_must_be_met_within_four_points(off: float, holds: bool) -> None:
    rows = [
        {"data": "mnist1d" if order == "plain" else "shuffled_mnist1d", "model": model, "seed": seed}
        | {"test_accuracy": (number + (off if model == "Strides" else 0)) / 100}
        for (order, model), number in networks.PUBLISHED.items()
        for seed in range(3)
    ]
    found = networks.mnist1d_numbers(made_records(rows))
    assert found.holds is holds and len(found.numbers) == 7


@pytest.mark.parametrize(
    ("smoothed", "mixed", "holds"),
    [(0.8, 0.85, [True, True]), (0.9, 0.8, [False, True]), (0.8, 0.99, [True, False])],
)
def test_smoothing_and_mixup_must_lower_the_calibration_error(
    smoothed: float, mixed: float, holds: list[bool], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Four of five classes are told rightly, with this probability; without, with 0.9."""
    sure = {("none", "none"): 0.9, ("label_smoothing", "none"): smoothed, ("none", "mixup"): mixed}
    rows = [
        {"regularization": kind, "augment": changed, "seed": seed, "sure": share + 0.01 * (seed * k % 3 - 1)}
        for k, ((kind, changed), share) in enumerate(sure.items(), 1)
        for seed in SEEDS
    ]
    labels = np.arange(100) % 5 // 4

    def shares(run: int) -> np.ndarray:
        first = float(str(rows[run]["sure"]))
        return np.tile([first, 1 - first], (len(labels), 1))

    monkeypatch.setattr(networks, "predicted", predicting(shares, labels))
    found = networks.calibrated(made_records(rows))
    assert judged(found) == holds
    said = found.numbers.set_index("compared")["mean"]
    assert said["calibration error without, points"] == pytest.approx(10, abs=0.5)


@pytest.mark.parametrize(
    ("later", "before", "end", "holds"),
    [
        (50, 0.1, 0.99, [True, True, True]),
        (50, 0.1, 0.85, [False, False, True]),  # so that nobody knows when they would be known
        (2, 0.1, 0.99, [True, False, True]),
        (50, 0.6, 0.99, [True, True, False]),
    ],
)
def test_the_others_must_be_known_long_after_the_seen_ones(
    later: float, before: float, end: float, holds: Sequence[bool], monkeypatch: pytest.MonkeyPatch
) -> None:
    steps = np.arange(0.0, 10001, 10)
    rows = [{"optim.weight_decay": decay, "seed": seed} for decay in (0, 1) for seed in SEEDS]

    def accuracies(records: Records, run_id: str, column: str) -> tuple[np.ndarray, np.ndarray]:
        seen = 100 + 10 * int(str(rows[int(run_id)]["seed"]))
        if column == "train_accuracy":
            return steps, np.where(steps >= seen, 1.0, 0.5)
        decays = rows[int(run_id)]["optim.weight_decay"] == 1
        return steps, np.where(steps >= later * seen, end if decays else 0.2, before)

    monkeypatch.setattr(networks, "over_steps", accuracies)
    assert judged(networks.grokking(made_records(rows))) == holds
