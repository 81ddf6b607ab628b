"""Runs on sentences: from a file to labels for new sentences, interrupted, resumed, beside other runs."""

import csv
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from optbench import load_model
from runner.run.build import build
from tests.support.killed import killed_and_finished
from tests.support.made_sentences import ASKED, by_order, by_presence, write
from tests.support.records import run_folder, run_folders, summary_of, without_timing

SMALL = [*ASKED, "model=rnn", "model.width=8", "batch.size=16"]


def answers(result: object) -> list[dict[str, str]]:
    assert result.code == 0, result.err  # type: ignore[attr-defined]
    return list(csv.DictReader(result.out.splitlines()))  # type: ignore[attr-defined]


def test_raw_sentences_go_in_and_labels_come_out(optbench: Callable, folder: Path) -> None:
    by_presence(folder / "s.csv")
    trained = optbench("train", *ASKED, "model=linear", "optim.lr=0.1", "epochs=10")
    assert trained.code == 0, trained.err
    run = str(run_folder(folder))
    own = answers(optbench("predict", run))
    assert {row["target"] for row in own} == {"day", "night"} and len(own) == 60
    with (folder / "s.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert all(rows[int(row["sample"])]["kind"] == row["target"] for row in own)
    write(folder / "new.csv", [["The SUN, again!"], ["a river, dark and cold"]], ["said"])
    found = answers(optbench("predict", run, "--input", "new.csv", "--probabilities"))
    assert [row["prediction"] for row in found] == ["day", "night"]
    assert sum(float(found[0][f"probability_{name}"]) for name in ("day", "night")) == pytest.approx(1)
    model = load_model(run)
    logits = model(model.encoded(["the sun, again!"]))
    assert float(logits.detach().softmax(1).max()) == pytest.approx(float(found[0]["probability"]))
    exported = optbench("predict", run, "--export", "m.pt2")
    assert exported.code == 0 and "outputs within" in exported.out
    write(folder / "new.csv", [["day"]], ["words"])
    refused = optbench("predict", run, "--input", "new.csv")
    assert refused.code == 2 and "lacks the column said" in refused.err


def test_what_a_classifier_got_wrong_is_written_and_classes_are_weighed(optbench: Callable, folder: Path) -> None:
    rows = [("sun" if i % 8 else "moon", "day" if i % 8 else "night") for i in range(160)]
    write(folder / "s.csv", [(f"the {word} w{i % 5}", kind) for i, (word, kind) in enumerate(rows)])
    asked = ["train", "-m", *ASKED, "model=mlp", "model.width=8", "class_weights=none,balanced", "epochs=3"]
    assert optbench(*asked, "batch.size=16", "optim.lr=0.01").code == 0
    for run in run_folders(folder):
        found = json.loads((run / "validation.json").read_text())
        assert found["labels"] == ["day", "night"] and sum(n for _, _, n in found["confusion"]) == found["samples"]
        assert len(found["true_positive_rate"]) == 101
        assert summary_of(run)["val_largest_class"] > summary_of(run)["val_smallest_class"]
    losses = [without_timing(run)[-1]["batch_loss"] for run in run_folders(folder)]
    assert losses[0] != losses[1]
    report = optbench("report", "outputs/default")
    assert report.code == 0 and "balanced accuracy" in report.out


@pytest.mark.baselines
@pytest.mark.parametrize(("make", "learnt"), [(by_presence, True), (by_order, False)])
def test_baselines_read_bags_of_words(make: Callable, learnt: bool, optbench: Callable, folder: Path) -> None:
    make(folder / "s.csv")
    assert optbench("train", *SMALL, "max_steps=1").code == 0
    with (folder / "outputs" / "default" / "baselines.csv").open() as file:
        found = {row["baseline"]: row for row in csv.DictReader(file)}
    assert found.keys() == {"majority", "logistic", "trees"}
    assert all(row["status"] == "ok" and float(row["seconds"]) < 30 for row in found.values())
    assert float(found["majority"]["val_balanced_accuracy"]) == 0.5
    for name in ("logistic", "trees"):
        reached = float(found[name]["val_accuracy"])
        assert reached >= 0.95 if learnt else reached <= 0.65


def test_an_augmented_run_that_was_killed_goes_on_to_the_same_bytes(optbench: Callable, folder: Path) -> None:
    data = by_presence(folder / "s.csv", 120)
    (folder / "words.txt").write_text("sun,light\nmoon,dark\nriver,hill\n")
    asked = [f"data.path={data}" if o.startswith("data.path") else o for o in SMALL]
    asked += ["augment=[synonym,swap,word_dropout]", f"augment.synonym.path={folder / 'words.txt'}"]
    run, expected = killed_and_finished(optbench, folder, [*asked, "epochs=8", "threads=1"])
    assert without_timing(run) == without_timing(expected)
    assert summary_of(run)["resumed_from_step"] is not None
    assert summary_of(run)["test_loss"] == summary_of(expected)["test_loss"]


def test_steps_see_changed_words_and_evaluations_the_sentences(job: Callable, folder: Path) -> None:
    by_presence(folder / "s.csv", 120)
    (folder / "p.csv").write_text("row,paraphrase\n" + "".join(f"{i},some sun\n" for i in range(120)))
    asked = [*SMALL, "augment=paraphrase", "augment.paraphrase.path=p.csv", "augment.paraphrase.rate=1"]
    plain, run = build(job(*SMALL)), build(job(*asked))
    assert torch.equal(plain.train.x, run.train.x) and torch.equal(plain.val.x, run.val.x)
    x, y = run.hooks["augment"](run.train.x, run.train.y, 0)  # type: ignore[operator]
    assert len(x.unique(dim=0)) == 1 and torch.equal(y, run.train.y)
    untouched, _ = run.hooks["augment"](run.test.x, run.test.y, 0)  # type: ignore[operator]
    others = [row.tolist() not in run.train.x.tolist() for row in run.test.x]
    assert any(others) and torch.equal(untouched[others], run.test.x[others])


def test_an_id_holds_what_files_say_and_not_where_they_lie(job: Callable, folder: Path) -> None:
    by_presence(folder / "s.csv", 60)
    for name, content in (("a.txt", "sun,light\n"), ("b.txt", "sun,light\n"), ("c.txt", "sun,moon\n")):
        (folder / name).write_text(content)
    shutil.copy("s.csv", "t.csv")

    def run_id(*more: str) -> str:
        given = {o.partition("=")[0] for o in more}
        return str(job(*(o for o in SMALL if o.partition("=")[0] not in given), *more).run_id)

    synonyms = ["augment=synonym", "augment.synonym.path="]
    one, same, other = (run_id(synonyms[0], synonyms[1] + name) for name in ("a.txt", "b.txt", "c.txt"))
    assert one == same != other
    assert run_id() == run_id("data.path=t.csv") == run_id("data.length=128") != run_id("data.length=5")
    bags = [str(job(*ASKED, "model=linear", *more).run_id) for more in ([], ["model.bag=tfidf"], ["model.bag=counts"])]
    assert bags[0] == bags[1] != bags[2]


def test_weights_of_another_vocabulary_are_refused(optbench: Callable, folder: Path) -> None:
    rows = [(f"w{i} the {('sun', 'moon')[i % 2]}", ("day", "night")[i % 2]) for i in range(60)]
    write(folder / "s.csv", rows)
    asked = [*ASKED, "model=mlp", "model.width=8", "max_steps=2"]
    assert optbench("train", *asked).code == 0
    first = run_folder(folder)
    for of in (
        ["init=pretrained", f"init.run={first}"],
        ["regularization=distillation", f"regularization.distillation.run={first}"],
    ):
        assert optbench("train", *asked, *of, "name=next").code == 0
        refused = optbench("train", *asked, *of, "name=other", "data.split_seed=1")
        assert refused.code == 2 and "was trained with another vocabulary" in refused.err
        assert not (folder / "outputs" / "other").exists()


def test_a_model_of_ones_own_is_told_how_many_words_there_are(optbench: Callable, folder: Path) -> None:
    by_presence(folder / "s.csv", 60)
    (folder / "bag_of_mine.py").write_text(
        "from torch import nn\n"
        "class Mean(nn.Module):\n"
        "    def __init__(self, outputs, vocabulary):\n"
        "        super().__init__()\n"
        "        self.words = nn.EmbeddingBag(vocabulary, outputs, padding_idx=0)\n"
        "    def forward(self, x):\n"
        "        return self.words(x)\n"
    )
    result = optbench("train", *ASKED, "model=custom", "model.target=bag_of_mine.Mean", "max_steps=3")
    assert result.code == 0, result.err


def test_folds_and_resamples_are_runs_of_sentences_too(optbench: Callable, folder: Path) -> None:
    by_presence(folder / "s.csv", 60)
    asked = ["train", "-m", *ASKED, "model=linear", "max_steps=2"]
    assert optbench(*asked, "data.folds=3", "data.fold=0,1,2").code == 0
    assert optbench(*asked, "data.bootstrap=1", "data.fraction=0.8", "name=b", "data.kind=classes").code == 0
    assert {summary_of(run)["status"] for run in run_folders(folder)} == {"completed"}


def test_numbers_are_predicted_in_their_own_unit(optbench: Callable, folder: Path) -> None:
    rng = np.random.default_rng(0)
    counts = rng.integers(0, 5, 200)
    write(folder / "s.csv", [(f"{'sun ' * n}and moon", 100 + 10 * n + rng.normal() / 9) for n in counts.tolist()])
    asked = [*ASKED, "model=linear", "model.bag=counts", "optim.lr=0.1", "data.normalize_target=standard"]
    assert optbench("train", *asked, "epochs=40").code == 0
    assert summary_of(run_folder(folder))["test_r2"] > 0.98
    write(folder / "new.csv", [["sun sun sun and moon"]], ["said"])
    (found,) = answers(optbench("predict", str(run_folder(folder)), "--input", "new.csv"))
    assert float(found["prediction"]) == pytest.approx(130, abs=3)
