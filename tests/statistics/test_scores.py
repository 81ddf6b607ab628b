"""The report's statistics against hand calculations, and against simulations whose truth is known."""

import math

import numpy as np
import pytest
from scipy import stats

from runner.statistics import scores as s

SIMULATIONS = 1_000


def test_mean_interval_is_students():
    found = s.mean_interval([1.0, 2.0, 3.0])
    half = 4.302652729911275 * 1.0 / math.sqrt(3)  # t(2) at 97.5 %
    assert (found.mean, found.n) == (2.0, 3)
    assert found.low == pytest.approx(2 - half) and found.high == pytest.approx(2 + half)


def test_one_value_has_no_interval():
    found = s.mean_interval([0.9])
    assert found.mean == 0.9 and not found.known


def test_equal_coarse_values_are_not_taken_for_exact():
    found = s.mean_interval([0.5, 0.5, 0.5], step=0.1)
    assert found.high - found.low == pytest.approx(2 * 4.302652729911275 * 0.1 / math.sqrt(12) / math.sqrt(3))


@pytest.mark.parametrize("n", [3, 5, 10])
def test_intervals_cover_the_truth_in_95_of_100_simulations(n):
    values = np.random.default_rng(n).normal(0.9, 0.02, (SIMULATIONS, n + 1))
    means = [s.mean_interval(row[:n]) for row in values]
    covered = np.mean([m.low <= 0.9 <= m.high for m in means])
    reach = [(m.high - m.mean) * math.sqrt(n + 1) for m in means]  # as far as reports expect one more value
    next_covered = np.mean([abs(row[n] - m.mean) <= r for m, r, row in zip(means, reach, values, strict=True)])
    assert abs(covered - 0.95) <= 0.02
    assert abs(next_covered - 0.95) <= 0.02


@pytest.mark.parametrize("n", [3, 5, 10])
def test_paired_intervals_cover_the_truth_where_seeds_are_shared(n):
    rng = np.random.default_rng(100 + n)
    covered, wide = 0, []
    for _ in range(SIMULATIONS):
        seeds = rng.normal(0, 0.05, n)  # what both settings have from their seed
        one, other = (mean + seeds + rng.normal(0, 0.01, n) for mean in (0.92, 0.9))
        found = s.compare(one, other[None])
        covered += bool(found.low[0] <= 0.02 <= found.high[0])
        wide.append(found.high[0] - found.low[0])
    assert abs(covered / SIMULATIONS - 0.95) <= 0.02
    assert np.median(wide) < 2 * stats.t.ppf(0.975, n - 1) * 0.05 / math.sqrt(n)  # pairing took the seeds' part away


def test_comparison_by_hand():
    one, other = np.array([0.9, 0.8, 0.7, np.nan]), np.array([[0.8, 0.6, 0.7, 0.5]])
    found = s.compare(one, other)
    t = stats.ttest_rel(one[:3], other[0, :3])
    assert found.pairs[0] == 3
    assert found.difference[0] == pytest.approx(0.1)
    interval = t.confidence_interval()
    assert (found.low[0], found.high[0]) == pytest.approx((interval.low, interval.high))
    assert found.better[0] == pytest.approx(2.5 / 3)  # two wins and a tie


def test_scores_that_differ_by_rounding_alone_are_equal():
    one, other = np.full(5, 0.1 + 0.2), np.full((1, 5), 0.3)
    assert (one != other).all()
    found = s.compare(one, other)
    assert (found.difference[0], found.low[0], found.better[0]) == (0, 0, 0.5)
    small = s.compare(one, other * (1 - 1e-9))
    assert small.low[0] > 0 and small.better[0] == 1


def test_wilson_is_scipys():
    low, high = s.wilson(np.array([0.7]), np.array([10]))
    expected = stats.binomtest(7, 10).proportion_ci(method="wilson")
    assert (low[0], high[0]) == pytest.approx((expected.low, expected.high))


def test_holm_by_hand():
    assert s.holm(np.array([0.01, 0.04, 0.03, np.nan])) == pytest.approx([0.03, 0.06, 0.06, np.nan], nan_ok=True)
    assert s.holm(np.array([0.001, 0.01]), family=10) == pytest.approx([0.01, 0.09])


@pytest.mark.parametrize("n", [5, 10, 20])
def test_selection_bias_is_that_of_the_largest_of_ten(n):
    rng = np.random.default_rng(n)
    truth = 1.5388 / math.sqrt(n)  # the expected largest of ten normal means of variance 1/n
    found = np.mean([s.selection_bias(rng.normal(0, 1, (10, n))) for _ in range(SIMULATIONS)])
    assert found == pytest.approx(truth, rel=0.1)


def test_a_clear_winner_has_hardly_a_selection_bias():
    scores = np.random.default_rng(0).normal(0, 0.01, (10, 8))
    scores[0] += 1
    assert abs(s.selection_bias(scores)) < 1e-12


def test_kaplan_meier_by_hand():
    # reached at 2 and 4, one still running at 3, one never within 10
    times, reached = np.array([2.0, 4.0, 3.0, 10.0]), np.array([True, True, False, False])
    found = s.time_to_target(times, reached, horizon=10.0)
    # S = 3/4 after 2; one of the three is censored at 3; S = 3/4 · 1/2 after 4
    assert found.survival[list(found.times).index(2.0)] == pytest.approx(0.75)
    assert found.survival[list(found.times).index(4.0)] == pytest.approx(0.375)
    assert found.median == 4.0
    assert found.restricted_mean == pytest.approx(2 * 1 + 2 * 0.75 + 6 * 0.375)
    assert found.par10 == pytest.approx((2 + 4 + 100 + 100) / 4)
    assert (found.runs, found.reached) == (4, 2)


def test_a_target_that_nobody_reaches_has_no_median():
    found = s.time_to_target(np.array([5.0, 5.0]), np.array([False, False]), horizon=5.0)
    assert math.isinf(found.median) and found.restricted_mean == 5.0 and found.reached == 0


def test_performance_profile_by_hand():
    times = np.array([[1.0, 4.0], [2.0, 2.0], [math.inf, 3.0]])
    rho, score = s.performance_profile(times, np.array([1.0, 1.5, 2.0]))
    assert rho.tolist() == [[0.5, 0.5, 1.0], [0.5, 0.5, 1.0], [0.0, 0.5, 0.5]]
    assert score == pytest.approx([(3 + 2) / 6, (2 + 3) / 6, 2.5 / 6])


def test_resolution_is_that_of_a_counted_measure():
    accuracies = np.random.default_rng(0).integers(120, 143, 200) / 143
    assert s.resolution(accuracies) == pytest.approx(1 / 143)
    assert s.resolution(np.array([57 / 143])) == pytest.approx(1 / 143)
    assert s.resolution(np.random.default_rng(0).normal(size=200)) == 0.0
    assert s.resolution(np.array([1.0, np.nan])) == 0.0


def test_the_expected_best_is_that_of_all_draws():
    values = np.array([0.3, 0.1, 0.2])
    pairs = [max(a, b) for a in values for b in values]
    assert s.expected_best(values, 1) == pytest.approx(values.mean())
    assert s.expected_best(values, 2) == pytest.approx(np.mean(pairs))
    assert s.expected_best(values, 500) == pytest.approx(0.3)
