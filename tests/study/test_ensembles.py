"""The judgements on several networks together hold where their predictions show it, and fail where they do not."""

import numpy as np
import pytest

from runner.study import ensembles
from tests.support.made_records import judged, made_records, predicting

LABELS = np.zeros(1000, int)


def _wrong(samples: np.ndarray) -> np.ndarray:
    """Return probabilities of two classes, of which the second is likelier of these samples."""
    second = np.where(samples, 0.75, 0.25)  # of even votes the first class is called
    return np.stack([1 - second, second], axis=1)


@pytest.mark.parametrize(
    ("own", "shared", "holds"), [(0.2, 0.0, [True, True]), (0.6, 0.0, [False, False]), (0.02, 0.2, [True, False])]
)
def test_five_must_gain_and_ten_less_than_half_as_much_again(
    own: float, shared: float, holds: list[bool], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each network is wrong at a share of its own samples, and at some that it shares with four others."""

    def shares(run: int) -> np.ndarray:
        own_rng, shared_rng = np.random.default_rng([0, run]), np.random.default_rng([1, run // 5])
        size = len(LABELS)
        return _wrong((own_rng.random(size) < own) | (shared_rng.random(size) < shared))

    monkeypatch.setattr(ensembles, "predicted", predicting(shares, LABELS))
    found = ensembles.ensemble_size(made_records([{"seed": seed} for seed in range(5 * ensembles.GROUP)]))
    assert judged(found) == holds


@pytest.mark.parametrize(
    ("alike", "own", "holds"), [(False, True, [True, True]), (True, True, [False, True]), (False, False, [True, False])]
)
def test_bagging_must_help_the_network_and_leave_the_linear_model(
    alike: bool, own: bool, holds: list[bool], monkeypatch: pytest.MonkeyPatch
) -> None:
    """With ``alike`` the network's resamples are wrong as it is; without ``own`` the linear model's are wrong less."""
    rows = [
        {"model": model, "seed": seed, "data.bootstrap": part}
        for model in ("mlp", "linear")
        for seed in range(5)
        for part in ("", *range(10))
    ]

    def shares(run: int) -> np.ndarray:
        row = rows[run]
        stable = (row["model"] == "linear" and own) or (row["model"] == "mlp" and alike)
        rng = np.random.default_rng(int(str(row["seed"])) if stable else run)
        return _wrong(rng.random(len(LABELS)) < 0.2)

    monkeypatch.setattr(ensembles, "predicted", predicting(shares, LABELS))
    assert judged(ensembles.bagging(made_records(rows))) == holds
