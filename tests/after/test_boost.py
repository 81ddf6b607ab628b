"""Boosting: its formulas are scikit-learn's, its rounds ordinary runs, and a kill changes nothing."""

import json
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.ensemble import AdaBoostClassifier

from runner.after.combined import FILE, load_model
from runner.statistics import ensembles as of
from tests.support import killed
from tests.support.records import run_folders, summary_of, without_timing

WEAK = ("model.width=3", "model.depth=1", "epochs=2", "optim.lr=0.01")


class Scripted(ClassifierMixin, BaseEstimator):
    """Predicts what a script says for each fit, and notes the weights that it was given."""

    script: ClassVar[list[np.ndarray]] = []
    noted: ClassVar[list[np.ndarray]] = []

    def fit(self, x: np.ndarray, y: np.ndarray, sample_weight: np.ndarray) -> "Scripted":
        self.classes_ = np.arange(3)
        self.said = Scripted.script[len(Scripted.noted)]
        Scripted.noted.append(sample_weight.copy())
        return self

    def predict(self, x: np.ndarray) -> np.ndarray:
        return self.said[x[:, 0].astype(int)]


@pytest.mark.parametrize("rate", [1.0, 0.5])
def test_samme_weighs_samples_and_rounds_as_scikit_learn_does(rate: float) -> None:
    rng = np.random.default_rng(0)
    y = rng.integers(0, 3, 60)
    script = [np.where(rng.random(60) < 0.3, (y + 1) % 3, y) for _ in range(4)]
    Scripted.script, Scripted.noted = script, []
    theirs = AdaBoostClassifier(Scripted(), n_estimators=4, learning_rate=rate).fit(np.arange(60)[:, None], y)
    weights, counts = np.full(60, 1 / 60), []
    for number, said in enumerate(script):
        np.testing.assert_allclose(weights, Scripted.noted[number] / Scripted.noted[number].sum(), rtol=1e-12)
        found = of.samme(weights, said != y, 3, rate)
        assert found.error == pytest.approx(theirs.estimator_errors_[number])
        counts.append(found.weight)
        weights = found.weights
    np.testing.assert_allclose(counts, theirs.estimator_weights_, rtol=1e-12)
    shares = of.voted(np.eye(3)[np.array(script)], np.array(counts))
    assert (shares.argmax(1) == theirs.predict(np.arange(60)[:, None])).all()


def test_samme_leaves_a_guess_out_and_ends_at_no_mistake() -> None:
    even = np.full(4, 0.25)
    assert of.samme(even, np.array([True, True, False, False]), 2, 1.0).weight == 0
    assert of.samme(even, np.zeros(4, bool), 2, 1.0).error == 0


def test_gradient_boosting_learns_minus_the_slope_and_steps_to_the_least_loss() -> None:
    rng = np.random.default_rng(0)
    y, scores, step = rng.standard_normal((20, 2)), rng.standard_normal((20, 2)), rng.standard_normal((20, 2))
    amount = of.line_search(scores, step, y, None)
    losses = [np.square(scores + a * step - y).sum() for a in (amount - 1e-3, amount, amount + 1e-3)]
    assert min(losses) == losses[1]
    labels = rng.integers(0, 2, 20)
    left = of.residuals(scores, labels, 2)
    moved = scores.copy()
    moved[3, 1] += 1e-6
    slope = 20 * (of.log_loss(of.softmax(moved), labels) - of.log_loss(of.softmax(scores), labels)) / 1e-6
    assert left[3, 1] == pytest.approx(-slope, abs=1e-5)
    along = left + rng.standard_normal((20, 2))  # what a network makes of it, which is not perfect
    amount = of.line_search(scores, along, labels, 2)
    losses = [of.log_loss(of.softmax(scores + a * along), labels) for a in (amount - 0.01, amount, amount + 0.01)]
    assert min(losses) == losses[1]


def test_rounds_are_runs_whose_weights_are_those_of_samme(optbench: Callable, folder: Path) -> None:
    said = optbench("boost", "3", *WEAK)
    assert said.code == 0, said.err
    runs = sorted(run_folders(folder, "boost"), key=lambda p: int(config_of(p)["seed"]))
    assert [summary_of(run)["status"] for run in runs] == ["completed"] * 3
    (made,) = (folder / "outputs" / "ensembles").iterdir()
    content = json.loads((made / FILE).read_text())
    assert [m["run_id"] for m in content["members"]] == [run.name[-8:] for run in runs]
    # The second round's weights, by hand from the first round's mistakes.
    from runner.after.predict import part_of_data

    train = part_of_data(runs[0], "train")
    from runner.after.members import outputs_of

    wrong = outputs_of(load_model(runs[0]), train.x).argmax(1) != train.y
    error = wrong.mean()
    weight = np.log((1 - error) / error) + np.log(9)
    assert content["recipe"]["weights"][0] == pytest.approx(weight)
    raised = np.where(wrong, np.exp(weight), 1.0)
    file = np.load(folder / "outputs" / "boost" / ".rounds" / "002.npy")
    np.testing.assert_allclose(file[train.at], raised / raised.mean())
    assert file.sum() == pytest.approx(len(train.at))
    more = optbench("boost", "4", *WEAK)
    assert more.code == 0 and len(run_folders(folder, "boost")) == 4
    other = optbench("boost", "3", *WEAK[:-1], "optim.lr=0.02")
    assert other.code == 2 and "optim.lr was 0.01, now it is 0.02" in other.err and "name=" in other.err


def config_of(run: Path) -> dict:
    import yaml

    return yaml.safe_load((run / "config.yaml").read_text())


@pytest.mark.parametrize("data", ["diabetes", "digits"])
def test_gradient_boosting_adds_up_to_a_predictor(data: str, optbench: Callable, folder: Path) -> None:
    asked = ["boost", "3", "--method", "gradient", f"data={data}", *WEAK, "epochs=5", "dtype=float64"]
    assert (said := optbench(*[a for a in asked if a != "epochs=2"])).code == 0, said.err
    (made,) = (folder / "outputs" / "ensembles").iterdir()
    found = json.loads((made / FILE).read_text())["found"]
    assert "round 1 alone" in found["rows"]
    errors = found["rounds"]["errors"]
    assert errors == sorted(errors, reverse=True)  # the line search never goes up on train
    rows = [line.split(",") for line in optbench("predict", str(made)).out.splitlines()[1:]]
    if data == "digits":
        right = np.mean([row[1] == row[2] for row in rows])
        assert right == found["rows"]["the ensemble"]["accuracy"]
    else:
        error = np.mean([(float(row[1]) - float(row[2])) ** 2 for row in rows])
        assert error == pytest.approx(found["rows"]["the ensemble"]["mse"])


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (["1"], ["ROUNDS", "from 2"]),
        (["three"], ["whole number", "three"]),
        (["3", "--method", "sammy"], ["did you mean 'samme'"]),
        (["3", "data=diabetes", "--method", "samme"], ["--method gradient"]),
        (["3", "--rate", "0"], ["--rate must be > 0"]),
        (["3", "optim.lr=0.1,0.2"], ["several values"]),
        (["3", "modl.width=3"], ["modl"]),
        (["3", "save=none"], ["save is set by boost"]),
        (["3", "augment=mixup"], ["mixed"]),
        (["3", "regularization=label_smoothing", "--method", "gradient"], ["label_smoothing"]),
        (["3", "pause_at=3"], ["pause_at"]),
    ],
    ids=lambda v: " ".join(v) if isinstance(v, list) else v,
)
def test_what_cannot_be_boosted_is_refused_with_nothing_written(
    argv: list[str], words: list[str], folder: Path, optbench: Callable
) -> None:
    refused = optbench("boost", *argv)
    assert refused.code == 2 and all(word in refused.err for word in words), refused.err
    assert not (folder / "outputs").exists()


def test_a_member_that_learns_everything_leaves_nothing_to_boost(optbench: Callable, folder: Path) -> None:
    refused = optbench("boost", "3", "data=wine", "epochs=60", "model.width=64", "optim.lr=0.01")
    assert refused.code == 1 and "no mistake" in refused.err and "model.width" in refused.err


@pytest.mark.parametrize("method", ["samme", "gradient"])
def test_a_boost_that_is_killed_goes_on_to_the_same_rows(method: str, optbench: Callable, folder: Path) -> None:
    asked = ["boost", "3", "--method", method, "model.width=6", "model.depth=1", "epochs=6", "eval_every=25"]
    (folder / "undisturbed").mkdir()
    os.chdir(folder / "undisturbed")
    assert optbench(*asked).code == 0
    os.chdir(folder)
    killed.stop(folder, *asked, evaluations=9)  # in the second round
    assert len(run_folders(folder, "boost")) == 2 and not (folder / "outputs" / "ensembles").exists()
    assert optbench(*asked).code == 0
    for run in run_folders(folder / "undisturbed", "boost"):
        assert without_timing(folder / "outputs" / "boost" / run.name) == without_timing(run)
    (ours,), (theirs,) = ((p / "outputs" / "ensembles").iterdir() for p in (folder, folder / "undisturbed"))
    kept = [json.loads((p / FILE).read_text()) for p in (ours, theirs)]
    assert kept[0]["recipe"] == kept[1]["recipe"]
    assert kept[0]["found"]["rows"] == kept[1]["found"]["rows"]


def test_ctrl_c_keeps_what_is_there(folder: Path) -> None:
    asked = ["boost", "3", "model.width=6", "epochs=6"]
    said = killed.stop(folder, *asked, evaluations=3, number=signal.SIGINT)
    assert "the same command goes on from here" in said and "Traceback" not in said
