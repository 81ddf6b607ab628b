"""Studies of class ordering: what keeps a network that could learn its training set by heart from doing so."""

import numpy as np
import pandas as pd

from runner.report.load import Records
from runner.study.judging import Curves, Rows, compared, interval, judgement, lines, numbers
from runner.study.ordering import dropout
from runner.study.study import Judgement, Study

HELPED = {"dropout": ("dropout", "none"), "averaged weights": ("ema", "none"), "augmentation": ("none", "crop+rotate")}
"""What is compared with neither: its ``regularization`` and its ``augment``."""


def regularization(records: Records) -> Judgement:
    """Compare the test errors of runs that differ in one option, seed by seed."""
    runs = numbers(records, "seed", "test_accuracy")
    runs["test_error"] = 100 * (1 - runs["test_accuracy"])

    def errors(kind: str, changed: str) -> "pd.Series[float]":
        of_it = runs[(runs["regularization"] == kind) & (runs["augment"] == changed)]
        by_seed: pd.Series[float] = of_it.set_index("seed")["test_error"].sort_index()
        return by_seed

    without = errors("none", "none")
    rows: Rows = [compared("test error without, %", *interval(without.to_numpy(float)), "reported", True)]
    curves: Curves = {"without": (without.index.to_numpy(float), without.to_numpy(float))}
    for name, options in HELPED.items():
        found = errors(*options)
        mean, low, high = interval((found - without).to_numpy(float))
        what = f"test error with {name} less that without, points"
        rows.append(compared(what, mean, low, high, "interval below 0", high < 0))
        curves[name] = (found.index.to_numpy(float), found.to_numpy(float))
    axes = ("seed", "test error, %")
    return judgement(rows, lines("seeds", "Test error of each seed", axes, curves, log=False))


def augmentation(records: Records) -> Judgement:
    """Compare test errors where the last iterate is not noise: with a rate that ends at zero, or averaged weights."""
    runs = numbers(records, "seed", "test_accuracy")
    runs["test_error"] = 100 * (1 - runs["test_accuracy"])
    by_seed = runs.pivot(index="seed", columns=["scheduler", "augment", "regularization"], values="test_error")
    plain, changed = by_seed["linear"]["none"], by_seed["constant"]["crop+rotate"]
    augmented = by_seed["linear"]["crop+rotate"]["none"]
    rows: Rows = [compared("test error, rate to zero, %", *interval(plain["none"].to_numpy(float)), "reported", True)]
    for what, differences, judged in (
        ("augmentation less without, rate to zero, points", augmented - plain["none"], True),
        ("averaged less last weights, constant rate, augmented, points", changed["ema"] - changed["none"], True),
        ("dropout less without, rate to zero, points", plain["dropout"] - plain["none"], False),
    ):
        mean, low, high = interval(differences.to_numpy(float))
        expected = "interval below 0" if judged else "reported"
        rows.append(compared(what, mean, low, high, expected, high < 0 or not judged))
    seeds = by_seed.index.to_numpy(float)
    curves: Curves = {
        ", ".join(map(str, kind)): (seeds, by_seed[kind].to_numpy(float)) for kind in by_seed.columns.tolist()
    }
    axes = ("seed", "test error, %")
    return judgement(rows, lines("seeds", "Test error of each seed", axes, curves, log=False))


LENGTHS = (1, 2, 3, 5, 10, 20, 50, 100)
"""Epochs."""
NEAR = 1.1
"""Test loss over the lowest of any length that still counts as not yet climbed."""


def early_stopping(records: Records) -> Judgement:
    """Compare the test loss where validation said to stop with that of every length, the same runs otherwise."""
    runs = numbers(records, "seed", "epochs", "actual_epochs", "test_loss")
    stopped = runs[runs["regularization"] == "early_stopping"].set_index("seed").sort_index()
    by_length = runs[runs["regularization"] == "none"].pivot(index="seed", columns="epochs", values="test_loss")
    by_length = by_length.sort_index()
    lowest, end = by_length.mean().idxmin(), by_length[LENGTHS[-1]]
    rows: Rows = []
    mean, low, high = interval((end / by_length[lowest]).to_numpy(float))
    what = f"test loss, {LENGTHS[-1]} epochs / {lowest:g} (the best length)"
    rows.append(compared(what, mean, low, high, "interval above 1: it climbs", low > 1))
    mean, low, high = interval((stopped["test_loss"] / end).to_numpy(float))
    rows.append(compared(f"test loss, stopped / {LENGTHS[-1]} epochs", mean, low, high, "interval below 1", high < 1))
    mean, low, high = interval((stopped["test_loss"] / by_length[lowest]).to_numpy(float))
    what = "test loss, stopped / the best length"
    rows.append(compared(what, mean, low, high, f"interval below {NEAR}", high < NEAR))
    rows.append(
        compared("epochs when it stopped", *interval(stopped["actual_epochs"].to_numpy(float)), "reported", True)
    )
    length = np.array(LENGTHS, float)
    curves: Curves = {
        "trained so long": (np.log10(length), by_length.mean()[list(LENGTHS)].to_numpy(float)),
        "stopped early": (np.log10(length[[0, -1]]), np.full(2, stopped["test_loss"].mean())),
    }
    axes = ("log10 of epochs", "test loss")
    return judgement(rows, lines("lengths", "Test loss over the length of the run", axes, curves, log=False))


STUDIES = (
    Study(
        "regularization",
        "Dropout, augmentation and averaging the weights each lower the test error of a network that has little data",
        "Srivastava et al. 2014; Simard et al. 2003; Polyak & Juditsky 1992",
        "ordering",
        "10,800 MNIST images, 784-512-512-10, Adam at a constant 0.002, 20 epochs, 5 seeds: the 95 % interval of the "
        "paired difference of test error lies below 0 for dropout (0.5), for crops by up to 2 pixels with rotations by "
        "up to 15°, and for an exponential moving average of the weights",
        240,
        (
            *("data=mnist", "data.fraction=0.2", "init=he", "model.width=512", "optim=adam", "optim.lr=0.002"),
            *("scheduler=constant", "epochs=20", "eval_every=1690", "seeds=5"),
            *("+", "augment=[crop,rotate]", "augment.crop.pad=2"),
            *("+", "regularization=none,dropout,ema"),
        ),
        regularization,
    ),
    Study(
        "augmentation",
        "Augmentation lowers the test error, and with a constant rate so does averaging the weights",
        "Simard et al. 2003; Polyak & Juditsky 1992",
        "ordering",
        "10,800 MNIST images, 784-256-256-10, Adam at 0.002, 10 epochs, 3 seeds: the 95 % interval of the paired "
        "difference of test error lies below 0 for crops by up to 2 pixels with rotations by up to 15° where the rate "
        "falls to zero, and for averaged weights (ema) where it is constant, the images augmented; dropout is reported",
        90,
        (
            *("data=mnist", "data.fraction=0.2", "init=he", "model.width=256", "optim=adam", "optim.lr=0.002"),
            *("epochs=10", "eval_every=845", "seed=10,11,12"),
            *("+", "scheduler=linear", "regularization=none,dropout"),
            *("+", "scheduler=linear", "augment=[crop,rotate]", "augment.crop.pad=2"),
            *("+", "scheduler=constant", "regularization=none,ema", "augment=[crop,rotate]", "augment.crop.pad=2"),
        ),
        augmentation,
    ),
    Study(
        "dropout-cnn",
        "Dropout before the readout lowers the test error of a convolutional network that has little data",
        "Srivastava et al. 2014, §6.1.2",
        "ordering",
        "5,400 MNIST images, two blocks of convolution, Adam at 0.001, 15 epochs, 5 seeds: the 95 % interval of the "
        "paired difference of test accuracy lies above 0",
        150,
        (
            *("data=mnist", "data.fraction=0.1", "init=he", "model=cnn", "optim=adam", "epochs=15", "eval_every=1275"),
            *("seeds=5", "regularization=none,dropout"),
        ),
        dropout,
    ),
    Study(
        "early-stopping",
        "Trained on, a network's test loss climbs again; early stopping ends before it has",
        "Prechelt 1998",
        "ordering",
        "MNIST-1D, 5 seeds: test loss after 100 epochs above that of the best length; stopped by validation (patience "
        "5 epochs) below that of 100 epochs and at most 1.1 times that of the best length, each with its 95 % interval",
        40,
        (
            *("data=mnist1d", "optim=adam", "scheduler=constant", "seeds=5"),
            *("+", f"epochs={','.join(map(str, LENGTHS))}"),
            *(
                "+",
                f"epochs={LENGTHS[-1]}",
                "regularization=early_stopping",
                "regularization.early_stopping.patience=5",
            ),
        ),
        early_stopping,
    ),
)
