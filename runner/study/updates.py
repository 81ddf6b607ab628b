"""Studies of what a step is made of: decay, averages, schedules, and what the optimizer keeps."""

import math

import numpy as np

from runner.report.load import Records
from runner.study.judging import Array, Curves, Rows, judgement, lines, over_steps, training_losses
from runner.study.study import Judgement, weights_of

DECAYS = (0.05, 0.5)
"""Rates of decoupled weight decay."""
LARGE_RATE = 1.98
"""Below 2, where gradient descent without decay diverges on a loss of curvature 1."""


def threshold(decay: float) -> float:
    """Return the learning rate above which w ← (1 − lr·decay)·w − lr·w, of curvature 1, diverges."""
    return 2 / (1 + decay)


def decay_threshold(records: Records) -> Judgement:
    """Check that decoupled decay lowers the rate at which gradient descent diverges."""
    rows: Rows = []
    curves: Curves = {}
    runs = records.runs.assign(
        rate=records.number("optim.lr"), decay=records.number("regularization.weight_decay.rate").fillna(0.0)
    )
    for _, row in runs.sort_values(["decay", "rate"]).iterrows():
        share = float(row["rate"]) / threshold(float(row["decay"]))
        expected = "completed" if share < 1 else "diverged"
        rows.append(
            {
                "what": f"decay {row['decay']:g}, lr {row['rate']:.4g}",
                "share_of_threshold": share,
                "threshold": threshold(float(row["decay"])),
                "status": row["status"],
                "expected": expected,
                "holds": row["status"] == expected,
            }
        )
        curves[str(rows[-1]["what"])] = training_losses(records, row["run_id"])
    return judgement(rows, lines("decay-threshold", "Loss with decoupled decay", ("steps", "loss"), curves))


STATE = {"sgd": 0, "momentum": 1, "rmsprop": 1, "adam": 2, "adamw": 2, "amsgrad": 3}
"""Numbers that an optimizer keeps of each weight."""


def optimizer_memory(records: Records) -> Judgement:
    """Compare the bytes of each optimizer's state with those of the weights."""
    share = records.number("optimizer_state_bytes") / (4 * records.number("parameters"))
    found = dict(zip(records.runs["optim"], share, strict=True))
    rows: Rows = []
    for name, expected in STATE.items():
        kept = float(found[name])
        told = {"what": name, "numbers_a_weight": kept, "expected": f"{expected} ± 0.01"}
        rows.append({**told, "holds": abs(kept - expected) <= 0.01})
    places = np.arange(1.0, len(STATE) + 1)
    curves = {", ".join(STATE): (places, np.array([float(found[name]) for name in STATE]))}
    axes = ("optimizer, in this order", "numbers kept of a weight")
    return judgement(rows, lines("optimizer-memory", "What optimizers keep", axes, curves, log=False))


def zeros_linear(records: Records) -> Judgement:
    """Compare where logistic regression ends from zero with where it ends from Gaussian weights."""
    rows: Rows = []
    curves: Curves = {}
    weights = {}
    for _, row in records.runs.iterrows():
        name = "zeros" if row["init"] == "zeros" else f"normal, seed {row['seed']}"
        weights[name] = weights_of(records.places[row["run_id"]])["readout.weight"]
        curves[name] = over_steps(records, row["run_id"], "train_loss")
        if name == "zeros":
            accuracy = float(row["test_accuracy"])
            rows.append({"what": "zeros: test accuracy", "found": accuracy, "expected": "> 0.85"})
    rows[0]["holds"] = accuracy > 0.85
    for name in sorted(weights.keys() - {"zeros"}):
        apart = float((weights[name] - weights["zeros"]).abs().max())
        told = {"what": f"zeros and {name}: apart at the end", "found": apart, "expected": "≤ 1e-9"}
        rows.append({**told, "holds": apart <= 1e-9})
    return judgement(rows, lines("zeros-linear", "Training loss", ("steps", "training loss"), curves))


def ema_rate(records: Records) -> Judgement:
    """Compare what is trained with an average of the weights and without, and what is judged."""
    kinds = dict(zip(records.runs["regularization"], records.runs["run_id"], strict=True))
    found = {
        kind: {column: over_steps(records, run_id, column)[1][1:] for column in ("batch_loss", "lr", "val_loss")}
        for kind, run_id in kinds.items()
    }
    apart = {c: float(np.abs(found["ema"][c] - found["none"][c]).max()) for c in ("batch_loss", "lr", "val_loss")}
    rows: Rows = [
        {"what": "learning rate, with less without", "found": apart["lr"], "expected": "0", "holds": apart["lr"] == 0},
        {"what": "loss of each step's batch", "found": apart["batch_loss"], "expected": "0"},
        {"what": "loss that is judged", "found": apart["val_loss"], "expected": "> 1e-3"},
    ]
    rows[1]["holds"], rows[2]["holds"] = apart["batch_loss"] == 0, apart["val_loss"] > 1e-3
    curves: Curves = {
        f"{told}, {kind}": over_steps(records, kinds[kind], column)
        for kind in ("none", "ema")
        for told, column in (("batch", "batch_loss"), ("validation", "val_loss"))
    }
    return judgement(rows, lines("ema-rate", "Loss of batches and on validation", ("steps", "loss"), curves))


EARLY_WEIGHT, EARLY_RATE, EARLY_DECAY = 0.5, 0.001, 0.1
WARM_UP = 10
"""Steps."""


def early_decay(records: Records) -> Judgement:
    """Compare the first steps of Adam, of AdamW, and of both behind a warm-up."""
    after, sizes = {}, {}
    curves: Curves = {}
    for _, row in records.runs.iterrows():
        if row["max_steps"] == "1":
            after[row["optim"]] = weights_of(records.places[row["run_id"]])["readout.weight"]
        else:
            warm = float(row["scheduler.warmup"]) > 0
            steps, ratio = over_steps(records, row["run_id"], "update_ratio")
            sizes[row["optim"], warm] = float(ratio[1])
            curves[f"{row['optim']}{', warm-up' if warm else ''}"] = (steps[1:], ratio[1:])
    added = (after["adamw"] - after["adam"]).numpy()
    expected = -EARLY_RATE * EARLY_DECAY * EARLY_WEIGHT
    wrong = float(np.abs(added - expected).max())
    moved = (after["adam"] - EARLY_WEIGHT).abs()
    share = float(abs(added.mean())) / float(moved[moved > 0].median())
    rows: Rows = [
        {"what": "AdamW's first step less Adam's and −lr·λ·w, apart", "found": wrong, "expected": "≤ 1e-12"},
        {"what": "what decay adds, of Adam's step", "found": share, "expected": "0.05 ± 0.001"},
    ]
    rows[0]["holds"], rows[1]["holds"] = wrong <= 1e-12, abs(share - EARLY_DECAY * EARLY_WEIGHT) <= 1e-3
    for name in ("adam", "adamw"):
        slowed = sizes[name, True] / sizes[name, False]
        told = {"what": f"{name}: first step with warm-up over without", "found": slowed, "expected": "0.1 ± 1 %"}
        rows.append({**told, "holds": abs(WARM_UP * slowed - 1) <= 0.01})
    axes = ("step", "size of the step over that of the weights")
    return judgement(rows, lines("early-decay", "First steps", axes, curves))


COSINE_STEPS = 200


def cosine_fixed(records: Records) -> Judgement:
    """Compare the rates that unlike runs took at each step, under a cosine and where validation decides."""
    rates: dict[str, list[Array]] = {}
    curves: Curves = {}
    for _, row in records.runs.iterrows():
        steps, rate = over_steps(records, row["run_id"], "lr")
        share = rate[1:] / float(row["optim.lr"])
        rates.setdefault(row["scheduler"], []).append(share)
        curves[f"{row['scheduler']}, {row['data']}, {row['optim']}"] = (steps[1:], share)
    formula = (1 + np.cos(math.pi * np.arange(COSINE_STEPS) / COSINE_STEPS)) / 2
    off = max(float(np.abs(one - formula).max()) for one in rates["cosine"])
    apart = float(np.ptp(np.stack(rates["plateau"]), axis=0).max())
    rows: Rows = [
        {"what": "cosine: runs that were compared", "found": len(rates["cosine"]), "expected": 4},
        {"what": "cosine: farthest of any run's rate from the formula", "found": off, "expected": "≤ 1e-12"},
        {"what": "plateau: farthest of two runs' rates", "found": apart, "expected": "> 0.1"},
    ]
    for told, holds in zip(rows, (len(rates["cosine"]) == 4, off <= 1e-12, apart > 0.1), strict=True):
        told["holds"] = holds
    axes = ("steps", "learning rate over the first")
    return judgement(rows, lines("cosine-fixed", "Learning rates", axes, curves, log=False))
