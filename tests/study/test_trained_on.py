"""The judgements on tickets, low-rank changes, transfer, int8 and sharpness hold where records show it alone."""

from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from runner.report.load import Records
from runner.study import parts, quantized, sharpness, trained_on
from tests.support.made_records import judged, made_records

SEEDS = range(5)


@pytest.mark.parametrize(
    ("gains", "holds"),
    [((0.0, 0.02, 0.03), [True, True]), ((0.0, 0.0, 0.03), [False, True]), ((0.0, 0.02, -0.01), [True, False])],
)
def test_tickets_must_win_at_each_high_sparsity(gains: Sequence[float], holds: list[bool]) -> None:
    rows: list[dict[str, object]] = []
    for seed in SEEDS:
        noise = 1e-3 * (seed * 3 % 5 - 2)
        rows.append({"compress": "none", "seed": seed, "test_accuracy": 0.97})
        for share, gain in zip(trained_on.SPARSITIES, gains, strict=True):
            cut = {"sparsity": share + 1e-5}
            rows.append({"compress": "prune_once", "seed": seed, "test_accuracy": 0.5, **cut})
            rows.append({"compress": "ticket", "seed": seed, "test_accuracy": 0.9 + gain + noise, **cut})
            fresh = seed + trained_on.FRESH
            rows.append({"compress": "ticket", "seed": fresh, "test_accuracy": 0.9 - noise / 7, **cut})
    found = trained_on.winning_tickets(made_records(rows))
    assert judged(found) == holds
    said = found.numbers.set_index("compared")["mean"]
    assert said["test points, own less fresh weights, 95 % are 0"] == pytest.approx(100 * gains[1], abs=0.25)


@pytest.mark.parametrize(
    ("lost", "holds"),
    [((0.002,) * 4, [True] * 4), ((0.02, 0.002, 0.001, 0.0), [False, True, True, True]), ((0.0099,) * 4, [False] * 4)],
)
def test_each_rank_must_be_within_a_point_of_full_tuning(lost: Sequence[float], holds: list[bool]) -> None:
    rows: list[dict[str, object]] = [
        {"init": "default", "finetune": "full", "seed": s, "test_accuracy": 1} for s in SEEDS
    ]
    for seed in SEEDS:
        begun = {"init": "pretrained", "seed": seed, "trainable_parameters": 1000}
        noise = 1e-4 * (seed * 3 % 5)
        rows.append({**begun, "finetune": "full", "test_accuracy": 0.98})
        rows.append({**begun, "finetune": "head", "test_accuracy": 0.9})
        rows += [
            {**begun, "finetune": "lora", "finetune.lora.rank": rank, "test_accuracy": 0.98 - less - noise}
            for rank, less in zip(trained_on.RANKS, lost, strict=True)
        ]
    assert judged(trained_on.lora_rank(made_records(rows))) == holds


@pytest.mark.parametrize(("gained", "holds"), [(0.01, True), (0.0, False), (-0.01, False)])
def test_trained_weights_must_win_beyond_the_seeds(gained: float, holds: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    def right(records: Records, runs: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
        known = (runs["init"] == "pretrained").to_numpy()
        share = np.where(known[:, None], [[1.0, 1.0, 0.5, 0.5]], [[0.5, 0.5, 0.5, 0.5]])
        return share, np.array([0, 4, 5, 9])

    monkeypatch.setattr(trained_on, "right", right)
    rows = [
        {"data": data, "init": init, "seed": seed, "test_accuracy": 0.95 + more + 1e-3 * (seed * k % 5)}
        for k, (data, init, more) in enumerate(
            [("mnist_classes", "he_normal", 0.04), ("mnist", "he_normal", 0.0), ("mnist", "pretrained", gained)], 2
        )
        for seed in reversed(SEEDS)
    ]
    found = trained_on.half_classes(made_records(rows))
    assert judged(found) == [holds]
    said = found.numbers.set_index("compared")["mean"]
    assert (
        said["test points gained, classes 0 to 4, which they knew"] == 50
        and said["test points gained, classes 5 to 9"] == 0
    )


@pytest.mark.parametrize(("wrong", "holds"), [(0, True), (4, True), (6, False)])
def test_int8_must_stay_within_half_a_point(wrong: int, holds: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    def programs(place: Path) -> tuple[SimpleNamespace, SimpleNamespace]:
        whole = np.ones(1000)
        rounded = np.where(np.arange(1000) < wrong, 0.0, whole)
        return SimpleNamespace(scores=whole, file_bytes=400), SimpleNamespace(scores=rounded, file_bytes=100)

    monkeypatch.setattr(quantized, "programs", programs)
    found = quantized.static_int8(made_records([{"seed": seed} for seed in SEEDS]))
    assert judged(found) == [holds]
    assert found.numbers.set_index("compared")["mean"]["bytes of float32 over int8"] == 4


@pytest.mark.parametrize(("ratio", "holds"), [(0.5, True), (1.0, False), (1.5, False)])
def test_sam_must_end_where_the_loss_is_less_curved(ratio: float, holds: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    path = np.arange(1.0, 4.0)
    monkeypatch.setattr(sharpness, "over_steps", lambda *ignored: (path, path))
    rows = [
        {"optim.wrap": wrap, "seed": seed, "final_sharpness": 20 * (1 + 0.05 * (seed * k % 5)) * times}
        | {"final_train_loss": 0.1, "test_accuracy": 0.6}
        for k, (wrap, times) in enumerate([("[]", 1.0), ("['sam']", ratio)], 2)
        for seed in SEEDS
    ]
    assert judged(sharpness.sam_sharpness(made_records(rows))) == [holds]


@pytest.mark.mnist
def test_some_of_mnists_classes_are_all_of_their_images() -> None:
    x, y, test_x, test_y = parts.mnist_classes(first=5, last=9)
    assert x.shape == (29404, 1, 28, 28) and test_x.shape == (4861, 1, 28, 28)
    assert set(y.tolist()) == set(test_y.tolist()) == {5, 6, 7, 8, 9}
