"""Studies of class ordering: what several networks together know that none does alone."""

import numpy as np

from runner.report.load import Records
from runner.statistics.ensembles import Classes
from runner.study.judging import Array, Curves, Rows, compared, interval, judgement, lines, predicted
from runner.study.study import Judgement, Study

SIZES = (1, 2, 5, 10)
GROUP = 10
"""Networks of which ensembles of each size are made; no two groups share one."""


def error(outputs: Array, y: Classes) -> float:
    """Return the test error in percent of the mean of members' probabilities ``[members, n, classes]``."""
    return 100 * float((outputs.mean(0).argmax(1) != y).mean())


def ensemble_size(records: Records) -> Judgement:
    """Compare ensembles of several sizes, made of the same networks, group by group."""
    order = records.runs.assign(number=records.number("seed")).sort_values("number")
    test = predicted(records, order["run_id"].tolist())
    outputs, y = test.outputs, test.labels
    groups = [outputs[first : first + GROUP] for first in range(0, len(outputs), GROUP)]
    found = np.array(
        [
            [np.mean([error(group[i : i + k], y) for i in range(0, GROUP, k)]) for k in SIZES]
            for group in groups
        ]
    )  # fmt: skip
    rows: Rows = []
    for number, k in enumerate(SIZES):
        rows.append(compared(f"test error of {k}, %", *interval(found[:, number]), "reported", True))
    gained = {(a, b): found[:, SIZES.index(a)] - found[:, SIZES.index(b)] for a, b in ((1, 5), (5, 10))}
    mean, low, high = interval(gained[1, 5])
    rows.append(compared("points gained from 1 to 5", mean, low, high, "interval above 0", low > 0))
    mean, low, high = interval(gained[5, 10] - gained[1, 5] / 2)
    said = "interval below 0: less than half as much again"
    rows.append(compared("points from 5 to 10 less half of those from 1 to 5", mean, low, high, said, high < 0))
    curves: Curves = {f"group {i + 1}": (np.array(SIZES, float), one) for i, one in enumerate(found)}
    axes = ("networks", "test error, %")
    return judgement(rows, lines("ensemble-size", "Test error over the ensemble's size", axes, curves, log=False))


WITHIN = 1.0
"""Points of test error that bagging may change of a stable learner."""


def bagging(records: Records) -> Judgement:
    """Compare networks on the whole training set with the mean of networks on resamples of it, seed by seed."""
    rows: Rows = []
    curves: Curves = {}
    for model in ("mlp", "linear"):
        of_it = records.runs[records.runs["model"] == model]
        single, bagged, spread = [], [], []
        seeds = sorted(of_it["seed"].unique(), key=int)
        for seed in seeds:
            ours = of_it[of_it["seed"] == seed].sort_values("data.bootstrap")  # the whole set is the first
            test = predicted(records, ours["run_id"].tolist())
            outputs, y = test.outputs, test.labels
            single.append(error(outputs[:1], y))
            bagged.append(error(outputs[1:], y))
            called = outputs[1:].argmax(2)
            spread.append(100 * float((called != outputs[1:].mean(0).argmax(1)).mean()))
        mean, low, high = interval(np.array(single) - np.array(bagged))
        holds = low > 0 if model == "mlp" else low > -WITHIN and high < WITHIN
        expected = "interval above 0" if model == "mlp" else f"interval within ± {WITHIN:g}"
        rows.append(compared(f"{model}: points gained by bagging", mean, low, high, expected, holds))
        rows.append(compared(f"{model}: test error without, %", *interval(np.array(single)), "reported", True))
        rows.append(compared(f"{model}: resamples that disagree, %", *interval(np.array(spread)), "reported", True))
        curves[f"{model}, one"] = (np.array(seeds, float), np.array(single))
        curves[f"{model}, bagged"] = (np.array(seeds, float), np.array(bagged))
    axes = ("seed", "test error, %")
    return judgement(rows, lines("bagging", "Test error of each seed", axes, curves, log=False))


STUDIES = (
    Study(
        "ensemble-size",
        "The error of an ensemble of networks falls with its size, less with each further one",
        "Hansen & Salamon 1990; Lakshminarayanan et al. 2017, Fig. 2",
        "ordering",
        "MNIST-1D, 100-100 ReLU units, 50 seeds in 5 groups of 10, ensembles of 1, 2, 5 and 10 of a group (means of "
        "probabilities): the 95 % interval over groups of what 5 gain over 1 lies above 0, and that of what 10 gain "
        "over 5, less half of it, below 0",
        60,
        ("data=mnist1d", "model.width=100", "optim=adam", "optim.lr=0.003", "epochs=20", "seeds=50", "save=last"),
        ensemble_size,
    ),
    Study(
        "bagging",
        "Bagging lowers the error of an unstable learner, and hardly changes that of a stable one",
        "Breiman 1996, §6",
        "ordering",
        "MNIST-1D, 10 resamples of the training set, the initial weights the same, 5 seeds: the 95 % interval of the "
        "paired difference of test error, one on all samples less the mean of 10, lies above 0 for a network "
        "(100-100 ReLU units) and within ± 1 point for a linear model",
        90,
        (
            *("data=mnist1d", "optim=adam", "epochs=20", "seeds=5", "save=last"),
            "data.bootstrap=null,0,1,2,3,4,5,6,7,8,9",
            *("+", "model=mlp", "model.width=100", "optim.lr=0.003"),
            *("+", "model=linear", "optim.lr=0.01"),
        ),
        bagging,
    ),
)
