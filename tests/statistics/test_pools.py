"""What is said of choices over a pool of workloads, held against numbers worked out by hand and known truths."""

from itertools import combinations

import numpy as np
import pytest

from runner.statistics import pools
from runner.statistics.scores import LEVEL

INF, NAN = np.inf, np.nan


def test_the_middle_half_is_averaged():
    strata = [np.array([0.0, 1.0, 2.0, 3.0]), np.array([4.0, 5.0, 6.0, 100.0])]
    found = pools.interquartile_mean(strata)
    assert found.mean == (2 + 3 + 4 + 5) / 4 and found.n == 8  # two of eight go at either end
    assert found.low < found.mean < found.high


def test_below_four_scores_it_is_the_mean():
    assert pools.interquartile_mean([np.array([0.0, 0.1]), np.array([0.8])]).mean == pytest.approx(0.3)


def test_a_missing_run_is_left_out_and_poisons_nothing():
    with_one = pools.interquartile_mean([np.array([0.2, NAN, 0.4]), np.array([0.6, 0.8])])
    without = pools.interquartile_mean([np.array([0.2, 0.4]), np.array([0.6, 0.8])])
    assert with_one == without and with_one.n == 4
    assert pools.interquartile_mean([np.array([NAN])]).n == 0


def test_one_run_a_workload_has_no_interval():
    found = pools.interquartile_mean([np.array([0.2]), np.array([0.4])])
    assert found.mean == pytest.approx(0.3) and not found.known


def test_the_interval_draws_runs_within_their_workloads():
    """Workloads that differ by far more than their runs do add nothing to the interval."""
    near = pools.interquartile_mean([np.array([0.0, 0.01, 0.02, 0.03]), np.array([1.0, 1.01, 1.02, 1.03])])
    assert near.high - near.low < 0.05
    alike = pools.interquartile_mean([np.full(4, 0.5), np.full(4, 0.7)])
    assert alike.low == alike.high == pytest.approx(0.6)


def test_the_interval_covers_the_truth_of_symmetric_scores():
    rng = np.random.default_rng(0)
    covered = 0
    for _ in range(60):
        found = pools.interquartile_mean([rng.normal(middle, 0.1, 20) for middle in (0.4, 0.5, 0.6)])
        covered += found.low <= 0.5 <= found.high
    assert covered >= 50  # 57 are expected; fewer than 50 of 60 happen once in a thousand


def test_scores_are_scaled_to_the_untrained_and_the_best():
    scaled = pools.normalized(np.array([0.1, 0.55, 1.0, 0.0, NAN]), zero=0.1, one=1.0)
    assert scaled[:4] == pytest.approx([0.0, 0.5, 1.0, 0.0]) and np.isnan(scaled[4])
    assert list(pools.normalized(np.array([0.1, 0.2]), zero=0.3, one=0.2)) == [0.0, 0.0]


def test_the_median_time_counts_runs_that_never_got_there_and_not_those_that_are_missing():
    times = np.array([[3.0, INF, 1.0], [INF, INF, 1.0], [4.0, NAN, 2.0], [NAN, NAN, NAN]])
    assert list(pools.median_times(times)) == [3.0, INF, 2.0, INF]


def test_the_profiles_score_is_a_third_of_its_integral():
    """Twice as slow on one of two workloads: ρ is ½ up to 2 and 1 from there on: ⅓(½·1 + 1·2) = 5/6."""
    times = [np.array([[10.0], [20.0]]), np.array([[30.0], [30.0]])]
    found = pools.profile_scores(times)
    assert [s.mean for s in found] == [1.0, pytest.approx(5 / 6)] and not found[0].known
    nobody = pools.profile_scores([*times, np.full((2, 1), INF)])
    assert [s.mean for s in nobody] == [pytest.approx(2 / 3), pytest.approx(5 / 9)]  # a workload that nobody solves


def test_the_scores_interval_draws_the_same_seeds_for_every_choice():
    """Seeds move both alike, and one is always twice as slow: there is nothing that draws could change."""
    fast = np.array([10.0, 20.0, 40.0, 80.0])
    first, second = pools.profile_scores([np.stack([fast, 2 * fast])])
    assert (first.low, first.high) == (1.0, 1.0)
    assert (second.low, second.mean, second.high) == (pytest.approx(2 / 3),) * 3
    mixed = pools.profile_scores([np.stack([fast, fast[::-1]])])
    assert mixed[0].low < mixed[0].high


def test_five_workloads_tell_nothing_apart_and_six_tell_two_choices():
    assert pools.fewest_workloads(2) == 6
    better = np.linspace(0.1, 0.2, 6)
    p = pools.pairwise(np.stack([better, np.zeros(6)]))
    assert p[0, 1] == p[1, 0] == 2 / 2**6 and np.isnan(p[0, 0])
    assert pools.pairwise(np.stack([better[:5], np.zeros(5)]))[0, 1] > 1 - LEVEL


def test_pairs_are_corrected_for_their_number():
    rng = np.random.default_rng(0)
    base = rng.normal(0, 0.001, 10)
    p = pools.pairwise(np.stack([base + 0.5, base + 0.2 * np.arange(1, 11) / 10, base]))
    assert p[0, 2] == pytest.approx(3 * 2 / 2**10)  # the smallest of three


def test_choices_that_never_differ_are_alike():
    assert pools.pairwise(np.zeros((2, 8)))[0, 1] == 1.0
    assert np.isnan(pools.pairwise(np.array([[1.0, NAN], [NAN, 1.0]]))[0, 1])


def test_equal_choices_are_seldom_told_apart():
    rng = np.random.default_rng(0)
    wrong = sum((pools.pairwise(rng.normal(size=(4, 12))) <= 1 - LEVEL).any() for _ in range(150))
    assert wrong <= 15  # at most 5 % are allowed, 7.5; more than 15 happen once in 200


def test_groups_are_the_largest_sets_of_which_no_two_are_told_apart():
    alike = np.zeros((4, 4), bool)
    for i, j in ((0, 1), (1, 2), (0, 2), (2, 3)):
        alike[i, j] = alike[j, i] = True
    assert pools.groups(alike) == [[0, 1, 2], [2, 3]]
    assert pools.groups(np.zeros((2, 2), bool)) == [[0], [1]]
    assert pools.groups(np.ones((30, 30), bool)) == [list(range(30))]


@pytest.mark.parametrize("seed", range(5))
def test_groups_are_those_that_trying_every_set_finds(seed: int):
    rng = np.random.default_rng(seed)
    upper = np.triu(rng.random((7, 7)) < 0.5, 1)
    alike = upper | upper.T
    sets = [
        s for n in range(1, 8) for s in combinations(range(7), n) if all(alike[i, j] for i, j in combinations(s, 2))
    ]
    largest = sorted(list(s) for s in sets if not any(set(s) < set(t) for t in sets))
    assert pools.groups(alike) == largest
