"""Studies of class ordering on whole networks: a benchmark's numbers, how sure they are, how many weights they need."""

import math

import numpy as np

from runner.report.load import Records
from runner.statistics.ensembles import calibration
from runner.study.judging import (
    Array,
    Curves,
    Rows,
    compared,
    interval,
    judgement,
    lines,
    numbers,
    over_steps,
    predicted,
)
from runner.study.study import Judgement, Study

PUBLISHED = {
    ("plain", "linear"): 32,
    ("plain", "mlp"): 68,
    ("plain", "Strides"): 94,
    ("plain", "BothWays"): 91,
    ("shuffled", "mlp"): 68,
    ("shuffled", "Strides"): 56,
    ("shuffled", "BothWays"): 57,
}
"""Test accuracies in percent."""
CALLED = {"linear": "logistic regression", "mlp": "MLP", "Strides": "CNN", "BothWays": "GRU"}
NEAR = 4.0
"""Points."""


def mnist1d_numbers(records: Records) -> Judgement:
    """Compare the mean test accuracy of each model, with the points in order and not, with what was published."""
    runs = numbers(records, "seed", "test_accuracy")
    runs["order"] = np.where(runs["data"] == "mnist1d", "plain", "shuffled")
    rows: Rows = []
    curves: Curves = {}
    for (order, model), expected in PUBLISHED.items():
        of_it = runs[(runs["order"] == order) & (runs["model"] == model)].sort_values("seed")
        accuracy = 100 * of_it["test_accuracy"].to_numpy(float)
        mean = float(accuracy.mean())
        name = f"{CALLED[model]}{', shuffled' if order == 'shuffled' else ''}"
        told = {"what": name, "test_accuracy": mean, "expected": f"{expected} ± {NEAR:g}"}
        rows.append({**told, "least": float(accuracy.min()), "most": float(accuracy.max())})
        rows[-1]["holds"] = abs(mean - expected) <= NEAR
        curves[name] = (of_it["seed"].to_numpy(float), accuracy)
    axes = ("seed", "test accuracy, %")
    return judgement(rows, lines("mnist1d-numbers", "Test accuracy of each seed", axes, curves, log=False))


def calibrated(records: Records) -> Judgement:
    """Compare the expected calibration error on the test set, with smoothing or mixup less without, seed by seed."""
    runs = numbers(records, "seed").sort_values("seed")
    kinds = {"without": ("none", "none"), "smoothing": ("label_smoothing", "none"), "mixup": ("none", "mixup")}
    errors: dict[str, Array] = {}
    curves: Curves = {}
    for name, (kind, changed) in kinds.items():
        of_it = runs[(runs["regularization"] == kind) & (runs["augment"] == changed)]
        test = predicted(records, of_it["run_id"].tolist())
        errors[name] = np.array([100 * calibration(shares, test.labels).error for shares in test.outputs])
        curves[name] = (of_it["seed"].to_numpy(float), errors[name])
    rows: Rows = [compared("calibration error without, points", *interval(errors["without"]), "reported", True)]
    for name in ("smoothing", "mixup"):
        mean, low, high = interval(errors[name] - errors["without"])
        what = f"calibration error with {name} less without"
        rows.append(compared(what, mean, low, high, "interval below 0", high < 0))
    axes = ("seed", "expected calibration error, points")
    return judgement(rows, lines("calibration", "Calibration of each seed", axes, curves, log=False))


COST = 1.0
"""Points of test accuracy."""


def gradual_pruning(records: Records) -> Judgement:
    """Compare the test accuracy of networks that lost 80 % of their weights while they trained with that of others."""
    runs = numbers(records, "seed", "test_accuracy", "sparsity")
    whole, cut = (runs[runs["compress"] == kind].set_index("seed").sort_index() for kind in ("none", "prune"))
    mean, low, high = interval(100 * (cut["test_accuracy"] - whole["test_accuracy"]).to_numpy(float))
    share = float(cut["sparsity"].min())
    rows: Rows = [
        compared("test points, pruned less whole", mean, low, high, f"interval above −{COST:g}", low > -COST),
        compared("share of weights that is 0, least", share, share, share, "≥ 0.799", share >= 0.799),
        compared(
            "test accuracy of whole ones, %", *interval(100 * whole["test_accuracy"].to_numpy(float)), "reported", True
        ),
    ]
    curves: Curves = {
        name: (of_it.index.to_numpy(float), 100 * of_it["test_accuracy"].to_numpy(float))
        for name, of_it in (("whole", whole), ("80 % pruned", cut))
    }
    axes = ("seed", "test accuracy, %")
    return judgement(rows, lines("gradual-pruning", "Test accuracy of each seed", axes, curves, log=False))


KNOWN, UNKNOWN, LATER = 0.99, 0.9, 3.0
"""Accuracies that count as learned, on pairs that were seen and on others, and how many times the steps these take."""


def grokking(records: Records) -> Judgement:
    """Compare the steps to knowing the training pairs with those to knowing the others, with decay and without."""
    runs = numbers(records, "seed", "optim.weight_decay").sort_values("seed")
    ratios, kept, ends, others = [], [], [], []
    curves: Curves = {}
    for _, row in runs.iterrows():
        steps, known = over_steps(records, row["run_id"], "train_accuracy")
        unknown = over_steps(records, row["run_id"], "val_accuracy")[1]
        seen, judged = (_first(steps, share, least) for share, least in ((known, KNOWN), (unknown, UNKNOWN)))
        decays = row["optim.weight_decay"] > 0
        if decays:
            ratios.append(judged / seen)
            kept.append(float(unknown[steps == seen][0]) if math.isfinite(seen) else math.nan)
            ends.append(float(unknown[-1]))
        else:
            others.append(float(unknown[-1]))
        if row["seed"] == runs["seed"].min():
            said = "decay" if decays else "no decay"
            curves[f"{said}, seen"], curves[f"{said}, not seen"] = (steps, known), (steps, unknown)
    later, before = interval(np.log(ratios)), interval(np.array(kept))
    without, learned, known_by = interval(np.array(others)), float(np.min(ends)), int(np.isfinite(ratios).sum())
    least, later_by = learned >= UNKNOWN, f"interval above log {LATER:g}"
    name = "log of steps to the others over steps to the seen"
    if known_by < len(ratios):
        name += f", which {known_by} of {len(ratios)} seeds reach"
    rows: Rows = [
        compared("least accuracy on the others at the end", learned, learned, learned, f"≥ {UNKNOWN}", least),
        compared(name, *later, later_by, later[1] > np.log(LATER)),
        compared("accuracy on the others when the seen are known", *before, "interval below 0.5", before[2] < 0.5),
        compared("accuracy on the others at the end without decay", *without, "reported", True),
    ]
    axes = ("steps", "accuracy")
    plot = lines("grokking", "Addition modulo a prime", axes, curves, log=False, log_x=False)
    return judgement(rows, plot)


def _first(steps: Array, share: Array, least: float) -> float:
    """Return the first step at which an accuracy is so high; NaN where it never is."""
    reached = steps[share >= least]
    return float(reached[0]) if len(reached) else math.nan


STUDIES = (
    Study(
        "mnist1d-numbers",
        "On MNIST-1D logistic regression, an MLP, a CNN and a GRU reach 32, 68, 94 and 91 %; with its points shuffled "
        "the MLP stays at 68 and the CNN and GRU fall to 56 and 57 %",
        "Greydanus & Kobak 2024, Table 1",
        "ordering",
        "4,000 training samples, models of the published sizes, Adam at 0.01, batches of 100, 4,000 steps, 3 seeds: "
        "mean test accuracy within 4 points of each of the seven numbers",
        300,
        (
            *("optim=adam", "optim.lr=0.01", "scheduler=constant", "batch.size=100", "max_steps=4000", "seeds=3"),
            *("eval_every=2000", "data.normalize=none", "data.val_fraction=0"),
            *(
                word
                for data in (("data=mnist1d",), ("data=custom", "data.target=runner.study.parts.shuffled_mnist1d"))
                for word in (
                    *("+", *data, "model=mlp", "model.width=100", "model.residual=true"),
                    *("+", *data, "model=custom"),
                    "model.target=runner.study.parts.Strides,runner.study.parts.BothWays",
                )
            ),
            *("+", "data=mnist1d", "model=linear"),
        ),
        mnist1d_numbers,
    ),
    Study(
        "calibration",
        "Label smoothing and mixup each make an overfitted network's probabilities truer",
        "Guo et al. 2017; Müller et al. 2019, §3; Thulasidasan et al. 2019",
        "ordering",
        "MNIST-1D, 256-256 ReLU units, Adam at 0.003, 40 epochs, 5 seeds: the 95 % interval of the paired difference "
        "of the expected calibration error on the test set lies below 0 for smoothing (0.1) and for mixup (0.2)",
        60,
        (
            *("data=mnist1d", "model.width=256", "optim=adam", "optim.lr=0.003", "epochs=40", "batch.size=100"),
            *("eval_every=1440", "seeds=5", "save=last"),
            *("+", "regularization=none,label_smoothing", "+", "augment=mixup"),
        ),
        calibrated,
    ),
    Study(
        "gradual-pruning",
        "A network that loses 80 % of its weights while it trains is hardly worse",
        "Zhu & Gupta 2017",
        "ordering",
        "MNIST, 256-256 ReLU units, Adam, 5 epochs, 5 seeds: the 95 % interval of the paired difference of test "
        "accuracy to whole networks lies above −1 point, with at least 79.9 % of the weights 0",
        90,
        (
            *("data=mnist", "model.width=256", "optim=adam", "epochs=5", "batch.size=128", "eval_every=2110"),
            *("seeds=5", "compress=none,prune"),
        ),
        gradual_pruning,
    ),
    Study(
        "grokking",
        "A network with weight decay that knows its training pairs by heart learns the others long after",
        "Power et al. 2022, Fig. 1",
        "ordering",
        "addition modulo 31, half of the pairs, 256 ReLU units, AdamW at 0.01 with decay 3, full batch, 5,000 steps, 5 "
        "seeds: the others are known to 90 % at the end; the 95 % interval of the log of the steps that took over "
        "those to 99 % of the training pairs lies above log 3, and that of the accuracy on the others at that time "
        "below 0.5",
        90,
        (
            *("data=custom", "data.target=runner.study.parts.modular_addition", "data.args={modulus: 31}"),
            *("data.normalize=none", "model.width=256", "model.depth=1", "optim=adamw", "optim.lr=0.01"),
            *("scheduler=constant", "batch.size=480", "max_steps=5000", "eval_every=20", "seeds=5"),
            "optim.weight_decay=3.0,0.0",  # the rate and the decay were chosen on seed 100,
        ),
        grokking,
    ),
)
