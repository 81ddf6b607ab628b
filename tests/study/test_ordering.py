"""The judgements on optimizers, batches and regularization hold where records show it, and fail where they do not."""

import statistics
from itertools import product

import pytest

from runner.study import generalization, optimization, ordering
from tests.support.made_records import judged, made_records


@pytest.mark.parametrize(
    ("run", "loss", "row"),
    [
        ((), 0.1, None),
        (("he_normal", 30, "sgd"), 0.7, 0),
        (("xavier_uniform", 30, "sgd"), 2.2, 1),
        (("he_normal", 10, "sgd"), 0.7, 2),
        (("xavier_uniform", 10, "sgd"), 0.7, 3),
        (("xavier_uniform", 30, "adam"), 0.7, 4),
        (("default", 30, "adam"), 2.2, 5),
    ],
)
def test_each_run_must_train_or_stall_at_depth_30(run: tuple[object, ...], loss: float, row: int | None) -> None:
    """One seed of what should train, at its best rate, or one rate of what should stall, takes this loss."""
    stall = {("xavier_uniform", 30, "sgd"), ("default", 30, "adam")}
    kinds = [*product(("he_normal", "xavier_uniform"), (10, 30), ("sgd",)), ("xavier_uniform", 30, "adam"), *stall]
    rows: list[dict[str, object]] = []
    for (init, depth, optim), lr, seed in product(dict.fromkeys(kinds), (0.1, 0.3), range(3)):
        usual = "nan" if lr == 0.3 else 2.3 if (init, depth, optim) in stall else 0.1  # at the other rate all diverge
        taken = loss if (init, depth, optim) == run and seed == 1 and lr == 0.1 else usual
        setting = {"init": init, "model.depth": depth, "optim": optim, "optim.lr": lr, "seed": seed}
        rows.append(setting | {"final_train_loss": taken})
    assert judged(ordering.depth_30(made_records(rows))) == [number != row for number in range(6)]


@pytest.mark.parametrize(
    ("power", "bend", "told", "holds"),
    [
        (1.0, 300, 1.05, [True, True, True]),
        (0.7, 300, 1.0, [False, True, True]),
        (1.0, 10**5, 1.0, [True, False, True]),
        (1.0, 300, 1.2, [True, True, False]),
    ],
)
def test_batch_scaling_holds_where_steps_fall_as_1_over_the_batch_then_flatten(
    power: float, bend: int, told: float, holds: list[bool], monkeypatch: pytest.MonkeyPatch
) -> None:
    rows: list[dict[str, object]] = []
    for seed in range(4):
        for size in (2**k for k in range(3, 13)):
            for lr in (0.1, 0.2):  # at the second rate the target is not reached, or later
                steps = (1 + 0.01 * seed) * 1000 * (size**-power + bend**-power)
                late = "" if size > 64 else 2 * steps
                row = {"batch": "fixed", "batch.size": size, "optim.lr": lr, "seed": seed, "noise_scale": ""}
                rows.append(row | {"steps_to_target": steps if lr == 0.1 else late})
        row = {"batch": "adaptive", "batch.size": 256, "optim.lr": 0.02, "seed": seed}
        rows.append(row | {"noise_scale": told * 500})
    monkeypatch.setattr("runner.study.noise_scale.of_each_sample", lambda place: 500.0)
    assert judged(ordering.batch_scaling(made_records(rows))) == holds


@pytest.mark.parametrize(
    ("points", "updates", "holds"),
    [(0.0, 0.5, [True, True]), (0.4, 0.5, [False, True]), (-0.4, 0.5, [False, True]), (0.0, 1.0, [True, False])],
)
def test_a_grown_batch_must_do_what_a_divided_rate_does_in_fewer_updates(
    points: float, updates: float, holds: list[bool]
) -> None:
    rows = [
        {"batch": kind, "seed": seed, "test_accuracy": 0.97 + (more + 0.01 * (seed * k % 3)) / 100, "steps": steps}
        for k, (kind, more, steps) in enumerate([("fixed", 0.0, 1000), ("growing", points, 1000 * updates)], 1)
        for seed in range(5)
    ]
    assert judged(ordering.decay_or_grow(made_records(rows))) == holds


@pytest.mark.parametrize(("gained", "holds"), [(0.01, True), (0.001, False), (-0.01, False)])
def test_what_lowers_the_test_error_must_do_so_beyond_the_seeds(gained: float, holds: bool) -> None:
    noise = [0.0, 0.003, -0.003, 0.004, -0.004]
    kinds = [("none", "none", 0.0), ("dropout", "none", gained), ("ema", "none", 0.01), ("none", "crop+rotate", 0.01)]
    rows = []
    for kind, augment, more in kinds:
        for seed, n in enumerate(noise if (kind, augment) != ("none", "none") else [0.0] * 5):
            rows.append({"regularization": kind, "augment": augment, "seed": seed, "test_accuracy": 0.95 + more + n})
    found = generalization.regularization(made_records(rows))
    assert found.holds is holds
    row = found.numbers[found.numbers["compared"].str.contains("dropout")].iloc[0]
    assert row["mean"] == pytest.approx(-100 * gained)
    # Student's 97.5 % quantile at 4 degrees of freedom times the standard error, in points.
    half = 2.776445 * 100 * statistics.stdev(noise) / 5**0.5
    assert (row["low"], row["high"]) == pytest.approx((row["mean"] - half, row["mean"] + half), rel=1e-5)


@pytest.mark.parametrize(("stopped", "holds"), [(0.5, True), (0.6, False), (1.5, False)])
def test_early_stopping_must_end_near_the_best_length(stopped: float, holds: bool) -> None:
    losses = zip(generalization.LENGTHS, (1.0, 0.8, 0.6, 0.5, 0.6, 0.8, 1.0, 1.2), strict=True)
    kinds = [("none", *of) for of in losses] + [("early_stopping", generalization.LENGTHS[-1], stopped)]
    rows = [
        {"regularization": kind, "epochs": epochs, "seed": seed, "actual_epochs": 12, "test_loss": loss + seed / 1000}
        for kind, epochs, loss in kinds
        for seed in range(3)
    ]
    assert generalization.early_stopping(made_records(rows)).holds is holds


@pytest.mark.parametrize(("adam", "holds"), [(0.95, True), (0.946, True), (0.944, False)])
def test_tuned_adam_must_not_be_worse_by_half_a_point(adam: float, holds: bool) -> None:
    best = {"sgd": 0.95, "momentum": 0.95, "rmsprop": 0.95, "adam": adam}
    rows = []
    for seed in range(3):
        for optim, lr in optimization.DEFAULT_RATES.items():
            eps = 1e-8 if optim in ("rmsprop", "adam") else ""
            accuracy = best.get(optim, 0.9) + 0.0001 * seed
            settings = {"optim": optim, "optim.eps": eps, "optim.momentum": 0.9 if optim == "momentum" else ""}
            measured = {"seed": seed, "final_val_accuracy": accuracy, "test_accuracy": accuracy}
            rows.append(settings | {"optim.lr": lr} | measured)
            # Worse on validation and better on test: it must not be chosen.
            rows.append(settings | {"optim.lr": 10.0, "seed": seed, "final_val_accuracy": 0.5, "test_accuracy": 1.0})
    found = optimization.inclusion(made_records(rows))
    tuned = found.numbers.iloc[:3]
    assert tuned["mean"].tolist() == pytest.approx([100 * (adam - 0.95)] * 3)
    assert bool(tuned["holds"].all()) is holds


@pytest.mark.parametrize(
    ("gained", "diagonal", "holds"),
    [(0.02, True, [True, True]), (0.0, True, [False, True]), (0.02, False, [True, False])],
)
def test_decoupled_decay_must_win_and_be_separable_beyond_the_seeds(
    gained: float, diagonal: bool, holds: list[bool]
) -> None:
    """AdamW is best at one rate, whatever the decay; Adam with L2 along a diagonal of the grid, or at one rate too."""
    rows: list[dict[str, object]] = []
    for seed, luck in enumerate((0.0, 0.004, -0.003, 0.002, -0.001, 0.003)):
        for i, j in product(range(6), repeat=2):
            lr, decay = 10.0 ** (i - 4), 10.0 ** (j - 6)
            noise = 0.001 * (5 * i + 7 * j + seed) % 0.006
            plain, bent = (0.6 - 0.01 * abs(i - best) - noise for best in (2, j))
            adamw = {"optim": "adamw", "optim.weight_decay": decay / lr, "final_val_accuracy": plain + gained + luck}
            adam = {"optim": "adam", "regularization.l2.strength": decay / lr}
            adam["final_val_accuracy"] = bent if diagonal else plain
            rows += [{"seed": seed, "optim.lr": lr} | one for one in (adamw, adam)]
    assert judged(ordering.adamw_decoupling(made_records(rows))) == holds


@pytest.mark.parametrize(("gained", "holds"), [(0.01, True), (0.0, False)])
def test_averaged_weights_must_beat_the_last_ones(gained: float, holds: bool) -> None:
    kinds = {
        ("linear", "none", "none"): 0.96,
        ("linear", "none", "dropout"): 0.95,
        ("linear", "crop+rotate", "none"): 0.97,
        ("constant", "crop+rotate", "none"): 0.96,
        ("constant", "crop+rotate", "ema"): 0.96 + gained,
    }
    rows = [
        {"scheduler": s, "augment": a, "regularization": r, "seed": seed, "test_accuracy": v + 1e-3 * (seed * i % 3)}
        for i, ((s, a, r), v) in enumerate(kinds.items())
        for seed in range(3)
    ]
    found = generalization.augmentation(made_records(rows))
    assert found.holds is holds
    assert found.numbers["mean"].tolist()[1:] == pytest.approx([-1.0, -100 * gained, 1.0], abs=0.11)
