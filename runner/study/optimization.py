"""Studies of class ordering: what gradient descent and tuned optimizers do on real data."""

import numpy as np
import pandas as pd

from runner.report.load import Records
from runner.study.judging import Curves, Rows, compared, interval, judgement, lines, numbers, over_steps
from runner.study.study import Judgement, Study

LEAST_SHARE, MOST_SHARE = 0.85, 1.25
"""Bounds of the late sharpness over 2/lr."""
LATE = 0.75
"""Evaluations after this share of a run are late."""


def edge_of_stability(records: Records) -> Judgement:
    """Compare the sharpness late in full-batch gradient descent with 2/lr, beyond which a quadratic diverges."""
    runs = numbers(records, "optim.lr", "seed")
    rows: Rows = []
    curves: Curves = {}
    for rate, of_rate in runs.groupby("optim.lr"):
        first, late = [], []
        for _, run in of_rate.iterrows():
            steps, sharpness = over_steps(records, run["run_id"], "sharpness")
            share = sharpness * float(run["optim.lr"]) / 2
            first.append(share[0])
            late.append(float(np.median(share[steps > LATE * steps[-1]])))
            if run["seed"] == runs["seed"].min():
                curves[f"lr {rate:g}"] = (steps, share)
        expected = f"within {LEAST_SHARE} … {MOST_SHARE}"
        mean, low, high = interval(np.array(late))
        holds = low >= LEAST_SHARE and high <= MOST_SHARE
        rows.append(compared(f"lr {rate:g}: first sharpness · lr/2", *interval(np.array(first)), "reported", True))
        rows.append(compared(f"lr {rate:g}: late sharpness · lr/2", mean, low, high, expected, holds))
    axes = ("steps", "sharpness · lr/2")
    return judgement(rows, lines("sharpness", "Sharpness over 2/lr, one seed", axes, curves, log=False))


SGD_RATES = (1e-3, 2e-3, 3e-3, 6e-3, 0.01, 0.02, 0.03, 0.06, 0.1, 0.2, 0.3, 0.6, 1.0, 2.0, 3.0, 6.0)
MOMENTUM_RATES = (3e-4, 1e-3, 3e-3, 0.01, 0.03, 0.1, 0.3, 1.0)
ADAPTIVE_RATES = (3e-5, 1e-4, 3e-4, 1e-3, 3e-3, 0.01, 0.03, 0.1)
CONTAINED = ("sgd", "momentum", "rmsprop")
"""What Adam comes to with some of its settings."""
DEFAULT_RATES = {
    "sgd": 0.1,
    "momentum": 0.01,
    "nesterov": 0.01,
    "adagrad": 0.01,
    "rmsprop": 1e-3,
    "adam": 1e-3,
    "nadam": 2e-3,
    "adamax": 2e-3,
}
"""As many as Adam's learning rates."""
WORSE = 0.5
"""Points of test accuracy that count as worse."""


def inclusion(records: Records) -> Judgement:
    """Each optimizer at the setting that validation prefers among 16; test accuracies compared seed by seed."""
    runs = numbers(records, "optim.lr", "seed", "final_val_accuracy", "test_accuracy")
    for name in ("optim.eps", "optim.momentum"):
        runs[name] = pd.to_numeric(runs[name], errors="coerce").fillna(-1.0)
    runs["final_val_accuracy"] = runs["final_val_accuracy"].fillna(0.0)  # of runs that diverged
    settings = ["optim", "optim.lr", "optim.eps", "optim.momentum"]

    def chosen(among: pd.DataFrame) -> tuple[str, "pd.Series[float]"]:
        """Return the setting that is best on validation over seeds, and its test accuracies by seed."""
        means = among.groupby(settings)["final_val_accuracy"].mean().reset_index()
        best = means.iloc[int(means["final_val_accuracy"].argmax())][settings]
        of_it = among[(among[settings] == best).all(axis=1)]
        more = {name: best[f"optim.{name}"] for name in ("lr", "eps", "momentum")}
        said = ", ".join(f"{name} {value:g}" for name, value in more.items() if value > 0)
        return f"{best['optim']} ({said})", 100 * of_it.set_index("seed")["test_accuracy"].sort_index()

    tuned = {name: chosen(runs[runs["optim"] == name]) for name in (*CONTAINED, "adam")}
    rows: Rows = []
    for name in CONTAINED:
        mean, low, high = interval((tuned["adam"][1] - tuned[name][1]).to_numpy(float))
        what = f"test points, tuned {tuned['adam'][0]} over tuned {tuned[name][0]}"
        rows.append(compared(what, mean, low, high, f"interval above −{WORSE}", low > -WORSE))
    usual = runs["optim.eps"].isin([-1.0, 1e-8, 1e-10]) & runs["optim.momentum"].isin([-1.0, 0.0, 0.9])
    defaults = chosen(runs[usual & (runs["optim.lr"] == runs["optim"].map(DEFAULT_RATES))])
    rates = chosen(runs[(runs["optim"] == "adam") & usual])
    mean, low, high = interval((defaults[1] - rates[1]).to_numpy(float))
    what = f"test points, best of {len(DEFAULT_RATES)} defaults, {defaults[0]}, over best rate of {rates[0]}"
    rows.append(compared(what, mean, low, high, f"within ± {WORSE}", low > -WORSE and high < WORSE))
    curves: Curves = {}
    for name in tuned:
        by_rate = runs[runs["optim"] == name].groupby(settings)["final_val_accuracy"].mean().reset_index()
        best = by_rate.groupby("optim.lr")["final_val_accuracy"].max()
        curves[name] = (np.log10(best.index.to_numpy(float)), best.to_numpy(float))
    axes = ("log10 of the learning rate", "best validation accuracy")
    return judgement(rows, lines("tuned", "Validation accuracy at each rate's best setting", axes, curves, log=False))


def _values(values: tuple[float, ...]) -> str:
    return ",".join(f"{value:g}" for value in values)


STUDIES = (
    Study(
        "edge-of-stability",
        "Under full-batch gradient descent the sharpness goes to 2/lr and hovers there",
        "Cohen et al. 2021, §3",
        "ordering",
        "1,000 digits, 64-100-100-10 tanh, squared error (mean over samples and classes), full batch, lr 0.2, 0.4 and "
        "0.8, 3 seeds, 6,000 steps (12,000 at 0.2, as sharpness rises with lr times steps; chosen on other seeds): the "
        "95 % interval of the median of sharpness · lr/2 over the last quarter lies within 0.85 … 1.25 at each rate",
        120,
        (
            *("data=digits", "data.fraction=0.773", "model.width=100", "model.depth=2", "model.activation=tanh"),
            *("loss=mse", "optim=gd", "scheduler=constant", "eval_every=400", "sharpness=true"),
            "seed=100,101,102",
            *("+", "optim.lr=0.2", "max_steps=12000", "+", "optim.lr=0.4,0.8", "max_steps=6000"),
        ),
        edge_of_stability,
    ),
    Study(
        "inclusion",
        "Tuned at equal budgets, an optimizer is not worse than those that it contains; several optimizers at their "
        "defaults do as well as one that is tuned",
        "Choi et al. 2019; Schmidt et al. 2021",
        "ordering",
        "5,400 MNIST images, 784-64-64-10, 10 epochs, 5 seeds, 16 settings of each optimizer, chosen on validation: "
        "the 95 % interval of Adam's test accuracy less that of SGD, momentum and RMSprop lies above −0.5 points, "
        "and that of the best of 8 defaults less Adam at the best of 8 rates within ± 0.5",
        150,
        (
            *("data=mnist", "data.fraction=0.1", "model.width=64", "init=he", "epochs=10", "eval_every=850", "seeds=5"),
            *("+", "optim=sgd", f"optim.lr={_values(SGD_RATES)}"),
            *("+", "optim=momentum", f"optim.lr={_values(MOMENTUM_RATES)}", "optim.momentum=0.9,0.99"),
            *("+", "optim=rmsprop,adam", f"optim.lr={_values(ADAPTIVE_RATES)}", "optim.eps=1e-8,1e-3"),
            *(
                word
                for name in DEFAULT_RATES
                if name not in (*CONTAINED, "adam")
                for word in ("+", f"optim={name}", f"optim.lr={DEFAULT_RATES[name]:g}")
            ),
        ),
        inclusion,
    ),
)
