"""The finals: who is clearly beaten drops out, and seeds that chose nothing judge the choice."""

import random

import numpy as np

from runner.report.measure import Measure
from runner.search.finals import (
    FIRST_SEEDS,
    JUDGES,
    MOST_SEEDS,
    WAITING,
    Finals,
    finals,
    last_seed,
    runs_with_new_seed,
)
from runner.search.space import Choice, Space

ACCURACY, LOSS = Measure("val_accuracy", True), Measure("val_loss", False)


def played(means: list[float], noise: float, measure: Measure = ACCURACY, bad: tuple[int, ...] = ()) -> Finals:
    """Finals to their end; finalists come to a mean and a noise that seeds decide, some fail with their second seed."""
    known: set[tuple[int, int]] = set()

    def value(finalist: int, seed: int) -> float | None:
        if (finalist, seed) not in known:
            return WAITING
        if finalist in bad and seed == 1:
            return None
        return means[finalist] + random.Random(f"{finalist} {seed}").gauss(0, noise)

    for _ in range(20):
        found = finals(len(means), measure, value)
        if found.over:
            return found
        assert not set(found.wanted) <= known
        known |= set(found.wanted)
    raise AssertionError("the finals go on for ever")


def test_a_clear_winner_is_chosen_with_few_seeds() -> None:
    found = played([0.6, 0.9, 0.7], noise=0.003)
    assert found.chosen == 1 and np.isfinite(found.scores).sum(1).tolist() == [FIRST_SEEDS] * 3
    raced = found.raced(ACCURACY)
    assert raced is not None and raced.inside.tolist() == [False, True, False]
    assert found.regret(ACCURACY) == 0.0


def test_who_is_not_told_apart_gets_more_seeds_and_the_others_none() -> None:
    found = played([0.9, 0.5, 0.9], noise=0.01)
    assert np.isfinite(found.scores).sum(1).tolist() == [MOST_SEEDS, FIRST_SEEDS, MOST_SEEDS]
    raced, regret = found.raced(ACCURACY), found.regret(ACCURACY)
    assert raced is not None and raced.inside.tolist() == [True, False, True]
    assert regret is not None and 0 < regret < 0.05


def test_less_is_better_of_a_loss() -> None:
    assert played([0.6, 0.9, 0.3], noise=0.01, measure=LOSS).chosen == 2


def test_the_choice_is_judged_on_seeds_that_chose_nothing() -> None:
    found = played([0.9, 0.9], noise=0.05)
    assert found.chosen is not None and len(found.judged) == JUDGES
    raced = set(found.scores[found.chosen].tolist())
    assert not raced & set(found.judged)
    assert found.interval().n == JUDGES


def test_a_finalist_that_fails_with_a_new_seed_drops_out() -> None:
    found = played([0.7, 0.9], noise=0.01, bad=(1,))
    assert found.dropped == (1,) and found.chosen == 0 and found.raced(ACCURACY) is None
    lost = played([0.7, 0.9], noise=0.01, bad=(0, 1))
    assert lost.chosen is None and lost.over


def test_one_finalist_is_judged_without_a_race() -> None:
    found = played([0.8], noise=0.01)
    assert found.chosen == 0 and len(found.judged) == JUDGES and found.regret(ACCURACY) is None


def test_the_chosen_one_is_not_flattered_by_the_search() -> None:
    """Twenty equal settings: the best trial is lucky, what the finals say of it is not."""
    flattered = honest = 0.0
    for study in range(60):
        rng = random.Random(study)
        trials = sorted((0.8 + rng.gauss(0, 0.02) for _ in range(20)), reverse=True)
        values = {(i, s): 0.8 + rng.gauss(0, 0.02) for i in range(5) for s in range(MOST_SEEDS + JUDGES)}
        found = finals(5, ACCURACY, lambda i, s, values=values: values[i, s])
        flattered += trials[0] - 0.8
        honest += found.interval().mean - 0.8
    assert flattered / 60 > 0.03 and abs(honest / 60) < 0.005


def test_new_seeds_are_none_of_the_searchs_and_keep_its_folds() -> None:
    choice = Choice("init", (("init=he",), ("init=xavier",)))
    folds = (("seed=0", "data.fold=0"), ("seed=0", "data.fold=1"), ("seed=4", "data.fold=0"))
    space = Space(("epochs=1",), (choice,), folds)
    assert last_seed(space, (0, 0, 4)) == 4
    assert runs_with_new_seed(space, {"init": 1}, 7) == [
        ["epochs=1", "init=xavier", "data.fold=0", "seed=7"],
        ["epochs=1", "init=xavier", "data.fold=1", "seed=7"],
    ]
    given = Space(("seed=9", "epochs=1"), (choice,))
    assert runs_with_new_seed(given, {"init": 0}, 10) == [["epochs=1", "init=he", "seed=10"]]


def test_a_seed_within_a_part_of_a_union_is_no_new_one() -> None:
    parts = Choice("part", (("init=he", "seed=3"), ("init=zeros", "seed=8")))
    assert last_seed(Space((), (parts,)), [3]) == 8
    assert runs_with_new_seed(Space((), (parts,)), {"part": 1}, 9) == [["init=zeros", "seed=9"]]
