"""Trained runs combined: by averages, votes, a choice or a last model made on validation data; judged on test data.

Whatever is chosen is chosen on validation or out-of-fold predictions. The test set is read once, at the end.
"""

import hashlib
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from runner import __version__
from runner.after.combined import FILE, FORMAT, Recipe, features, soup
from runner.after.judged import Judged, judged
from runner.after.members import Predicted, Team, outputs_of, recipe_as_json, settings
from runner.errors import ConfigError
from runner.run.job import OUTPUTS
from runner.run.record import write_whole, writing
from runner.statistics import ensembles as of
from runner.statistics.scores import Array

FOLDER = "ensembles"
"""Below ``outputs/``."""
ROUNDS = 30
"""Members that a greedy selection takes at most, the same ones counted again."""
CHOOSING = ("weighted", "greedy", "stack")
"""Methods that need validation samples."""
OF_CLASSES = ("vote", "weighted")


@dataclass(frozen=True, eq=False)
class Made:
    """An ensemble that was made and judged."""

    team: Team
    recipe: Recipe
    judged: Judged
    chosen_on: str
    """By which data anything was chosen; empty where nothing was."""
    folder: Path
    combined: Array
    """What it predicts of the test set, ``[n, k]``."""
    notes: list[str] = field(default_factory=list)


def make(team: Team, method: str) -> Made:
    """Combine members and judge the result; nothing is written.

    Raises:
        ConfigError: if the members or their data do not allow the method.
    """
    if team.classes is None and method in OF_CLASSES:
        raise ConfigError(f"--method {method}: these runs predict numbers, which have no majority: use --method mean")
    if method in CHOOSING and not team.has_validation:
        raise ConfigError(f"--method {method} chooses by validation samples, and data.val_fraction=0 leaves none")
    if method == "stack":
        recipe, chosen_on = stacked(team)
    else:
        recipe, chosen_on = _recipe(team, method)
    return finish(team, recipe, chosen_on)


def finish(team: Team, recipe: Recipe, chosen_on: str) -> Made:
    """Judge a recipe on the test set: the one time that it is read."""
    test = team.predict("test")
    if recipe.method == "soup":
        combined = outputs_of(soup(team.models), team.parts(team.members[0]).test.x)
    else:
        combined = recipe(test.outputs)
    best = 0 if recipe.method == "gradient" else _best(team)
    found = judged(team, recipe, test, combined, best)
    return Made(team, recipe, found, chosen_on, place(team, recipe), combined)


def _recipe(team: Team, method: str) -> tuple[Recipe, str]:
    n = len(team.members)
    even = (1.0,) * n
    if method not in CHOOSING:
        return Recipe(method, team.classes, even), ""
    val = team.predict("val")
    where = f"{len(val.y):,} validation samples"
    if method == "weighted":
        assert team.classes is not None, "votes are of classes"
        right = [int((one.argmax(1) == val.labels).sum()) for one in val.outputs]
        return Recipe(method, team.classes, tuple(of.vote_weights(right, len(val.y), team.classes).tolist())), where
    chosen = of.greedy(val.outputs, lambda outputs: loss_of(outputs, val, team.classes), ROUNDS)
    return Recipe(method, team.classes, tuple(map(float, chosen.counts))), where


def loss_of(outputs: Array, part: Predicted, classes: int | None) -> float:
    """Return what a selection makes small: the log loss of probabilities, the squared error of numbers."""
    if classes is None:
        return of.squared_error(outputs, part.y)
    return of.log_loss(outputs, part.labels)


def _best(team: Team) -> int | None:
    """Return which member is best on its validation samples; None where there are none."""
    if not team.has_validation:
        return None
    found = []
    for number in range(len(team.members)):
        val = team.predict_of(number, "val")
        loss = loss_of(val.outputs[0], val, team.classes)
        right = 0.0 if team.classes is None else float((val.outputs[0].argmax(1) == val.labels).mean())
        found.append((-right, loss, number))
    return min(found)[2]


# ---- stacking


def stacked(team: Team) -> tuple[Recipe, str]:
    """Return a linear model of the members' predictions, learned where these had not seen the targets (Wolpert 1992).

    Where the members are the folds of a cross-validation, each setting's out-of-fold predictions are read, and its
    folds' mean in use; otherwise the validation samples that all share.

    Raises:
        ConfigError: if a setting lacks a fold.
    """
    folds = {m.config["data"]["folds"] for m in team.members}
    if folds == {None}:
        val = team.predict("val")
        groups: tuple[tuple[int, ...], ...] = tuple((i,) for i in range(len(team.members)))
        return _last_model(team, features(val.outputs, groups, team.classes), val.y, groups), (
            f"{len(val.y):,} validation samples"
        )
    if len(folds) > 1:
        raise ConfigError(f"--method stack: members of data.folds={', '.join(map(str, sorted(folds, key=str)))} "
                          "have other out-of-fold samples: give those of one cross-validation")  # fmt: skip
    groups = _folds(team, folds.pop())
    x, y = out_of_fold(team, groups)
    return _last_model(team, x, y, groups), f"{len(y):,} out-of-fold predictions"


def _folds(team: Team, folds: int) -> tuple[tuple[int, ...], ...]:
    """Return the members of each setting, one a fold, in the order of the folds."""
    by_setting: dict[Any, dict[int, int]] = {}
    for number, (member, setting) in enumerate(zip(team.members, settings(team.members), strict=True)):
        of_it = by_setting.setdefault((setting, member.snapshot), {})
        of_it[member.config["data"]["fold"]] = number
    for of_it in by_setting.values():
        if missing := [fold for fold in range(folds) if fold not in of_it]:
            there = team.members[next(iter(of_it.values()))]
            raise ConfigError(
                f"--method stack: the setting of {there.folder} has no run with data.fold="
                f"{','.join(map(str, missing))} of data.folds={folds}: each sample needs a prediction by a run that "
                "did not train on it"
            )
    return tuple(tuple(of_it[fold] for fold in range(folds)) for of_it in by_setting.values())


def out_of_fold(team: Team, groups: Sequence[Sequence[int]]) -> tuple[Array, Array]:
    """Return what the last model learns from, ``[n, features]`` and targets, in the order of the data."""
    columns: list[Array] = []
    y: Array = np.empty(0)
    for group in groups:
        found = [team.predict_of(number, "val") for number in group]
        order = np.argsort(np.concatenate([one.at for one in found]), kind="stable")
        outputs = np.concatenate([one.outputs[0] for one in found])[order]
        y = np.concatenate([one.y for one in found])[order]
        columns.append(features(outputs[None], ((0,),), team.classes))
    return np.hstack(columns), y


def _last_model(team: Team, x: Array, y: Array, groups: tuple[tuple[int, ...], ...]) -> Recipe:
    """Fit the model that scikit-learn stacks with by default, and keep its numbers."""
    from sklearn.linear_model import LogisticRegression, RidgeCV

    even = (1.0,) * len(team.members)
    if team.classes is None:
        ridge = RidgeCV().fit(x, y)
        coefficients = np.atleast_2d(ridge.coef_)
        intercept = np.broadcast_to(np.atleast_1d(ridge.intercept_), len(coefficients))
        return Recipe("stack", None, even, groups, tuple(map(tuple, coefficients.tolist())), tuple(intercept.tolist()))
    labels = y.astype(np.int64)
    if len(np.unique(labels)) < 2:
        raise ConfigError("--method stack: all validation samples are of one class, from which nothing is learned")
    logistic = LogisticRegression(max_iter=1000).fit(x, labels)
    return Recipe(
        "stack",
        team.classes,
        even,
        groups,
        tuple(map(tuple, logistic.coef_.tolist())),
        tuple(logistic.intercept_.tolist()),
        tuple(logistic.classes_.tolist()),
    )


# ---- on disk


def place(team: Team, recipe: Recipe) -> Path:
    """Return where an ensemble lies: the same members and numbers, the same folder."""
    who = [[m.run_id, m.snapshot, digest] for m, digest in zip(team.members, team.digests, strict=True)]
    text = json.dumps([recipe_as_json(recipe), who], sort_keys=True)
    name = f"{recipe.method}-of-{len(team.members)}-{hashlib.sha256(text.encode()).hexdigest()[:8]}"
    return OUTPUTS / FOLDER / name


def write(made: Made, extra: dict[str, Any] | None = None) -> None:
    """Write an ensemble's folder: the file that makes it a predictor, its members, its reliability plot.

    Raises:
        RecordError: if it cannot be written.
    """
    team, folder = made.team, made.folder
    members = [
        {
            "folder": Path(os.path.relpath(m.folder.resolve(), folder.resolve())).as_posix(),
            "run_id": m.run_id,
            "digest": digest,
            "snapshot": m.snapshot,
        }
        for m, digest in zip(team.members, team.digests, strict=True)
    ]
    content = {
        "format": FORMAT,
        "optbench_version": __version__,
        "classes": team.classes,
        "labels": None if team.classes is None else team.labels,
        "data_fingerprint": team.source.fingerprint,
        "members": members,
        "recipe": recipe_as_json(made.recipe),
        "chosen_on": made.chosen_on,
        "found": made.judged.as_json() | (extra or {}),
    }
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
    write_whole(folder / "members.csv", made.judged.members.to_csv(index=False, lineterminator="\n"))
    if made.judged.calibration:
        from runner.after.reliability import reliability
        from runner.report.drawing.figures import render

        for kind, drawn in render(reliability(made.judged.calibration), ("png", "svg")).items():
            write_whole(folder / f"reliability.{kind}", drawn)
    write_whole(folder / FILE, json.dumps(content, indent=1) + "\n")
