"""Studies of initial weights: what signals and gradients do over depth, and which symmetries are never broken."""

import json
import math
from collections.abc import Mapping, Sequence
from functools import partial

import numpy as np

from runner.report.load import Records
from runner.report.section import Plot
from runner.study.judging import Array, Curves, Rows, judgement, layers_at_start, layers_of, lines, training_losses
from runner.study.study import Judgement, weights_of


def _slopes(columns: Sequence[Array], last: int | None, base: float) -> Array:
    """Return each run's slope of the logarithm over depth, of the ``last`` layers or of all."""
    used = [np.log(c[-last:] if last else c) / math.log(base) for c in columns]
    return np.array([np.polyfit(np.arange(len(c)), c, 1)[0] for c in used])


def _depth_plot(name: str, what: str, found: Mapping[str, list[Array]]) -> Plot:
    curves = {label: (np.arange(1, len(c[0]) + 1.0), np.mean(c, axis=0)) for label, c in found.items()}
    return lines(name, f"{what} over depth", ("hidden layer", what), curves)


HE, XAVIER, DEFAULT = math.sqrt(2), 1.0, 1 / math.sqrt(3)


def relu_variance(records: Records) -> Judgement:
    """Compare the slope of log2 of the activations' second moment with log2 of half the weights' variance times fan."""
    found = layers_at_start(records, "activation_second_moment")
    rows: Rows = []
    for label, columns in sorted(found.items()):
        gain = float(label.rpartition(" ")[2])
        expected = 2 * math.log2(gain) - 1
        slope = float(_slopes(columns, None, 2).mean())
        rows.append({"init": label, "log2_slope": slope, "expected": expected, "holds": abs(slope - expected) <= 0.05})
    return judgement(rows, _depth_plot("relu-variance", "second moment of activations", found))


FAN_VARIANCE = {"default": 1 / 3, "xavier_uniform": 1.0, "he_normal": 2.0}
"""Variance of a weight times fan_in, of a layer with as many outputs as inputs."""


def weight_variance(records: Records) -> Judgement:
    """Compare the second moment of square layers' weights at step 0 with what each initializer says it is."""
    found: dict[str, list[Array]] = {}
    for _, row in records.runs.iterrows():
        layers = layers_of(records, row["run_id"])
        square = layers[(layers["step"] == 0) & layers["layer"].isin(["hidden.1", "hidden.2", "hidden.3"])]
        # The mean square of fan_in² weights, times fan_in.
        norms = square["weight_norm"].to_numpy(float)
        found.setdefault(str(row["init"]), []).append(norms**2 / float(row["model.width"]))
    rows: Rows = []
    for init, expected in FAN_VARIANCE.items():
        variance = float(np.mean(found[init]))
        holds = abs(variance / expected - 1) <= 0.01
        rows.append({"init": init, "variance_times_fan_in": variance, "expected": expected, "holds": holds})
    plot = lines(
        "weight-variance",
        "Variance of weights times fan_in",
        ("hidden layer", "variance × fan_in"),
        {init: (np.arange(2, 5.0), np.mean(columns, axis=0)) for init, columns in found.items()},
    )
    return judgement(rows, plot)


def tanh_gain(records: Records) -> Judgement:
    """Compare the slope of the gradients' second moment towards the input with log χ."""
    found = layers_at_start(records, "gradient_second_moment")
    chi = {5 / 3: 1.21, HE: 1.106}
    rows: Rows = []
    for label, columns in sorted(found.items()):
        gain = float(label.rpartition(" ")[2])
        slope = -float(_slopes(columns, 20, math.e).mean())
        known = next((math.log(c) for g, c in chi.items() if abs(g - gain) < 1e-3), None)
        holds = abs(slope) < 0.08 if known is None else abs(slope - known) <= 0.1 * known
        rows.append(
            {"init": label, "log_slope": slope, "expected": known if known is not None else 0.0, "holds": holds}
        )
    return judgement(rows, _depth_plot("tanh-gain", "second moment of gradients", found))


def lsuv(records: Records) -> Judgement:
    """Check that every layer's output has variance 1 at step 0."""
    rows: Rows = []
    curves: Curves = {}
    for _, row in records.runs.iterrows():
        layers = layers_of(records, row["run_id"])
        first = layers[layers["step"] == 0]
        label = f"{row['model']}, {row['model.activation']}"
        variances = first["output_variance"].to_numpy(float)
        curves[label] = (np.arange(1, len(variances) + 1.0), variances)
        worst = float(variances[np.argmax(np.abs(variances - 1))])
        rows.append({"model": label, "worst_variance": worst, "expected": 1.0, "holds": abs(worst - 1) <= 0.1})
    return judgement(rows, lines("lsuv", "Output variance", ("layer", "variance of outputs"), curves, log=False))


def symmetry(records: Records) -> Judgement:
    """Check that zero weights never move and that constant ones stay alike."""
    rows: Rows = []
    curves: Curves = {}
    for _, row in records.runs.iterrows():
        name = f"{row['init']}, lr {float(row['optim.lr']):g}"
        curves[name] = training_losses(records, row["run_id"])
        weights = weights_of(records.places[row["run_id"]])
        hidden = [w for name, w in weights.items() if name.startswith("hidden") and name.endswith("weight")]
        if row["init"] == "zeros":
            moved = max(float(w.abs().max()) for w in hidden)
            floor = math.log(10)  # digits' ten classes are as frequent as each other to a hundredth
            loss = float(row["final_train_loss"])
            rows.append(
                {"init": name, "what": "largest hidden weight", "found": moved, "expected": 0.0, "holds": moved == 0}
            )
            rows.append(
                {"init": name, "what": "loss", "found": loss, "expected": floor, "holds": abs(loss - floor) < 0.01}
            )
        else:
            apart = max(float((w - w[:1]).abs().max()) for w in hidden)
            rows.append({"init": name, "what": "units apart", "found": apart, "expected": 0.0, "holds": apart < 1e-6})
    return judgement(rows, lines("symmetry", "Training loss", ("steps", "training loss"), curves, log=False))


LINEAR_WIDTH, TARGET_LOSS, MOST_STEPS = 32, 0.1, 1500


def orthogonal_linear(records: Records) -> Judgement:
    """Compare how far and how fast deep linear networks learn 2·I from orthogonal and from Gaussian weights.

    A product of weights of determinant -1 cannot be led to 2·I, whose determinant is positive, without passing a
    singular one: such seeds keep one direction's loss, 4/32, and are not counted. Of the others, one that happens to
    turn a plane by nearly half a circle is slow too: most seeds are asked for, not all.
    """
    rows: Rows = []
    curves: Curves = {}
    learned: dict[tuple[str, int], list[tuple[str, bool]]] = {}
    for _, row in records.runs.iterrows():
        depth, init = int(row["model.depth"]) + 1, str(row["init"])
        if depth == 51:
            layers = layers_of(records, row["run_id"])
            moments = layers[layers["step"] == 0]["activation_second_moment"].to_numpy(float)
            ratio = math.sqrt(moments[49] / moments[0])
            holds = abs(ratio - 1) <= 1e-5
            rows.append({"what": "norm through 50 layers", "found": ratio, "expected": "1 ± 1e-5", "holds": holds})
            continue
        if init == "orthogonal" and _determinant(int(row["seed"]), depth) < 0:
            continue
        step, loss = training_losses(records, row["run_id"])
        curves.setdefault(f"{init}, {depth} layers", (step, loss))
        learned.setdefault((init, depth), []).append((row["optim.lr"], bool((loss <= TARGET_LOSS).any())))
    for (init, depth), found in sorted(learned.items()):
        wanted = init == "orthogonal"
        by_lr: dict[str, list[bool]] = {}
        for lr, there in found:
            by_lr.setdefault(lr, []).append(there)
        share = max(float(np.mean(v)) for v in by_lr.values())
        rows.append(
            {
                "what": f"{init}, {depth} layers: share of {len(next(iter(by_lr.values())))} seeds that learn, best lr",
                "found": share,
                "expected": "> 0.5" if wanted else "0",
                "holds": share > 0.5 if wanted else share == 0,
            }
        )
    plot = lines("orthogonal-linear", "Loss of deep linear networks", ("steps", "training loss"), curves)
    return judgement(rows, plot)


def _determinant(seed: int, layers: int) -> float:
    """Return the sign of the determinant of the product of a linear network's initial weights."""
    import torch

    from runner import init, model

    network = init.construct(
        partial(
            model.MLP,
            LINEAR_WIDTH,
            LINEAR_WIDTH,
            [LINEAR_WIDTH] * (layers - 1),
            activation="identity",
            bias=False,
            normalization="none",
            residual=False,
        ),
        seed,
        partial(init.orthogonal, gain=1.0),
        0.0,
        lambda: torch.empty(0),
    )
    return math.prod(float(torch.linalg.slogdet(p.detach().double()).sign) for p in network.parameters())


DYING_DEPTH = 10


def dying_relu(records: Records) -> Judgement:
    """Compare the share of networks whose output is 0 for the input with the closed form."""
    by_width: dict[int, dict[str, object]] = {}
    for _, row in records.runs.iterrows():
        layers = layers_of(records, row["run_id"])
        width = int(json.loads(row["model.args"])["width"])
        first = layers[(layers["step"] == 0) & (layers["layer"] == "readout")]
        share = float(first["dead_fraction"].iloc[0])
        expected = 1 - (1 - 2.0**-width) ** DYING_DEPTH
        told = {"net": f"width {width}", "born_dead": share, "expected": expected}
        by_width[width] = {**told, "holds": abs(share - expected) <= 0.02}
    x, rows = np.array(sorted(by_width), float), [by_width[width] for width in sorted(by_width)]
    curves = {w: (x, np.array([float(str(r[w])) for r in rows])) for w in ("born_dead", "expected")}
    plot = lines("dying-relu", "Networks born dead", ("width", "share of networks"), curves, log=False)
    return judgement(rows, plot)


FAN_WIDTHS = (512, 256)
"""Units of the layers, in turn."""


def fan_mode(records: Records) -> Judgement:
    """Compare what widening and narrowing layers do to signals and gradients under He's two modes.

    A layer from n to m units multiplies the second moment of signals by n/2 times its weights' variance, and that of
    gradients by m/2 times it: by 1 and m/n with fan_in, by n/m and 1 with fan_out.
    """
    found: dict[str, dict[str, list[Array]]] = {}
    for _, row in records.runs.iterrows():
        layers = layers_of(records, row["run_id"])
        first = layers[(layers["step"] == 0) & layers["layer"].str.startswith("hidden")]
        mode = "fan_in" if row["init"] == "he_normal" else "fan_out"
        for column in ("activation_second_moment", "gradient_second_moment"):
            found.setdefault(mode, {}).setdefault(column, []).append(np.log2(first[column].to_numpy(float)))
    rows: Rows = []
    for mode, columns in sorted(found.items()):
        signals = np.mean(columns["activation_second_moment"], axis=0)
        gradients = np.mean(columns["gradient_second_moment"], axis=0)
        # Layer 0 has 512 units, so layers 1, 3, … narrow and 2, 4, … widen.
        forward, backward = np.diff(signals), -np.diff(gradients)
        for kind, start, grows in (("narrowing", 0, 1.0), ("widening", 1, -1.0)):
            for what, steps, expected, off in (
                ("signals", forward, grows if mode == "fan_out" else 0.0, 0.05),
                ("gradients", backward, -grows if mode == "fan_in" else 0.0, 0.1),
            ):
                log2 = float(steps[start::2].mean())
                told = {"what": f"{mode}: {what} in a {kind} layer", "log2": log2, "expected": f"{expected:g} ± {off}"}
                rows.append({**told, "holds": abs(log2 - expected) <= off})
        for what, column in (("signals", signals), ("gradients", gradients)):
            slope = float(np.polyfit(np.arange(len(column)), column, 1)[0])
            told = {"what": f"{mode}: slope of {what} over depth", "log2": slope, "expected": "0 ± 0.05"}
            rows.append({**told, "holds": abs(slope) <= 0.05})
    both = {mode: columns["activation_second_moment"] for mode, columns in sorted(found.items())}
    curves = {mode: (np.arange(1, len(c[0]) + 1.0), 2 ** np.mean(c, axis=0)) for mode, c in both.items()}
    axes = ("hidden layer", "second moment of activations")
    return judgement(rows, lines("fan-mode", "Signals through layers of 512 and 256 units", axes, curves))
