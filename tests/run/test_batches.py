"""Which samples the steps of a run take: all of them, whole batches alone, in one order or a new one each epoch."""

from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import pytest
import torch

from runner.engine.state import start
from runner.run.build import build
from runner.run.job import Job
from tests.support.loops import rows_from, trained, untimed
from tests.support.records import Result
from tests.support.stacks import assert_same, runs_of, three

Make = Callable[..., Job]
SMALL = ["data=custom", "data.target=tests.own_parts.load", "data.args.samples=100", "model.width=4", "dtype=float64"]
"""72 training samples of 3 classes."""
N = 72


def test_all_is_the_training_set_with_any_optimizer(job: Make) -> None:
    _, rows = trained(job(*SMALL, "batch.size=all", "optim=adam", "max_steps=3", "eval_every=1"))
    assert [row["samples_seen"] for row in rows] == [0, N, 2 * N, 3 * N]
    assert [row["epoch"] for row in rows] == [0, 1, 2, 3]


def test_all_of_each_fold_is_its_own_training_set(job: Make) -> None:
    folds = [job(*SMALL, "batch.size=all", "data.folds=3", f"data.fold={i}", "max_steps=1") for i in range(3)]
    seen = [trained(fold)[1][-1]["samples_seen"] for fold in folds]
    assert len(set(seen)) == 2 and sum(seen) == 2 * 80  # 80 samples are not test, of which a fold holds 26 or 27
    assert {fold.config["batch"]["size"] for fold in folds} == {"all"}  # one setting, though the sizes differ


def test_all_with_gd_is_the_run_that_gd_is_by_itself(job: Make) -> None:
    assert job("optim=gd", "batch.size=all").run_id == job("optim=gd").run_id
    sgd, gd = (
        trained(job(*SMALL, *kind, "optim.lr=0.1", "epochs=3"))[1]
        for kind in (["optim=sgd", "batch.size=all"], ["optim=gd"])
    )
    assert untimed(sgd) == untimed(gd)


def test_a_whole_batch_may_be_taken_apart(job: Make) -> None:
    whole, divided = (trained(job(*SMALL, "batch.size=all", "epochs=3", *more))[1] for more in ([], ["batch.micro=32"]))
    assert [row["val_loss"] for row in divided] == pytest.approx([row["val_loss"] for row in whole], rel=1e-9)


@pytest.mark.parametrize(
    ("more", "steps"),
    [
        (["batch.size=20", "epochs=3"], 9),
        (["batch.size=24", "epochs=3"], 9),  # which divides them: nothing is left out
        (["batch.size=72", "epochs=3"], 3),
        (["batch.size=all", "epochs=3"], 3),
        (["batch=growing", "batch.size=20", "batch.milestones=[1,2]", "epochs=3"], 3 + 1 + 1),  # 20, then 72
        (["batch=growing", "batch.size=20", "batch.factor=2", "batch.milestones=[1]", "epochs=2"], 3 + 1),
        (["batch=growing", "batch.size=20", "batch.milestones=[0.5]", "max_steps=9"], 9),
        (["batch=auto", "epochs=2"], 8),  # of 16
    ],
    ids=str,
)
def test_only_whole_batches_are_taken(more: list[str], steps: int, job: Make) -> None:
    run = build(job(*SMALL, *more, "batch.drop_last=true", "eval_every=1"))
    rows = rows_from(start(run), lambda state, loss: False)
    assert rows[-1]["step"] == steps == run.steps
    taken = [after["samples_seen"] - before["samples_seen"] for before, after in pairwise(rows)]
    assert taken == [row["batch_size"] for row in rows[1:]]


def test_each_epoch_leaves_other_samples_out(job: Make) -> None:
    run = build(job(*SMALL, "batch.size=20", "batch.drop_last=true", "epochs=3"))
    assert len({int(run.order(epoch)[-1]) for epoch in range(8)}) > 1
    assert [run.ends_epoch(end, 20) for end in (20, 40, 60)] == [False, False, True]


def test_one_order_for_all_epochs_is_a_random_one(job: Make) -> None:
    once, anew, never = (build(job(*SMALL, f"batch.shuffle={word}")) for word in ("once", "true", "false"))
    assert torch.equal(once.order(0), once.order(5)) and torch.equal(once.order(0), anew.order(0))
    assert not torch.equal(anew.order(0), anew.order(5)) and not torch.equal(once.order(0), never.order(0))
    other = build(job(*SMALL, "batch.shuffle=once", "seed=1"))
    assert not torch.equal(once.order(0), other.order(0))


@pytest.mark.parametrize(
    "shared",
    [
        ["batch.size=all", "epochs=12"],
        ["batch.size=20", "batch.drop_last=true", "epochs=4"],
        ["batch=growing", "batch.size=20", "batch.milestones=[1]", "batch.drop_last=true", "epochs=3"],
        ["batch.size=20", "batch.shuffle=once", "epochs=4"],
    ],
    ids=str,
)
def test_a_stack_takes_the_same_batches(shared: list[str], job: Make) -> None:
    assert_same(runs_of(job, three(), *SMALL, *shared, "eval_every=3"))


def test_defaults_written_out_are_the_same_run(job: Make) -> None:
    assert job().run_id == job("batch.drop_last=false", "batch.shuffle=true").run_id
    others = [job(f"batch.{setting}").run_id for setting in ("drop_last=true", "shuffle=once", "size=all")]
    assert len({job().run_id, *others}) == 4


def test_a_lone_sample_before_batch_norm_can_be_left_out(job: Make, optbench: Callable[..., Result]) -> None:
    lone = [*SMALL, "batch.size=71", "model.normalization=batch", "epochs=1"]
    refused = optbench("train", *lone)
    assert refused.code == 2 and "batch.drop_last=true leaves it out" in refused.err
    assert trained(job(*lone, "batch.drop_last=true"))[1][-1]["samples_seen"] == 71


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (["batch.size=al"], "batch.size must be a whole number ≥ 1, or all, or null, got 'al'; did you mean 'all'?"),
        (["batch=growing", "batch.size=all"], "batch.size must be a whole number ≥ 1, got 'all'"),
        (["batch.shuffle=twice"], "batch.shuffle must be true or false, or once, got 'twice'"),
        (["batch.drop_last=1"], "batch.drop_last must be true or false, got 1"),
        (["batch=adaptive", "batch.drop_last=true"], "batch.drop_last=true beside batch=adaptive"),
        (["batch=adaptive", "batch.shuffle=once"], "batch.shuffle=once beside batch=adaptive"),
        (["optim=gd", "batch.size=64"], "batch.size=64 beside optim=gd"),
        (["batch=full"], "did you mean batch.size=all?"),
    ],
    ids=str,
)
def test_what_cannot_be_is_refused(overrides: list[str], said: str, optbench: Callable[..., Result]) -> None:
    refused = optbench("train", "epochs=1", *overrides)
    assert refused.code == 2 and said in refused.err, refused.err
    assert not Path("outputs").exists()
