"""The judgements on data, width and depth hold where records show it, and fail where they do not."""

from collections.abc import Sequence
from itertools import product

import numpy as np
import pytest

from runner.report.load import Records
from runner.study import capacity, parts
from tests.support.made_records import judged, made_records

SEEDS = range(5)


@pytest.mark.parametrize(
    ("grown", "left", "large", "holds"),
    [
        (10, 70, 30, [True, True, True]),
        (-10, 70, 20, [False, True, True]),
        (10, 55, 30, [True, False, True]),
        (10, 70, 60, [True, True, False]),
    ],
)
def test_more_data_must_leave_a_small_model_as_wrong(
    grown: float, left: float, large: float, holds: list[bool]
) -> None:
    rows: list[dict[str, object]] = []
    for seed in SEEDS:
        for model, share, train, test in (
            ("linear", 0.0625, 55, 72),
            ("linear", 0.25, 60, 71),
            ("linear", 1.0, 55 + grown, left),
            ("mlp", 1.0, large, 40),
        ):
            measured = {"final_train_accuracy": 1 - (train + 0.1 * seed * share) / 100}
            rows.append({"model": model, "data.fraction": share, "data.split_seed": seed} | measured)
            rows[-1]["test_accuracy"] = 1 - (test + 0.1 * seed) / 100
    assert judged(capacity.more_data(made_records(rows))) == holds


@pytest.mark.parametrize(("less", "holds"), [(0.0, True), (0.009, False), (-0.009, False), (0.005, True)])
def test_uniform_and_normal_weights_must_be_within_a_point(less: float, holds: bool) -> None:
    noise = (0.0, 0.004, -0.004, 0.003, -0.003)
    rows = [
        {"init": init, "seed": seed, "test_accuracy": 0.6 + (less + noise[seed] if init == "he_uniform" else 0.0)}
        for init in ("he_uniform", "he_normal")
        for seed in SEEDS
    ]
    assert capacity.uniform_normal(made_records(rows)).holds is holds


@pytest.mark.parametrize(
    ("losses", "holds"),
    [
        ((0.1, 0.9, 0.1, 0.05), [True, True, True]),
        ((0.1, 0.05, 0.1, 0.04), [False, True, True]),
        ((0.1, 0.9, 0.1, 0.2), [True, True, False]),
    ],
)
def test_depth_must_degrade_plain_networks_and_not_residual_ones(losses: Sequence[float], holds: list[bool]) -> None:
    kinds = [(residual, depth) for residual in ("false", "true") for depth in (capacity.SHALLOW, capacity.DEEP)]
    rows = [
        # At the other rate all diverge, which is not the best rate.
        {"model.residual": r, "model.depth": d, "optim.lr": lr, "seed": seed}
        | {"final_train_loss": loss + 0.001 * (seed * d % 3) if lr == 0.1 else "nan"}
        for (r, d), loss in zip(kinds, losses, strict=True)
        for lr in (0.1, 0.3)
        for seed in SEEDS
    ]
    assert judged(capacity.degradation(made_records(rows))) == holds


@pytest.mark.parametrize(("peak", "end", "holds"), [(10.0, 0.5, [True, True]), (0.5, 1.0, [False, False])])
def test_the_test_error_must_peak_at_as_many_features_as_samples(peak: float, end: float, holds: list[bool]) -> None:
    error = {width: peak if width == capacity.SAMPLES else end for width in capacity.FEATURES} | {10: 1.0}
    rows = [
        {
            "seed": seed,
            "model.args": f"{{'width': {width}}}",
            "test_loss": error[width] * (1 + 0.01 * (seed * width % 7)),
        }
        for seed in SEEDS
        for width in capacity.FEATURES
    ]
    assert judged(capacity.double_descent(made_records(rows))) == holds


@pytest.mark.parametrize(("power", "holds"), [(0.5, True), (0.0, False), (-0.5, False)])
def test_wider_layers_must_need_fewer_steps(power: float, holds: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    rows: list[dict[str, object]] = []
    reached: list[float] = []
    for width, lr, seed in product(capacity.WIDTHS, (0.1, 0.3), SEEDS):
        rows.append({"model.width": width, "optim.lr": lr, "seed": seed})
        # At the other rate the loss is never reached, which is not the best rate.
        reached.append((1 + 0.02 * (seed * width % 7)) * 200 * (width / 8) ** -power if lr == 0.1 else np.inf)

    def losses(records: Records, run_id: str, column: str) -> tuple[np.ndarray, np.ndarray]:
        steps = np.arange(0.0, capacity.MOST_STEPS + 1)
        return steps, np.where(steps >= reached[int(run_id)], capacity.REACHED, 2.3)

    monkeypatch.setattr(capacity, "over_steps", losses)
    found = capacity.wide_fast(made_records(rows))
    assert judged(found) == [holds]
    said = found.numbers.set_index("compared")["mean"]
    assert said["slope of log steps over log width"] == pytest.approx(-power, abs=0.02)


@pytest.mark.parametrize(
    ("without", "share", "worse", "holds"),
    [
        (0.0, 0.5, 10.0, [True, True, True]),
        (0.01, 0.5, 10.0, [False, True, True]),
        (0.0, 0.1, 10.0, [True, False, True]),
        (0.0, 0.5, 1.0, [True, True, False]),
    ],
)
def test_the_loss_must_rise_with_dropout_alone(
    without: float, share: float, worse: float, holds: list[bool], monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = [
        {"regularization": kind, "seed": seed, "final_train_loss": 0.01 * times * (1 + 0.1 * (seed * k % 5))}
        for k, (kind, times) in enumerate([("none", 1.0), ("dropout", worse)], 2)
        for seed in SEEDS
    ]

    def losses(records: Records, run_id: str, column: str) -> tuple[np.ndarray, np.ndarray]:
        risen = without if rows[int(run_id)]["regularization"] == "none" else share
        changes = np.where(np.arange(100) < 100 * risen, 0.01, -0.01)
        return np.arange(102.0), np.concatenate([[np.nan], 5 + np.cumsum([0.0, *changes])])

    monkeypatch.setattr(capacity, "over_steps", losses)
    assert judged(capacity.dropout_noise(made_records(rows))) == holds


def test_shuffled_points_are_the_same_points_in_one_order() -> None:
    x, y = parts.shuffled_mnist1d()
    plain = parts.mnist1d(samples=5000, sample_seed=42, test_fraction=0.2).samples
    assert not np.array_equal(x, plain.x) and np.array_equal(np.sort(x, axis=2), np.sort(plain.x, axis=2))
    assert np.array_equal(y, plain.y)
    first = np.array([np.flatnonzero(plain.x[0, 0] == value)[0] for value in x[0, 0]])
    assert np.array_equal(x, plain.x[..., first])


def test_half_of_all_sums_are_learned_and_the_other_half_judges() -> None:
    x, y, other, rest, *_ = parts.modular_addition(modulus=7, seed=0)
    assert len(x) == 24 and len(other) == 25
    pairs = {tuple(np.flatnonzero(row)) for row in (*x, *other)}
    assert len(pairs) == 49
    a, b = (np.argmax(side, axis=1) for side in np.split(x, 2, axis=1))
    assert np.array_equal((a + b) % 7, y) and len(rest) == 25


def test_the_largest_margin_of_the_three_points_lies_along_the_first_axis() -> None:
    x, y, *_ = parts.margin()
    signed = x * np.where(np.asarray(y) == 1, 1.0, -1.0)[:, None]
    angles = np.linspace(-np.pi, np.pi, 10001)
    margins = (signed @ np.stack([np.cos(angles), np.sin(angles)])).min(axis=0)
    assert abs(angles[margins.argmax()]) < 1e-3 and margins.max() == pytest.approx(1.0)
