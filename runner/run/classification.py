"""What a classifier got right and wrong: confusion counts, and the curves of its scores. Never imports torch.

scikit-learn has all of it, and importing it takes longer than a small run; the tests hold these against it.
"""

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]
Classes = npt.NDArray[np.int64]

GRID = np.linspace(0.0, 1.0, 101)
"""False positive rates, and recalls, at which curves are held: so curves of several runs have the same places."""
MOST_AT_ONCE = 2**22
"""So many scores are sorted at a time."""


def confusion(called: Classes, true: Classes, classes: int) -> list[list[int]]:
    """Return ``[true class, called class, samples]`` of every two that met.

    Args:
        called: ``[n]``.
        true: ``[n]``.
        classes: how many there are.
    """
    pairs, counts = np.unique(true * classes + called, return_counts=True)
    return [[int(p) // classes, int(p) % classes, int(c)] for p, c in zip(pairs, counts, strict=True)]


def curves(scores: Array, true: Classes) -> tuple[Array, Array, float] | None:
    """Return the ROC curve, the precision-recall curve, and the share of positives: what chance's precision is.

    Each class is held against all others, and the mean is taken over classes; of two classes it is the second alone,
    as in ``roc_auc``. A class without samples, or without others, has no curve and is left out. Samples of equal
    scores are called together. The ROC curve is linear between thresholds, which mixing two of them reaches; a
    recall's precision is that of the first threshold which reaches it, as between two there is no line (Davis &
    Goadrich 2006).

    Args:
        scores: ``[n, classes]``, larger where a class is likelier.
        true: ``[n]``.

    Returns:
        The true positive rate and the precision at ``GRID``, and the share; None where no class has a curve.
    """
    n, k = scores.shape
    there = np.bincount(true, minlength=k)
    classes = np.array([1]) if k == 2 else np.arange(k)
    classes = classes[(there[classes] > 0) & (there[classes] < n)]
    if not len(classes):
        return None
    rates, precisions = zip(*_each(scores, true, classes), strict=True)
    return np.mean(rates, axis=0), np.mean(precisions, axis=0), float(np.mean(there[classes] / n))


def _each(scores: Array, true: Classes, classes: Classes) -> Iterator[tuple[Array, Array]]:
    """Yield each class's true positive rates and precisions at ``GRID``."""
    n = len(scores)
    called = np.arange(1, n + 1)
    width = max(1, MOST_AT_ONCE // n)
    for part in (classes[i : i + width] for i in range(0, len(classes), width)):
        order = np.argsort(-scores[:, part], axis=0)
        ordered = np.take_along_axis(scores[:, part], order, 0)
        last = np.ones(ordered.shape, bool)
        last[:-1] = ordered[:-1] != ordered[1:]
        right = np.cumsum(true[order] == part, axis=0)
        for j in range(len(part)):
            ends = last[:, j]
            hits, all_called = right[ends, j], called[ends]
            positives = hits[-1]
            recall, alarms = hits / positives, (all_called - hits) / (n - positives)
            rate = np.interp(GRID, np.concatenate([[0.0], alarms]), np.concatenate([[0.0], recall]))
            yield rate, (hits / all_called)[np.searchsorted(recall, GRID - 1e-12)]
