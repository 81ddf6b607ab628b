"""Ensembles: what is combined equals scikit-learn's or a hand computation, and nothing else is combined."""

import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.ensemble import StackingClassifier, VotingClassifier
from sklearn.linear_model import LogisticRegression, RidgeCV
from sklearn.metrics import balanced_accuracy_score
from torch import nn
from torch.nn.utils.parametrizations import weight_norm

import optbench
from runner.after import ensemble
from runner.after.combined import FILE, load_model, soup
from runner.after.judged import measures
from runner.after.members import Predicted, Team, find, outputs_of, snapshots_of
from runner.errors import ConfigError, RecordError
from runner.run.job import parts_of
from runner.run.load import Trained
from runner.statistics import ensembles as of
from tests.support.records import run_folders, summary_of

SMALL = ("epochs=3", "model.width=8", "model.depth=1", "optim.lr=0.01", "save=last", "baselines=false")


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with small sweeps: three seeds, two rates in three folds, numbers, and one with snapshots."""
    from runner.cli.main import main

    place = tmp_path_factory.mktemp("trained")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(place)
        for overrides in (
            ("name=seeds", "seeds=3"),
            ("name=folds", "data.folds=3", "data.fold=0,1,2", "optim.lr=0.01,0.03"),
            ("name=numbers", "data=diabetes", "seeds=3", "data.normalize_target=standard"),
            ("name=cycles", "snapshots=3", "scheduler=warm_restarts", "scheduler.first=0.34", "scheduler.growth=1"),
        ):
            own = {o.partition("=")[0] for o in overrides}
            assert main(["train", "-m", *overrides, *(o for o in SMALL if o.partition("=")[0] not in own)]) == 0
    return place


@pytest.fixture
def here(trained: Path, folder: Path) -> Path:
    """The same in an empty folder of one's own."""
    shutil.copytree(trained / "outputs", folder / "outputs")
    return folder


def team(*places: str) -> Team:
    return Team(find(places)[0])


class Known(ClassifierMixin, BaseEstimator):
    """Predicts what a member does: its probabilities are looked up by the sample's number."""

    def __init__(self, shares: np.ndarray) -> None:
        self.shares = shares

    def fit(self, x: np.ndarray, y: np.ndarray) -> "Known":
        self.classes_ = np.arange(self.shares.shape[1])
        return self

    def predict_proba(self, x: np.ndarray) -> np.ndarray:
        return self.shares[x[:, 0].astype(int)]

    def predict(self, x: np.ndarray) -> np.ndarray:
        return self.predict_proba(x).argmax(1)


@pytest.mark.parametrize("method", ["mean", "vote", "weighted"])
def test_averages_and_votes_are_scikit_learns(method: str, here: Path) -> None:
    made = ensemble.make(team("outputs/seeds"), method)
    test = made.team.predict("test")
    n = len(test.y)
    voting = "soft" if method == "mean" else "hard"
    members = [(str(i), Known(outputs)) for i, outputs in enumerate(test.outputs)]
    theirs = VotingClassifier(members, voting=voting, weights=made.recipe.weights)
    x = np.arange(n)[:, None]
    theirs.fit(x, np.arange(n) % 10)
    assert (made.combined.argmax(1) == theirs.predict(x)).all()
    assert made.judged.rows["the ensemble"]["accuracy"] == np.mean(theirs.predict(x) == test.labels)
    if voting == "soft":
        np.testing.assert_allclose(made.combined, theirs.predict_proba(x))


def test_members_reach_in_a_team_what_their_summaries_say(here: Path) -> None:
    found = team("outputs/seeds")
    test = found.predict("test")
    for member, outputs in zip(found.members, test.outputs, strict=True):
        assert np.mean(outputs.argmax(1) == test.labels) == pytest.approx(member.summary["test_accuracy"])
        assert of.log_loss(outputs, test.labels) == pytest.approx(member.summary["test_loss"], rel=1e-4)


def test_stacking_on_folds_is_scikit_learns_with_the_same_folds(here: Path) -> None:
    found = team("outputs/folds")
    recipe, chosen_on = ensemble.stacked(found)
    groups = recipe.groups
    assert sorted(map(len, groups)) == [3, 3]
    parts = [parts_of(found.members[i].config, found.source, "float64") for i in groups[0]]
    at = np.sort(np.concatenate([part.val.at for part in parts]))
    place = {sample: number for number, sample in enumerate(at)}
    folds = [tuple(np.array([place[a] for a in samples.at]) for samples in (part.train, part.val)) for part in parts]
    y = np.empty(len(at), int)
    shares = np.empty((2, 3, len(at), 10))
    for fold, part in enumerate(parts):
        y[folds[fold][1]] = part.val.y
        for group, numbers in enumerate(groups):
            model = found.models[numbers[fold]]
            for where, samples in zip(folds[fold], (part.train, part.val), strict=True):
                shares[group, fold, where] = outputs_of(model, samples.x)

    class OfFold(Known):
        def fit(self, x: np.ndarray, y: np.ndarray) -> "Known":
            held_out = set(range(len(at))) - set(x[:, 0].astype(int).tolist())
            fold = next((i for i, (_, val) in enumerate(folds) if set(val.tolist()) == held_out), 0)
            self.seen = self.shares[fold]
            self.classes_ = np.arange(10)
            return self

        def predict_proba(self, x: np.ndarray) -> np.ndarray:
            return self.seen[x[:, 0].astype(int)]

    theirs = StackingClassifier(
        [(str(i), OfFold(of_group)) for i, of_group in enumerate(shares)],
        LogisticRegression(max_iter=1000),
        cv=folds,
        stack_method="predict_proba",
    ).fit(np.arange(len(at))[:, None], y)
    np.testing.assert_allclose(recipe.coefficients, theirs.final_estimator_.coef_, atol=1e-6)
    np.testing.assert_allclose(recipe.intercept, theirs.final_estimator_.intercept_, atol=1e-6)
    _, targets = ensemble.out_of_fold(found, groups)
    assert (targets == y).all() and chosen_on == f"{len(at):,} out-of-fold predictions"
    assert np.isfinite(recipe(found.predict("test").outputs)).all()
    np.testing.assert_allclose(recipe(found.predict("test").outputs).sum(1), 1)


def test_a_stack_without_folds_learns_from_validation_and_of_numbers_by_ridge(here: Path) -> None:
    found = team("outputs/numbers")
    made = ensemble.make(found, "stack")
    val, test = found.predict("val"), found.predict("test")
    ridge = RidgeCV().fit(np.hstack(list(val.outputs)), val.y)
    np.testing.assert_allclose(made.combined, ridge.predict(np.hstack(list(test.outputs))).reshape(-1, 1), rtol=1e-9)


def test_a_fold_that_is_missing_is_named(here: Path) -> None:
    gone = next(p for p in run_folders(here, "folds") if json.loads((p / "summary.json").read_text()))
    shutil.rmtree(gone)
    with pytest.raises(ConfigError, match=r"no run with data\.fold="):
        ensemble.make(team("outputs/folds"), "stack")


def test_greedy_takes_what_lowers_the_loss_of_the_average_most() -> None:
    y = np.array([0, 0, 1])
    members = np.array([[[0.6, 0.4], [0.6, 0.4], [0.6, 0.4]],
                        [[0.9, 0.1], [0.2, 0.8], [0.1, 0.9]],
                        [[0.2, 0.8], [0.9, 0.1], [0.3, 0.7]]])  # fmt: skip
    found = of.greedy(members, lambda outputs: of.log_loss(outputs, y), 4)
    taken: list[int] = []
    best, prefix = np.inf, 0
    for _ in range(4):  # by hand
        losses = [of.log_loss(members[[*taken, i]].mean(0), y) for i in range(3)]
        taken.append(int(np.argmin(losses)))
        if min(losses) < best - 1e-12:
            best, prefix = min(losses), len(taken)
    assert found.counts.tolist() == np.bincount(taken[:prefix], minlength=3).tolist()
    assert found.losses[-1] == pytest.approx(best)


def test_the_decomposition_is_exact_and_ambiguity_is_never_negative(here: Path) -> None:
    for place, method in (("outputs/seeds", "mean"), ("outputs/seeds", "vote"), ("outputs/numbers", "mean")):
        made = ensemble.make(team(place), method)
        d = made.judged.decomposition
        assert d is not None and d.ambiguity >= 0
        assert d.ensemble == pytest.approx(d.members - d.ambiguity)
        name = "brier" if method == "mean" and place == "outputs/seeds" else "mse"
        if method == "mean":
            assert d.ensemble == pytest.approx(made.judged.rows["the ensemble"][name])


def test_the_soup_is_one_network_of_mean_weights(here: Path) -> None:
    made = ensemble.make(team("outputs/cycles", "outputs/seeds"), "soup")
    ensemble.write(made)
    weights = [m.network.state_dict() for m in made.team.models]
    (network,) = load_model(made.folder).network
    for name, tensor in network.network.state_dict().items():
        torch.testing.assert_close(tensor, torch.stack([w[name] for w in weights]).mean(0))


def test_the_soup_of_weights_in_another_form_is_of_the_weights_themselves() -> None:
    saved = {"shape": [3], "classes": 2, "shift": torch.tensor(0.0), "scale": torch.tensor(1.0)}
    members = [Trained(weight_norm(nn.Linear(3, 2)), saved) for _ in range(3)]
    mean = torch.stack([member.network.weight for member in members]).mean(0)  # type: ignore[arg-type,misc]
    torch.testing.assert_close(soup(members).network.weight, mean)


def test_snapshots_are_members_for_the_price_of_one_run(here: Path, optbench: Callable) -> None:
    refused = optbench("ensemble", "outputs/cycles")
    assert refused.code == 2 and "--snapshots" in refused.err
    members = snapshots_of(find(["outputs/cycles"])[0])
    assert [m.snapshot for m in members] == [0, 1, None]
    made = ensemble.make(Team(members), "mean")
    assert made.judged.cost["train_seconds"] == made.judged.cost["train_seconds_of_one"]
    assert made.judged.cost["flops_per_sample"] == 3 * made.judged.cost["flops_per_sample_of_one"]
    assert optbench("ensemble", "outputs/cycles", "--snapshots").code == 0


def test_the_result_is_a_predictor(here: Path, optbench: Callable) -> None:
    said = optbench("ensemble", "outputs/seeds")
    assert said.code == 0, said.err
    (made,) = (here / "outputs" / "ensembles").iterdir()
    found = json.loads((made / FILE).read_text())["found"]
    rows = optbench("predict", str(made)).out.splitlines()
    right = [row.split(",")[1] == row.split(",")[2] for row in rows[1:]]
    assert np.mean(right) == found["rows"]["the ensemble"]["accuracy"]
    assert {path.name for path in made.iterdir()} == {FILE, "members.csv", "reliability.png", "reliability.svg"}
    model = optbench_module_load(made)
    x = torch.from_numpy(team("outputs/seeds").parts(find(["outputs/seeds"])[0][0]).test.x)
    np.testing.assert_allclose(model(x).exp().sum(1), 1)
    assert optbench("predict", str(made), "--export", "x.pt2").code == 2


def optbench_module_load(place: Path) -> torch.nn.Module:
    return optbench.load_model(place)


def test_members_that_changed_or_are_gone_are_refused(here: Path) -> None:
    made = ensemble.make(team("outputs/seeds"), "mean")
    ensemble.write(made)
    first, second, _ = made.team.members
    shutil.copy(second.folder / "checkpoint.pt", first.folder / "checkpoint.pt")
    with pytest.raises(RecordError, match="has changed since"):
        load_model(made.folder)
    shutil.rmtree(first.folder)
    with pytest.raises(RecordError, match="is gone"):
        load_model(made.folder)


@pytest.mark.parametrize("text", ["", "[]", '{"format": 2}', '{"format": 1, "recipe": {}}'])
def test_a_broken_ensemble_is_refused(text: str, folder: Path, optbench: Callable) -> None:
    (folder / "x").mkdir()
    (folder / "x" / FILE).write_text(text)
    refused = optbench("predict", "x")
    assert refused.code == 2 and FILE in refused.err


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (["outputs/seeds", "outputs/numbers"], ["other data", "data=diabetes"]),
        (["outputs/numbers", "--method", "vote"], ["vote", "numbers", "--method mean"]),
        (["outputs/nmbers"], ["there is no folder", "did you mean 'numbers'"]),
        (["outputs"], ["holds no runs"]),
        (["outputs/seeds", "--method", "gredy"], ["did you mean 'greedy'"]),
        (["outputs/folds", "--method", "greedy"], ["other val samples"]),
        (["outputs/seeds", "--snapshots"], ["kept none", "snapshots=5"]),
        ([], ["DIR|RUN"]),
    ],
    ids=lambda v: " ".join(v) if isinstance(v, list) else v,
)  # fmt: skip
def test_what_cannot_be_combined_is_refused_with_nothing_written(
    argv: list[str], words: list[str], here: Path, optbench: Callable
) -> None:
    refused = optbench("ensemble", *argv)
    assert refused.code == 2 and all(word in refused.err for word in words), refused.err
    assert not (here / "outputs" / "ensembles").exists()


def test_a_run_alone_is_no_ensemble(here: Path, optbench: Callable) -> None:
    refused = optbench("ensemble", str(run_folders(here, "seeds")[0]))
    assert refused.code == 2 and "two members or more, got 1" in refused.err


def test_a_sweep_without_weights_says_how_to_get_them_and_train_gets_them(optbench: Callable, folder: Path) -> None:
    asked = [o for o in SMALL if o != "save=last"]
    assert optbench("train", "-m", "seeds=2", *asked).code == 0
    before = [summary_of(run)["test_loss"] for run in sorted(run_folders(folder))]
    refused = optbench("ensemble", "outputs/default")
    assert refused.code == 2 and "--train" in refused.err and "save=last" in refused.err
    made = optbench("ensemble", "outputs/default", "--train", "--equal")
    assert made.code == 0, made.err
    assert "at equal compute, one run of 2 times the steps" in made.out
    assert [summary_of(run)["test_loss"] for run in sorted(run_folders(folder))] == before
    assert len(run_folders(folder, "default-longer")) == 1


def test_a_users_own_model_is_trained_again_only_when_allowed(
    optbench: Callable, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = ["model=custom", "model.target=tests.own_parts.Net"]
    assert optbench("train", "-m", *own, "seeds=2", "epochs=1", "baselines=false").code == 0
    monkeypatch.delitem(sys.modules, "tests.own_parts")
    refused = optbench("ensemble", "outputs/default", "--train")
    assert refused.code == 2 and "--allow tests.own_parts.Net" in refused.err
    assert "tests.own_parts" not in sys.modules
    made = optbench("ensemble", "outputs/default", "--train", "--allow", "tests.own_parts.Net")
    assert made.code == 0, made.err
    measured = ["name=measured", "model.width=8", "metrics=[tests.own_parts.top2]"]
    assert optbench("train", "-m", *measured, "seeds=2", "epochs=1", "baselines=false").code == 0
    refused = optbench("ensemble", "outputs/measured", "--train")
    assert refused.code == 2 and "--allow tests.own_parts.top2" in refused.err, refused.err


def test_calibration_is_that_of_a_hand_computation() -> None:
    shares = np.array([[0.95, 0.05], [0.9, 0.1], [0.45, 0.55], [0.4, 0.6]])
    found = of.calibration(shares, np.array([0, 1, 1, 1]), bins=10)
    # (0.9, 1]: one, sure to 0.95 and right; (0.8, 0.9]: one, 0.9 and wrong; (0.5, 0.6]: two, 0.575 and right.
    assert found.error == pytest.approx((0.05 + 0.9 + 2 * 0.425) / 4)
    assert of.brier(shares, np.array([0, 1, 1, 1])) == pytest.approx(2 * (0.0025 + 0.81 + 0.2025 + 0.16) / 4)


def test_predictors_that_agree_on_few_samples_are_not_shown_to_be_equal() -> None:
    few, many = (of.paired(np.zeros(n), counted=True) for n in (20, 20_000))
    assert few.high > 0.05 > 0.001 > many.high > 0
    differences = np.repeat([1.0, -1.0, 0.0], [30, 10, 960])
    found = of.paired(differences, counted=True)
    assert found.mean == pytest.approx(0.02) and 0 < found.low < 0.02 < found.high


def test_where_classes_are_skewed_the_balanced_accuracy_is_measured_too() -> None:
    rng = np.random.default_rng(0)
    y = (rng.random(400) < 0.1).astype(np.int64)
    outputs = rng.dirichlet((1, 1), 400)
    found = measures(outputs, Predicted(outputs[None], y, np.arange(400)), 2)
    assert found["balanced_accuracy"] == pytest.approx(balanced_accuracy_score(y, outputs.argmax(1)))
    even = np.arange(400) % 2
    assert "balanced_accuracy" not in measures(outputs, Predicted(outputs[None], even, np.arange(400)), 2)
