"""Studies of the paths that gradient descent takes: momentum, scale-free weights, separable classes."""

import math

import numpy as np

from runner.report.load import Records
from runner.study.judging import Curves, Rows, judgement, lines, over_steps
from runner.study.parts import slopes
from runner.study.study import Judgement, weights_of

SLOPE_RATE = 0.01
FRICTIONS = (0.5, 0.9, 0.99)
LAST = 3000
"""Steps on a straight slope: with β = 0.99 nothing of the beginning is left."""
DIGITS = 1295
"""Training samples of the digits: a batch of them all."""
NEAR, FAR = 0.05, 0.2
"""Relative differences of training losses: at most, with the rescaled rate; at least, with the same."""


def momentum_rate(records: Records) -> Judgement:
    """Compare momentum's steps on a slope with lr/(1−β), and its loss with that of descent at that rate."""
    places: dict[tuple[float, int], float] = {}
    losses: dict[str, float] = {}
    curves: Curves = {}
    for _, row in records.runs.iterrows():
        if row["data"] == "digits":
            name = f"{row['optim']}, lr {float(row['optim.lr']):g}"
            curves[name] = over_steps(records, row["run_id"], "train_loss")
            losses[name] = float(curves[name][1][-1])
        else:
            weight = float(weights_of(records.places[row["run_id"]])["readout.weight"])
            places[float(row["optim.momentum"]), int(row["max_steps"])] = weight
    rows: Rows = []
    for friction in FRICTIONS:
        step = abs(places[friction, LAST] - places[friction, LAST - 1]) / SLOPE_RATE
        expected = 1 / (1 - friction)
        told = {
            "what": f"β = {friction}: step over lr times gradient",
            "found": step,
            "expected": f"{expected:g} ± 1e-6",
        }
        rows.append({**told, "holds": abs(step / expected - 1) <= 1e-6})
    plain = losses["gd, lr 0.1"]
    near, far = (abs(losses[f"momentum, lr {rate}"] / plain - 1) for rate in ("0.01", "0.1"))
    rows.append({"what": "loss at lr·(1−β) over descent's, less 1", "found": near, "expected": f"≤ {NEAR}"})
    rows[-1]["holds"] = near <= NEAR
    rows.append({"what": "loss at the same lr over descent's, less 1", "found": far, "expected": f"≥ {FAR}"})
    rows[-1]["holds"] = far >= FAR
    return judgement(rows, lines("momentum-rate", "Training loss, β = 0.9", ("steps", "training loss"), curves))


def effective_rate(records: Records) -> Judgement:
    """Compare paths of a scale-free model from weights of two sizes, the rate scaled with their square or not."""
    paths = {}
    curves: Curves = {}
    for _, row in records.runs.iterrows():
        key = float(row["init.std"]), float(row["optim.lr"])
        steps, loss = over_steps(records, row["run_id"], "train_loss")
        paths[key] = loss
        curves[f"std {key[0]:g}, lr {key[1]:g}"] = (steps, loss)
    rows: Rows = []
    for one, other, same in (
        ((1.0, 1.0), (2.0, 4.0), True),
        ((1.0, 0.25), (2.0, 1.0), True),
        ((1.0, 1.0), (2.0, 1.0), False),
    ):
        apart = float(np.abs(paths[one] / paths[other] - 1).max())
        what = f"std {one[0]:g} at lr {one[1]:g} and std {other[0]:g} at lr {other[1]:g}: losses apart"
        expected = "≤ 1e-9" if same else "> 0.01"
        told = {"what": what, "found": apart, "expected": expected}
        rows.append({**told, "holds": apart <= 1e-9 if same else apart > 0.01})
    return judgement(rows, lines("effective-rate", "Training loss", ("steps", "training loss"), curves))


MARGIN_STEPS = (100, 1000, 10000, 100000)


def max_margin(records: Records) -> Judgement:
    """Compare the direction, the size and the loss of logistic regression on separable classes with their limits."""
    found = {}
    for _, row in records.runs.iterrows():
        weight = weights_of(records.places[row["run_id"]])["readout.weight"].numpy()
        found[int(row["max_steps"])] = weight[1] - weight[0], float(row["final_train_loss"])
    angles = np.array([abs(math.atan2(found[t][0][1], found[t][0][0])) for t in MARGIN_STEPS])
    sizes = np.array([float(np.hypot(*found[t][0])) for t in MARGIN_STEPS])
    grown = float(sizes[-1] - sizes[-2]) / math.log(10)
    slope = math.log10(found[MARGIN_STEPS[-1]][1] / found[MARGIN_STEPS[-2]][1])
    rows: Rows = [
        {"what": f"angle to the largest margin after {t:,} steps", "found": float(a), "expected": "falls"}
        for t, a in zip(MARGIN_STEPS, angles, strict=True)
    ]
    for told in rows:
        told["holds"] = bool((np.diff(angles) < 0).all())
    rows[-1] |= {"expected": "≤ 0.05, falls", "holds": bool(rows[-1]["holds"]) and bool(angles[-1] <= 0.05)}
    rows.append({"what": "growth of the weights a log step", "found": grown, "expected": "1 ± 0.05"})
    rows[-1]["holds"] = abs(grown - 1) <= 0.05
    rows.append({"what": "slope of log loss over log steps", "found": slope, "expected": "−1 ± 0.05"})
    rows[-1]["holds"] = abs(slope + 1) <= 0.05
    curves = {"angle": (np.array(MARGIN_STEPS, float), angles)}
    axes = ("steps", "angle, rad")
    plot = lines("max-margin", "Angle to the direction of the largest margin", axes, curves, log_x=True)
    return judgement(rows, plot)


SEEN = (10, 20, 50, 200)
"""Steps whose gradients make the second moment."""
SLOPES = {"rows": SEEN[-1], "weights": 20000, "seed": 0}
OFF = 0.1
"""Relative difference of a variance from its closed form."""


def rate_variance(seen: int) -> float:
    """Return the variance of √(n/χ²ₙ), one over the root of the mean square of n Gaussian gradients.

    Source: Liu et al. 2020, §3.1; the moments are those of the scaled inverse χ distribution.
    """
    half = seen / 2
    mean = math.sqrt(half) * math.exp(math.lgamma(half - 0.5) - math.lgamma(half))
    return seen / (seen - 2) - mean**2


def early_variance(records: Records) -> Judgement:
    """Compare the variance of Adam's rate over weights, after a few gradients and after many, with its closed form."""
    weights = {
        int(row["max_steps"]): weights_of(records.places[row["run_id"]])["readout.weight"].numpy()[0]
        for _, row in records.runs.iterrows()
    }
    gradients = slopes(**SLOPES)[0]
    rows: Rows = []
    variances = []
    for seen in SEEN:
        rate = np.abs((weights[seen] - weights[seen - 1]) / gradients[seen - 1])
        variances.append(float(rate.var()))
        expected = rate_variance(seen)
        told = {"what": f"variance of the rate at step {seen}", "found": variances[-1], "expected": expected}
        rows.append({**told, "holds": abs(variances[-1] / expected - 1) <= OFF})
    at = np.array(SEEN, float)
    curves: Curves = {
        "measured": (at, np.array(variances)),
        "closed form": (at, np.array([rate_variance(seen) for seen in SEEN])),
    }
    axes = ("step", "variance of the rate")
    return judgement(rows, lines("early-variance", "Adam's rate over 20,000 weights", axes, curves, log_x=True))
