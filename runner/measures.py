"""What is measured, and which way is better. Never imports torch."""

from collections.abc import Mapping
from typing import Any

HIGHER_IS_BETTER = {
    "accuracy": True,
    "balanced_accuracy": True,
    "precision": True,
    "recall": True,
    "f1": True,
    "roc_auc": True,
    "perplexity": False,
    "r2": True,
    "mse": False,
    "mae": False,
    "loss": False,
}
"""Of a user's own measure nobody knows."""

HEADLINES = ("accuracy", "r2", "loss")
"""What a run is judged by: the first of these that it has."""
BALANCED = "balanced_accuracy"
"""What a run is judged by instead of its accuracy where classes are skewed."""
SKEWED = 2.0
"""Classes are skewed where the largest has more than so many times the samples that the others have on average.

Of two classes that is a share above 2/3, of ten one above 2/11: there, naming the largest class for every sample looks
well by accuracy. Below it accuracy is what people expect to read, and it tells settings apart as well.
"""
PERCENT = ("accuracy", BALANCED)
"""Measures between 0 and 1."""
COUNTS = ("predicted_classes",)
"""What is counted of a run's predictions, of which neither more nor less is better."""


def is_skewed(summary: Mapping[str, Any]) -> bool | None:
    """Say whether the classes of a run's validation part are skewed; None where the summary does not tell."""
    found = [summary.get(f"val_{key}") for key in ("samples", "classes", "largest_class")]
    if not all(isinstance(value, int | float) for value in found):
        return None
    samples, classes, largest = map(float, found)  # type: ignore[arg-type]
    return are_skewed(samples, classes, largest)


def are_skewed(samples: float, classes: float, largest: float) -> bool:
    """Say whether classes are skewed, of whose samples so many are of the largest."""
    return classes > 1 and largest * (classes - 1) > SKEWED * (samples - largest)


def share_of_one_class(summary: Mapping[str, Any]) -> float | None:
    """Return what naming the largest class for every test sample gets right, where classes are skewed; else None."""
    largest = summary.get("test_largest_class")
    return largest / summary["test_samples"] if largest is not None and is_skewed(summary) else None


def headlines(summary: Mapping[str, Any]) -> list[str]:
    """Return the names of a summary's headline measures that are there: validation first, then test."""
    for measure in (BALANCED, *HEADLINES) if is_skewed(summary) else HEADLINES:
        names = [f"{part}_{measure}" for part in ("final_val", "test")]
        found = [n for n in names if isinstance(summary.get(n), int | float)]
        if found:
            return found
    return []


def chosen_by(summary: Mapping[str, Any]) -> str | None:
    """Return the name of the headline measure that runs are chosen by; None where nothing was validated.

    The test set chooses nothing.
    """
    return next((name for name in headlines(summary) if name.startswith("final_val_")), None)


def title(name: str) -> str:
    """Return a measure's name in words, such as ``validation accuracy`` for ``val_accuracy``."""
    part, _, measure = name.partition("_")
    part = {"val": "validation", "train": "training"}.get(part, part)
    return f"{part} {measure.replace('_', ' ')}"
