"""Models that need no tuning, held beside what is trained: what they reach on a job's own validation part.

Each is fitted on the training part as the job's runs see it (split, normalized, missing values filled), and measured on
the validation part by the runs' own functions. None reads the test part.
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from runner import metrics
from runner.config import fields
from runner.data import Array, Data
from runner.run.baselines import ngrams
from runner.run.baselines.bags import Bag, bags
from runner.run.components.samples import measured_in
from runner.run.job import Job

Floats = npt.NDArray[np.float64]
Fit = Callable[["Parts"], Floats]
"""Fits, and returns what is predicted of the validation part: probabilities, or numbers."""
Measured = tuple[dict[str, float], int, str]
"""Measures by name, the number of training samples, and what is to be said."""

MOST_ROWS = 10_000
"""Training samples of a linear model and of trees at most: drawn once, the same for all."""
MOST_CELLS = 3.2e7
"""Numbers that a linear model is fitted on at most; of wide samples fewer are taken."""
MOST_CLASS_CELLS = 8e7
"""The same times the classes that they are told apart in: MNIST's pictures, ten thousand of them, just fit."""
MOST_PRODUCTS = 2e10
"""Multiplications of ridge regression's own equations at most."""
MOST_TREE_CELLS = 5e8
"""Samples × features × trees at most: some three seconds on one core."""
ITERATIONS = 100
"""Of logistic regression's optimizer at most."""
TREES, LEAST_ROUNDS, MOST_ROUNDS, LEAVES = 300, 10, 100, 8
"""Boosted trees in all, a class each; rounds of them; leaves of each: less than a second for the ten digits."""
LEAST = float(np.finfo(np.float64).eps)
"""A probability of 0 counts as this one, as in scikit-learn's ``log_loss``."""


class Unfit(Exception):
    """A baseline that fits neither the data nor the time; the message says why."""


@dataclass(frozen=True)
class Baseline:
    """One of the models."""

    name: str
    kind: str
    """``trivial``, ``linear``, ``trees`` or ``ngram``."""
    measure: Callable[[], Measured]
    """Fits it."""


class Parts:
    """Training and validation part as a table: features ``[n, f]``."""

    def __init__(self, data: Data, cost: Callable[[int, int], int] | None = None, bag: Bag | None = None) -> None:
        """Take as many training samples as ``cost``, of their number and that of features, leaves.

        Of sentences ``bag`` makes the features.
        """
        features = math.prod(data.train.x.shape[1:]) if bag is None else bag.features
        n = min(len(data.train), MOST_ROWS)
        n = len(data.train) if cost is None else max(2, min(n, cost(n, features)))
        rows = np.arange(len(data.train))
        if n < len(rows):
            rows = np.sort(np.random.default_rng(0).permutation(len(rows))[:n])
        self.data, self.bag = data, bag
        self.x = self._features(data.train.x[rows])
        self.y = data.train.y[rows]
        self.note = ""

    @property
    def val_x(self) -> Any:
        """The validation part's features."""
        return self._features(self.data.val.x)

    def _features(self, x: Array) -> Any:
        """Return a table of float64; of a bag of many words a sparse one."""
        return x.reshape(len(x), -1).astype(np.float64) if self.bag is None else self.bag.of(x)


def baselines(job: Job, data: Data) -> Iterator[Baseline]:
    """Yield the baselines of a job's data.

    Raises:
        Unfit: if there is nothing to predict.
    """
    if not len(data.val):
        raise Unfit("there are no validation samples to measure baselines on")
    if data.alphabet is not None and data.train.y.ndim == 2:
        yield from _of_text(data)
        return
    if data.alphabet is not None:
        raise Unfit("baselines of whole texts are not known")
    if data.classes is None and not np.ptp(data.train.y, axis=0).any():
        raise Unfit("all targets are the same: there is nothing to predict")
    import sklearn.ensemble
    import sklearn.linear_model  # noqa: F401  # before any of them is timed

    table = (_majority, _logistic) if data.classes is not None else (_mean, _ridge)
    names = ("majority", "logistic") if data.classes is not None else ("mean", "ridge")
    words, few = (None, None) if data.vocabulary is None else bags(data.vocabulary)
    yield Baseline(names[0], "trivial", _measuring(job, data, table[0], None))
    yield Baseline(names[1], "linear", _measuring(job, data, table[1], _rows_of_linear(data), words))
    yield Baseline("trees", "trees", _measuring(job, data, _trees, _rows_of_trees(data), few))


def _measuring(
    job: Job, data: Data, fit: Fit, cost: Callable[[int, int], int] | None, bag: Bag | None = None
) -> Callable[[], Measured]:
    def measure() -> Measured:
        parts = Parts(data, cost, bag)
        predicted = fit(parts)
        return _measures(job, data, predicted), len(parts.y), parts.note

    return measure


def _measures(job: Job, data: Data, predicted: Floats) -> dict[str, float]:
    """Return what the runs measure too, of predictions; the loss only where it is not the user's own."""
    y = torch.from_numpy(data.val.y)
    if data.classes is None:
        outputs, y = torch.from_numpy(predicted), y.double()
    else:
        outputs = torch.from_numpy(predicted).clamp(min=LEAST).log()  # as logits: their softmax are the probabilities
    found = {name: measured_in(m, data)(outputs, y) for name, m in metrics.final_metrics(data.classes).items()}
    loss = job.config["loss"]
    if not fields.is_import_path(loss):
        found["loss"] = metrics.loss(loss, data.classes)(_as_outputs(loss, predicted, outputs), y)
    return {name: float(value) for name, value in found.items()}


def _as_outputs(loss: str, predicted: Floats, outputs: Tensor) -> Tensor:
    """Return probabilities as the outputs that a loss on classes would be smallest for; numbers as they are."""
    p = torch.from_numpy(predicted)
    return {"mse": p, "bce": p.clamp(LEAST, 1 - LEAST).logit()}.get(loss, outputs)


def _majority(parts: Parts) -> Floats:
    """Predict the classes' shares of train for every sample."""
    shares = np.bincount(parts.y, minlength=parts.data.outputs) / len(parts.y)
    return np.tile(shares, (len(parts.data.val), 1))


def _mean(parts: Parts) -> Floats:
    return np.tile(parts.y.astype(np.float64).mean(0), (len(parts.data.val), 1))


def _logistic(parts: Parts) -> Floats:
    from sklearn.linear_model import LogisticRegression

    model = LogisticRegression(max_iter=ITERATIONS).fit(parts.x, parts.y)
    if model.n_iter_.max() >= ITERATIONS:
        parts.note = f"not converged after {ITERATIONS} iterations"
    return _probabilities(model, parts)


def _ridge(parts: Parts) -> Floats:
    from sklearn.linear_model import Ridge

    found: Floats = Ridge().fit(parts.x, parts.y.astype(np.float64)).predict(parts.val_x)
    return found.reshape(len(found), -1)


def _trees(parts: Parts) -> Floats:
    from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor

    rounds = _rounds(parts.data)
    rate = min(0.3, 10 / rounds)
    settings = {"learning_rate": rate, "max_leaf_nodes": LEAVES, "random_state": 0}  # every round is made
    boosting = HistGradientBoostingRegressor if parts.data.classes is None else HistGradientBoostingClassifier
    columns = [parts.y] if parts.data.classes is not None else list(parts.y.astype(np.float64).T)
    models = [boosting(max_iter=rounds, **settings).fit(parts.x, column) for column in columns]
    if parts.data.classes is not None:
        return _probabilities(models[0], parts)
    return np.stack([model.predict(parts.val_x) for model in models], axis=1)


def _probabilities(model: Any, parts: Parts) -> Floats:
    """Return a classifier's probabilities of every class, those that it was not shown 0; ``[n, classes]``."""
    found = np.zeros((len(parts.data.val), parts.data.outputs))
    found[:, model.classes_] = model.predict_proba(parts.val_x)
    return found


def _rows_of_linear(data: Data) -> Callable[[int, int], int]:
    if data.classes is not None:
        return lambda n, features: int(min(MOST_CELLS, MOST_CLASS_CELLS / data.outputs) / features)
    return lambda n, features: int(
        min(MOST_CELLS / features, max(MOST_PRODUCTS / features**2, (MOST_PRODUCTS / features) ** 0.5))
    )


def _rows_of_trees(data: Data) -> Callable[[int, int], int]:
    trees = _rounds(data) * _trees_a_round(data)
    return lambda n, features: int(MOST_TREE_CELLS / features / trees)


def _trees_a_round(data: Data) -> int:
    """Return how many trees a round adds: one a class of more than two, one a number."""
    return 1 if data.classes == 2 else data.outputs


def _rounds(data: Data) -> int:
    return min(MOST_ROUNDS, max(LEAST_ROUNDS, TREES // _trees_a_round(data)))


def _of_text(data: Data) -> Iterator[Baseline]:
    """Yield models that count characters, over at most two before the next."""
    alphabet = data.outputs
    for longest, name in enumerate(("unigram", "bigram", "trigram")):

        def measure(longest: int = longest) -> Measured:
            rows = Parts(data, lambda n, features: n)
            x, y = rows.x.astype(np.int64), rows.y.astype(np.int64)
            model = ngrams.count(x, y, alphabet, longest)
            found = ngrams.measure(model, data.val.x.astype(np.int64), data.val.y.astype(np.int64), longest)
            return found, len(x), ""

        yield Baseline(name, "ngram" if longest else "trivial", measure)
