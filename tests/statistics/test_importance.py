"""PED-ANOVA finds what decided, gives chance its due, and does not count a parent's part again."""

import numpy as np
import optuna
import pytest
from optuna.importance import PedAnovaImportanceEvaluator

from runner.statistics.importance import FEWEST_TRIALS, Parameter, importance


def drawn(n: int = 120, seed: int = 0) -> dict[str, Parameter]:
    rng = np.random.default_rng(seed)
    return {
        "lr": Parameter(rng.random(n), 0),
        "choice": Parameter(rng.integers(0, 3, n) * 1.0, 3),
        "idle": Parameter(rng.random(n), 0),
    }


def test_what_decides_comes_first_and_what_does_not_stays_below_chance() -> None:
    parameters = drawn()
    scores = -np.abs(parameters["lr"].values - 0.7) + 0.1 * (parameters["choice"].values == 1)
    found = importance(parameters, scores)
    assert next(iter(found)) == "lr" and found["lr"].share > found["lr"].chance
    assert found["idle"].share < found["idle"].chance
    assert sum(one.share for one in found.values()) == pytest.approx(1)


def test_a_share_that_chance_gives_is_a_share() -> None:
    """Of few trials, of which shuffles may explain more than the parameters do."""
    for seed in range(20):
        found = importance(drawn(FEWEST_TRIALS, seed), np.random.default_rng(100 + seed).random(FEWEST_TRIALS))
        assert all(0 <= one.chance <= 1 for one in found.values())


def test_few_trials_tell_nothing() -> None:
    n = FEWEST_TRIALS - 1
    assert importance(drawn(n), np.arange(n) * 1.0) == {}


def test_diverged_trials_are_none_of_the_best() -> None:
    parameters = drawn()
    bad = parameters["lr"].values > 0.5
    scores = np.where(bad, -np.inf, np.random.default_rng(1).random(len(bad)))
    assert next(iter(importance(parameters, scores))) == "lr"


def test_a_number_of_one_option_counts_within_it_alone() -> None:
    parameters = drawn()
    there = parameters["choice"].values == 1
    inner = np.where(there, np.random.default_rng(2).random(len(there)), np.nan)
    found = importance({**parameters, "inner": Parameter(inner, 0)}, there * 1.0 + 0.001 * parameters["lr"].values)
    assert found["choice"].share > found["inner"].share and found["inner"].trials == int(there.sum())
    assert found["inner"].share < found["inner"].chance, "that it is there is the choice's doing"


def test_optunas_own_evaluator_orders_alike() -> None:
    parameters = drawn()
    scores = -np.abs(parameters["lr"].values - 0.7) + 0.3 * (parameters["choice"].values == 1)
    study = optuna.create_study(direction="maximize")
    of = {"lr": optuna.distributions.FloatDistribution(0, 1), "idle": optuna.distributions.FloatDistribution(0, 1)}
    of |= {"choice": optuna.distributions.CategoricalDistribution([0, 1, 2])}
    for i, score in enumerate(scores):
        values = {n: p.values[i] if n != "choice" else int(p.values[i]) for n, p in parameters.items()}
        study.add_trial(optuna.trial.create_trial(params=values, distributions=of, value=float(score)))
    theirs = optuna.importance.get_param_importances(study, evaluator=PedAnovaImportanceEvaluator())
    assert list(importance(parameters, scores)) == list(theirs)
