"""What beginners are often told, and what the studies measured instead."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

Numbers = Sequence[Mapping[str, Any]]
"""The rows of a verdict."""


@dataclass(frozen=True)
class Saying:
    """A saying, and the study that measures what is so."""

    told: str
    study: str
    measured: Callable[[Numbers], str]
    """Says what was found, from the verdict's numbers."""


def number(rows: Numbers, start: str, column: str) -> float:
    """Return a number of the first row whose first cell starts so.

    Raises:
        KeyError: if there is no such row or column.
    """
    for row in rows:
        if str(next(iter(row.values()))).startswith(start):
            return float(row[column])
    raise KeyError(start)


def _xavier_for_relu(rows: Numbers) -> str:
    xavier, he = (number(rows, f"he_normal, gain {gain}", "log2_slope") for gain in ("1", "1.414"))
    return (
        f"with Xavier's variance the signal's second moment halves in every ReLU layer (slope {xavier:.3f} in log2), "
        f"with He's it stays ({he:.3f})"
    )


def _he_for_tanh(rows: Numbers) -> str:
    slope, critical = (number(rows, f"xavier_normal, gain {gain}", "log_slope") for gain in ("1.414", "1"))
    return (
        f"in tanh layers He's gradients explode ({slope:.3f} a layer in the logarithm, as χ = 1.106 predicts); "
        f"gain 1 is critical ({critical:.3f})"
    )


def _default_is_he(rows: Numbers) -> str:
    default, he = (number(rows, init, "variance_times_fan_in") for init in ("default", "he_normal"))
    return f"its weights have variance {default:.3f}/fan_in, He's {he:.3f}/fan_in"


def _zeros(rows: Numbers) -> str:
    moved = max(float(r["found"]) for r in rows if r["what"] == "largest hidden weight")
    loss = max(float(r["found"]) for r in rows if r["what"] == "loss")
    return f"the largest hidden weight is {moved:g} for ever, and the loss ends at the labels' entropy ({loss:.3f})"


def _adamw(rows: Numbers) -> str:
    apart = number(rows, "Adam and AdamW without decay", "largest_difference")
    return f"at weight decay 0 the two paths are {apart:g} apart: the decay is the only difference"


def _l2(rows: Numbers) -> str:
    sgd, adam = (number(rows, pair, "largest_difference") for pair in ("SGD", "Adam with L2"))
    return f"for plain SGD alone (paths {sgd:.0e} apart); with Adam they part ({adam:.2g})"


def _sgd(rows: Numbers) -> str:
    early, late = (number(rows, f"sgd: |step {step}|", "found") for step in (2, 101))
    return f"a step over its gradient is the learning rate, always: {early:.6g} at step 2, {late:.6g} at step 101"


def _rmsprop(rows: Numbers) -> str:
    moved, left = number(rows, "rmsprop", "found"), number(rows, "sgd with L2", "found")
    return f"a weight without a gradient moves by {moved:g} under RMSprop; L2 leaves {left:.3f} of it after 60 steps"


def _twice_the_batch(rows: Numbers) -> str:
    small, large = (number(rows, f"slope from {size} ", "mean") for size in (8, 1024))
    return (
        f"of small batches nearly (slope {small:.2f} in the logarithms, where half were -1), "
        f"of large ones hardly fewer ({large:.2f})"
    )


SAYINGS = (
    Saying("Xavier is for ReLU", "relu-variance", _xavier_for_relu),
    Saying("He is for tanh", "tanh-gain", _he_for_tanh),
    Saying("PyTorch's default is He", "weight-variance", _default_is_he),
    Saying("zero weights avoid vanishing gradients", "symmetry", _zeros),
    Saying("AdamW adds second moments to Adam", "decay-forms", _adamw),
    Saying("L2 is weight decay", "decay-forms", _l2),
    Saying("SGD adjusts its learning rate by itself", "sgd-step", _sgd),
    Saying("RMSprop regularizes like L2", "rmsprop-still", _rmsprop),
    Saying("twice the batch takes half the steps", "batch-scaling", _twice_the_batch),
)
