"""Studies of class ordering: what keeps a network that could learn its training set by heart from doing so."""

import numpy as np

from runner.report.load import Records
from runner.study.judging import Curves, Rows, judgement, lines
from runner.study.ordering import compared, interval, numbers
from runner.study.study import Judgement, Study

LENGTHS = (1, 2, 3, 5, 10, 20, 50, 100, 200)
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
        "early-stopping",
        "Trained on, a network's test loss climbs again; early stopping ends before it has",
        "Prechelt 1998",
        "ordering",
        "MNIST-1D, 10 seeds: test loss after 200 epochs above that of the best length; stopped by validation (patience "
        "5 epochs) below that of 200 epochs and at most 1.1 times that of the best length, each with its 95 % interval",
        120,
        (
            *("data=mnist1d", "optim=adam", "scheduler=constant", "seeds=10"),
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
