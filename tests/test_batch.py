"""Batch strategies: sizes that follow the gradient noise scale, that grow, and that come from the number of samples."""

import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest
import torch

from runner import batch
from runner.batch.noise_scale import Adaptive
from runner.data.split import split, training_samples
from runner.errors import ConfigError
from runner.run import files
from runner.run.build import build
from runner.run.job import SPLIT_KEYS, Job
from runner.search.lr_range import lr_range
from tests.support.killed import killed_and_finished
from tests.support.loops import trained, untimed
from tests.support.records import Result, rows_of, run_folder, run_folders, summary_of, without_timing


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (["batch.micro=21", "model.normalization=batch"], "batch.micro=21 leaves one of a batch's 64 samples"),
        (["batch.micro=1", "model.normalization=batch"], "batch.micro=1 leaves one of a batch's"),
        (["batch=adaptive", "engine=fused"], "batch=adaptive measures the gradients of one run"),
        (["batch=adaptive", "model.normalization=batch"], "batch=adaptive may leave one sample"),
        (["batch=adaptive", "batch.shuffle=false"], "batch.shuffle=false beside batch=adaptive"),
        (["batch=adaptive", "augment=mixup"], "augment=mixup beside batch=adaptive"),
        (
            ["batch=adaptive", "regularization=swa", "regularization.swa.start=9"],
            "swa beside batch=adaptive, under which",
        ),
        (["batch=adaptive", "compress=prune"], "compress=prune beside batch=adaptive, under which the number of steps"),
        (
            ["batch=adaptive", "snapshots=3", "save=last"],
            "snapshots=3 beside batch=adaptive, under which the number of",
        ),
        (
            ["batch=adaptive", "compress=prune_once", "compress.prune_once.start=0.5"],
            "compress.prune_once.start=0.5 is a share of the run's steps",
        ),
        (["batch=adaptive", "batch.smallest=65"], "batch.size must be ≥ batch.smallest=65, got 64"),
        (["batch=adaptive", "batch.most=32"], "batch.size must be ≤ batch.most=32, got 64"),
        (["batch=adaptive", "batch.parts=1"], "batch.parts must be a whole number ≥ 2"),
        (["batch=adaptive", "batch.decay=1"], "batch.decay must be a finite number ≥ 0 and < 1"),
        (["batch=adaptive", "batch.size=2000"], "batch.size must be ≤ 1295"),
        (["batch=auto", "batch.smallest=64", "batch.most=32"], "batch.smallest must be ≤ batch.most=32, got 64"),
        (["batch=adaptive", "batch.parts=65"], "batch.parts must be ≤ batch.size=64, got 65"),
        (["batch=growing", "batch.most=10"], "batch.size must be ≤ batch.most=10, got 64"),
        (["batch=growing", "batch.milestones=[1.5]"], "batch.milestones must be whole epochs, or fractions of the run"),
        (["batch=growing", "batch.size=null"], "batch.size must be a whole number"),
        (["batch=adaptive", "batch.size=null"], "batch.size must be a whole number"),
        (["batch=auto", "batch.size=32"], "batch.size is a setting of batch=adaptive, fixed, growing"),
        (["batch=auto", "optim=gd"], "batch=auto beside optim=gd"),
        (["batch=adaptive", "optim=gd"], "batch=adaptive beside optim=gd"),
        (["batch.micro=0"], "batch.micro must be a whole number ≥ 1, or null"),
    ],
    ids=str,
)
def test_what_cannot_be_is_refused(overrides: list[str], said: str, optbench: Callable[..., Result]) -> None:
    refused = optbench("train", "epochs=1", *overrides)
    assert refused.code == 2 and said in refused.err, refused.err
    assert not Path("outputs").exists()


def test_a_last_batch_of_one_sample_is_refused_in_whatever_epoch_it_comes(job: Callable[..., Job]) -> None:
    epochs_of_65_steps_then_of_3 = ["batch.size=20", "batch.factor=100", "batch.most=647", "batch.milestones=[1]"]
    asked = ["batch=growing", *epochs_of_65_steps_then_of_3, "model.normalization=batch"]
    assert build(job(*asked, "max_steps=67")).steps == 67
    with pytest.raises(ConfigError, match="batch=growing: a batch of 647 leaves one of 1295 samples for an epoch's"):
        build(job(*asked, "max_steps=68"))


D = 50
"""Inputs of a linear loss, whose gradient is its inputs': of known mean and covariance, wherever the weights are."""
STILL = ("optim.lr=1e-6", "scheduler=constant")
"""Hardly any step at all."""


def linear_loss(
    folder: Path, monkeypatch: pytest.MonkeyPatch, noise_scale: float, steps: Sequence[str] = STILL
) -> list[str]:
    """Overrides of a run whose gradient has |G|² = 4 and tr(Σ) = 4·noise_scale in the training set itself."""
    (folder / "known.py").write_text(
        "import numpy as np\n"
        "def load(noise_scale):\n"
        f"    rng, d = np.random.default_rng(0), {D}\n"
        "    x = rng.standard_normal((4000, d))\n"
        "    x = (x - x.mean(0)) / x.std(0, ddof=1)\n"
        "    x = np.sqrt(4 * noise_scale / d) * x + 2 / np.sqrt(d)\n"
        "    return (x, np.zeros((4000, 1))) * 3\n"
    )
    monkeypatch.syspath_prepend(str(folder))
    return [
        *("data=custom", "data.target=known.load", f"data.args={{noise_scale: {noise_scale}}}", "data.normalize=none"),
        *("model=linear", "model.bias=false", "loss=runner.study.parts.output_itself", "optim=sgd", "dtype=float64"),
        *steps,
    ]


@pytest.mark.parametrize(
    ("noise_scale", "bounds", "low", "high"),
    [
        (200.0, "batch.smallest=16", 150, 260),
        (2.0, "batch.smallest=32", 32, 32),
        (10.0, "batch.smallest=1", 8, 13),
        (200.0, "batch.most=100", 100, 100),
    ],
)
def test_the_batch_becomes_as_large_as_the_noise_scale_within_bounds(
    noise_scale: float,
    bounds: str,
    low: int,
    high: int,
    optbench: Callable[..., Result],
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked = [*linear_loss(folder, monkeypatch, noise_scale), "batch=adaptive", "batch.size=32", bounds]
    assert optbench("train", *asked, "epochs=5", "batch.decay=0.99").code == 0
    rows = rows_of(run_folder(folder))
    assert [int(row["batch_size"]) for row in rows[:2]] == [32, 32]  # nothing is known in the first epoch
    assert all(low <= int(row["batch_size"]) <= high for row in rows[3:])
    assert float(rows[-1]["noise_scale"]) == pytest.approx(noise_scale, rel=0.25)
    assert rows[0]["noise_scale"] == ""
    assert summary_of(run_folder(folder))["noise_scale"] == float(rows[-1]["noise_scale"])


def test_the_size_is_the_noise_scale_of_the_row_before(job: Callable) -> None:
    rows = trained(job("batch=adaptive", "epochs=6", "optim.lr=0.003", "dtype=float64"))[1]
    sizes = [row["batch_size"] for row in rows]
    assert sizes[2:] == [round(min(max(16, row["noise_scale"]), 1295)) for row in rows[1:-1]]


def test_noise_without_a_signal_asks_for_the_largest_batch() -> None:
    asked = batch.adaptive(1000, 5, size=64, smallest=16, most=None, every=None, parts=2, decay=0.9)
    assert isinstance(asked, Adaptive) and asked.noise_scale is None
    assert replace(asked, noise=3.0, signal=-0.1).noise_scale == float("inf")
    assert [asked.fit(scale) for scale in (float("inf"), 0.0, 99.6)] == [1000, 16, 100]


def test_a_size_that_may_not_change_gives_the_fixed_batchs_run(job: Callable) -> None:
    asked = ["dtype=float64", "epochs=3", "init=he", "optim=momentum", "scheduler=cosine", "scheduler.warmup=5"]
    size = ["batch=adaptive", "batch.smallest=64", "batch.most=64"]
    (state, rows), (fixed, expected) = trained(job(*asked, *size)), trained(job(*asked))
    assert [(r["step"], r["lr"], r["batch_size"]) for r in rows] == [
        (r["step"], r["lr"], r["batch_size"]) for r in expected
    ]
    for ours, theirs in zip(state.model.parameters(), fixed.model.parameters(), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-12)


SHRINKING = ("batch=adaptive", "batch.size=32", "batch.smallest=20")
"""With a noise scale of 2 the second epoch has batches of 20, and all that follow."""


@pytest.mark.parametrize("scheduler", ["linear", "cosine", "wsd", "one_cycle"])
def test_schedules_span_the_run_whatever_the_sizes(
    scheduler: str, job: Callable, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps = ["optim.lr=1e-6", "epochs=6", f"scheduler={scheduler}", "scheduler.warmup=10", "eval_every=1"]
    asked = linear_loss(folder, monkeypatch, 2.0, steps)
    state, rows = trained(job(*asked, *SHRINKING))
    fixed = trained(job(*asked, "batch.size=32"))[1]
    assert state.stop_reason == "finished" and rows[-1]["epoch"] == 6 and rows[-1]["samples_seen"] == 6 * 4000
    assert [row["batch_size"] for row in rows[1:]] == [32] * 125 + [20] * 5 * 200
    # Each step has the rate of the step of the fixed size that its first sample falls into.
    rates = [row["lr"] for row in fixed[1:]]
    assert len(rates) == 6 * 125
    assert [row["lr"] for row in rows[1:]] == [rates[row["samples_seen"] // 32] for row in rows[:-1]]


def test_a_run_in_steps_ends_by_steps_and_changes_its_size_within_an_epoch(
    job: Callable, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = linear_loss(folder, monkeypatch, 2.0, ["optim.lr=1e-6", "max_steps=30", "eval_every=1"])
    state, rows = trained(job(*asked, *SHRINKING, "batch.every=4"))
    assert state.step == 30 and len(rows) == 31
    assert [row["batch_size"] for row in rows[1:]] == [32] * 4 + [20] * 26
    linear = trained(job(*asked))[1]
    assert [row["lr"] for row in rows] == [row["lr"] for row in linear]


@pytest.mark.parametrize(
    "more",
    [
        ["optim=lbfgs"],
        ["amp=bf16"],
        ["regularization=[dropout,ema,grad_clip]"],
        ["batch.micro=5"],
        ["data=text", "model=rnn"],
    ],
    ids="-".join,
)
def test_an_adaptive_batch_goes_with_other_parts(more: list[str], job: Callable) -> None:
    state, rows = trained(job("batch=adaptive", "epochs=2", "model.width=16", *more))
    assert rows[-1]["epoch"] == 2 and rows[-1]["noise_scale"] > 0 and state.hooks["batch"].present is not None


def test_a_killed_run_goes_on_with_its_size_to_the_same_bytes(optbench: Callable[..., Result], folder: Path) -> None:
    asked = ["batch=adaptive", "batch.micro=20", "epochs=12", "model.width=32", "threads=1", "regularization=dropout"]
    run, expected = killed_and_finished(optbench, folder, asked)
    assert without_timing(run) == without_timing(expected)
    assert len({row["batch_size"] for row in rows_of(run)}) > 1
    assert summary_of(run)["resumed_from_step"] is not None
    assert summary_of(run)["noise_scale"] == summary_of(expected)["noise_scale"]


def test_fixed_and_adaptive_runs_stand_in_one_table_and_one_report(
    optbench: Callable[..., Result], folder: Path
) -> None:
    asked = ["-m", "batch=fixed,adaptive,auto", "seed=0,1", "epochs=2", "model.width=8", "workers=1"]
    assert optbench("train", *asked).code == 0
    rows = files.read_csv(folder / "outputs/default/runs.csv")
    found = sorted((row["batch"], row["batch.size"], bool(row["noise_scale"])) for row in rows)
    assert found == [(*kind, flag) for kind, flag in [
        (("adaptive", "64"), True), (("adaptive", "64"), True), (("fixed", "32"), False), (("fixed", "32"), False),
        (("fixed", "64"), False), (("fixed", "64"), False),
    ]]  # fmt: skip
    reported = optbench("report", "outputs/default")
    assert reported.code == 0 and "3 settings" in reported.out, reported.out


@pytest.mark.parametrize("milestones", [[0.5], [0.3, 0.6, 0.8], [2, 0.6]])
def test_growing_batches_grow_at_shares_of_a_run_of_steps(milestones: list[float]) -> None:
    """Epoch by epoch, counted by hand: the size grows with the first epoch that begins at or past the milestone."""
    strategy = batch.growing(1000, None, size=100, factor=2, milestones=milestones, most=None, max_steps=60)
    step = 0
    for epoch in range(30):
        reached = sum(epoch >= m if m >= 1 else epoch > 0 and step >= m * 60 for m in milestones)
        size = strategy(epoch)
        assert size == min(1000, 100 * 2**reached)
        step += -(-1000 // size)
    assert strategy(0) == 100, "asked again, it is the same"


def test_a_growing_batch_is_multiplied_at_its_milestones(optbench: Callable[..., Result], folder: Path) -> None:
    asked = ["batch=growing", "batch.size=16", "batch.factor=4", "batch.milestones=[0.25,2]", "batch.most=100"]
    assert optbench("train", *asked, "epochs=4", "model.width=8").code == 0
    rows = rows_of(run_folder(folder))
    assert [int(row["batch_size"]) for row in rows] == [16, 16, 64, 100, 100]
    steps = [int(row["step"]) for row in rows]
    assert [b - a for a, b in pairwise(steps)] == [81, 21, 13, 13]


def test_growing_batches_train_in_steps(optbench: Callable) -> None:
    assert optbench("train", "batch=growing", "max_steps=30", "data.fraction=0.2").code == 0


def test_a_milestone_within_the_first_epoch_comes_after_it() -> None:
    of_one = batch.growing(1000, 1, size=64, factor=5, milestones=[0.3, 0.6], most=None)
    of_two = batch.growing(1000, 2, size=64, factor=5, milestones=[0.2], most=None)
    assert [of_one(0), of_two(0), of_two(1)] == [64, 64, 320]


@pytest.mark.parametrize(
    ("samples", "size"),
    [(1, 1), (10, 10), (100, 16), (724, 32), (1295, 32), (2047, 32), (2049, 64), (54000, 256), (10**6, 512)],
)
def test_auto_is_the_power_of_two_nearest_to_the_root_of_the_samples(samples: int, size: int) -> None:
    assert batch.auto(samples, smallest=16, most=512) == size


@pytest.mark.parametrize(
    "data",
    [
        [],
        ["data.fraction=0.313"],
        ["data.val_fraction=0.25", "data.test_fraction=0.3"],
        ["data.folds=7", "data.fold=6"],
        ["data.folds=7", "data.fold=1", "data.fraction=0.5", "data.bootstrap=0"],
        ["data=quadratic"],
        ["data=text", "model=rnn"],
        ["data=wine", "data.normalize=none"],
        ["data=diabetes"],
    ],
    ids="-".join,
)
def test_the_training_samples_are_counted_as_they_are_split(data: list[str], job: Callable) -> None:
    this = job(*data, "batch=auto")
    settings = {key: this.config["data"][key] for key in SPLIT_KEYS}
    given = {key: settings[key] for key in ("val_fraction", "fraction", "folds", "fold")}
    assert training_samples(this.source, **given) == len(split(this.source, **settings, dtype="float32").train)
    assert this.config["batch"]["size"] == batch.auto(training_samples(this.source, **given), smallest=16, most=512)


def test_auto_is_the_run_of_the_size_that_it_comes_to(
    job: Callable, optbench: Callable[..., Result], folder: Path
) -> None:
    assert job("batch=auto").run_id == job("batch.size=32").run_id
    assert job("batch=auto", "batch.most=24").run_id == job("batch.size=24").run_id
    assert job("batch=auto", "data.fraction=0.1").run_id == job("batch.size=16", "data.fraction=0.1").run_id
    assert optbench("train", "batch=auto", "epochs=1").code == 0
    run = run_folder(folder)
    fixed = {"_option_": "fixed", "_target_": "runner.batch.fixed", "size": 32, "micro": None}
    fixed |= {"shuffle": True, "drop_last": False}
    assert files.read_config(run)["batch"] == fixed
    assert rows_of(run)[-1]["batch_size"] == "32"
    told = optbench("train", "-m", "batch=auto,fixed", "batch.shuffle=true,false", "epochs=1", "dry_run=true")
    assert told.code == 0 and "3 would run, 1 are there" in told.out
    assert len(run_folders(folder)) == 1


def test_auto_needs_no_torch_on_a_cpu(folder: Path) -> None:
    code = (
        "import sys; from runner.config.compose import Composer; from runner.run.job import prepare; "
        "job = prepare(Composer.over().compose(['batch=auto', 'device=cpu'])); "
        "print(job.config['batch']['size'], 'torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["32", "False"]


def test_the_range_test_keeps_the_first_size(job: Callable) -> None:
    adaptive, fixed = (lr_range(job(*more, "epochs=1"), 1e-5, 1, 40) for more in (["batch=adaptive"], []))
    assert adaptive.steps == fixed.steps


def test_rows_of_adaptive_runs_repeat(job: Callable) -> None:
    this = job("batch=adaptive", "epochs=3", "regularization=dropout")
    assert untimed(trained(this)[1]) == untimed(trained(this)[1])
