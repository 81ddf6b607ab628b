"""Simple baselines beside the runs: right, once a split, and never in the way of training."""

import csv
import math
import signal
import time
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from sklearn import metrics as theirs
from sklearn.linear_model import LogisticRegression, Ridge

from runner.data import Samples
from runner.run import baselines
from runner.run.baselines import models
from runner.run.components.samples import data_of

pytestmark = pytest.mark.baselines
SMALL = ["data=wine", "model.width=8", "model.depth=1", "epochs=1"]


def rows(folder: Path, name: str = "default") -> list[dict[str, str]]:
    with (folder / "outputs" / name / "baselines.csv").open() as file:
        return list(csv.DictReader(file))


def measured(job, *overrides: str) -> dict[str, dict[str, float]]:
    """Each baseline's measures of a job's data, by its name."""
    one = job(*overrides)
    baselines.beside([one])
    found = rows(Path())
    return {
        r["baseline"]: {k.removeprefix("val_"): float(v) for k, v in r.items() if k[:4] == "val_" and v} for r in found
    }


def test_those_of_classes_are_scikit_learns_on_the_runs_own_split(job) -> None:
    found, data = measured(job, "data=wine"), data_of(job("data=wine"))
    shares = np.bincount(data.train.y) / len(data.train)
    assert found["majority"]["loss"] == pytest.approx(-np.log(shares)[data.val.y].mean())
    assert found["majority"]["accuracy"] == np.mean(data.val.y == shares.argmax())
    assert found["majority"]["balanced_accuracy"] == pytest.approx(1 / 3)
    assert found["majority"]["predicted_classes"] == 1
    model = LogisticRegression(max_iter=100).fit(data.train.x.astype(float), data.train.y)
    p = model.predict_proba(data.val.x.astype(float))
    assert found["logistic"]["loss"] == pytest.approx(theirs.log_loss(data.val.y, p), rel=1e-6)
    called = p.argmax(1)
    assert found["logistic"]["accuracy"] == theirs.accuracy_score(data.val.y, called)
    assert found["logistic"]["f1"] == pytest.approx(theirs.f1_score(data.val.y, called, average="macro"))
    assert found["trees"]["accuracy"] > 0.8


def test_those_of_numbers_are_scikit_learns_in_the_targets_own_unit(job) -> None:
    overrides = ["data=diabetes", "data.normalize_target=standard"]
    found, data = measured(job, *overrides), data_of(job(*overrides))
    scale, shift = (part.item() for part in (data.target_scale, data.target_shift))
    x, y = data.train.x.astype(float), data.train.y.astype(float)
    predicted = Ridge().fit(x, y).predict(data.val.x.astype(float)).reshape(-1, 1)
    assert found["ridge"]["loss"] == pytest.approx(theirs.mean_squared_error(data.val.y, predicted), rel=1e-5)
    own, true = predicted * scale + shift, data.val.y * scale + shift
    assert found["ridge"]["mse"] == pytest.approx(theirs.mean_squared_error(true, own), rel=1e-5)
    assert found["ridge"]["r2"] == pytest.approx(theirs.r2_score(true, own), rel=1e-5)
    assert found["mean"]["loss"] == pytest.approx(np.square(data.val.y - y.mean()).mean(), rel=1e-5)
    assert found["trees"]["r2"] > 0.2 > found["mean"]["r2"]


def test_several_numbers_have_trees_each(job) -> None:
    one = job("data=diabetes")
    data = data_of(one)
    both = [np.concatenate([part.y, -part.y], axis=1) for part in (data.train, data.val)]
    two = SimpleNamespace(
        train=Samples(data.train.x, both[0]),
        val=Samples(data.val.x, both[1]),
        classes=None,
        alphabet=None,
        vocabulary=None,
        target_shift=None,
        target_scale=None,
        outputs=2,
    )
    found = {one.name: one.measure()[0] for one in models.baselines(one, two)}
    single = {one.name: one.measure()[0] for one in models.baselines(one, data)}
    assert found["trees"]["mse"] == pytest.approx(single["trees"]["mse"], rel=0.05)
    assert found["ridge"]["r2"] == pytest.approx(single["ridge"]["r2"])


def test_other_losses_on_classes_are_of_the_outputs_that_they_ask_for(job) -> None:
    data = data_of(job("data=wine"))
    shares = torch.tensor(np.bincount(data.train.y) / len(data.train))
    one_hot = torch.nn.functional.one_hot(torch.from_numpy(data.val.y), 3).double()
    brier = (shares - one_hot).square().mean()
    entropy = -(one_hot * shares.log() + (1 - one_hot) * (1 - shares).log()).mean()
    assert measured(job, "data=wine", "loss=mse")["majority"]["loss"] == pytest.approx(float(brier))
    Path("outputs/default/baselines.csv").unlink()
    assert measured(job, "data=wine", "loss=bce")["majority"]["loss"] == pytest.approx(float(entropy))


def test_a_text_has_n_grams_each_better_than_the_last(job) -> None:
    found = measured(job, "data=text", "data.characters=20000", "model=gpt")
    losses = [found[name]["loss"] for name in ("unigram", "bigram", "trigram")]
    assert losses == sorted(losses, reverse=True) and losses[0] < math.log(60)
    assert found["trigram"]["perplexity"] == pytest.approx(math.exp(losses[2]))


def test_where_nothing_is_to_be_predicted_the_file_says_so(optbench, folder) -> None:
    asked = ["data=quadratic", "model=linear", "model.bias=false", "loss=mse", "max_steps=2"]
    result = optbench("train", *asked)
    assert result.code == 0 and "baselines" not in result.err
    (row,) = rows(folder)
    assert (row["baseline"], row["status"]) == ("none", "skipped") and "the same" in row["note"]


def test_a_loss_of_ones_own_has_no_baseline_but_what_is_measured_beside_it_has(job, folder, monkeypatch) -> None:
    (folder / "mine_of_baselines.py").write_text(
        "import torch\ndef loss(o, y):\n    return torch.nn.functional.cross_entropy(o, y)\n"
    )
    monkeypatch.syspath_prepend(folder)
    found = measured(job, "data=wine", "loss=mine_of_baselines.loss")
    assert "loss" not in found["logistic"] and found["logistic"]["accuracy"] > 0.8


def test_a_sweep_measures_each_split_once_and_a_later_one_only_what_is_new(optbench, folder, monkeypatch) -> None:
    seen: list[str] = []
    real = baselines._measured
    monkeypatch.setattr(baselines, "_measured", lambda job, end: seen.append(str(job)) or real(job, end))
    assert optbench("train", "-m", *SMALL, "optim.lr=0.1,0.01", "seeds=2", "workers=1").code == 0
    assert len(seen) == 1 and [r["baseline"] for r in rows(folder)] == ["majority", "logistic", "trees"]
    before = (folder / "outputs/default/baselines.csv").read_bytes()
    assert optbench("train", "-m", *SMALL, "optim.lr=0.1,0.01", "seeds=2", "workers=1").code == 0
    assert optbench("train", *SMALL, "optim=sgd").code == 0
    assert len(seen) == 1 and (folder / "outputs/default/baselines.csv").read_bytes() == before
    assert optbench("train", "-m", *SMALL, "data.folds=3", "data.fold=0,1,2", "workers=1").code == 0
    assert len(seen) == 4 and [r["data.fold"] for r in rows(folder)] == ["", "", "", *"000111222"]


def test_a_sweep_that_was_killed_while_it_measured_goes_on_with_what_is_lacking(optbench, folder, monkeypatch) -> None:
    real, seen = baselines._measured, list[str]()

    def killed(job, end):
        seen.append(str(job.config["data"]["split_seed"]))
        if len(seen) == 2:
            raise KeyboardInterrupt
        return real(job, end)

    monkeypatch.setattr(baselines, "_measured", killed)
    asked = ["train", "-m", *SMALL, "data.split_seed=0,1", "workers=1"]
    with pytest.raises(KeyboardInterrupt):
        optbench(*asked)
    assert len(rows(folder)) == 3 and not list((folder / "outputs/default").glob("*/metrics.csv"))
    assert optbench(*asked).code == 0
    assert len(seen) == 3 and len(set(seen)) == 2 and len(rows(folder)) == 6


def test_a_finished_run_has_its_baselines_measured_where_they_are_missing(optbench, folder) -> None:
    assert optbench("train", *SMALL, "baselines=false").code == 0
    assert not (folder / "outputs/default/baselines.csv").exists()
    result = optbench("train", *SMALL)
    assert "before" in result.out and len(rows(folder)) == 3


def test_the_numbers_are_the_same_each_time(job, folder) -> None:
    def untimed() -> list[dict[str, str]]:
        baselines.beside([job(*SMALL)])
        return [{k: v for k, v in row.items() if k != "seconds"} for row in rows(folder)]

    first = untimed()
    (folder / "outputs/default/baselines.csv").unlink()
    threads = torch.get_num_threads()
    assert untimed() == first and torch.get_num_threads() == threads


def test_the_test_part_is_not_read(job, folder, monkeypatch: pytest.MonkeyPatch) -> None:
    one = job(*SMALL)
    data = data_of(one)
    known = ("train", "val", "classes", "alphabet", "vocabulary", "outputs", "target_shift", "target_scale")
    blind = SimpleNamespace(**{name: getattr(data, name) for name in known})
    monkeypatch.setattr(baselines, "real_data_of", lambda job: blind)
    baselines.beside([one])
    assert {row["status"] for row in rows(folder)} == {"ok"}


def test_one_that_fails_is_named_and_stops_nothing(optbench, folder, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(parts):
        raise ZeroDivisionError("of no\nuse")

    monkeypatch.setattr(models, "_logistic", broken)
    result = optbench("train", *SMALL)
    assert result.code == 0 and "logistic failed: ZeroDivisionError: of no use" in result.err
    assert [row["status"] for row in rows(folder)] == ["ok", "failed", "ok"]


def test_one_that_takes_too_long_is_stopped_and_named_and_the_others_are_measured(
    optbench, folder, monkeypatch
) -> None:
    def endless(parts):
        while True:
            time.sleep(0.01)

    monkeypatch.setattr(models, "_logistic", endless)
    monkeypatch.setattr(baselines, "MOST_SECONDS", 6.0)
    before = signal.getsignal(signal.SIGALRM)
    result = optbench("train", *SMALL)
    assert result.code == 0 and "logistic skipped: it was stopped, as all baselines together may take 6 s" in result.err
    assert [row["status"] for row in rows(folder)] == ["ok", "skipped", "ok"]
    assert signal.getsignal(signal.SIGALRM) == before and signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)


def test_a_library_is_imported_to_its_end_before_one_is_stopped(folder, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "slow_to_import.py").write_text("import time\nfor _ in range(60):\n    time.sleep(0.01)\nwhole = True\n")
    monkeypatch.syspath_prepend(folder)

    def fit() -> None:
        with baselines._at_most(0.1):
            import_module("slow_to_import")
            time.sleep(5)

    with pytest.raises(models.Unfit, match="stopped"):
        fit()
    assert import_module("slow_to_import").whole


def test_where_the_time_is_over_none_is_begun(optbench, folder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(baselines, "MOST_SECONDS", 0.0)
    assert optbench("train", *SMALL).code == 0
    assert {row["status"] for row in rows(folder)} == {"skipped"} and "may take 0 s" in rows(folder)[0]["note"]


def test_a_file_of_ones_own_is_left_alone(optbench, folder) -> None:
    (folder / "outputs/default").mkdir(parents=True)
    (folder / "outputs/default/baselines.csv").write_text("mine,yours\n1,2\n")
    result = optbench("train", *SMALL)
    assert result.code == 0 and "move it away" in result.err
    assert (folder / "outputs/default/baselines.csv").read_text() == "mine,yours\n1,2\n"


def test_nothing_is_written_of_what_is_not_run(optbench, folder) -> None:
    assert optbench("train", "-m", *SMALL, "seeds=2", "dry_run=true").code == 0
    assert optbench("train", *SMALL, "engine=fused", "diagnostics=true").code == 2
    assert not (folder / "outputs").exists()


def test_of_many_samples_the_same_ten_thousand_are_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    x = np.arange(600.0).reshape(300, 2)
    data = SimpleNamespace(train=Samples(x, np.arange(300)))
    monkeypatch.setattr(models, "MOST_ROWS", 90)
    first, again = (models.Parts(data, lambda n, features: 10**9) for _ in range(2))
    assert len(first.x) == 90 and np.array_equal(first.y, again.y) and len(set(first.y % 3)) == 3
    assert len(models.Parts(data, lambda n, features: 40).x) == 40
    assert len(models.Parts(data).x) == 300
