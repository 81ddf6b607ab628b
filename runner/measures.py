"""What is measured, and which way is better. Never imports torch."""

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


def title(name: str) -> str:
    """Return a measure's name in words, such as ``validation accuracy`` for ``val_accuracy``."""
    part, _, measure = name.partition("_")
    part = {"val": "validation", "train": "training"}.get(part, part)
    return f"{part} {measure.replace('_', ' ')}"
