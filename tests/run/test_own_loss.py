"""A loss of one's own that looks at the inputs gets those that the model got, wherever a loss is taken."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from runner.engine import loop
from runner.engine.measure import evaluate
from runner.engine.state import start
from runner.engine.targets import Mixed
from runner.metrics import OfInputs, value
from runner.run.build import build
from runner.run.job import Job
from tests.own_parts import by_brightness
from tests.support.loops import trained
from tests.support.records import rows_of, run_folder
from tests.support.stacks import assert_same, runs_of, three

LOSS = "loss=tests.own_parts.by_brightness"
EXACT = ["dtype=float64", "max_steps=6", "eval_every=6", "init=he", "model.width=16"]
Make = Callable[..., Job]


def test_a_step_goes_down_the_slope_of_the_loss_of_the_batchs_inputs(job: Make) -> None:
    run = build(job(LOSS, "optim=gd", "optim.lr=0.1", "max_steps=1", "dtype=float64", "init=he"))
    by_hand = run.construct()
    by_brightness(by_hand(run.train.x), run.train.y, run.train.x).backward()
    state = start(run)
    list(loop.train(state, lambda state, loss: False))
    for stepped, before in zip(state.model.parameters(), by_hand.parameters(), strict=True):
        assert before.grad is not None
        torch.testing.assert_close(stepped.detach(), (before - 0.1 * before.grad).detach(), rtol=1e-12, atol=1e-14)


def test_an_evaluation_takes_the_inputs_of_its_part(job: Make) -> None:
    state = start(build(job(LOSS, "dtype=float64")))
    part = state.run.val
    with torch.no_grad():
        expected = by_brightness(state.model.eval()(part.x), part.y, part.x)
    assert evaluate(state, part)["loss"] == pytest.approx(float(expected), rel=1e-12)


@pytest.mark.parametrize(
    "overrides",
    [
        [],
        ["optim=lbfgs", "optim.max_iter=4", "optim.lr=0.1", "optim.line_search=none"],
        ["regularization=[adversarial,dropout]"],
        ["augment=[crop,noise,mixup]", "model=cnn", "model.width=4"],
        ["data.folds=3", "data.fold=1"],
    ],
    ids=lambda o: " ".join(o),
)
def test_a_batch_taken_apart_has_its_parts_inputs(overrides: list[str], job: Make) -> None:
    overrides = [o for o in (*EXACT, *overrides) if not (o == "model.width=16" and "model=cnn" in overrides)]
    (whole, rows), (parts, of_parts) = trained(job(LOSS, *overrides)), trained(job(LOSS, *overrides, "batch.micro=24"))
    for a, b in zip(whole.model.parameters(), parts.model.parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-12)
    assert rows[-1]["val_loss"] == pytest.approx(of_parts[-1]["val_loss"], rel=1e-9)


def test_a_stack_gives_each_run_its_inputs(job: Make) -> None:
    kinds = three("optim=adam")  # of several seeds: each run has batches of its own
    assert_same(runs_of(job, kinds, LOSS, "model.width=12", "dtype=float64", "max_steps=12", "eval_every=4"))


def test_classes_that_are_mixed_are_both_held_against_the_mixed_inputs(job: Make) -> None:
    run = build(job(LOSS, "augment=mixup", "dtype=float64"))
    outputs, x = torch.randn(4, 10, dtype=torch.float64), torch.randn(4, 1, 8, 8, dtype=torch.float64)
    y, other = torch.tensor([0, 1, 2, 3]), torch.tensor([4, 5, 6, 7])
    expected = 0.3 * by_brightness(outputs, y, x) + 0.7 * by_brightness(outputs, other, x)
    assert value(run.training_loss, outputs, Mixed(y, other, 0.3), x) == pytest.approx(expected)


def test_of_a_text_each_place_is_a_sample(job: Make) -> None:
    run = build(job(LOSS, "data=text", "data.characters=2000", "data.context=8", "model=gpt"))
    outputs = run.construct()(run.train.x[:2])
    assert value(run.loss, outputs, run.train.y[:2], run.train.x[:2]).shape == ()


@pytest.mark.parametrize("measure", ["diagnostics=true", "sharpness=true"])
def test_what_differentiates_the_loss_beside_training_has_the_inputs_too(measure: str, job: Make) -> None:
    _, rows = trained(job(LOSS, measure, "max_steps=2", "model.width=8"))
    assert rows[-1]["status"] == "ok"


def test_a_module_is_asked_by_its_forward(job: Make) -> None:
    assert isinstance(build(job("loss=tests.own_parts.ByBrightness")).loss, OfInputs)
    assert not isinstance(build(job("loss=tests.own_parts.weighted")).loss, OfInputs)


AREA = """from sklearn.metrics import roc_auc_score


def area(outputs, y):
    return roc_auc_score(y.numpy(), outputs.double().softmax(1).numpy(), multi_class="ovr")


def none(outputs, y):
    raise ValueError("never a number")
"""


def test_a_measure_that_needs_every_class_is_tried_on_all_samples(optbench: Callable, folder: Path) -> None:
    (folder / "areas.py").write_text(AREA)
    assert optbench("train", "epochs=1", "model.width=8", "metrics=[areas.area,roc_auc]").code == 0
    (row,) = rows_of(run_folder(folder))[-1:]
    assert float(row["val_area"]) == pytest.approx(float(row["val_roc_auc"]))
    refused = optbench("train", "epochs=1", "metrics=[areas.none]")
    assert refused.code == 2 and "the metric none must give one number: never a number" in refused.err
