"""What an ensemble is worth beside its members, on the test set."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pandas as pd

from runner.after.combined import AVERAGES, VOTES, Recipe
from runner.after.members import Member, Predicted, Team
from runner.measures import BALANCED, are_skewed
from runner.statistics import ensembles as of
from runner.statistics.ensembles import Calibration, Decomposition
from runner.statistics.scores import Array, Interval

ENSEMBLE, BEST, MEAN, LUCKIEST = "the ensemble", "best member", "mean member", "luckiest member"
ALONE = "round 1 alone"
"""In the place of the best member, where members are no predictors by themselves."""


@dataclass(frozen=True, eq=False)
class Judged:
    """What was measured of the test set's samples."""

    samples: int
    measure: str
    """What gains are of: accuracy, or the squared error, mse."""
    rows: dict[str, dict[str, float]]
    """Measures of the ensemble, its best member by validation where that is known, and the mean of all."""
    gains: dict[str, Interval]
    """By how much the ensemble is better, by the names of members and means."""
    best: str | None
    """The name of the best member."""
    decomposition: Decomposition | None
    """None of what is no weighted mean."""
    calibration: dict[str, Calibration]
    """Of the ensemble and its best member; empty of numbers."""
    cost: dict[str, float]
    members: pd.DataFrame
    """A row a member: its weight, and what it reaches."""

    def as_json(self) -> dict[str, Any]:
        """Return it as plain values; what is not finite is null."""
        return {
            "test_samples": self.samples,
            "measure": self.measure,
            "rows": {name: {k: _plain(v) for k, v in row.items()} for name, row in self.rows.items()},
            "gains": {name: {k: _plain(v) for k, v in asdict(i).items()} for name, i in self.gains.items()},
            "best_member": self.best,
            "decomposition": None if self.decomposition is None else asdict(self.decomposition),
            "cost": {k: _plain(v) for k, v in self.cost.items()},
        }


def _plain(value: float) -> float | None:
    return value if math.isfinite(value) else None


def judged(team: Team, recipe: Recipe, test: Predicted, combined: Array, best: int | None) -> Judged:
    """Judge a combination's outputs ``[n, k]`` of the test set.

    Args:
        team: the members.
        recipe: how they are combined.
        test: what they predict.
        combined: what the ensemble does.
        best: the best member on validation.
    """
    classes = team.classes
    own = _own(recipe, test.outputs)
    scores = np.array([score(outputs, test, classes) for outputs in own])
    ours = score(combined, test, classes)
    measured = [measures(outputs, test, classes) for outputs in own]
    mean = {name: float(np.mean([m[name] for m in measured])) for name in measured[0]}
    rows = {ENSEMBLE: measures(combined, test, classes)}
    gains: dict[str, Interval] = {}
    counted = classes is not None
    if best is not None:
        name = ALONE if recipe.method == "gradient" else BEST
        rows[name] = measured[best]
        gains[name] = of.paired(ours - scores[best], counted)
    if recipe.method != "gradient":
        rows[MEAN] = mean
        gains[MEAN] = of.paired(ours - scores.mean(0), counted)
        gains[LUCKIEST] = of.paired(ours - scores[int(scores.mean(1).argmax())], counted)
    return Judged(
        len(test.y),
        "accuracy" if counted else "mse",
        rows,
        gains,
        None if best is None else team.members[best].title,
        _decomposed(recipe, test, classes),
        {} if not counted else _calibrations(recipe, combined, own, test, best),
        costs(team.members, recipe, best),
        _table(team, recipe, measured),
    )


def _own(recipe: Recipe, outputs: Array) -> Array:
    """Return the members' own predictions; of gradient boosting, what the rounds up to each add up to."""
    if recipe.method != "gradient":
        return outputs
    so_far = np.array(recipe.base) + np.cumsum(np.array(recipe.weights)[:, None, None] * outputs, 0)
    return so_far if recipe.classes is None else of.softmax(so_far)


def score(outputs: Array, part: Predicted, classes: int | None) -> Array:
    """Return each sample's score ``[n]``, more is better: 1 where it is right, or minus its squared error."""
    if classes is not None:
        return np.asarray(outputs.argmax(1) == part.labels, float)
    return np.asarray(-np.square(outputs - part.y).mean(1))


def measures(outputs: Array, part: Predicted, classes: int | None) -> dict[str, float]:
    """Return what is measured of outputs ``[n, k]``."""
    if classes is None:
        squared = of.squared_error(outputs, part.y)
        spread = float(np.square(part.y - part.y.mean(0)).mean())
        return {
            "mse": squared,
            "mae": float(np.abs(outputs - part.y).mean()),
            "r2": 1 - squared / spread if spread > 0 else math.nan,
        }
    right = score(outputs, part, classes)
    labels, counts = np.unique(part.labels, return_counts=True)
    balanced = {}
    if are_skewed(len(right), len(labels), float(counts.max())):
        balanced[BALANCED] = float(np.mean([right[part.labels == label].mean() for label in labels]))
    return {
        "accuracy": float(right.mean()),
        **balanced,
        "nll": of.log_loss(outputs, part.labels),
        "brier": of.brier(outputs, part.labels),
        "ece": of.calibration(outputs, part.labels).error,
    }


def _decomposed(recipe: Recipe, test: Predicted, classes: int | None) -> Decomposition | None:
    if recipe.method not in (*AVERAGES, *VOTES):
        return None
    outputs = of.ballots(test.outputs) if recipe.method in VOTES else test.outputs
    y = test.y if classes is None else np.eye(classes)[test.labels]
    return of.decomposed(outputs, np.array(recipe.weights), y)


def _calibrations(
    recipe: Recipe, combined: Array, own: Array, test: Predicted, best: int | None
) -> dict[str, Calibration]:
    found = {ENSEMBLE: of.calibration(combined, test.labels)}
    if best is None:
        return found
    return found | {ALONE if recipe.method == "gradient" else BEST: of.calibration(own[best], test.labels)}


def costs(members: list[Member], recipe: Recipe, best: int | None) -> dict[str, float]:
    """Return what training and using an ensemble costs, and how many times what its best member, or first, does."""

    def of_member(member: Member, name: str) -> float:
        value = member.summary.get(name)
        return float(value) if isinstance(value, int | float) else math.nan

    used = [m for m, weight in zip(members, recipe.weights, strict=True) if weight]
    used = used[:1] if recipe.method == "soup" else used
    trained = list({m.folder: m for m in members}.values())  # of a run's snapshots, the run once
    one = members[best or 0]
    found: dict[str, float] = {}
    for name, who in (("train_seconds", trained), ("steps", trained), ("flops_per_sample", used), ("parameters", used)):
        found[name] = sum(of_member(m, name) for m in who)
        found[f"{name}_of_one"] = of_member(one, name)
    return found


def _table(team: Team, recipe: Recipe, measured: Sequence[Mapping[str, float]]) -> pd.DataFrame:
    rows = [
        {"member": m.title, "run_id": m.run_id, "weight": weight, **{f"test_{k}": v for k, v in found.items()}}
        for m, weight, found in zip(team.members, recipe.weights, measured, strict=True)
    ]
    return pd.DataFrame(rows)
