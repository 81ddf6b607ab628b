"""``class_weights=balanced``: rare classes weigh as much as frequent ones in training, and nowhere else."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch.nn import functional as F

from runner.engine.state import start
from runner.metrics import WeightedCrossEntropy
from runner.run.build import build
from runner.run.job import Job
from tests.support.loops import trained, untimed
from tests.support.records import Result
from tests.support.stacks import assert_same, runs_of, three

Make = Callable[..., Job]
SKEWED = ["data=custom", "data.target=tests.own_parts.load", "data.args.samples=120", "batch.size=16", "dtype=float64"]
BALANCED = [*SKEWED, "class_weights=balanced"]


def test_each_class_weighs_as_much_as_every_other_over_the_training_set(job: Make) -> None:
    run = build(job("data=breast_cancer", "class_weights=balanced", "dtype=float64"))
    y, outputs = run.train.y, torch.zeros(len(run.train.y), 2, dtype=torch.float64)
    for label in (0, 1):  # where every sample costs log 2, a class's samples together cost half of it
        alone = run.training_loss(outputs[y == label], y[y == label]) * (y == label).sum() / len(y)
        assert float(alone) == pytest.approx(0.5 * float(torch.tensor(2.0).log()))
    counts = torch.bincount(y)
    assert float(counts.max()) > 1.5 * float(counts.min())  # they differ, or nothing was weighed


def test_the_weighted_loss_is_torchs_but_for_what_it_is_divided_by() -> None:
    torch.manual_seed(0)
    outputs, y, weights = torch.randn(20, 3), torch.randint(3, (20,)), torch.tensor([0.5, 1.0, 3.0])
    expected = F.cross_entropy(outputs, y, weights, reduction="sum") / 20
    torch.testing.assert_close(WeightedCrossEntropy(weights)(outputs, y), expected)


def test_an_evaluation_does_not_weigh(job: Make) -> None:
    plain, weighted = build(job(*SKEWED)), build(job(*BALANCED))
    outputs = start(plain).model(plain.val.x)
    assert weighted.loss(outputs, weighted.val.y) == plain.loss(outputs, plain.val.y)
    assert weighted.training_loss(outputs, weighted.val.y) != plain.loss(outputs, plain.val.y)
    first = [trained(job(*kind, "max_steps=1"))[1][0]["train_loss"] for kind in (SKEWED, BALANCED)]
    assert first[0] == first[1]


def test_a_divided_batch_has_the_gradient_of_the_whole_one(job: Make) -> None:
    whole, divided = (untimed(trained(job(*BALANCED, "max_steps=8", *more))[1]) for more in ([], ["batch.micro=5"]))
    assert [r["train_loss"] for r in divided] == pytest.approx([r["train_loss"] for r in whole], rel=1e-9)


def test_a_stack_is_its_runs_by_themselves(job: Make) -> None:
    for more in ([], ["regularization=dropout"]):
        assert_same(runs_of(job, three(), *BALANCED, *more, "max_steps=20", "eval_every=10"))


def test_a_class_without_training_samples_has_no_weight_to_blow_up(job: Make) -> None:
    run = build(job("data=digits", "data.fraction=0.02", "class_weights=balanced"))
    assert torch.isfinite(run.training_loss(torch.zeros(len(run.val.y), 10), run.val.y))


def test_runs_with_and_without_have_ids_of_their_own_and_the_default_none(job: Make) -> None:
    assert job().run_id == job("class_weights=none").run_id != job("class_weights=balanced").run_id


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (["class_weights=even"], "class_weights must be one of none, balanced, got 'even'"),
        (["class_weight=balanced"], "did you mean class_weights=balanced?"),
        (["class_weights=balanced", "loss=mse"], "class_weights=balanced beside loss=mse"),
        (["class_weights=balanced", "data=diabetes"], "class_weights=balanced beside loss=mse"),
        (["class_weights=balanced", "loss=tests.own_parts.weighted"], "class_weights=balanced beside loss=tests"),
        (["class_weights=balanced", "regularization=label_smoothing"], "beside regularization=label_smoothing"),
    ],
    ids=str,
)
def test_what_cannot_be_weighed_is_refused(overrides: list[str], said: str, optbench: Callable[..., Result]) -> None:
    refused = optbench("train", "epochs=1", *overrides)
    assert refused.code == 2 and said in refused.err, refused.err
    assert not Path("outputs").exists()
