"""How predictions are combined and judged: averages, votes, weights, selection, boosting, calibration.

Outputs of members are ``[members, n, k]``: probabilities of ``k`` classes, or ``k`` numbers.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import optimize, special

from runner.statistics.scores import NORMAL_QUANTILE, Array, Interval, mean_interval

Classes = npt.NDArray[np.int64]
Loss = Callable[[Array], float]
"""Of a combination's outputs ``[n, k]``, less is better."""
BINS = 15
"""Of the expected calibration error, as Guo et al. 2017 take them."""
STILL = 1e-12
"""A loss that is lower by less than this share is the same, rounded otherwise."""


def softmax(logits: Array) -> Array:
    """Return the probabilities ``[…, k]`` of logits."""
    return np.asarray(special.softmax(logits, axis=-1))


def averaged(outputs: Array, weights: Array) -> Array:
    """Return the weighted mean ``[n, k]`` of the members' outputs."""
    return np.asarray(np.average(outputs, axis=0, weights=weights))


def ballots(outputs: Array) -> Array:
    """Return each member's vote as ``[members, n, k]``: 1 for the class that it finds most probable."""
    return np.asarray(np.eye(outputs.shape[2])[outputs.argmax(2)])


def voted(outputs: Array, weights: Array) -> Array:
    """Return each class's share of the votes, ``[n, k]``; of equal shares the first class is called."""
    return averaged(ballots(outputs), weights)


def vote_weights(right: Sequence[int], n: int, classes: int) -> Array:
    """Return what each member's vote counts: its log-odds of being right, beyond those of a guess.

    log(p/(1 - p)) + log(k - 1) is the best weight of independent votes among k classes whose mistakes are as likely
    (Nitzan & Paroush 1982 for two); p is (right + ½)/(n + 1), so that nobody is taken to be infallible. A member that
    does not beat a guess counts nothing, unless none does: then all count alike.

    Args:
        right: how many of the validation samples each member is right about.
        n: how many there are.
        classes: k.
    """
    share = (np.asarray(right, float) + 0.5) / (n + 1)
    weights = np.maximum(np.log(share / (1 - share)) + math.log(classes - 1), 0.0)
    return weights if weights.any() else np.ones(len(share))


def log_loss(shares: Array, y: Classes) -> float:
    """Return the mean of -log(probability of the true class), infinite where that is 0."""
    with np.errstate(divide="ignore"):
        return float(-np.log(shares[np.arange(len(y)), y]).mean())


def brier(shares: Array, y: Classes) -> float:
    """Return the mean over samples of the squared distance to the true class's one-hot vector (Brier 1950)."""
    return float(np.square(shares - np.eye(shares.shape[1])[y]).sum(1).mean())


def squared_error(numbers: Array, y: Array) -> float:
    """Return the mean squared error over samples and outputs."""
    return float(np.square(numbers - y).mean())


@dataclass(frozen=True)
class Greedy:
    """What a greedy selection chose."""

    counts: npt.NDArray[np.int64]
    """How often each member was taken, ``[members]``."""
    losses: tuple[float, ...]
    """After each round."""


def greedy(outputs: Array, loss: Loss, rounds: int) -> Greedy:
    """Choose members one after another, with replacement, each the one that makes the average best (Caruana 2004).

    The first members of equal worth are taken. Rounds after the best one are forgotten.

    Args:
        outputs: on the samples by which is chosen.
        loss: of an average.
        rounds: how many members are taken.
    """
    total = np.zeros(outputs.shape[1:])
    taken: list[int] = []
    losses: list[float] = []
    for number in range(1, rounds + 1):
        tried = [loss((total + one) / number) for one in outputs]
        best = tried.index(min(tried))
        taken.append(best)
        losses.append(tried[best])
        total += outputs[best]
    lowest = min(losses)
    length = next(i for i, value in enumerate(losses) if value <= lowest + STILL * abs(lowest)) + 1
    return Greedy(np.bincount(taken[:length], minlength=len(outputs)).astype(np.int64), tuple(losses[:length]))


@dataclass(frozen=True)
class Decomposition:
    """An ensemble's squared error is its members' less their ambiguity (Krogh & Vedelsby 1995, eq. 6)."""

    ensemble: float
    members: float
    ambiguity: float
    """The weighted mean of the members' squared distance to the ensemble."""


def decomposed(outputs: Array, weights: Array, y: Array) -> Decomposition:
    """Return the decomposition of a weighted mean's error against ``y`` ``[n, k]``, summed over k, of n the mean."""
    shares = weights / weights.sum()
    mean = averaged(outputs, weights)

    def of(errors: Array) -> Array:
        return np.asarray(np.square(errors).sum(-1).mean(-1))

    return Decomposition(float(of(mean - y)), float(shares @ of(outputs - y)), float(shares @ of(outputs - mean)))


@dataclass(frozen=True)
class Calibration:
    """How often those are right who are sure to a degree; arrays are ``[bins]``, NaN where a bin is empty."""

    error: float
    """The expected calibration error."""
    confidence: Array
    accuracy: Array
    share: Array
    """Of the samples."""


def calibration(shares: Array, y: Classes, bins: int = BINS) -> Calibration:
    """Return the calibration of probabilities ``[n, k]``: bins of equal width over that of the called class.

    A bin holds confidences above its lower end up to its upper one; the error is the mean over samples of
    |accuracy - confidence| of their bins (Guo et al. 2017, eq. 3).
    """
    sure, right = shares.max(1), shares.argmax(1) == y
    place = np.clip(np.ceil(sure * bins).astype(int) - 1, 0, bins - 1)
    counts = np.bincount(place, minlength=bins)
    with np.errstate(invalid="ignore"):
        confidence = np.bincount(place, sure, bins) / counts
        accuracy = np.bincount(place, right, bins) / counts
    share = counts / len(y)
    error = float(np.nansum(share * np.abs(accuracy - confidence)))
    return Calibration(error, confidence, accuracy, share)


def paired(differences: Array, counted: bool) -> Interval:
    """Return the mean over samples ``[n]`` of what one predictor does better than another, with its 95 % interval.

    Args:
        differences: one's score of each sample less the other's.
        counted: the scores are 1 (right) or 0, or means of such. Then a sample is added on which one is right, one on
            which the other is, half each, and one on which they agree (Agresti & Min 2005), so that a few samples on
            which the two agree do not prove that they always will.
    """
    if not counted:
        return mean_interval(differences)
    n = len(differences)
    mean = float(differences.mean())
    total, squares = float(differences.sum()), float(np.square(differences).sum()) + 1.0
    middle = total / (n + 2)
    half = NORMAL_QUANTILE * math.sqrt(max(squares / (n + 2) - middle**2, 0.0) / (n + 2))
    return Interval(mean, middle - half, middle + half, n)


@dataclass(frozen=True)
class Round:
    """What a round of SAMME comes to."""

    error: float
    """The weighted share of training samples that its member is wrong about."""
    weight: float
    """What its vote counts; 0 of a member that is no better than a guess."""
    weights: Array
    """The samples' for the next round, ``[n]``, their sum 1."""


def samme(weights: Array, wrong: npt.NDArray[np.bool_], classes: int, rate: float) -> Round:
    """Return a round of multi-class AdaBoost (Zhu, Zou, Rosset & Hastie 2009, algorithm 2), as scikit-learn takes it.

    Args:
        weights: of the training samples in this round, ``[n]``.
        wrong: which of them its member is wrong about.
        classes: how many there are.
        rate: multiplies the member's weight.
    """
    weights = weights / weights.sum()
    error = float(weights @ wrong)
    if error <= 0:
        return Round(0.0, 1.0, weights)
    if error >= 1 - 1 / classes:
        return Round(error, 0.0, weights)
    weight = rate * (math.log((1 - error) / error) + math.log(classes - 1))
    raised = weights * np.exp(weight * wrong)
    return Round(error, weight, raised / raised.sum())


def residuals(scores: Array, y: Array, classes: int | None) -> Array:
    """Return what a round of gradient boosting learns, ``[n, k]``: minus the loss's slope (Friedman 2001, §4).

    Args:
        scores: what the rounds so far add up to.
        y: classes ``[n]``, or numbers ``[n, k]``.
        classes: None where ``y`` is numbers; the loss is then half the squared error, otherwise the cross-entropy.
    """
    if classes is None:
        return np.asarray(y - scores)
    return np.asarray(np.eye(classes)[y.astype(np.int64)] - softmax(scores))


def line_search(scores: Array, step: Array, y: Array, classes: int | None) -> float:
    """Return how much of a step ``[n, k]`` makes the training loss least (Friedman 2001, algorithm 1, line 5)."""
    if classes is None:
        size = float(np.square(step).sum())
        return float((step * (y - scores)).sum()) / size if size > 0 else 0.0
    labels = y.astype(np.int64)
    rows = np.arange(len(labels))

    def loss(amount: float) -> float:
        moved = scores + amount * step
        return float((special.logsumexp(moved, axis=-1) - moved[rows, labels]).mean())

    return float(optimize.minimize_scalar(loss, bounds=(0.0, 100.0), method="bounded", options={"xatol": 1e-6}).x)


def first_scores(y: Array, classes: int | None) -> Array:
    """Return what gradient boosting begins with, ``[k]``: the mean of numbers, the logarithm of classes' shares.

    A class without samples counts as half a sample.
    """
    if classes is None:
        return np.asarray(y.mean(0), float)
    counts = np.maximum(np.bincount(y.astype(np.int64), minlength=classes), 0.5)
    return np.asarray(np.log(counts / counts.sum()))
