"""Losses, and what is measured of a model's outputs."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

Loss = Callable[[Tensor, Tensor], Tensor]
"""Mean loss of outputs ``[n, outputs]`` against targets."""
Metric = Callable[[Tensor, Tensor], Tensor]


@dataclass(frozen=True, eq=False)
class OfInputs:
    """A loss of the user's own that has ``x`` in its signature: it gets the inputs as the model got them."""

    of: Callable[..., Tensor]
    """Takes outputs, targets, and ``x`` by its name."""


AnyLoss = Loss | OfInputs


def value(measure: AnyLoss | Metric, outputs: Tensor, y: Any, x: Tensor) -> Tensor:
    """Return a measure of outputs against targets; one that looks at the inputs ``x`` gets them."""
    return measure.of(outputs, y, x=x) if isinstance(measure, OfInputs) else measure(outputs, y)


def precise(outputs: Tensor) -> Tensor:
    """Return outputs of half precision in float32: differences of their logarithms would be mostly rounding."""
    return outputs.float() if outputs.dtype in (torch.bfloat16, torch.float16) else outputs


CLASS_LOSSES = ("cross_entropy", "mse", "bce")
NUMBER_LOSSES = ("mse", "l1", "huber")
OF_ENTRIES: dict[str, Callable[..., Tensor]] = {
    "mse": F.mse_loss,
    "l1": F.l1_loss,
    "huber": F.huber_loss,
    "bce": F.binary_cross_entropy_with_logits,
}
"""Losses that compare outputs and targets entry by entry."""


def loss(name: str, classes: int | None) -> Loss:
    """Return a loss by name; on classes, ``mse`` and ``bce`` take one-hot targets.

    Raises:
        ValueError: if the loss does not fit the targets.
    """
    valid = CLASS_LOSSES if classes is not None else NUMBER_LOSSES
    if name == "auto":
        name = valid[0]
    if name not in valid:
        kind = "classes" if classes is not None else "numbers"
        raise ValueError(f"loss must be one of auto, {', '.join(valid)} where the targets are {kind}, got {name!r}")
    if name == "cross_entropy":
        return F.cross_entropy
    function = OF_ENTRIES[name]
    if classes is None:
        return function
    return lambda outputs, y: function(outputs, F.one_hot(y, classes).to(outputs.dtype))


def loss_of_samples(name: str, classes: int | None) -> Loss:
    """Return a loss by name as ``loss`` takes it, but of each sample, ``[n]``."""
    if name == "cross_entropy":
        return lambda outputs, y: F.cross_entropy(outputs, y, reduction="none")
    function = OF_ENTRIES[name]

    def of(outputs: Tensor, y: Tensor) -> Tensor:
        target = y if classes is None else F.one_hot(y, classes).to(outputs.dtype)
        return function(outputs, target, reduction="none").flatten(1).mean(1)

    return of


@dataclass(frozen=True, eq=False)
class WeightedCrossEntropy:
    """The cross-entropy of which each sample counts by its class: the mean of weight·loss over samples.

    Divided by the number of samples, not by the sum of their weights: so a batch's gradient is the mean of its parts',
    and that of all batches the whole set's, whichever classes they hold.
    """

    weights: Tensor
    """Of each class, ``[classes]``."""

    def __call__(self, outputs: Tensor, y: Tensor) -> Tensor:
        """Return it of outputs ``[n, classes]``."""
        return (F.cross_entropy(outputs, y, reduction="none") * self.weights[y]).mean()


def accuracy(outputs: Tensor, y: Tensor) -> Tensor:
    """Share of samples whose largest output is their class."""
    return (outputs.argmax(1) == y).double().mean()


def balanced_accuracy(outputs: Tensor, y: Tensor) -> Tensor:
    """Share of a class that is called it, the mean over the classes that have samples, as scikit-learn takes it.

    Predicting one class for every sample comes to 1/classes, however large that class is (Brodersen et al. 2010).
    """
    right, _, there = _counts(outputs, y)
    return (right / there.clamp(min=1))[there > 0].mean()


def mse(outputs: Tensor, y: Tensor) -> Tensor:
    """Mean squared error."""
    return (outputs.double() - y.double()).square().mean()


def mae(outputs: Tensor, y: Tensor) -> Tensor:
    """Mean absolute error."""
    return (outputs.double() - y.double()).abs().mean()


def r2(outputs: Tensor, y: Tensor) -> Tensor:
    """Share of the targets' variance explained, 1 - Σ(ŷ - y)²/Σ(y - ȳ)², the mean over outputs.

    Of targets that are all the same it is 1 where they are met, and 0 otherwise, as scikit-learn's ``r2_score``.
    """
    outputs, y = outputs.double(), y.double()
    residual = (outputs - y).square().sum(0)
    total = (y - y.mean(0)).square().sum(0)
    return torch.where(total > 0, 1 - residual / total, (residual == 0).double()).mean()


def precision(outputs: Tensor, y: Tensor) -> Tensor:
    """Share of what is called a class that is it, the mean over classes; 0 of a class that nothing is called."""
    right, called, there = _counts(outputs, y)
    return (right / called.clamp(min=1))[called + there > 0].mean()


def recall(outputs: Tensor, y: Tensor) -> Tensor:
    """Share of a class that is called it, the mean over classes; 0 of a class that has no sample."""
    right, called, there = _counts(outputs, y)
    return (right / there.clamp(min=1))[called + there > 0].mean()


def f1(outputs: Tensor, y: Tensor) -> Tensor:
    """Harmonic mean of precision and recall of each class, the mean over classes."""
    right, called, there = _counts(outputs, y)
    return (2 * right / (called + there).clamp(min=1))[called + there > 0].mean()


def roc_auc(outputs: Tensor, y: Tensor) -> Tensor:
    """Chance that a sample of a class has a higher probability of it than one of another, the mean over classes.

    Ties count half (Mann & Whitney 1947). Of two classes it is that of the second; a class without samples, or without
    others, has none and is left out (Hand & Till 2001 would weigh pairs).
    """
    scores = log_odds(outputs)
    classes = [1] if scores.shape[1] == 2 else range(scores.shape[1])
    areas = []
    for label in classes:
        of_it = y == label
        n = int(of_it.sum())
        if 0 < n < len(y):
            ranks = _average_ranks(scores[:, label])
            areas.append((ranks[of_it].sum() - n * (n + 1) / 2) / (n * (len(y) - n)))
    return torch.stack(areas).mean() if areas else torch.tensor(float("nan"), dtype=torch.float64)


def log_odds(outputs: Tensor) -> Tensor:
    """Return log p/(1 - p) of each class ``[n, classes]``, in the order of the probabilities, which may round to 1."""
    scores = outputs.double()
    scores = scores - scores.amax(1, keepdim=True)
    shares = scores - scores.logsumexp(1, keepdim=True)
    best = scores.argmax(1, keepdim=True)
    others = scores.scatter(1, best, -torch.inf).logsumexp(1, keepdim=True)
    # Of the likeliest class 1 - p would be lost; of all others p is at most a half.
    return (shares - torch.log1p(-shares.exp())).scatter(1, best, scores.gather(1, best) - others)


def predicted_classes(outputs: Tensor, y: Tensor) -> Tensor:
    """How many classes are called at least once: 1 where every sample is called the same."""
    return torch.tensor(len(torch.unique(outputs.argmax(1))))


def perplexity(outputs: Tensor, y: Tensor) -> Tensor:
    """e to the mean cross-entropy: how many classes as likely would be as hard."""
    return F.cross_entropy(outputs.double(), y).exp()


def _counts(outputs: Tensor, y: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return of each class: how often it was rightly called, called, and there; means are over those that are."""
    classes = outputs.shape[1]
    called = outputs.argmax(1)
    right = torch.bincount(y[called == y], minlength=classes).double()
    return right, torch.bincount(called, minlength=classes).double(), torch.bincount(y, minlength=classes).double()


def _average_ranks(scores: Tensor) -> Tensor:
    """Return ranks from 1, those of equal scores averaged."""
    _, which, counts = torch.unique(scores, return_inverse=True, return_counts=True)
    ends: Tensor = counts.cumsum(0).double()
    ranks: Tensor = (ends - (counts.double() - 1) / 2)[which]
    return ranks


OF_CLASSES: dict[str, Metric] = {
    "accuracy": accuracy,
    "balanced_accuracy": balanced_accuracy,
    "precision": precision,
    "recall": recall,
    "f1": f1,
    "roc_auc": roc_auc,
    "perplexity": perplexity,
}
OF_NUMBERS: dict[str, Metric] = {"mse": mse, "mae": mae, "r2": r2}


def metrics(classes: int | None, of_text: bool = False) -> dict[str, Metric]:
    """Return what every evaluation records: of classes, of a text's next characters, or of numbers.

    Which characters are rare says nothing of a model of text: it is judged by all of them alike.
    """
    if classes is None:
        return dict(OF_NUMBERS)
    names = ("accuracy",) if of_text else ("accuracy", "balanced_accuracy", "f1")
    return {name: OF_CLASSES[name] for name in names}


def final_metrics(classes: int | None, of_text: bool = False) -> dict[str, Metric]:
    """Return what is measured of the weights that a run ends with."""
    if classes is None:
        return dict(OF_NUMBERS)
    return {**OF_CLASSES, "predicted_classes": predicted_classes} if not of_text else dict(OF_CLASSES)


def metric(name: str, classes: int | None) -> Metric:
    """Return a metric by name.

    Raises:
        ValueError: if it does not fit the targets.
    """
    valid = OF_CLASSES if classes is not None else OF_NUMBERS
    if name not in valid:
        kind = "classes" if classes is not None else "numbers"
        raise ValueError(f"metrics=[{name}] is not for {kind}\nvalid: {', '.join(valid)}, or an import path")
    return valid[name]
