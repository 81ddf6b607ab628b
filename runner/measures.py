"""What is measured, and which way is better. Never imports torch."""

from collections.abc import Mapping
from typing import Any

HIGHER_IS_BETTER = {
    "accuracy": True,
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
PERCENT = ("accuracy",)
"""Measures between 0 and 1."""


def headlines(summary: Mapping[str, Any]) -> list[str]:
    """Return the names of a summary's headline measures that are there: validation first, then test."""
    for measure in HEADLINES:
        names = [f"{part}_{measure}" for part in ("final_val", "test")]
        found = [n for n in names if isinstance(summary.get(n), int | float)]
        if found:
            return found
    return []


def title(name: str) -> str:
    """Return a measure's name in words, such as ``validation accuracy`` for ``val_accuracy``."""
    part, _, measure = name.partition("_")
    part = {"val": "validation", "train": "training"}.get(part, part)
    return f"{part} {measure.replace('_', ' ')}"
