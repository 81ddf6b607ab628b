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
        f"in tanh layers He's gradients explode ({slope:.3f} per layer in the logarithm, as χ = 1.106 predicts); "
        f"gain 1 is critical ({critical:.3f})"
    )


def _default_is_he(rows: Numbers) -> str:
    default, he = (number(rows, init, "variance_times_fan_in") for init in ("default", "he_normal"))
    return f"its weights have variance {default:.3f}/fan_in, He's have {he:.3f}/fan_in"


def _zeros(rows: Numbers) -> str:
    moved = max(float(r["found"]) for r in rows if r["what"] == "largest hidden weight")
    loss = max(float(r["found"]) for r in rows if r["what"] == "loss")
    return f"every hidden weight stays at {moved:g}, and the loss ends at the entropy of the labels ({loss:.3f})"


def _adamw(rows: Numbers) -> str:
    apart = number(rows, "Adam and AdamW without decay", "largest_difference")
    return f"without weight decay the weights of the two are {apart:g} apart: the decay is the only difference"


def _l2(rows: Numbers) -> str:
    sgd, adam = (number(rows, pair, "largest_difference") for pair in ("SGD", "Adam with L2"))
    return f"only for plain SGD (weights {sgd:.0e} apart); with Adam the two differ (by {adam:.2g})"


def _sgd(rows: Numbers) -> str:
    early, late = (number(rows, f"sgd: |step {step}|", "found") for step in (2, 101))
    return f"step divided by gradient is always the learning rate: {early:.6g} at step 2, {late:.6g} at step 101"


def _rmsprop(rows: Numbers) -> str:
    moved, left = number(rows, "rmsprop", "found"), number(rows, "sgd with L2", "found")
    return (
        f"a weight without a gradient moves by {moved:g} under RMSprop; with L2 {left:.3f} of it is left after 60 steps"
    )


def _twice_the_batch(rows: Numbers) -> str:
    small, large = (number(rows, f"slope from {size} ", "mean") for size in (8, 1024))
    return (
        f"nearly so for small batches (log-log slope {small:.2f}, where halving would be -1), "
        f"hardly for large ones ({large:.2f})"
    )


def _adamw_explodes(rows: Numbers) -> str:
    threshold = number(rows, "decay 0.05, lr 1.98", "threshold")
    status = {str(row["what"]): row["status"] for row in rows}
    plain, decayed = (
        "diverges" if status[f"decay {decay}, lr 1.98"] == "diverged" else "does not diverge" for decay in (0, 0.05)
    )
    return (
        f"at curvature 1 and rate 1.98, gradient descent {plain} without decay and {decayed} with decoupled decay "
        f"0.05: the rate from which it diverges falls from 2 to {threshold:.4g}"
    )


def _memory(rows: Numbers) -> str:
    kept = {name: number(rows, name, "numbers_a_weight") for name in ("sgd", "momentum", "adam", "adamw")}
    return (
        f"AdamW keeps {kept['adamw']:.2f} numbers for each weight, like Adam ({kept['adam']:.2f}); momentum keeps "
        f"{kept['momentum']:.0f}, SGD {kept['sgd']:.0f}"
    )


def _more_data(rows: Numbers) -> str:
    grown, left = number(rows, "linear: training error, 16", "mean"), number(rows, "linear: test error on all", "mean")
    gained = number(rows, "network less linear", "mean")
    return (
        f"16 times the data change the training error of a linear model by {grown:+.1f} points, and {left:.0f} % of "
        f"the test samples are still wrong; a network's training error differs by {gained:+.0f} points"
    )


def _smaller_is_faster(rows: Numbers) -> str:
    ratio, slope = number(rows, "steps, 8 units", "mean"), number(rows, "slope", "mean")
    return f"8 units need {ratio:.1f} times the steps of 256 to reach one training loss (log-log slope {slope:.2f})"


def _ema(rows: Numbers) -> str:
    rate, loss, judged = (number(rows, start, "found") for start in ("learning rate", "loss of each", "loss that"))
    return f"rates change by {rate:g} and losses of batches by {loss:g}; the loss that is judged by {judged:.2g}"


def _zeros_linear(rows: Numbers) -> str:
    apart = max(float(r["found"]) for r in rows if str(r["what"]).startswith("zeros and"))
    accuracy = number(rows, "zeros: test accuracy", "found")
    return f"logistic regression from zeros ends {apart:.0e} from where other weights end, with {accuracy:.1%} accuracy"


def _early_decay(rows: Numbers) -> str:
    share, warm = number(rows, "what decay adds", "found"), number(rows, "adamw: first step with", "found")
    return f"decay changes Adam's first step by {share:.1%} (λ = 0.1, weights 0.5); a warm-up makes the step {warm:.2g}"


def _cosine(rows: Numbers) -> str:
    off, apart = (number(rows, start, "found") for start in ("cosine: farthest", "plateau"))
    return (
        f"whatever is learned, the rates are within {off:.0e} of the formula; with the plateau schedule the rates of "
        f"two runs differ by up to {apart:.2g}"
    )


def _fans(rows: Numbers) -> str:
    kept, doubled = (number(rows, f"fan_in: {what} in a widening", "log2") for what in ("signals", "gradients"))
    halved, same = (number(rows, f"fan_out: {what} in a widening", "log2") for what in ("signals", "gradients"))
    return (
        f"from 256 to 512 units fan_in keeps signals (log2 {kept:.2f}) and doubles gradients ({doubled:.2f}), fan_out "
        f"halves signals ({halved:.2f}) and keeps gradients ({same:.2f}); over depth neither grows"
    )


def _uniform(rows: Numbers) -> str:
    found = next(row for row in rows if str(row["compared"]).startswith("test points"))
    return (
        f"at the same variance, uniform less normal is {found['mean']:+.2f} points of test accuracy (95 % interval "
        f"{found['low']:.2f} to {found['high']:.2f})"
    )


def _dropout_stabilizes(rows: Numbers) -> str:
    without, share = number(rows, "share of steps", "mean"), number(rows, "share with", "mean")
    steps = f"{share:.0%} of the steps with it, and at up to {without:.0%} without"
    return f"in full-batch descent the loss rises at {steps}"


def _deeper(rows: Numbers) -> str:
    plain, residual = (number(rows, f"training loss, {kind} 24 less", "mean") for kind in ("plain", "residual"))
    return (
        f"the training loss of 24 plain layers less that of 4 is {plain:+.2f}; of 24 residual layers less 24 plain "
        f"ones {residual:+.2f}"
    )


def _momentum(rows: Numbers) -> str:
    step, near = number(rows, "β = 0.9:", "found"), number(rows, "loss at lr·", "found")
    return (
        f"β = 0.9 makes steps {step:.4g} times as long; at lr·(1 − β) the loss is within {near:.1%} of that of plain "
        "gradient descent"
    )


def _scale(rows: Numbers) -> str:
    same, apart = (number(rows, f"std 1 at lr 1 and std 2 at lr {lr}:", "found") for lr in (4, 1))
    return (
        f"twice the weights change the losses by up to {apart:.0%} at the same rate, and by {same:g} at four times the "
        "rate: what counts is the rate over the square of the weights"
    )


def _too_many(rows: Numbers) -> str:
    few, many = (10 ** number(rows, f"log10 of test error, 40 features less {n}", "mean") for n in (10, 400))
    return (
        f"with 40 samples, 40 features have {few:.3g} times the test error of 10 and {many:.3g} times that of 400: it "
        "falls again"
    )


def _warm_up(rows: Numbers) -> str:
    early, late = (number(rows, f"variance of the rate at step {step}", "found") for step in (10, 200))
    return f"the variance of Adam's rate across weights is {early:.3f} at step 10 and {late:.4f} at step 200"


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
    Saying("AdamW prevents exploding gradients", "decay-threshold", _adamw_explodes),
    Saying("AdamW saves memory", "optimizer-memory", _memory),
    Saying("more data cures underfitting", "more-data", _more_data),
    Saying("smaller models converge faster", "wide-fast", _smaller_is_faster),
    Saying("EMA adjusts the learning rate", "ema-rate", _ema),
    Saying("zeros fail even for linear models", "zeros-linear", _zeros_linear),
    Saying("weight decay keeps the first steps small", "early-decay", _early_decay),
    Saying("Adam needs no warm-up, as it adapts from the first step", "early-variance", _warm_up),
    Saying("a cosine schedule is adaptive", "cosine-fixed", _cosine),
    Saying("fan_in and fan_out are the same", "fan-mode", _fans),
    Saying("normal weights are better than uniform ones", "uniform-normal", _uniform),
    Saying("dropout stabilizes training", "dropout-noise", _dropout_stabilizes),
    Saying("more layers always fit the training set better", "degradation", _deeper),
    Saying("momentum leaves the learning rate as it is", "momentum-rate", _momentum),
    Saying("behind normalization the size of the weights does not matter", "effective-rate", _scale),
    Saying("more parameters than samples must overfit", "double-descent", _too_many),
)
