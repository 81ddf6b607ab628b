"""Studies of class ordering: what data, width, depth, dropout and the shape of the draw do to a network that trains."""

import numpy as np
import pandas as pd

from runner.report.load import Records
from runner.study.judging import Array, Curves, Rows, compared, interval, judgement, lines, numbers, over_steps
from runner.study.study import Judgement, Study

SHARES = (0.0625, 0.25, 1.0)
"""Of the training samples."""
UNDERFIT = 60.0
"""Percent of test errors above which a model underfits ten classes that a convolutional network tells apart."""


def more_data(records: Records) -> Judgement:
    """Compare a linear model's errors over the number of samples, and with a larger model's on all of them."""
    runs = numbers(records, "data.fraction", "data.split_seed", "final_train_accuracy", "test_accuracy")
    errors: dict[tuple[str, float], pd.DataFrame] = {}
    for model, share in (*(("linear", share) for share in SHARES), ("mlp", SHARES[-1])):
        of_it = runs[(runs["model"] == model) & (runs["data.fraction"] == share)]
        indexed = of_it.set_index("data.split_seed").sort_index()
        errors[model, share] = 100 * (1 - indexed[["final_train_accuracy", "test_accuracy"]])
    least, most = (errors["linear", share] for share in (SHARES[0], SHARES[-1]))
    large = errors["mlp", SHARES[-1]]
    on_train = "final_train_accuracy"
    grown = interval((most[on_train] - least[on_train]).to_numpy(float))
    left = interval(most["test_accuracy"].to_numpy(float))
    gained = interval((large[on_train] - most[on_train]).to_numpy(float))
    rows: Rows = [
        compared("linear: training error, 16 times the data less one", *grown, "interval above 0", grown[1] > 0),
        compared("linear: test error on all data, %", *left, f"interval above {UNDERFIT:g}", left[1] > UNDERFIT),
        compared("network less linear, training error on all data", *gained, "interval below -20", gained[2] < -20),
        compared(
            "linear: test error on a sixteenth, %",
            *interval(least["test_accuracy"].to_numpy(float)),
            "reported",
            True,
        ),
    ]
    shares = np.array(SHARES)
    curves: Curves = {
        f"linear, {told}": (shares, np.array([errors["linear", share][column].mean() for share in SHARES]))
        for told, column in (("training", on_train), ("test", "test_accuracy"))
    }
    axes = ("share of the training samples", "error, %")
    return judgement(rows, lines("more-data", "Errors of a linear model", axes, curves, log=False, log_x=True))


WIDTHS = (8, 16, 32, 64, 128, 256)
REACHED = 0.3
"""Training loss."""
MOST_STEPS = 1500


def wide_fast(records: Records) -> Judgement:
    """Fit the slope of log steps to a training loss over log width, each width at its best rate."""
    runs = numbers(records, "model.width", "optim.lr", "seed")
    taken = []
    for run_id in runs["run_id"]:
        steps, loss = over_steps(records, run_id, "train_loss")
        reached = steps[loss <= REACHED]
        taken.append(float(reached[0]) if len(reached) else float(MOST_STEPS))
    runs["log_steps"] = np.log2(taken)
    best = np.stack([_lowest(runs[runs["model.width"] == width], "log_steps")[0] for width in WIDTHS])
    slope = interval(np.polyfit(np.log2(WIDTHS), best, 1)[0])
    ratio = interval(2 ** (best[0] - best[-1]))
    rows: Rows = [
        compared("slope of log steps over log width", *slope, "interval below 0", slope[2] < 0),
        compared(f"steps, {WIDTHS[0]} units over {WIDTHS[-1]}", *ratio, "reported", True),
    ]
    curves: Curves = {"at the best rate": (np.array(WIDTHS, float), 2 ** best.mean(axis=1))}
    axes = ("units of a layer", f"steps to a training loss of {REACHED}")
    return judgement(rows, lines("wide-fast", "Steps over the width", axes, curves, log_x=True))


ALIKE = 1.0
"""Points of test accuracy."""


def uniform_normal(records: Records) -> Judgement:
    """Compare test accuracies of networks whose weights are drawn with one variance in two shapes."""
    runs = numbers(records, "seed", "test_accuracy")
    by_seed = 100 * runs.pivot(index="seed", columns="init", values="test_accuracy").sort_index()
    mean, low, high = interval((by_seed["he_uniform"] - by_seed["he_normal"]).to_numpy(float))
    holds = low > -ALIKE and high < ALIKE
    rows: Rows = [compared("test points, uniform less normal", mean, low, high, f"interval within ± {ALIKE:g}", holds)]
    for name in ("he_uniform", "he_normal"):
        rows.append(compared(f"{name}: test accuracy, %", *interval(by_seed[name].to_numpy(float)), "reported", True))
    curves: Curves = {
        name: (by_seed.index.to_numpy(float), by_seed[name].to_numpy(float)) for name in ("he_normal", "he_uniform")
    }
    axes = ("seed", "test accuracy, %")
    return judgement(rows, lines("uniform-normal", "Test accuracy of each seed", axes, curves, log=False))


RISES = 0.2
"""Share of the steps at which the loss rises."""


def dropout_noise(records: Records) -> Judgement:
    """Count the steps of full-batch gradient descent at which the loss that is trained on rises."""
    rises: dict[str, list[float]] = {}
    last: dict[str, list[float]] = {}
    curves: Curves = {}
    for _, row in records.runs.assign(number=records.number("seed")).sort_values("number").iterrows():
        kind = str(row["regularization"])
        steps, loss = over_steps(records, row["run_id"], "batch_loss")
        rises.setdefault(kind, []).append(float((np.diff(loss[1:]) > 0).mean()))
        last.setdefault(kind, []).append(float(row["final_train_loss"]))
        if row["seed"] == "0":
            curves["without" if kind == "none" else kind] = (steps[1:], loss[1:])
    found = {kind: interval(np.array(values)) for kind, values in rises.items()}
    most = max(rises["none"])
    more = interval(np.log10(last["dropout"]) - np.log10(last["none"]))
    rows: Rows = [
        compared("share of steps at which the loss rises, without", most, most, most, "every seed 0", most == 0),
        compared("share with dropout", *found["dropout"], f"interval above {RISES}", found["dropout"][1] > RISES),
        compared("log10 of training loss, with dropout less without", *more, "interval above 0", more[1] > 0),
    ]
    axes = ("steps", "loss of the batch, which is all samples")
    return judgement(rows, lines("dropout-noise", "The loss that is trained on, seed 0", axes, curves))


SHALLOW, DEEP = 4, 24


def degradation(records: Records) -> Judgement:
    """Compare training losses of plain and residual networks of two depths, each at its best rate."""
    runs = numbers(records, "model.depth", "optim.lr", "seed", "final_train_loss")
    runs["final_train_loss"] = runs["final_train_loss"].fillna(np.inf)  # of runs that diverged
    best: dict[tuple[str, int], Array] = {}
    curves: Curves = {}
    for name, residual in (("plain", "false"), ("residual", "true")):
        for depth in (SHALLOW, DEEP):
            of_it = runs[(runs["model.residual"] == residual) & (runs["model.depth"] == depth)]
            best[name, depth], curves[f"{name}, {depth} layers"] = _lowest(of_it, "final_train_loss")
    rows: Rows = []
    for one, other, above in (
        (("plain", DEEP), ("plain", SHALLOW), True),
        (("residual", DEEP), ("plain", DEEP), False),
        (("residual", DEEP), ("residual", SHALLOW), False),
    ):
        mean, low, high = interval(best[one] - best[other])
        what = f"training loss, {one[0]} {one[1]} less {other[0]} {other[1]}"
        expected, holds = ("interval above 0", low > 0) if above else ("interval below 0", high < 0)
        rows.append(compared(what, mean, low, high, expected, holds))
    for (name, depth), losses in best.items():
        rows.append(compared(f"training loss, {name} {depth}", *interval(losses), "reported", True))
    axes = ("learning rate", "training loss")
    return judgement(rows, lines("degradation", "Training loss over the rate", axes, curves, log_x=True))


def _lowest(runs: pd.DataFrame, column: str) -> tuple[Array, tuple[Array, Array]]:
    """Return a column by seed at the rate where its mean is lowest, and the rates with the means of all."""
    cells = runs.pivot(index="optim.lr", columns="seed", values=column).sort_index()
    means = cells.mean(axis=1).to_numpy(float)
    return cells.to_numpy(float)[means.argmin()], (cells.index.to_numpy(float), means)


SAMPLES = 40
FEATURES = (4, 10, 20, 30, 40, 60, 100, 400)
"""Random ReLU features, fewer than samples, as many, and more."""


def double_descent(records: Records) -> Judgement:
    """Compare test errors at as many features as samples with those of fewer and of more."""
    runs = numbers(records, "seed", "test_loss")
    runs["features"] = runs["model.args"].str.extract(r"(\d+)", expand=False).astype(int)
    by_seed = np.log10(runs.pivot(index="seed", columns="features", values="test_loss"))
    rows: Rows = []
    for other in (10, FEATURES[-1]):
        mean, low, high = interval((by_seed[SAMPLES] - by_seed[other]).to_numpy(float))
        what = f"log10 of test error, {SAMPLES} features less {other}"
        rows.append(compared(what, mean, low, high, "interval above 0", low > 0))
    lowest = by_seed[[f for f in FEATURES if f < SAMPLES]].mean().idxmin()
    found = interval((by_seed[FEATURES[-1]] - by_seed[lowest]).to_numpy(float))
    rows.append(compared(f"log10 of test error, {FEATURES[-1]} features less {lowest}", *found, "reported", True))
    curves: Curves = {"test": (np.array(FEATURES, float), 10 ** by_seed[list(FEATURES)].mean().to_numpy(float))}
    axes = ("features", "test error")
    plot = lines("double-descent", f"Test error over the width, {SAMPLES} samples", axes, curves, log_x=True)
    return judgement(rows, plot)


STUDIES = (
    Study(
        "more-data",
        "More data does not cure underfitting: a model that is too small has larger training errors of it; a larger "
        "model cures it",
        "Goodfellow et al. 2016, §5.2 and Fig. 5.4",
        "ordering",
        "MNIST-1D, 7,200 training samples and a sixteenth of them, 5 splits: the 95 % interval of a linear model's "
        "training error on all less a sixteenth lies above 0, that of its test error on all above 60 %, and that of a "
        "network's training error (100-100 ReLU units) less the linear model's below −20 points",
        40,
        (
            *("data=mnist1d", "data.samples=10000", "data.split_seed=0,1,2,3,4", "optim=adam", "max_steps=3000"),
            *("batch.size=100", "eval_every=1500"),
            *("+", "model=linear", "optim.lr=0.01", "data.fraction=" + ",".join(map(str, SHARES))),
            *("+", "model=mlp", "model.width=100", "optim.lr=0.003", f"data.fraction={SHARES[-1]}"),
        ),
        more_data,
    ),
    Study(
        "wide-fast",
        "Wider networks need fewer steps to a training loss, not more",
        "Li et al. 2020, §3; Shallue et al. 2019, §4.3",
        "ordering",
        "digits, two layers of 8 to 256 ReLU units, SGD at the best of 4 rates, 5 seeds, steps to a training loss of "
        "0.3 (1,500 where they are not enough): the 95 % interval of the slope of log steps over log width lies below "
        "0",
        90,
        (
            *("init=he", "optim=sgd", "scheduler=constant", f"max_steps={MOST_STEPS}", "eval_every=10", "seeds=5"),
            *("model.width=" + ",".join(map(str, WIDTHS)), "optim.lr=0.03,0.1,0.3,1"),
        ),
        wide_fast,
    ),
    Study(
        "uniform-normal",
        "Uniform and Gaussian weights of one variance train alike",
        "Glorot & Bengio 2010, eq. 16; He et al. 2015, eq. 10",
        "ordering",
        "MNIST-1D, 100-100 ReLU units, Adam, 40 seeds: the 95 % interval of the difference of test accuracy, uniform "
        "less normal of He's variance, lies within ± 1 point",
        60,
        (
            *("data=mnist1d", "model.width=100", "optim=adam", "optim.lr=0.003", "epochs=20", "batch.size=100"),
            *("seeds=40", "eval_every=720", "init=he_uniform,he_normal"),
        ),
        uniform_normal,
    ),
    Study(
        "dropout-noise",
        "Dropout does not stabilize training: it adds noise to a gradient that had none",
        "Srivastava et al. 2014, §A.2",
        "ordering",
        "digits, 64-64-64 ReLU units, full-batch gradient descent at 0.1, 300 steps, 10 seeds: without dropout the "
        "loss never rises; with it the 95 % interval of the share of steps at which it rises lies above 0.2, and that "
        "of log training loss less that without above 0",
        60,
        (
            *("model.width=64", "model.depth=3", "init=he", "optim=gd", "optim.lr=0.1", "scheduler=constant"),
            *("max_steps=300", "eval_every=1", "seeds=10", "regularization=none,dropout"),
        ),
        dropout_noise,
    ),
    Study(
        "degradation",
        "Plain networks that are deeper train to a higher loss; residual ones do not, and train to a lower one",
        "He et al. 2016, Fig. 1 and Fig. 4",
        "ordering",
        "MNIST-1D, layers of 64 ReLU units behind batch norm, momentum at the best of 3 rates, 20 epochs, 5 seeds: the "
        "95 % interval of the training loss of 24 plain layers less 4 lies above 0; of 24 residual less 24 plain, and "
        "less 4 residual, below 0",
        150,
        (
            *("data=mnist1d", "model.width=64", "model.normalization=batch", "init=he", "optim=momentum", "epochs=20"),
            *("batch.size=100", "eval_every=720", "seeds=5", "optim.lr=0.01,0.03,0.1", "model.residual=false,true"),
            f"model.depth={SHALLOW},{DEEP}",
        ),
        degradation,
    ),
    Study(
        "double-descent",
        "The test error of least squares on random features peaks where there are as many features as samples, and "
        "falls again beyond",
        "Belkin et al. 2019; Hastie et al. 2022",
        "ordering",
        "40 noisy samples of a linear target in 20 dimensions, 4 to 400 random ReLU features, L-BFGS from zero, 20 "
        "draws: the 95 % intervals of log test error at 40 features less that at 10, and less that at 400, lie above 0",
        90,
        (
            *("data=custom", "data.target=runner.study.parts.noisy_linear", "data.normalize=none", "loss=mse"),
            f"data.args={{samples: {SAMPLES}, features: 20, noise: 0.5}}",
            *("model=custom", "model.target=runner.study.parts.RandomFeatures", "init=zeros", "dtype=float64"),
            *("optim=lbfgs", "optim.max_iter=100", "scheduler=constant", f"batch.size={SAMPLES}", "max_steps=15"),
            *("eval_every=15", "seeds=20"),
            *(word for width in FEATURES for word in ("+", f"model.args={{width: {width}}}")),
        ),
        double_descent,
    ),
)
