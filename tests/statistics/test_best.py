"""The set that can be the best holds what is truly best, and little else."""

import math

import numpy as np
import pytest
from scipy import special, stats

from runner.statistics import best as b


def test_critical_values_are_dunnetts():
    """Dunnett 1955, tables 1a (one-sided, 5 degrees of freedom) and 2a (two-sided, 10)."""
    one_sided = [float(b.critical(k, np.array(5.0))) for k in range(1, 10)]
    assert one_sided == pytest.approx([2.02, 2.44, 2.68, 2.85, 2.98, 3.08, 3.16, 3.24, 3.30], abs=0.011)
    two_sided = [float(b.critical(k, np.array(10.0), two_sided=True)) for k in (1, 2, 3)]
    assert two_sided == pytest.approx([2.23, 2.57, 2.76], abs=0.011)


@pytest.mark.parametrize("df", [1, 2, 3.3, 7, 25, 500])
def test_one_comparison_is_students(df: float):
    assert float(b.critical(1, np.array(df))) == pytest.approx(stats.t.isf(0.05, df), rel=0.01)


def test_variances_that_differ_by_chance_alone_become_one():
    df = np.full(6, 4)
    found, prior = b.moderated(np.full(6, 2.0), df)
    assert math.isinf(prior)
    assert found == pytest.approx([2.0 * math.exp(math.log(2) - special.digamma(2))] * 6)  # E log s² of 4 degrees


def test_the_prior_is_worth_as_many_degrees_as_it_was_drawn_with():
    rng = np.random.default_rng(0)
    true = 8 * 0.3 / rng.chisquare(8, 4000)
    variances = true * rng.chisquare(4, 4000) / 4
    found, prior = b.moderated(variances, np.full(4000, 4))
    assert prior == pytest.approx(8, rel=0.15)
    assert np.mean((np.log(found) - np.log(true)) ** 2) < 0.6 * np.mean((np.log(variances) - np.log(true)) ** 2)


@pytest.mark.parametrize(("settings", "seeds"), [(4, 3), (18, 3), (18, 5), (60, 5)])
def test_the_best_of_equals_is_rarely_left_out(settings: int, seeds: int):
    rng = np.random.default_rng(settings + seeds)
    out = [1 - b.best_set(rng.normal(0, 1, (settings, seeds))).inside.mean() for _ in range(300)]
    assert np.mean(out) <= 0.05 + 2 * np.std(out) / math.sqrt(300)


def test_three_seeds_tell_what_is_far_behind():
    rng = np.random.default_rng(0)
    means = np.array([0.9, 0.895] + [0.3] * 16)
    found = b.best_set(means[:, None] + rng.normal(0, 0.03, (18, 3)), 1 / 143, b.SHARE)
    assert found.inside.tolist() == [True, True] + [False] * 16
    assert ((found.low[2:] <= 0.6) & (found.high[2:] >= 0.6)).all()


def test_a_wild_loser_does_not_hide_a_clear_one():
    near = np.array([[0.90, 0.91, 0.89], [0.80, 0.81, 0.79], [0.905, 0.895, 0.9]])
    wild = np.array([[-8.0, -3.0, -5.5]])
    assert b.best_set(near).inside.tolist() == [True, False, True]
    assert b.best_set(np.concatenate([near, wild])).inside.tolist() == [True, False, True, False]


def test_three_alike_seeds_prove_nothing_beside_settings_that_vary():
    """A leader whose three seeds agree may fail in the next: it is taken to vary as the others do."""
    alike = np.array([[0.92, 0.92, 0.92], [0.80, 0.95, 0.92], [0.95, 0.78, 0.90], [0.93, 0.85, 0.91]])
    assert b.best_set(alike, 1 / 143, b.SHARE).inside.all()
    assert not b.best_set(alike[[0, 0, 0, 1]] - [[0], [0.1], [0.1], [9]], 1 / 143).inside[1:].any()


def test_a_setting_with_one_score_can_leave_but_not_lead():
    scores = np.array([[0.90, 0.91, 0.89], [0.99, math.nan, math.nan], [0.1, math.nan, math.nan], [0.9, 0.88, 0.91]])
    found = b.best_set(scores)
    assert found.leader in (0, 3) and found.inside.tolist() == [True, True, False, True]
    assert found.n.tolist() == [3, 1, 1, 3]


def test_one_seed_or_one_setting_tells_nothing():
    assert b.best_set(np.array([[0.1], [0.9]])).inside.all()
    alone = b.best_set(np.array([[0.1, 0.2]]))
    assert alone.inside.all() and alone.leader == 0


def test_settings_that_never_vary_are_told_apart_by_any_difference():
    found = b.best_set(np.array([[1.0, 1.0, 1.0], [1.0 - 1e-6] * 3, [1.0, 1.0, 1.0]]))
    assert found.inside.tolist() == [True, False, True]


def test_equivalence_by_hand():
    scores = np.array([[0.90, 0.92, 0.91, 0.93], [0.91, 0.90, 0.92, 0.90]])
    found = b.best_set(scores)
    low, high = b.equivalence(found, 1)
    error = math.sqrt(found.variance.sum() / 4)
    df = 3 * found.variance.sum() ** 2 / (found.variance**2).sum()
    assert (low + high) / 2 == pytest.approx(0.915 - 0.9075)
    assert (high - low) / 2 == pytest.approx(stats.t.ppf(0.95, df) * error, rel=1e-6)


def test_a_setting_a_margin_away_is_rarely_called_equivalent():
    rng = np.random.default_rng(0)
    wrong = 0
    for _ in range(1000):
        scores = np.array([[0.0], [-0.01]]) + rng.normal(0, 0.004, (2, 5))
        found = b.best_set(scores)
        low, high = b.equivalence(found, 1 - found.leader)
        wrong += low > -0.01 and high < 0.01
    assert wrong / 1000 <= 0.05 + 2 * math.sqrt(0.05 * 0.95 / 1000)


@pytest.mark.parametrize(("ahead", "margin"), [(0.0, 0.02), (0.05, 0.001)], ids=["as good", "worse"])
def test_as_many_seeds_are_asked_for_as_tell(ahead: float, margin: float):
    found = b.best_set(np.array([[0.90 + ahead, 0.95 + ahead, 0.88 + ahead], [0.90, 0.94, 0.89]]))
    seeds = b.seeds_to_tell(found, 1, margin)
    assert seeds is not None and seeds > 3
    one, other = found.variance
    away = abs(float(found.difference[1]))

    def tells(n: int) -> bool:
        df = (n - 1) * (one + other) ** 2 / (one**2 + other**2)
        half = float(stats.t.ppf(0.95, df) * math.sqrt((one + other) / n))  # of one comparison, Dunnett's is Student's
        return half < margin - away or half < away

    assert tells(seeds + 1) and not tells(seeds - 1)
    assert b.seeds_to_tell(found, 1, margin, most=seeds - 1) is None


def test_an_exploded_setting_leaves_the_others_what_they_are():
    """R² of -600,000 at a rate that is far too large."""
    near = np.array([[0.73, 0.71, 0.78], [0.70, 0.74, 0.72]])
    wild = np.array([[-6.0e5, -1.0e5, -9.0e5]])
    found = b.best_set(np.concatenate([near, wild]), scale=b.SHORTFALL)
    assert found.inside.tolist() == [True, True, False]
    alone, beside = (b.half_widths(x, scale=b.SHORTFALL) for x in (near, np.concatenate([near, wild])))
    assert (beside[:2] < 3 * alone).all()


def test_what_is_clearly_worse_is_so_in_a_plain_test_too():
    """One of three seeds failed, another is the best of all: moderation alone tells no such setting from the leader."""
    alike = [[0.87, 0.88, 0.86], [0.86, 0.87, 0.87], [0.85, 0.88, 0.87], [0.87, 0.86, 0.85]]
    scores = np.array([*alike, [0.28, 0.90, 0.67]])
    assert stats.ttest_ind(scores[0], scores[4], equal_var=False, alternative="greater").pvalue > 0.05
    assert b.best_set(scores, 1 / 143, b.SHARE).inside[4]


def test_a_single_settings_interval_is_students():
    values = np.array([[0.9, 0.92, 0.85]])
    interval = stats.ttest_1samp(values[0], 0).confidence_interval()
    assert b.half_widths(values)[0] == pytest.approx((interval.high - interval.low) / 2)
    assert np.isnan(b.half_widths(np.array([[1.0], [2.0]]))).all()


def test_seeds_that_happen_to_agree_have_the_usual_interval():
    scores = np.array([[0.0, 2.0], [0.0, 0.02], [0.0, 0.2]])
    usual, widest = math.exp(np.log(scores.var(1, ddof=1)).mean()), scores[0].var(ddof=1)
    half = b.half_widths(scores)
    assert half[0] / half[1] == pytest.approx(math.sqrt(widest / usual))
    assert half[1] == pytest.approx(half[2])


@pytest.mark.parametrize(("settings", "seeds"), [(2, 3), (4, 3), (18, 3), (4, 5), (18, 10)])
def test_intervals_of_means_cover(settings: int, seeds: int):
    rng = np.random.default_rng(settings + seeds)
    covered = [(np.abs(x.mean(1)) <= b.half_widths(x)).mean() for x in rng.normal(0, 1, (600, settings, seeds))]
    assert abs(np.mean(covered) - 0.95) <= 0.03


def test_seeds_effects_are_found_of_settings_that_lack_some():
    rng = np.random.default_rng(0)
    luck = np.array([0.0, 0.02, -0.01, 0.03, -0.04])
    scores = np.linspace(0.6, 0.9, 12)[:, None] + luck + rng.normal(0, 0.002, (12, 5))
    assert (b.seed_effects(scores, b.SHARE) == 0).all()  # where none lacks any there is nothing to make up for
    scores[rng.random(scores.shape) < 0.3] = math.nan
    for scale in (b.PLAIN, b.SHARE):
        assert b.seed_effects(scores, scale) == pytest.approx(luck, abs=0.003)


def test_a_setting_that_explodes_says_nothing_of_the_others_seeds():
    """R² of -1e9 is no reason to move what reaches 0.9 by millions."""
    rng = np.random.default_rng(0)
    luck = np.array([0.0, 0.02, -0.01, 0.03])
    scores = np.linspace(0.5, 0.9, 6)[:, None] + luck + rng.normal(0, 0.002, (6, 4))
    scores[2, 1] = scores[4, 3] = math.nan
    wild = np.array([[-5e8, -1e9, -2e7, -8e8], [-1e61, math.nan, math.nan, math.nan]])
    alone = b.seed_effects(scores, b.SHORTFALL)
    assert b.seed_effects(np.concatenate([scores, wild]), b.SHORTFALL) == pytest.approx(alone, abs=1e-9)
    assert alone == pytest.approx(luck - luck.mean(), abs=0.005)
