"""What a choice is worth, and what depends on what."""

import numpy as np
import pytest
from scipy import stats

from runner.statistics.effects import effect, interactions


def test_an_effect_is_the_paired_difference():
    scores = np.array([[0.9, 0.8, 0.7, np.nan], [0.8, 0.75, 0.72, 0.9]])
    found = effect(scores, 0, 1)
    t = stats.ttest_rel(scores[0, :3], scores[1, :3])
    interval = t.confidence_interval()
    assert found.n == 3
    assert (found.low, found.high) == pytest.approx((interval.low, interval.high))


CELLS = {("he", "adam"): 0, ("he", "sgd"): 1, ("xavier", "adam"): 2, ("xavier", "sgd"): 3}


def test_a_planted_interaction_is_found_with_both_gains():
    rng = np.random.default_rng(0)
    means = np.array([[0.9], [0.7], [0.7], [0.8]])
    (found,) = interactions(means + rng.normal(0, 0.01, (4, 5)), CELLS)
    assert found.levels == ("he", "xavier") and found.at == ("adam", "sgd") and found.p < 0.01
    assert found.gains[0].mean == pytest.approx(0.2, abs=0.02)
    assert found.gains[1].mean == pytest.approx(-0.1, abs=0.02)
    assert found.difference.low <= 0.3 <= found.difference.high


def test_choices_that_add_up_are_rarely_said_to_interact():
    rng = np.random.default_rng(0)
    means = np.array([[0.9], [0.7], [0.8], [0.6]])
    p = [interactions(means + rng.normal(0, 0.01, (4, 4)), CELLS)[0].p for _ in range(400)]
    assert np.mean(np.array(p) <= 0.05) <= 0.05 + 2 * np.sqrt(0.05 * 0.95 / 400)


def test_two_seeds_or_an_empty_cell_make_no_contrast():
    assert interactions(np.ones((4, 2)), CELLS) == []
    assert interactions(np.ones((4, 5)), {k: v for k, v in CELLS.items() if v < 3}) == []
