"""Studies of optimizers: rates of convergence, thresholds, forms of decay, sizes of steps."""

import math
from pathlib import Path

import numpy as np

from runner.report.load import Records
from runner.run.files import read_csv
from runner.study.judging import Array, Curves, Rows, judgement, lines, over_steps, training_losses
from runner.study.study import Judgement, job_of, weights_of

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
    rows: Rows = []
    curves: Curves = {}
    for _, row in records.runs.iterrows():
        step, loss = training_losses(records, row["run_id"])
        curves[row["optim"]] = (step, loss)
        late = (step >= 100) & (loss > 0)
        design = np.stack([np.ones(late.sum()), step[late], np.log(step[late])], axis=1)
        rate = math.exp(0.5 * float(np.linalg.lstsq(design, np.log(loss[late]), rcond=None)[0][1]))
        expected = RATES[row["optim"]]
        rows.append({"optim": row["optim"], "rate": rate, "expected": expected, "holds": abs(rate - expected) <= 0.002})
    return judgement(rows, lines("quadratic-rates", "Loss on a quadratic", ("steps", "loss"), curves))


BETA = 0.9
THRESHOLDS = {"gd": 2.0, "momentum": 2 * (1 + BETA), "nesterov": (2 + 2 * BETA) / (1 + 2 * BETA)}


def divergence_threshold(records: Records) -> Judgement:
    """Check that runs just below the threshold fall and those just above it diverge."""
    rows: Rows = []
    curves: Curves = {}
    for _, row in records.runs.iterrows():
        share = float(row["optim.lr"]) / THRESHOLDS[row["optim"]]
        step, loss = training_losses(records, row["run_id"])
        curves[f"{row['optim']} at {share:.2f}"] = (step, loss)
        fell = row["status"] == "completed" and loss[-1] < loss[0]
        diverged = row["status"] == "diverged"
        rows.append(
            {
                "optim": f"{row['optim']} at {share:.2f} of the threshold",
                "lr": float(row["optim.lr"]),
                "share_of_threshold": share,
                "status": row["status"],
                "holds": fell if share < 1 else diverged,
            }
        )
    return judgement(rows, lines("divergence-threshold", "Loss near the threshold", ("steps", "loss"), curves))


def decay_forms(records: Records) -> Judgement:
    """Compare final weights: coupled and decoupled decay under SGD and Adam, and Adam with AdamW."""
    weights = {
        (row["optim"], row["regularization"], row.get("optim.weight_decay", "")): weights_of(
            records.places[row["run_id"]]
        )
        for _, row in records.runs.iterrows()
    }

    def apart(one: tuple[str, str, str], other: tuple[str, str, str]) -> float:
        return float(np.max([(weights[one][k] - weights[other][k]).abs().max() for k in weights[one]]))  # NaN stays

    sgd = apart(("sgd", "l2", ""), ("sgd", "weight_decay", ""))
    bare = apart(("adam", "none", ""), ("adamw", "none", "0.0"))
    decayed = apart(("adam", "l2", ""), ("adamw", "none", "0.1"))
    rows: Rows = [
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
    curves: Curves = {}
    for _, row in records.runs.iterrows():
        label = f"{row['optim']}, {row['regularization']} {row.get('optim.weight_decay', '')}"
        curves[label] = training_losses(records, row["run_id"])
    return judgement(rows, lines("decay-forms", "Training loss", ("steps", "training loss"), curves))


def adam_first_step(records: Records) -> Judgement:
    """Compare the size of each optimizer's first step from zero with its closed form, and Adam's path under scaling."""
    expected = {"adam": 1.0, "rmsprop": 10.0, "UncorrectedAdam": 0.1 / 0.001**0.5}
    rows: Rows = []
    curves: Curves = {}
    paths = []
    for _, row in records.runs.iterrows():
        weight = weights_of(records.places[row["run_id"]])["readout.weight"]
        if row["max_steps"] == "1":
            sizes = weight.abs().flatten()
            size = float(sizes[sizes > 0].median()) / float(row["optim.lr"])
            holds = abs(size / expected[row["optim"]] - 1) <= 0.01
            name = "adam without correction" if row["optim"] == "UncorrectedAdam" else row["optim"]
            rows.append(
                {"what": f"{name}: first step / lr", "found": size, "expected": expected[row["optim"]], "holds": holds}
            )
            curves[name] = (np.arange(len(sizes), dtype=float), sizes.numpy())
        else:
            paths.append(weight)
    apart = float((paths[0] - paths[1]).abs().max())
    rows.append({"what": "adam: loss × 1000, path", "found": apart, "expected": 0.0, "holds": apart < 1e-9})
    return judgement(rows, lines("adam-first-step", "Size of the first step", ("weight", "|step|"), curves))


def amsgrad(records: Records) -> Judgement:
    """Check on which side Adam and AMSGrad end."""
    expected = {"adam": 1.0, "amsgrad": -1.0}
    rows: Rows = []
    curves: Curves = {}
    for _, row in records.runs.iterrows():
        x = float(weights_of(records.places[row["run_id"]])["readout.weight"])
        curves[row["optim"]] = training_losses(records, row["run_id"])
        wanted = expected[row["optim"]]
        rows.append({"optim": row["optim"], "x": x, "expected": wanted, "holds": x * wanted > 0.8})
    return judgement(rows, lines("amsgrad", "Mean loss, best at its lowest", ("steps", "mean loss"), curves, log=False))


def muon_orthogonal(records: Records) -> Judgement:
    """Look at the singular values of Muon's first step along a Gaussian gradient."""
    weight = weights_of(records.places[records.runs["run_id"].iloc[0]])["hidden.0.weight"].double().numpy()
    values = np.linalg.svd(weight - np.eye(*weight.shape), compute_uv=False)
    low, high = float(values.min()), float(values.max())
    rows: Rows = [
        {"what": "smallest singular value", "found": low, "expected": "≥ 0.5", "holds": low >= 0.5},
        {"what": "largest singular value", "found": high, "expected": "≤ 1.5", "holds": high <= 1.5},
    ]
    curves = {"update": (np.arange(1.0, len(values) + 1), values)}
    plot = lines("muon-orthogonal", "Singular values of the update", ("index", "singular value"), curves, log=False)
    return judgement(rows, plot)


SMOOTHED, CLASSES = 0.1, 10
_TARGET = 1 - SMOOTHED + SMOOTHED / CLASSES
_OTHERS = SMOOTHED / CLASSES
FLOOR = -(_TARGET * math.log(_TARGET) + (CLASSES - 1) * _OTHERS * math.log(_OTHERS))
"""Entropy of the smoothed targets."""


def smoothing_floor(records: Records) -> Judgement:
    """Compare the training loss that each run makes smaller with the entropy of its targets."""
    rows: Rows = []
    curves: Curves = {}
    for _, row in records.runs.iterrows():
        table = read_csv(records.places[row["run_id"]] / "metrics.csv")[1:]  # nothing was trained before step 0
        step, loss = (np.array([float(r[column]) for r in table]) for column in ("step", "batch_loss"))
        smoothed = row["regularization"] == "label_smoothing"
        curves["smoothed" if smoothed else "plain"] = (step, loss)
        least, last = float(loss.min()), float(loss[-1])
        holds = least >= FLOOR - 1e-9 and last <= FLOOR + 0.01 if smoothed else last < 0.01
        expected = f"{FLOOR:.4f} … {FLOOR + 0.01:.4f}" if smoothed else "< 0.01"
        rows.append(
            {
                "targets": row["regularization"],
                "least_loss": least,
                "last_loss": last,
                "expected": expected,
                "holds": holds,
            }
        )
    return judgement(rows, lines("smoothing-floor", "Training loss", ("steps", "loss"), curves))


LEAST_STANDARD, MOST_MUP = 0.7, 0.2
"""Log-log slopes over the width: of the standard parametrization at least so much, of muP at most so far from 0."""


def mup_transfer(records: Records) -> Judgement:
    """Compare how the change of the logits depends on the width, in the standard parametrization and in muP."""
    found: dict[tuple[str, str], dict[float, list[float]]] = {}
    for _, row in records.runs.iterrows():
        kind = (row["model"], "muP" if row["model.mup"] == "true" else "standard")
        of_width = found.setdefault(kind, {}).setdefault(float(row["model.width"]), [])
        of_width.append(_change_of_logits(records.places[row["run_id"]]))
    rows: Rows = []
    curves: Curves = {}
    for (model, parametrization), by_width in sorted(found.items()):
        widths = np.array(sorted(by_width))
        change = np.array([float(np.mean(by_width[width])) for width in widths])
        curves[f"{model}, {parametrization}"] = (widths, change)
        slope = float(np.polyfit(np.log(widths), np.log(change), 1)[0])
        standard = parametrization == "standard"
        rows.append(
            {
                "model": model,
                "parametrization": parametrization,
                "log_log_slope": slope,
                "expected": f"≥ {LEAST_STANDARD}" if standard else f"0 ± {MOST_MUP}",
                "holds": slope >= LEAST_STANDARD if standard else abs(slope) <= MOST_MUP,
            }
        )
    axes = ("width", "mean |change|")
    return judgement(rows, lines("mup-transfer", "Change of the logits in 3 steps", axes, curves, log_x=True))


def _change_of_logits(place: Path) -> float:
    """Return the mean size of what training has added to a run's logits, on its validation samples."""
    import torch

    from runner.run.build import build

    run = build(job_of(place))
    model = run.construct().eval()
    with torch.no_grad():
        before = model(run.val.x)
        model.load_state_dict(weights_of(place))
        return float((model(run.val.x) - before).abs().mean())


SGD_LR = 0.1
PAIRS = ((1, 2), (10, 11), (100, 101))
"""Lengths of runs that differ by one step."""


def sgd_step(records: Records) -> Judgement:
    """Compare how far one step moves the weights with its gradient's norm, early and late in a run."""
    weights, gradients = {}, {}
    for _, row in records.runs.iterrows():
        where = str(row["optim"]), int(row["max_steps"])
        weights[where] = weights_of(records.places[row["run_id"]])
        gradients[where] = float(over_steps(records, row["run_id"], "grad_norm")[1][-1])
    ratios: dict[str, list[float]] = {}
    for optim in ("sgd", "adam"):
        for before, after in PAIRS:
            new, old = weights[optim, after], weights[optim, before]
            moved = math.sqrt(sum(float((new[name] - old[name]).square().sum()) for name in new))
            ratios.setdefault(optim, []).append(moved / gradients[optim, after])
    rows: Rows = []
    for (_, step), ratio in zip(PAIRS, ratios["sgd"], strict=True):
        holds = abs(ratio / SGD_LR - 1) <= 1e-9
        rows.append(
            {"what": f"sgd: |step {step}| / |gradient|", "found": ratio, "expected": f"{SGD_LR}", "holds": holds}
        )
    spread = max(ratios["adam"]) / min(ratios["adam"])
    rows.append({"what": "adam: largest over smallest", "found": spread, "expected": "> 1.5", "holds": spread > 1.5})
    at = np.array([float(step) for _, step in PAIRS])
    curves = {optim: (at, np.array(found)) for optim, found in ratios.items()}
    return judgement(rows, lines("sgd-step", "Size of a step over its gradient's", ("step", "step / gradient"), curves))


STILL_STEPS, STILL_LR, STILL_STRENGTH, STILL_WEIGHT = 60, 0.01, 0.1, 0.5


def rmsprop_still(records: Records) -> Judgement:
    """Compare weights that never have a gradient, those of pixels that are never inked, before and after."""
    final: dict[tuple[str, str], Array] = {}
    for _, row in records.runs.iterrows():
        weight = weights_of(records.places[row["run_id"]])["readout.weight"]
        final[str(row["optim"]), str(row["regularization"])] = weight.numpy()
    blank = (final["sgd", "none"] == STILL_WEIGHT).all(axis=0)
    moved = float(np.abs(final["rmsprop", "none"][:, blank] - STILL_WEIGHT).max(initial=0.0))
    left = final["sgd", "l2"][:, blank] / STILL_WEIGHT
    expected = (1 - STILL_LR * STILL_STRENGTH) ** STILL_STEPS
    worst = float(left.flat[np.abs(left - expected).argmax()])
    rows: Rows = [
        {"what": "weights without a gradient", "found": int(blank.sum()) * len(left), "expected": "> 0"},
        {"what": "rmsprop: farthest that one moved", "found": moved, "expected": "0"},
        {"what": "sgd with L2: share that is left", "found": worst, "expected": f"{expected:.4f} ± 1e-9"},
    ]
    for told, holds in zip(rows, (bool(blank.any()), moved == 0, abs(worst - expected) <= 1e-9), strict=True):
        told["holds"] = holds
    places = np.arange(float(len(blank)))
    curves = {f"{name}, {kind}": (places, w.mean(axis=0)) for (name, kind), w in final.items()}
    axes = ("pixel", "mean weight over classes")
    return judgement(rows, lines("rmsprop-still", f"Weights after {STILL_STEPS} steps", axes, curves, log=False))
