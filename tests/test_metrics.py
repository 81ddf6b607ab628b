"""Metrics against scikit-learn's on the same predictions."""

import warnings

import numpy as np
import pytest
import torch
from sklearn import metrics as theirs

from optbench import train
from runner import metrics


def predictions(classes: int, absent: int | None, n: int = 300) -> tuple[torch.Tensor, torch.Tensor]:
    g = torch.Generator().manual_seed(classes)
    y = torch.randint(classes, (n,), generator=g)
    if absent is not None:
        y[y == absent] = (absent + 1) % classes
    outputs = torch.randn(n, classes, generator=g) + 1.5 * torch.nn.functional.one_hot(y, classes)
    return outputs.round(decimals=1), y  # rounded: ties


@pytest.mark.parametrize("classes", [2, 3, 10])
@pytest.mark.parametrize("absent", [None, 1])
def test_class_metrics_are_scikit_learns(classes: int, absent: int | None) -> None:
    outputs, y = predictions(classes, absent)
    called = outputs.argmax(1)
    assert float(metrics.accuracy(outputs, y)) == pytest.approx(theirs.accuracy_score(y, called))
    present = [theirs.recall_score(y, called, labels=[label], average="macro") for label in y.unique()]
    assert float(metrics.balanced_accuracy(outputs, y)) == pytest.approx(np.mean(present))
    if absent is None:
        assert np.mean(present) == pytest.approx(theirs.balanced_accuracy_score(y, called))
    for ours, name in ((metrics.precision, "precision"), (metrics.recall, "recall"), (metrics.f1, "f1")):
        expected = getattr(theirs, f"{name}_score")(y, called, average="macro", zero_division=0)
        assert float(ours(outputs, y)) == pytest.approx(expected), name


@pytest.mark.parametrize("classes", [2, 3, 10])
def test_area_under_the_curve_is_scikit_learns(classes: int) -> None:
    outputs, y = predictions(classes, None)
    scores = outputs.double().softmax(1).numpy()
    expected = theirs.roc_auc_score(y, scores[:, 1] if classes == 2 else scores, multi_class="ovr")
    assert float(metrics.roc_auc(outputs, y)) == pytest.approx(expected)


@pytest.mark.parametrize("classes", [2, 5])
def test_probabilities_that_round_to_1_keep_their_order(classes: int) -> None:
    lead = torch.linspace(38, 48, 10).double()
    outputs = torch.zeros(10, classes, dtype=torch.float64)
    outputs[:, 1] = lead
    y = (torch.arange(10) >= 5).long()
    assert (outputs.softmax(1)[:, 1] == 1).all() and float(metrics.roc_auc(outputs[:, :2], y)) == 1
    drawn = torch.randn(50, classes, dtype=torch.float64)
    probabilities = drawn.softmax(1)
    torch.testing.assert_close(metrics.log_odds(drawn), probabilities.log() - (-probabilities).log1p())
    level = torch.zeros(2, classes, dtype=torch.float64)
    assert torch.equal(metrics.log_odds(level), metrics.log_odds(level + 5.3))  # ties stay ties
    assert torch.isfinite(metrics.log_odds(outputs)).all()


def test_a_class_that_is_absent_has_no_area_and_the_others_keep_theirs() -> None:
    outputs, y = predictions(4, absent=1)
    scores = outputs.double().softmax(1).numpy()
    each = [theirs.roc_auc_score(y == label, scores[:, label]) for label in (0, 2, 3)]
    assert float(metrics.roc_auc(outputs, y)) == pytest.approx(np.mean(each))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert metrics.roc_auc(outputs, torch.zeros_like(y)).isnan()


def test_perplexity_is_e_to_the_cross_entropy() -> None:
    outputs, y = predictions(5, None)
    expected = np.exp(theirs.log_loss(y, outputs.double().softmax(1).numpy(), labels=range(5)))
    assert float(metrics.perplexity(outputs, y)) == pytest.approx(expected)


def test_number_metrics_are_scikit_learns() -> None:
    g = torch.Generator().manual_seed(0)
    y = torch.randn(200, 2, generator=g)
    outputs = y + 0.3 * torch.randn(200, 2, generator=g)
    assert float(metrics.mse(outputs, y)) == pytest.approx(theirs.mean_squared_error(y, outputs))
    assert float(metrics.mae(outputs, y)) == pytest.approx(theirs.mean_absolute_error(y, outputs))
    assert float(metrics.r2(outputs, y)) == pytest.approx(theirs.r2_score(y, outputs))


def test_a_run_ends_with_every_metric_and_records_those_named(folder) -> None:
    plain = train("max_steps=30", "eval_every=15")
    assert {"test_f1", "test_roc_auc", "final_val_recall", "test_perplexity"} <= plain.summary.keys()
    assert {"val_balanced_accuracy", "val_f1"} <= set(plain.metrics) and "val_recall" not in plain.metrics
    asked = train("max_steps=30", "eval_every=15", "metrics=[recall,roc_auc]")
    assert asked.trained and asked.summary["run_id"] == plain.summary["run_id"]
    assert {"val_recall", "train_roc_auc"} <= set(asked.metrics)
    assert asked.metrics["val_recall"].iloc[-1] == pytest.approx(asked.summary["final_val_recall"])
    assert not train("max_steps=30", "eval_every=15", "metrics=[recall]").trained


def test_metrics_asked_for_are_shown_when_a_run_ends(optbench) -> None:
    shown = optbench("train", "max_steps=5", "metrics=[f1]").out
    assert any(line.startswith("f1 ") for line in shown.splitlines())


def test_a_metric_that_does_not_fit_is_refused(optbench) -> None:
    refused = optbench("train", "metrics=[r2]")
    assert refused.code == 2 and "not for classes" in refused.err
    typo = optbench("train", "metrics=[f11]")
    assert typo.code == 2 and "did you mean 'f1'" in typo.err
