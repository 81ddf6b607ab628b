"""Runs that are trained on generated samples too."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from runner import generator
from runner.data import Samples, Source
from runner.run import baselines
from runner.run.build import build
from runner.run.claim import run_job, run_pack
from runner.run.components import generated, samples
from runner.run.components.samples import data_of, real_data_of
from runner.run.job import Job
from runner.run.stackable import traits
from tests.support.records import Result, rows_of, run_folder, summary_of, without_timing

Optbench = Callable[..., Result]
SMALL = ["model.width=8", "model.depth=1", "threads=1", "baselines=false"]
FEW = [*SMALL, "data=digits", "data.fraction=0.1", "max_steps=20", "eval_every=5"]
"""129 pictures."""


def forget() -> None:
    """Begin as a process of its own does."""
    generated._kept.clear()
    samples._prepared.cache_clear()
    samples._on_device.cache_clear()


@pytest.fixture(autouse=True)
def _brief(monkeypatch: pytest.MonkeyPatch) -> None:
    """Short training of generators, which no other test gets."""
    monkeypatch.setattr(generator, "STEPS", 10)
    forget()


def test_the_id_changes_only_when_it_is_set(job: Callable[..., Job]) -> None:
    assert job("data.generated=0").run_id == job("data.generated=0.0").run_id == job().run_id
    ids = [job(f"data.generated={share}").run_id for share in ("0.5", "1", "1.0")]
    assert ids[1] == ids[2] and len({*ids, job().run_id}) == 3


@pytest.mark.parametrize("data", ["digits", "wine"])
def test_a_run_is_trained_on_them_and_measured_on_real_samples(data: str, job: Callable[..., Job]) -> None:
    plain, run = (build(job(f"data={data}", "data.fraction=0.9", *more)) for more in ([], ["data.generated=0.5"]))
    n = len(plain.train.y)
    assert len(run.train.y) == n + round(n * 0.5)
    assert run.train.x[:n].equal(plain.train.x) and run.probe.x.equal(plain.probe.x)
    assert run.val.x.equal(plain.val.x) and run.test.x.equal(plain.test.x)
    assert run.steps_per_epoch == -(-(n + round(n * 0.5)) // job(f"data={data}").config["batch"]["size"])


def test_the_sizes_that_follow_the_data_count_them(job: Callable[..., Job]) -> None:
    sizes = [job("data=wine", "batch=auto", *more).config["batch"]["size"] for more in ([], ["data.generated=20"])]
    assert sizes == [16, 64]


def test_no_sample_outside_of_train_changes_what_is_generated(job: Callable[..., Job]) -> None:
    this = job(*FEW, "data.generated=1")
    source = this.source
    how = {key: this.config["data"][key] for key in samples.SPLIT_KEYS} | {"dtype": "float32"}
    before = generated.with_generated(source, 1, 0, **how)
    kept = {p.tobytes() for p in real_data_of(job(*FEW, "data.normalize=none")).train.x}
    outside = [i for i, x in enumerate(source.samples.x) if x.tobytes() not in kept]
    assert len(outside) > 1600
    x = source.samples.x.copy()
    x[outside] = 16 - x[outside]
    other = Source(Samples(x, source.samples.y), 10, "f" * 16, test_fraction=source.test_fraction)
    forget()
    after = generated.with_generated(other, 1, 0, **how)
    assert (after.train.x == before.train.x).all() and (after.train.y == before.train.y).all()
    assert (after.test.x != before.test.x).any()


def test_each_seed_has_a_generator_of_its_own_and_the_rest_shares_it(job: Callable[..., Job]) -> None:
    first, same, other = (data_of(job(*FEW, "data.generated=1", *o)) for o in ([], ["optim.lr=0.1"], ["seed=1"]))
    assert first is same and len(generated._kept) == 2
    assert (first.train.x[:129] == other.train.x[:129]).all() and (first.train.x[129:] != other.train.x[129:]).any()
    assert (first.train.y == same.train.y).all()


@pytest.mark.parametrize("data", [FEW, [*SMALL, "data=wine", "max_steps=20", "eval_every=5"]], ids=["gan", "gaussian"])
def test_a_run_that_is_continued_elsewhere_has_the_same_rows(data: list[str], optbench: Optbench, folder: Path) -> None:
    asked = ["train", *data, "data.generated=0.5"]
    assert optbench(*asked, "name=whole").code == 0
    forget()
    assert optbench(*asked, "name=paused", "pause_at=10").code == 0
    forget()
    assert optbench(*asked, "name=paused").code == 0
    found, whole = (run_folder(folder, name) for name in ("paused", "whole"))
    assert summary_of(found)["resumed_from_step"] == 10
    assert without_timing(found) == without_timing(whole)


def test_baselines_are_of_the_real_samples_alone(job: Callable[..., Job]) -> None:
    with_them, without = job("data=wine", "data.generated=1"), job("data=wine")
    assert real_data_of(with_them) is real_data_of(without)
    assert baselines.key_of(with_them) == baselines.key_of(without)


def test_the_summary_says_how_many_and_how_long_it_took(optbench: Optbench, folder: Path) -> None:
    assert optbench("train", *FEW, "data.generated=2", "name=with").code == 0
    assert optbench("train", *FEW, "name=without").code == 0
    found, without = (summary_of(run_folder(folder, name)) for name in ("with", "without"))
    assert found["generated_samples"] == 258 and found["train_samples"] == 387
    assert isinstance(found["generated_seconds"], float) and found["generated_seconds"] > 0
    assert "generated_samples" not in without and without["train_samples"] == 129


def test_runs_of_a_seed_are_stacked_and_those_of_two_are_not(job: Callable[..., Job]) -> None:
    asked = [*FEW, "data.generated=1", "dtype=float64"]
    rates = [[*asked, f"optim.lr={lr}"] for lr in (0.01, 0.02, 0.04)]
    jobs = [job(*one, "name=stacked") for one in rates]
    assert len({traits(one).signature for one in jobs}) == 1
    assert traits(job(*asked, "seed=1")).signature != traits(jobs[0]).signature
    assert traits(job(*FEW, "seed=1")).signature == traits(job(*FEW)).signature
    together = [outcome for outcome in run_pack(jobs, "none") if outcome is not None]
    assert [o.summary["stack_size"] for o in together] == [3] * 3
    for one, outcome in zip(rates, together, strict=True):
        alone = run_job(job(*one, "name=alone"), save="none", bar=False)
        assert alone is not None
        last = [rows_of(o.job.folder)[-1] for o in (outcome, alone)]
        assert float(last[0]["val_loss"]) == pytest.approx(float(last[1]["val_loss"]), rel=1e-9)
        assert outcome.summary["generated_samples"] == 129


@pytest.mark.slow
def test_a_sweep_of_seeds_and_shares_is_reported_side_by_side(optbench: Optbench, folder: Path) -> None:
    asked = [*SMALL, "data=wine", "max_steps=4", "data.generated=0,1", "seeds=2", "name=s"]
    assert optbench("train", "-m", *asked).code == 0
    again = optbench("train", "-m", *asked)
    assert again.code == 0 and "4" in again.out
    report = optbench("report", "outputs/s")
    assert report.code == 0 and "data.generated" in report.out


REFUSED = [
    (["data=text", "model=rnn"], ["data=text", "no generator writes text", "tables of classes", "a conditional GAN"]),
    (["data=diabetes"], ["its targets are numbers", "a Gaussian a class"]),
    (["data=wine", "data.fraction=0.2"], ["covariance of 13 numbers", "needed", "14"]),
    (["data=wine", "data.generated=0.001"], ["adds no sample to 129 training samples", "0.0078"]),
    (["data.generated=-1"], ["data.generated", "≥ 0", "-1"]),
    (["data.generated=half"], ["data.generated", "half"]),
    (["data.weights=w.npy"], ["data.weights", "no weight"]),
]


@pytest.mark.parametrize(("asked", "words"), REFUSED, ids=[" ".join(asked) for asked, _ in REFUSED])
def test_what_cannot_be_generated_is_refused(
    asked: list[str], words: list[str], optbench: Optbench, folder: Path
) -> None:
    np.save("w.npy", np.ones(1797))
    refused = optbench("train", *(["data.generated=1"] if "data.generated" not in " ".join(asked) else []), *asked)
    assert refused.code == 2 and not (folder / "outputs").exists()
    assert all(word in refused.err for word in words), refused.err


def test_large_pictures_are_refused(optbench: Optbench, folder: Path) -> None:
    (folder / "large_pictures.py").write_text(
        "import numpy\ndef big():\n    return numpy.zeros((8, 3, 64, 64), 'uint8'), numpy.arange(8) % 2\n"
    )
    refused = optbench("train", "data=custom", "data.target=large_pictures.big", "model=cnn", "data.generated=1")
    assert refused.code == 2 and "an input has 12,288 values" in refused.err and "at most 4,096" in refused.err


def test_boost_is_refused(optbench: Optbench) -> None:
    refused = optbench("boost", "2", "data=wine", "data.generated=1")
    assert refused.code == 2 and "data.generated beside boost" in refused.err


def test_data_says_that_some_are_generated_without_drawing_them(optbench: Optbench) -> None:
    said = optbench("data", "data=digits", "data.fraction=0.1", "data.generated=0.5")
    assert said.code == 0 and "for each training sample 0.5 generated ones are trained on too" in said.out
    assert not generated._kept


def test_ones_own_training_function_gets_them(optbench: Optbench, folder: Path) -> None:
    (folder / "own" / "task").mkdir(parents=True)
    (folder / "own" / "task" / "mine.yaml").write_text(
        "# Mine\n_option_: mine\n_target_: counting_task.train\n_spec_: {facts: {uses: [data]}}\n"
    )
    (folder / "counting_task.py").write_text(
        "import json, pathlib\n"
        "def train(config, seed, run):\n"
        "    pathlib.Path('said.json').write_text(json.dumps([len(run.data.train), run.data.generated]))\n"
        "    run.row(step=1, val_accuracy=0.5)\n"
    )
    made = optbench("train", "--config-dir", "own", "task=mine", "data=wine", "data.generated=0.5")
    assert made.code == 0, made.err
    assert json.loads((folder / "said.json").read_text()) == [193, 64]
