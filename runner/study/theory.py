"""Findings that must hold to a tolerance: signal propagation, symmetry, rates of convergence, forms of decay."""

import json
import math
from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt
import pandas as pd
from matplotlib.figure import Figure

from runner.report.figures import COLOURS, DASHES, legend_below, log_axis
from runner.report.load import Records, read_layers
from runner.report.parts import Plot
from runner.study.study import Judgement, Study, weights_of

Array = npt.NDArray[np.float64]


def _judgement(rows: list[dict[str, object]], plot: Plot) -> Judgement:
    """Return that everything expected was found, where each row says whether it ``holds``."""
    return Judgement(all(bool(row["holds"]) for row in rows), pd.DataFrame(rows), plot)


def _lines(
    name: str, title: str, axes: tuple[str, str], curves: Mapping[str, tuple[Array, Array]], log: bool = True
) -> Plot:
    """Return a plot of some curves, one a label."""

    def draw(figure: Figure) -> dict[str, str]:
        ax = figure.subplots()
        for number, (label, (x, y)) in enumerate(curves.items()):
            ax.plot(x, y, color=COLOURS[number % 8], ls=DASHES[number % 8], label=label)
        ax.set_xlabel(axes[0])
        ax.set_ylabel(axes[1])
        positive = np.concatenate([y[np.isfinite(y) & (y > 0)] for _, y in curves.values()])
        if log and len(positive):
            log_axis(ax, positive, "y")
        legend_below(figure, [ax])
        return {}

    return Plot(name, title, f"{title}: {', '.join(curves)}.", draw)


def _layers_at_start(records: Records, column: str) -> dict[str, list[Array]]:
    """Return for each run, by its initializer and gain, a column of ``layers.csv`` at step 0, of hidden layers."""
    found: dict[str, list[Array]] = {}
    for _, row in records.runs.iterrows():
        layers = read_layers(records.places[row["run_id"]])
        assert layers is not None, "the sweep asks for diagnostics"
        first = layers[(layers["step"] == 0) & layers["layer"].str.startswith("hidden")]
        gain = float(row["init.gain"])
        found.setdefault(f"{row['init']}, gain {gain:.4g}", []).append(first[column].to_numpy(float))
    return found


def _slopes(columns: Sequence[Array], last: int | None, base: float) -> Array:
    """Return each run's slope of the logarithm over depth, of the ``last`` layers or of all."""
    used = [np.log(c[-last:] if last else c) / math.log(base) for c in columns]
    return np.array([np.polyfit(np.arange(len(c)), c, 1)[0] for c in used])


def _depth_plot(name: str, what: str, found: Mapping[str, list[Array]]) -> Plot:
    curves = {label: (np.arange(1, len(c[0]) + 1.0), np.mean(c, axis=0)) for label, c in found.items()}
    return _lines(name, f"{what} over depth", ("hidden layer", what), curves)


HE, XAVIER, DEFAULT = math.sqrt(2), 1.0, 1 / math.sqrt(3)


def relu_variance(records: Records) -> Judgement:
    """Compare the slope of log2 of the activations' second moment with log2 of half the weights' variance times fan."""
    found = _layers_at_start(records, "activation_second_moment")
    rows: list[dict[str, object]] = []
    for label, columns in sorted(found.items()):
        gain = float(label.rpartition(" ")[2])
        expected = 2 * math.log2(gain) - 1
        slope = float(_slopes(columns, None, 2).mean())
        rows.append({"init": label, "log2_slope": slope, "expected": expected, "holds": abs(slope - expected) <= 0.05})
    return _judgement(rows, _depth_plot("relu-variance", "second moment of activations", found))


def tanh_gain(records: Records) -> Judgement:
    """Compare the slope of the gradients' second moment towards the input with log χ."""
    found = _layers_at_start(records, "gradient_second_moment")
    chi = {5 / 3: 1.21, HE: 1.106}
    rows: list[dict[str, object]] = []
    for label, columns in sorted(found.items()):
        gain = float(label.rpartition(" ")[2])
        slope = -float(_slopes(columns, 20, math.e).mean())
        known = next((math.log(c) for g, c in chi.items() if abs(g - gain) < 1e-3), None)
        holds = abs(slope) < 0.08 if known is None else abs(slope - known) <= 0.1 * known
        rows.append(
            {"init": label, "log_slope": slope, "expected": known if known is not None else 0.0, "holds": holds}
        )
    return _judgement(rows, _depth_plot("tanh-gain", "second moment of gradients", found))


def lsuv(records: Records) -> Judgement:
    """Check that every layer's output has variance 1 at step 0."""
    rows: list[dict[str, object]] = []
    curves = {}
    for _, row in records.runs.iterrows():
        layers = read_layers(records.places[row["run_id"]])
        assert layers is not None, "the sweep asks for diagnostics"
        first = layers[layers["step"] == 0]
        label = f"{row['model']}, {row['model.activation']}"
        variances = first["output_variance"].to_numpy(float)
        curves[label] = (np.arange(1, len(variances) + 1.0), variances)
        worst = float(variances[np.argmax(np.abs(variances - 1))])
        rows.append({"model": label, "worst_variance": worst, "expected": 1.0, "holds": abs(worst - 1) <= 0.1})
    return _judgement(rows, _lines("lsuv", "Output variance", ("layer", "variance of outputs"), curves, log=False))


def symmetry(records: Records) -> Judgement:
    """Check that zero weights never move and that constant ones stay alike."""
    rows: list[dict[str, object]] = []
    curves = {}
    for _, row in records.runs.iterrows():
        rows_of = records.curves[records.curves["run_id"] == row["run_id"]]
        curves[row["init"]] = (rows_of["step"].to_numpy(float), rows_of["train_loss"].to_numpy(float))
        weights = weights_of(records.places[row["run_id"]])
        hidden = [w for name, w in weights.items() if name.startswith("hidden") and name.endswith("weight")]
        if row["init"] == "zeros":
            moved = max(float(w.abs().max()) for w in hidden)
            floor = math.log(10)  # digits' ten classes are as frequent as each other to a hundredth
            loss = float(row["final_train_loss"])
            rows.append(
                {"init": "zeros", "what": "largest hidden weight", "found": moved, "expected": 0.0, "holds": moved == 0}
            )
            rows.append(
                {"init": "zeros", "what": "loss", "found": loss, "expected": floor, "holds": abs(loss - floor) < 0.01}
            )
        else:
            apart = max(float((w - w[:1]).abs().max()) for w in hidden)
            rows.append(
                {"init": "constant", "what": "units apart", "found": apart, "expected": 0.0, "holds": apart < 1e-6}
            )
    return _judgement(rows, _lines("symmetry", "Training loss", ("steps", "training loss"), curves, log=False))


KAPPA = 100.0
GD_LR = 2 / (1 + 1 / KAPPA)
HEAVY_LR = 4 / (1 + KAPPA**-0.5) ** 2
HEAVY_BETA = ((KAPPA**0.5 - 1) / (KAPPA**0.5 + 1)) ** 2
NESTEROV_BETA = (KAPPA**0.5 - 1) / (KAPPA**0.5 + 1)
RATES = {
    "gd": (KAPPA - 1) / (KAPPA + 1),
    "momentum": (KAPPA**0.5 - 1) / (KAPPA**0.5 + 1),
    "nesterov": 1 - KAPPA**-0.5,
}


def quadratic_rates(records: Records) -> Judgement:
    """Compare the contraction of the distance to the minimum with its closed form.

    The loss is the distance squared, weighted; where two roots fall together the distance is t·rᵗ, so that log t is
    fitted beside t.
    """
    rows: list[dict[str, object]] = []
    curves = {}
    for _, row in records.runs.iterrows():
        of_run = records.curves[records.curves["run_id"] == row["run_id"]]
        step, loss = of_run["step"].to_numpy(float), of_run["train_loss"].to_numpy(float)
        curves[row["optim"]] = (step, loss)
        late = (step >= 100) & (loss > 0)
        design = np.stack([np.ones(late.sum()), step[late], np.log(step[late])], axis=1)
        rate = math.exp(0.5 * float(np.linalg.lstsq(design, np.log(loss[late]), rcond=None)[0][1]))
        expected = RATES[row["optim"]]
        rows.append({"optim": row["optim"], "rate": rate, "expected": expected, "holds": abs(rate - expected) <= 0.002})
    return _judgement(rows, _lines("quadratic-rates", "Loss on a quadratic", ("steps", "loss"), curves))


BETA = 0.9
THRESHOLDS = {"gd": 2.0, "momentum": 2 * (1 + BETA), "nesterov": (2 + 2 * BETA) / (1 + 2 * BETA)}


def divergence_threshold(records: Records) -> Judgement:
    """Check that runs just below the threshold fall and those just above it diverge."""
    rows: list[dict[str, object]] = []
    curves = {}
    for _, row in records.runs.iterrows():
        of_run = records.curves[records.curves["run_id"] == row["run_id"]]
        share = float(row["optim.lr"]) / THRESHOLDS[row["optim"]]
        loss = of_run["train_loss"].to_numpy(float)
        curves[f"{row['optim']} at {share:.2f}"] = (of_run["step"].to_numpy(float), loss)
        fell = row["status"] == "completed" and loss[-1] < loss[0]
        diverged = row["status"] == "diverged"
        rows.append(
            {
                "optim": row["optim"],
                "lr": float(row["optim.lr"]),
                "share_of_threshold": share,
                "status": row["status"],
                "holds": fell if share < 1 else diverged,
            }
        )
    return _judgement(rows, _lines("divergence-threshold", "Loss near the threshold", ("steps", "loss"), curves))


def decay_forms(records: Records) -> Judgement:
    """Compare final weights: coupled and decoupled decay under SGD and Adam, and Adam with AdamW."""
    weights = {
        (row["optim"], row["regularization"], row.get("optim.weight_decay", "")): weights_of(
            records.places[row["run_id"]]
        )
        for _, row in records.runs.iterrows()
    }

    def apart(one: tuple[str, str, str], other: tuple[str, str, str]) -> float:
        return max(float((weights[one][k] - weights[other][k]).abs().max()) for k in weights[one])

    sgd = apart(("sgd", "l2", ""), ("sgd", "weight_decay", ""))
    bare = apart(("adam", "none", ""), ("adamw", "none", "0.0"))
    decayed = apart(("adam", "l2", ""), ("adamw", "none", "0.1"))
    rows: list[dict[str, object]] = [
        {
            "pair": "SGD: L2 and decoupled decay",
            "largest_difference": sgd,
            "expected": "≤ 1e-12",
            "holds": sgd <= 1e-12,
        },
        {"pair": "Adam and AdamW without decay", "largest_difference": bare, "expected": "0", "holds": bare == 0},
        {
            "pair": "Adam with L2 and AdamW",
            "largest_difference": decayed,
            "expected": "> 1e-3",
            "holds": decayed > 1e-3,
        },
    ]
    curves = {}
    for _, row in records.runs.iterrows():
        of_run = records.curves[records.curves["run_id"] == row["run_id"]]
        label = f"{row['optim']}, {row['regularization']} {row.get('optim.weight_decay', '')}"
        curves[label] = (of_run["step"].to_numpy(float), of_run["train_loss"].to_numpy(float))
    return _judgement(rows, _lines("decay-forms", "Training loss", ("steps", "training loss"), curves))


def adam_first_step(records: Records) -> Judgement:
    """Compare the size of each optimizer's first step from zero with its closed form, and Adam's path under scaling."""
    expected = {"adam": 1.0, "rmsprop": 10.0, "custom": 0.1 / 0.001**0.5}
    rows: list[dict[str, object]] = []
    curves = {}
    paths = []
    for _, row in records.runs.iterrows():
        weight = weights_of(records.places[row["run_id"]])["readout.weight"]
        if row["max_steps"] == "1":
            sizes = weight.abs().flatten()
            size = float(sizes[sizes > 0].median()) / float(row["optim.lr"])
            holds = abs(size / expected[row["optim"]] - 1) <= 0.01
            name = "adam without correction" if row["optim"] == "custom" else row["optim"]
            rows.append(
                {"what": f"{name}: first step / lr", "found": size, "expected": expected[row["optim"]], "holds": holds}
            )
            curves[name] = (np.arange(len(sizes), dtype=float), sizes.numpy())
        else:
            paths.append(weight)
    apart = float((paths[0] - paths[1]).abs().max())
    rows.append({"what": "adam: loss × 1000, path", "found": apart, "expected": 0.0, "holds": apart < 1e-9})
    return _judgement(rows, _lines("adam-first-step", "Size of the first step", ("weight", "|step|"), curves))


def amsgrad(records: Records) -> Judgement:
    """Check on which side Adam and AMSGrad end."""
    expected = {"adam": 1.0, "amsgrad": -1.0}
    rows: list[dict[str, object]] = []
    curves = {}
    for _, row in records.runs.iterrows():
        x = float(weights_of(records.places[row["run_id"]])["readout.weight"])
        of_run = records.curves[records.curves["run_id"] == row["run_id"]]
        curves[row["optim"]] = (of_run["step"].to_numpy(float), of_run["train_loss"].to_numpy(float))
        wanted = expected[row["optim"]]
        rows.append({"optim": row["optim"], "x": x, "expected": wanted, "holds": x * wanted > 0.8})
    return _judgement(
        rows, _lines("amsgrad", "Mean loss, best at its lowest", ("steps", "mean loss"), curves, log=False)
    )


def muon_orthogonal(records: Records) -> Judgement:
    """Look at the singular values of Muon's first step along a Gaussian gradient."""
    weight = weights_of(records.places[records.runs["run_id"].iloc[0]])["hidden.0.weight"].double()
    update = weight - np.eye(*weight.shape)
    values = np.linalg.svd(update.numpy(), compute_uv=False)
    low, high = float(values.min()), float(values.max())
    rows: list[dict[str, object]] = [
        {"what": "smallest singular value", "found": low, "expected": "≥ 0.5", "holds": low >= 0.5},
        {"what": "largest singular value", "found": high, "expected": "≤ 1.5", "holds": high <= 1.5},
    ]
    curves = {"update": (np.arange(1.0, len(values) + 1), values)}
    plot = _lines("muon-orthogonal", "Singular values of the update", ("index", "singular value"), curves, log=False)
    return _judgement(rows, plot)


DYING_DEPTH = 10


def dying_relu(records: Records) -> Judgement:
    """Compare the share of networks whose output is 0 for the input with the closed form."""
    rows: list[dict[str, object]] = []
    for _, row in records.runs.iterrows():
        layers = read_layers(records.places[row["run_id"]])
        assert layers is not None, "the sweep asks for diagnostics"
        width = int(json.loads(row["model.args"])["width"])
        first = layers[(layers["step"] == 0) & (layers["layer"] == "readout")]
        share = float(first["dead_fraction"].iloc[0])
        expected = 1 - (1 - 2.0**-width) ** DYING_DEPTH
        rows.append({"width": width, "born_dead": share, "expected": expected, "holds": abs(share - expected) <= 0.02})
    rows.sort(key=lambda r: int(str(r["width"])))
    x = np.array([float(str(r["width"])) for r in rows])
    curves = {w: (x, np.array([float(str(r[w])) for r in rows])) for w in ("born_dead", "expected")}
    plot = _lines("dying-relu", "Networks born dead", ("width", "share of networks"), curves, log=False)
    return _judgement(rows, plot)


_DEEP = ("model.width=512", "model.depth=30", "max_steps=1", "diagnostics=true", "save=none")
_QUADRATIC = (
    "data=quadratic",
    "model=linear",
    "model.bias=false",
    "loss=mse",
    "scheduler=constant",
    "init=normal",
    "init.std=1",
)

STUDIES = (
    Study(
        "relu-variance",
        "Each ReLU layer keeps the second moment under He's weights, halves it under Xavier's, "
        "and divides it by six under PyTorch's default",
        "He et al. 2015, §2.2",
        "theory",
        "log2 slope per layer 0, −1 and −2.585 over 30 layers of 512 units, 20 seeds, each ± 0.05",
        60,
        (*_DEEP, f"init.gain={HE!r},{XAVIER!r},{DEFAULT!r}", "init=he_normal", "seeds=20"),
        relu_variance,
    ),
    Study(
        "tanh-gain",
        "In deep tanh networks gradients grow by χ a layer towards the input: gain 1 is critical, He's and 5/3 explode",
        "Glorot & Bengio 2010; Schoenholz et al. 2017, eq. 9",
        "theory",
        "slope of log of the gradient's second moment over the 20 layers nearest the output: log 1.21 (gain 5/3) and "
        "log 1.106 (He) ± 10 %, below 0.08 for gain 1",
        40,
        (*_DEEP, "model.activation=tanh", "init=xavier_normal", f"init.gain={5 / 3!r},{HE!r},1.0", "seeds=8"),
        tanh_gain,
    ),
    Study(
        "symmetry",
        "Zero and constant weights never break the symmetry between units",
        "Goodfellow et al. 2016, §8.4",
        "theory",
        "all zero: hidden weights never move, the loss stays at the labels' entropy ± 0.01; "
        "constant: units stay within 1e-6 of each other",
        5,
        ("model.width=32", "epochs=10", "save=last", "optim=sgd", "optim.lr=0.1", "init=zeros,constant"),
        symmetry,
    ),
    Study(
        "lsuv",
        "Layer-sequential unit variance gives every layer outputs of variance 1",
        "Mishkin & Matas 2016",
        "theory",
        "every layer's output variance 1 ± 0.1 at step 0, for mlp and cnn, relu and tanh",
        10,
        ("init=lsuv", "max_steps=1", "diagnostics=true", "model=mlp,cnn", "model.activation=relu,tanh"),
        lsuv,
    ),
    Study(
        "quadratic-rates",
        "On a quadratic of condition number κ, gradient descent contracts by (κ−1)/(κ+1), the heavy ball by "
        "(√κ−1)/(√κ+1), Nesterov's method by 1 − 1/√κ",
        "Polyak 1964; Nesterov 2004, §2.2",
        "theory",
        "κ = 100: rate of the distance to the minimum ± 0.002",
        10,
        (
            *(*_QUADRATIC, "data.condition=100", "dtype=float64", "max_steps=600", "eval_every=1"),
            *("+", "optim=gd", f"optim.lr={GD_LR!r}"),
            *("+", "optim=momentum", "batch.size=40", f"optim.lr={HEAVY_LR!r}", f"optim.momentum={HEAVY_BETA!r}"),
            *("+", "optim=nesterov", "batch.size=40", "optim.lr=1.0", f"optim.momentum={NESTEROV_BETA!r}"),
        ),
        quadratic_rates,
    ),
    Study(
        "divergence-threshold",
        "Gradient descent diverges above 2/L, the heavy ball above 2(1+β)/L, Nesterov's method above (2+2β)/(L(1+2β))",
        "Polyak 1964; Cohen et al. 2021, appendix B",
        "theory",
        "L = 1, β = 0.9: the loss falls at 0.99 of the threshold and diverges at 1.01 of it, for all three",
        20,
        (
            *(*_QUADRATIC, "max_steps=20000", "eval_every=200"),
            *("+", "optim=gd", f"optim.lr={0.99 * THRESHOLDS['gd']!r},{1.01 * THRESHOLDS['gd']!r}"),
            *(
                word
                for name in ("momentum", "nesterov")
                for word in (
                    *("+", f"optim={name}", "batch.size=40", f"optim.momentum={BETA}"),
                    f"optim.lr={0.99 * THRESHOLDS[name]!r},{1.01 * THRESHOLDS[name]!r}",
                )
            ),
        ),
        divergence_threshold,
    ),
    Study(
        "decay-forms",
        "For SGD an L2 penalty and decoupled weight decay are one; AdamW differs from Adam in the decay alone",
        "Loshchilov & Hutter 2019, propositions 1 and 2",
        "theory",
        "SGD: final weights equal to 1e-12; Adam and AdamW at weight decay 0 equal to the bit; "
        "with decay more than 1e-3 apart",
        5,
        (
            *("model.width=32", "dtype=float64", "max_steps=60", "save=last", "optim.lr=0.01", "eval_every=5"),
            *("+", "optim=sgd", "regularization=l2", "regularization.l2.strength=0.1"),
            *("+", "optim=sgd", "regularization=weight_decay", "regularization.weight_decay.rate=0.1"),
            *("+", "optim=adam"),
            *("+", "optim=adamw", "optim.weight_decay=0.0,0.1"),
            *("+", "optim=adam", "regularization=l2", "regularization.l2.strength=0.1"),
        ),
        decay_forms,
    ),
    Study(
        "adam-first-step",
        "Adam's first step is the learning rate whatever the gradient; RMSprop's is ten times that, and without bias "
        "correction Adam's would be 3.16 times; scaling the loss changes nothing",
        "Kingma & Ba 2015, §2.1 and §3",
        "theory",
        "first step: Adam 1, RMSprop 10, Adam without correction 3.162 learning rates, each ± 1 %; "
        "loss × 1000: Adam's weights after 20 steps within 1e-9",
        5,
        (
            *("model=linear", "model.bias=false", "init=zeros", "scheduler=constant", "dtype=float64", "save=last"),
            *("+", "max_steps=1", "optim=adam,rmsprop", "optim.lr=0.001", "optim.eps=1e-12"),
            *("+", "max_steps=1", "optim=custom", "optim.target=runner.study.parts.UncorrectedAdam", "optim.lr=0.001"),
            *(
                "+",
                "max_steps=20",
                "optim=adam",
                "optim.eps=1e-16",
                "loss=cross_entropy,runner.study.parts.thousandfold",
            ),
        ),
        adam_first_step,
    ),
    Study(
        "amsgrad",
        "On a convex problem with rare large gradients Adam goes to the worst point and AMSGrad to the best",
        "Reddi et al. 2018, §3",
        "theory",
        "slopes 1010 once in 101 and −10 otherwise on [−1, 1], β = (0.9, 0.99), lr = 0.5/√t, 100,000 steps: Adam ends "
        "above 0.8, AMSGrad below −0.8",
        60,
        (
            *(
                "data=custom",
                "data.target=runner.study.parts.reddi",
                "data.args={period: 101, large: 1010, small: -10}",
            ),
            *("data.normalize=none", "loss=runner.study.parts.output_itself", "model=linear", "model.bias=false"),
            *(
                "init=zeros",
                "batch.size=1",
                "batch.shuffle=false",
                "regularization=box",
                "regularization.box.bound=1.0",
                "save=last",
            ),
            *("scheduler=inverse_sqrt", "scheduler.timescale=1", "optim.lr=0.5", "optim.betas=[0.9,0.99]"),
            *("max_steps=100000", "eval_every=2000", "optim=adam,amsgrad"),
        ),
        amsgrad,
    ),
    Study(
        "muon-orthogonal",
        "Five Newton–Schulz iterations bring every singular value of the update near 1",
        "Jordan et al. 2024",
        "theory",
        "64×128 Gaussian gradient: singular values of the update within 0.5 … 1.5",
        5,
        (
            *(
                "data=custom",
                "data.target=runner.study.parts.directions",
                "data.args={rows: 64, columns: 128, seed: 0}",
            ),
            *("data.normalize=none", "loss=runner.study.parts.inner_product", "model.width=64", "model.depth=1"),
            *("model.activation=identity", "model.bias=false", "init=identity", "optim=muon", "optim.lr=1.0"),
            *("scheduler=constant", "batch.size=128", "max_steps=1", "save=last"),
        ),
        muon_orthogonal,
    ),
    Study(
        "dying-relu",
        "A narrow deep ReLU network with zero biases is born dead for a given input with probability "
        "1 − (1 − 2^−width)^depth",
        "Lu et al. 2019, theorem 3",
        "theory",
        "4,000 networks of 10 hidden layers, width 2, 3, 5, 10: share ± 0.02",
        20,
        (
            *("data=custom", "data.target=runner.study.parts.one_input", "data.normalize=none", "batch.size=2"),
            *("model=custom", "model.target=runner.study.parts.NarrowNets", "init=he_normal", "max_steps=1"),
            *("diagnostics=true", "save=none"),
            *(
                word
                for width in (2, 3, 5, 10)
                for word in (
                    *("+", f"data.args={{features: {width}, outputs: 4000, seed: {width}}}"),
                    f"model.args={{width: {width}, depth: {DYING_DEPTH}}}",
                )
            ),
        ),
        dying_relu,
    ),
)
