"""``validation.json``: what a classifier's last weights got right and wrong on the validation set."""

from typing import TYPE_CHECKING, Any

import numpy as np

from runner.run import classification
from runner.run.classification import Array

if TYPE_CHECKING:
    from torch import Tensor

    from runner.engine.run import Run

DIGITS = 5
"""Decimals of rates."""


def found(run: "Run", outputs: "Tensor") -> dict[str, Any] | None:
    """Return what is held of a run's outputs for its validation set.

    The test set has no part in it: it is read once, for the summary.

    Args:
        run: the run.
        outputs: ``[n, classes]``, of the weights that it ends with.

    Returns:
        ``samples``, ``labels`` of the classes, ``confusion`` as ``[true, called, samples]``, and at 0, 0.01 … 1 the
        ``true_positive_rate`` (over false positive rates) and the ``precision`` (over recalls), with the
        ``positive_share``; None of a run that tells no classes, of a text's next characters, and of outputs that are
        not finite.
    """
    from runner.metrics import log_odds

    classes, labels = run.interface["classes"], run.interface["labels"]
    if classes is None or run.interface["alphabet"] is not None:
        return None
    scores = log_odds(outputs.detach()).cpu().numpy()
    true = run.val.y.cpu().numpy().astype(np.int64)
    if not np.isfinite(scores).all():
        return None
    content: dict[str, Any] = {
        "samples": len(true),
        "labels": [str(label) for label in labels] if labels is not None else [str(i) for i in range(classes)],
        "confusion": classification.confusion(outputs.argmax(1).cpu().numpy(), true, classes),
    }
    curves = classification.curves(scores, true)
    if curves is not None:
        rate, precision, share = curves
        content |= {"true_positive_rate": _rounded(rate), "precision": _rounded(precision)}
        content["positive_share"] = round(share, DIGITS)
    return content


def _rounded(values: Array) -> list[float]:
    return [float(v) for v in np.round(values, DIGITS).tolist()]
