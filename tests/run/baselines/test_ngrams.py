"""N-gram models against counts by hand, on texts of a few characters."""

import math

import numpy as np
import pytest

from runner.run.baselines import ngrams

A, B, C = 0, 1, 2
X = np.array([[A, B, A, B]])
Y = np.array([[B, A, B, C]])
"""The text ababc: after a comes b, twice; after b comes a, and c once."""


def test_a_single_characters_chance_is_its_count_and_a_share_for_the_unseen() -> None:
    # b twice, a and c once: 4 counts of 3 kinds, and 3 shares of 1/4 for an alphabet of four.
    model = ngrams.count(X, Y, 4, longest=0)
    expected = [(1 + 3 / 4) / 7, (2 + 3 / 4) / 7, (1 + 3 / 4) / 7, (3 / 4) / 7]
    assert model.after(np.array([0]), 0)[0] == pytest.approx(expected)


def test_what_follows_a_character_is_smoothed_by_the_single_characters() -> None:
    model = ngrams.count(X, Y, 3, longest=1)
    single = np.array([1 + 3 / 3, 2 + 3 / 3, 1 + 3 / 3]) / 7
    after_a, after_b, after_c = model.after(np.array([A, B, C]), 1)
    assert after_a == pytest.approx((np.array([0, 2, 0]) + 1 * single) / 3)
    assert after_b == pytest.approx((np.array([1, 0, 1]) + 2 * single) / 4)
    assert after_c == pytest.approx(single)  # which was never seen to be followed


def test_a_longer_history_is_smoothed_by_the_shorter_one() -> None:
    model = ngrams.count(X, Y, 3, longest=2)
    after_a, after_b = model.after(np.array([A, B]), 1)
    after_ab, after_ba = model.after(np.array([A * 3 + B, B * 3 + A]), 2)
    assert after_ab == pytest.approx((np.array([1, 0, 1]) + 2 * after_b) / 4)
    assert after_ba == pytest.approx((np.array([0, 1, 0]) + 1 * after_a) / 2)


@pytest.mark.parametrize("longest", [0, 1, 2])
def test_the_loss_is_of_every_place_with_the_history_that_it_knows(longest: int) -> None:
    model = ngrams.count(X, Y, 3, longest)
    x, y = np.array([[B, A, A], [A, B, C]]), np.array([[A, A, C], [B, C, A]])
    expected, right = [], []
    for window, following in zip(x, y, strict=True):
        for place, target in enumerate(following):
            known = window[max(0, place + 1 - longest) : place + 1] if longest else []
            history = sum(c * 3 ** (len(known) - 1 - i) for i, c in enumerate(known))
            p = model.after(np.array([history]), len(known))[0]
            expected.append(-math.log(p[target]))
            right.append(p.argmax() == target)
    found = ngrams.measure(model, x, y, longest)
    assert found["loss"] == pytest.approx(np.mean(expected)) and found["accuracy"] == pytest.approx(np.mean(right))
    assert found["perplexity"] == pytest.approx(math.exp(np.mean(expected)))


def test_probabilities_add_up_to_one_whatever_was_seen() -> None:
    rng = np.random.default_rng(0)
    x, y = (rng.integers(0, 7, (20, 5)) for _ in range(2))
    model = ngrams.count(x, y, 9, longest=2)
    assert model.after(np.arange(81), 2).sum(1) == pytest.approx(np.ones(81))


def test_many_histories_are_taken_a_few_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    x, y = (rng.integers(0, 7, (20, 5)) for _ in range(2))
    model = ngrams.count(x, y, 7, longest=2)
    whole = ngrams.measure(model, x, y, 2)
    monkeypatch.setattr(ngrams, "CELLS", 14)
    assert ngrams.measure(model, x, y, 2) == pytest.approx(whole)
