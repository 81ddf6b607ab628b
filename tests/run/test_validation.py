"""What a classifier got right and wrong is recorded once, alike in both engines, of the validation set alone."""

import json
from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, confusion_matrix, precision_recall_curve, roc_auc_score, roc_curve

from runner.run import classification

SHORT = ["epochs=2", "model.width=8", "data.fraction=0.5"]


def some_scores(classes: int, samples: int = 400, decimals: int = 2) -> tuple[np.ndarray, np.ndarray]:
    """Scores with many ties, a little better than chance."""
    rng = np.random.default_rng(classes)
    true = rng.integers(0, classes, samples)
    scores = rng.random((samples, classes)).round(decimals)
    scores[np.arange(samples), true] += 0.3
    return scores, true


@pytest.mark.parametrize("classes", [2, 3, 7])
def test_the_areas_below_the_curves_are_those_of_scikit_learn(classes: int):
    scores, true = some_scores(classes)
    rate, precision, share = classification.curves(scores, true)
    those = [1] if classes == 2 else range(classes)
    roc = np.mean([roc_auc_score(true == c, scores[:, c]) for c in those])
    average = np.mean([average_precision_score(true == c, scores[:, c]) for c in those])
    assert np.trapezoid(rate, classification.GRID) == pytest.approx(roc, abs=2e-3)
    assert np.trapezoid(precision, classification.GRID) == pytest.approx(average, abs=2e-2)
    assert share == pytest.approx(np.mean([(true == c).mean() for c in those]))


def test_both_curves_go_through_the_points_of_scikit_learn():
    scores, true = some_scores(2)
    rate, precision, _ = classification.curves(scores, true)
    alarms, hits, _ = roc_curve(true, scores[:, 1], drop_intermediate=False)
    assert rate == pytest.approx(np.interp(classification.GRID, alarms, hits))
    of, recall, _ = precision_recall_curve(true, scores[:, 1])
    reached = [of[recall >= g - 1e-12][-1] if g > 0 else of[-2] for g in classification.GRID]  # the last threshold
    assert precision == pytest.approx(reached)


def test_scores_that_are_all_the_same_say_nothing():
    rate, precision, share = classification.curves(np.ones((10, 2)), np.arange(10) % 2)
    assert rate == pytest.approx(classification.GRID) and precision == pytest.approx(share)


def test_a_class_that_is_not_there_has_no_curve():
    assert classification.curves(np.ones((4, 2)), np.zeros(4, int)) is None


def test_confusion_counts_those_of_scikit_learn():
    scores, true = some_scores(5)
    called = scores.argmax(1)
    matrix = np.zeros((5, 5), int)
    for i, j, n in classification.confusion(called, true, 5):
        matrix[i, j] = n
    assert (matrix == confusion_matrix(true, called)).all()


def of(folder: Path, name: str) -> dict[str, bytes]:
    return {p.parent.name: p.read_bytes() for p in sorted((folder / "outputs" / name).glob("*/validation.json"))}


def test_both_engines_write_the_same_and_it_agrees_with_the_summary(tmp_path: Path, optbench, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for engine in ("loop", "fused"):
        assert (
            optbench("train", "-m", f"name={engine}", f"engine={engine}", "seed=0,1", "dtype=float64", *SHORT).code == 0
        )
    assert len(of(tmp_path, "loop")) == 2
    assert of(tmp_path, "loop") == of(tmp_path, "fused")
    for place in Path("outputs/loop").glob("*-s0-*"):
        found, summary = (json.loads((place / f).read_text()) for f in ("validation.json", "summary.json"))
        counts = np.array(found["confusion"])
        assert counts[:, 2].sum() == found["samples"] == summary["val_samples"]
        right = counts[counts[:, 0] == counts[:, 1], 2].sum() / found["samples"]
        assert right == pytest.approx(summary["final_val_accuracy"])
        area = np.trapezoid(found["true_positive_rate"], classification.GRID)
        assert area == pytest.approx(summary["final_val_roc_auc"], abs=5e-3)


def test_a_run_that_was_paused_ends_with_the_same_file(tmp_path: Path, optbench, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert optbench("train", "name=whole", *SHORT).code == 0
    assert optbench("train", "name=twice", "pause_at=3", *SHORT).code == 0
    assert of(tmp_path, "twice") == {}
    assert optbench("train", "name=twice", *SHORT).code == 0
    assert of(tmp_path, "twice") == of(tmp_path, "whole") != {}


@pytest.mark.parametrize("what", [["data=diabetes"], ["optim=sgd", "optim.lr=1e30"]])
def test_numbers_and_runs_that_diverge_have_none(tmp_path: Path, optbench, monkeypatch, what: list[str]):
    monkeypatch.chdir(tmp_path)
    assert optbench("train", "epochs=1", *what).code == 0
    assert list(Path("outputs").glob("*/*/summary.json")) and of(tmp_path, "default") == {}
