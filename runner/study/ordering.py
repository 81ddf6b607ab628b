"""The studies of class ordering: which of two choices is better, with its confidence interval."""

import math

import numpy as np
import pandas as pd
from scipy import stats

from runner.report.load import Records
from runner.study.judging import Array, Curves, compared, interval, judgement, lines, numbers
from runner.study.study import Judgement, Study

STALLED, TRAINED = 2.25, 0.6
"""Training losses of ten classes: chance is log 10 = 2.30."""
SCHEDULES = ("linear", "cosine", "wsd")
MOST_POINTS = 0.3
"""Percentage points of test accuracy that decaying and growing may differ by."""


SMALL_BATCHES, LARGE_BATCHES = (8, 128), (1024, 4096)
SLOPE, FLAT = 0.15, -0.25
"""Of log steps over log batch: how far from -1 where batches are small, and the least where they are large."""
NOISE_SCALE = 0.1
"""How far, relative to it, the two-batch estimate may be from the per-example value."""


def depth_30(records: Records) -> Judgement:
    """He trains 30 ReLU layers and Xavier stalls at every learning rate; the controls hold too."""
    runs = numbers(records, "model.depth", "optim.lr", "seed", "final_train_loss")
    runs["final_train_loss"] = runs["final_train_loss"].fillna(math.inf)  # of a run that diverged

    def row(name: str, trains: bool, init: str, depth: int, optim: str) -> dict[str, object]:
        """Of what should train the worst seed's loss at its best rate; of what should stall the lowest loss of all."""
        chosen = runs[(runs["init"] == init) & (runs["model.depth"] == depth) & (runs["optim"] == optim)]
        of_seed = chosen.groupby("seed")["final_train_loss"].min()
        loss = float(of_seed.max() if trains else of_seed.min())
        expected, holds = (f"< {TRAINED}", loss < TRAINED) if trains else (f"≥ {STALLED}", loss >= STALLED)
        return {"run": name, "training_loss": loss, "expected": expected, "holds": holds}

    rows = [
        row("30 layers, He, SGD", True, "he_normal", 30, "sgd"),
        row("30 layers, Xavier, SGD, any rate", False, "xavier_uniform", 30, "sgd"),
        row("10 layers, He, SGD", True, "he_normal", 10, "sgd"),
        row("10 layers, Xavier, SGD", True, "xavier_uniform", 10, "sgd"),
        row("30 layers, Xavier, Adam", True, "xavier_uniform", 30, "adam"),
        row("30 layers, PyTorch's default, Adam, any rate", False, "default", 30, "adam"),
    ]
    curves: Curves = {}
    for init, name in (("he_normal", "He"), ("xavier_uniform", "Xavier")):
        of_it = runs[(runs["init"] == init) & (runs["model.depth"] == 30) & (runs["optim"] == "sgd")]
        mean = of_it.groupby("optim.lr")["final_train_loss"].mean()
        curves[name] = (mean.index.to_numpy(float), mean.to_numpy(float))
    plot = lines("losses", "Training loss after 1,000 steps, 30 layers", ("learning rate", "loss"), curves)
    return judgement(rows, plot)


def schedules(records: Records) -> Judgement:
    """Each schedule at the learning rate that validation prefers; test accuracies compared seed by seed."""
    runs = numbers(records, "optim.lr", "seed", "final_val_accuracy", "test_accuracy")
    chosen: dict[str, pd.Series[float]] = {}
    curves: Curves = {}
    for name, of_it in runs.groupby("scheduler"):
        by_rate = of_it.groupby("optim.lr")["final_val_accuracy"].mean()
        curves[str(name)] = (by_rate.index.to_numpy(float), by_rate.to_numpy(float))
        chosen[str(name)] = of_it[of_it["optim.lr"] == by_rate.idxmax()].set_index("seed")["test_accuracy"]
    rows: list[dict[str, object]] = []
    for name in SCHEDULES:
        mean, low, high = interval((chosen[name] - chosen["constant"]).to_numpy(float))
        rows.append(compared(f"{name} over constant", mean, low, high, "interval above 0", low > 0))
    mean, low, high = interval((chosen["linear"] - chosen["cosine"]).to_numpy(float))
    rows.append(compared("linear over cosine", mean, low, high, "reported", True))
    axes = ("learning rate", "validation accuracy")
    return judgement(rows, lines("rates", "Schedules over the learning rate, 20 seeds", axes, curves, log=False))


def decay_or_grow(records: Records) -> Judgement:
    """A batch that grows by 5 does what a learning rate divided by 5 does, in fewer updates."""
    runs = numbers(records, "seed", "test_accuracy", "steps")
    decayed, grown = (runs[runs["batch"] == kind].set_index("seed") for kind in ("fixed", "growing"))
    mean, low, high = interval(100 * (grown["test_accuracy"] - decayed["test_accuracy"]).to_numpy(float))
    updates = float(grown["steps"].mean() / decayed["steps"].mean())
    rows = [
        compared(
            "test points, grown - decayed",
            mean,
            low,
            high,
            f"interval within ± {MOST_POINTS}",
            max(-low, high) <= MOST_POINTS,
        ),
        compared("updates, grown / decayed", updates, updates, updates, "< 1", updates < 1),
    ]
    curves: Curves = {
        name: (of_it.index.to_numpy(float), of_it["test_accuracy"].to_numpy(float))
        for name, of_it in (("rate divided", decayed), ("batch grown", grown))
    }
    return judgement(rows, lines("seeds", "Test accuracy of each seed", ("seed", "accuracy"), curves, log=False))


def adamw_decoupling(records: Records) -> Judgement:
    """With decoupled decay the good learning rates do not hang on the decay; with L2 they do.

    Of each seed: the accuracy of the cell that is best for the other seeds, and how the rate and the decay of its own
    best cells go together.
    """
    runs = numbers(records, "optim.lr", "decay", "seed", "final_val_accuracy")
    runs["final_val_accuracy"] = runs["final_val_accuracy"].fillna(0.0)  # of runs that diverged
    best: dict[str, Array] = {}
    diagonal: dict[str, Array] = {}
    curves: Curves = {}
    for name, of_it in runs.groupby("optim"):
        cells = of_it.pivot(index=["optim.lr", "decay"], columns="seed", values="final_val_accuracy").sort_index()
        accuracies = cells.to_numpy(float)
        of_others = accuracies.sum(axis=1, keepdims=True) - accuracies
        best[str(name)] = accuracies[of_others.argmax(axis=0), np.arange(accuracies.shape[1])]
        places = np.log(cells.index.to_frame().to_numpy(float))
        good = np.argsort(-accuracies, axis=0, kind="stable")[: len(cells) // 4]
        diagonal[str(name)] = np.array([_correlation(places[of_seed]) for of_seed in good.T])
        by_rate = cells.mean(axis=1).groupby("optim.lr").max()
        curves["AdamW" if name == "adamw" else "Adam with L2"] = (
            by_rate.index.to_numpy(float),
            by_rate.to_numpy(float),
        )
    wins, straight = interval(100 * (best["adamw"] - best["adam"])), interval(diagonal["adamw"] - diagonal["adam"])
    rows = [
        compared("validation points, best cell, AdamW less Adam with L2", *wins, "interval above 0", wins[1] > 0),
        compared(
            "|correlation| in the best quarter, AdamW less Adam with L2", *straight, "interval below 0", straight[2] < 0
        ),
        *(
            compared(f"|correlation| in the best quarter, {name}", *interval(diagonal[name]), "reported", True)
            for name in ("adamw", "adam")
        ),
    ]
    axes = ("learning rate", "best validation accuracy over decays")
    return judgement(rows, lines("rates", "AdamW and Adam with L2 over the learning rate", axes, curves, log=False))


def _correlation(places: Array) -> float:
    """Return the size of the correlation of two columns, 0 where one of them does not vary."""
    varies = (places.std(axis=0) > 0).all()
    return abs(float(stats.pearsonr(places[:, 0], places[:, 1]).statistic)) if varies else 0.0


def dropout(records: Records) -> Judgement:
    """Dropout lowers the test error of a wide network."""
    runs = numbers(records, "seed", "test_accuracy", "test_loss")
    without, dropped = (
        runs[runs["regularization"] == kind].set_index("seed").sort_index() for kind in ("none", "dropout")
    )
    mean, low, high = interval(100 * (dropped["test_accuracy"] - without["test_accuracy"]).to_numpy(float))
    rows = [
        compared("test points gained by dropout", mean, low, high, "interval above 0", low > 0),
        compared(
            "test error without, %", *interval(100 * (1 - without["test_accuracy"]).to_numpy(float)), "reported", True
        ),
        compared(
            "test loss with / without",
            *interval((dropped["test_loss"] / without["test_loss"]).to_numpy(float)),
            "reported",
            True,
        ),
    ]
    curves: Curves = {
        name: (of_it.index.to_numpy(float), of_it["test_accuracy"].to_numpy(float))
        for name, of_it in (("without", without), ("dropout", dropped))
    }
    return judgement(rows, lines("seeds", "Test accuracy of each seed", ("seed", "accuracy"), curves, log=False))


def batch_scaling(records: Records) -> Judgement:
    """Steps to a target halve with each doubling of small batches and stay with large ones; the noise scale is told."""
    from runner.study.noise_scale import of_each_sample

    runs = numbers(records, "batch.size", "optim.lr", "seed", "steps_to_target", "noise_scale")
    fixed = runs[runs["batch"] == "fixed"]
    logs = np.log2(fixed["steps_to_target"].fillna(math.inf))
    cells = logs.groupby([fixed["batch.size"], fixed["optim.lr"]]).mean()
    tuned: Curves = {}
    for size in sorted(fixed["batch.size"].unique()):
        at_best = (fixed["batch.size"] == size) & (fixed["optim.lr"] == cells[size].idxmin())
        tuned[f"{size:g}"] = (fixed[at_best]["seed"].to_numpy(float), logs[at_best].to_numpy(float))
    sizes = np.log2([float(size) for size in tuned])
    steps = np.stack([of_size[np.argsort(seeds)] for seeds, of_size in tuned.values()])  # [sizes, seeds]

    def slope(low: int, high: int) -> tuple[float, float, float]:
        chosen = (sizes >= math.log2(low)) & (sizes <= math.log2(high))
        return interval(np.polyfit(sizes[chosen], steps[chosen], 1)[0])

    small, large = slope(*SMALL_BATCHES), slope(*LARGE_BATCHES)
    rows = [
        compared(
            f"slope from {SMALL_BATCHES[0]} to {SMALL_BATCHES[1]}",
            *small,
            f"interval within -1 ± {SLOPE}",
            max(abs(small[1] + 1), abs(small[2] + 1)) <= SLOPE,
        ),
        compared(
            f"slope from {LARGE_BATCHES[0]} to {LARGE_BATCHES[1]}",
            *large,
            f"interval above {FLAT}",
            large[1] > FLAT,
        ),
    ]
    adaptive = runs[runs["batch"] == "adaptive"]
    exact = np.array([of_each_sample(records.places[identifier]) for identifier in adaptive["run_id"]])
    ratios = adaptive["noise_scale"].to_numpy(float) / exact
    least, most = float(ratios.min()), float(ratios.max())
    rows.append(
        compared(
            "two-batch over per-example noise scale",
            float(ratios.mean()),
            least,
            most,
            f"every seed within 1 ± {NOISE_SCALE}",
            max(1 - least, most - 1) <= NOISE_SCALE,
        )
    )
    rows.append(compared("per-example noise scale", *interval(exact), "reported", True))
    mean = steps.mean(axis=1)
    crossing = 2 ** (sizes[0] + steps[0] - steps[-1])
    rows.append(compared("size where halving would reach the steps of the last", *interval(crossing), "reported", True))
    curves: Curves = {
        "at the best learning rate": (sizes, 2**mean),
        "halving with each doubling": (sizes, 2 ** (mean[0] + sizes[0] - sizes)),
    }
    return judgement(rows, lines("steps", "Steps to a validation loss of 0.2", ("log2 of the batch", "steps"), curves))


_DIGITS = ("data=digits", "model.width=64", "batch.size=64", "max_steps=1000", "eval_every=500", "scheduler=constant")
"""The length was chosen on seeds 0 to 2, at 600, 1,000 and 1,500 steps: after 600 some of He's are still above 0.6,
after 1,500 some of Xavier's have begun to learn. So it is judged on others."""
_RATES = "optim.lr=0.003,0.01,0.02,0.03,0.05,0.1,0.3"
_LRS = (3e-4, 1e-3, 3e-3, 1e-2, 3e-2, 1e-1)
_DECAYS = (1e-6, 1e-5, 1e-4, 3e-4, 1e-3, 3e-3)
_SMALL_RATES = "optim.lr=1e-4,2e-4,5e-4,1e-3,2e-3,3e-3"

_BATCHES = (
    *((8, 5000, 25, (2e-3, 4e-3, 8e-3)), (16, 2500, 15, (2e-3, 4e-3, 8e-3)), (32, 1500, 8, (4e-3, 8e-3, 16e-3))),
    *((64, 800, 4, (16e-3, 32e-3, 64e-3)), (128, 500, 2, (16e-3, 32e-3, 64e-3)), (256, 300, 2, (4e-2, 8e-2, 16e-2))),
    (512, 200, 1, (4e-2, 8e-2, 16e-2)),
    *((size, 200, 1, (8e-2, 16e-2, 32e-2)) for size in (1024, 2048, 4096)),
)
"""Sizes, the most steps, steps between evaluations (1 to 2 % of those that it takes), and rates."""

STUDIES = (
    Study(
        "depth-30",
        "A plain ReLU network of 30 layers trains from He's weights and stalls from Xavier's",
        "He et al. 2015, Fig. 3",
        "ordering",
        "digits, 30 × 64, SGD, 1,000 steps (chosen on other seeds), each of 3 seeds: He's training loss < 0.6 at its "
        "best rate, Xavier's ≥ 2.25 at every one; at 10 layers both < 0.6; Adam trains Xavier (< 0.6); PyTorch's "
        "default stalls even with Adam (≥ 2.25)",
        100,
        (
            *_DIGITS,
            "seed=100,101,102",
            *("+", "model.depth=30", "init=he,xavier", "optim=sgd", _RATES),
            *("+", "model.depth=10", "init=he,xavier", "optim=sgd", _RATES),
            *("+", "model.depth=30", "init=xavier,default", "optim=adam", _SMALL_RATES),
        ),
        depth_30,
    ),
    Study(
        "schedules",
        "Schedules that end at zero beat a constant learning rate at the last iterate",
        "Defazio et al. 2023",
        "ordering",
        "MNIST-1D, learning rate tuned for each schedule on validation, 20 seeds: the 95 % interval of the paired "
        "difference of test accuracy to constant lies above 0 for linear, cosine and wsd",
        60,
        (
            *("data=mnist1d", "model.width=100", "optim=adamw", "epochs=30", "batch.size=100", "seeds=20"),
            *("scheduler=constant,linear,cosine,wsd", "optim.lr=1e-3,3e-3,1e-2,3e-2"),
        ),
        schedules,
    ),
    Study(
        "adamw-decoupling",
        "Decoupled decay makes learning rate and weight decay separable; L2 through Adam does not",
        "Loshchilov & Hutter 2019, Fig. 2",
        "ordering",
        "MNIST-1D, 6 × 6 grid over the rate and rate times decay, 6 seeds: the 95 % interval of the paired difference "
        "of validation accuracy to Adam-L2's lies above 0, each in the cell that is best for the other seeds, and that "
        "of the size of the correlation of rate and decay in the best quarter of cells below 0",
        240,
        (
            *("data=mnist1d", "model.width=100", "epochs=20", "batch.size=100", "seeds=6", "scheduler=cosine"),
            *(
                word
                for lr in _LRS
                for word in (
                    *("+", "optim=adamw", f"optim.lr={lr}"),
                    "optim.weight_decay=" + ",".join(f"{decay / lr:.6g}" for decay in _DECAYS),
                    *("+", "optim=adam", f"optim.lr={lr}", "regularization=l2"),
                    "regularization.l2.strength=" + ",".join(f"{decay / lr:.6g}" for decay in _DECAYS),
                )
            ),
        ),
        adamw_decoupling,
    ),
    Study(
        "decay-or-grow",
        "Dividing the learning rate by k and multiplying the batch by k do the same",
        "Smith et al. 2018",
        "ordering",
        "MNIST, k = 5 at two milestones, 5 seeds: the 95 % interval of the paired difference of test accuracy lies "
        "within ± 0.3 points, fewer updates",
        90,
        (
            *("data=mnist", "optim=momentum", "optim.lr=0.05", "epochs=9", "seeds=5", "batch.size=64"),
            *("+", "scheduler=multistep", "scheduler.milestones=[0.3333333,0.6666667]", "scheduler.factor=0.2"),
            *("+", "scheduler=constant", "batch=growing", "batch.milestones=[3,6]", "batch.factor=5"),
        ),
        decay_or_grow,
    ),
    Study(
        "batch-scaling",
        "Steps to a target fall as 1 over the batch, then flatten; two sizes of batches tell the gradient noise scale",
        "Shallue et al. 2019, Fig. 1; McCandlish et al. 2018, app. A.1",
        "ordering",
        "MNIST, momentum, rate tuned for each batch, 6 seeds, steps to a validation loss of 0.2: the 95 % interval of "
        "the slope of log steps over log batch lies within −1 ± 0.15 from 8 to 128 and above −0.25 from 1024 to 4096; "
        "the noise scale of two sizes of batches within 10 % of that of every example's gradient, for every seed",
        420,
        (
            *("data=mnist", "model.width=64", "init=he", "optim=momentum", "save=last"),
            "seed=4,5,6,7,8,9",  # the rates were chosen on others
            *("target.metric=val_loss", "target.value=0.2"),
            *(
                word
                for size, most, every, rates in _BATCHES
                for word in (
                    *("+", f"batch.size={size}", f"max_steps={most}", f"eval_every={every}", "stop=target"),
                    *("scheduler=constant", "optim.lr=" + ",".join(f"{rate:g}" for rate in rates)),
                )
            ),
            *("+", "batch=adaptive", "batch.size=256", "batch.smallest=256", "batch.most=256", "batch.decay=0.998"),
            *("data.fraction=0.2", "optim.lr=0.02", "max_steps=5200", "eval_every=400"),
            *("scheduler=multistep", "scheduler.milestones=[50]", "scheduler.factor=1e-12"),  # it trains, then stands
        ),
        batch_scaling,
    ),
    Study(
        "dropout",
        "Dropout lowers the test error of a wide network",
        "Srivastava et al. 2014",
        "ordering",
        "MNIST, 2 × 800 ReLU units, 3 seeds: the 95 % interval of the paired difference of test accuracy lies above 0",
        600,
        (
            *("data=mnist", "model.width=800", "optim=adam", "epochs=15", "batch.size=128", "seeds=3"),
            "regularization=none,dropout",
        ),
        dropout,
    ),
)
