"""What the terminal says of an ensemble."""

import math
from collections.abc import Sequence

from runner.after.ensemble import Made
from runner.after.judged import ALONE, BEST, LUCKIEST, MEAN, Judged
from runner.measures import BALANCED
from runner.report.drawing.columns import aligned_rows
from runner.shell import joined
from runner.statistics.scores import Interval

TITLES = {
    "mean": "mean of the members' predictions",
    "vote": "majority of the members' votes",
    "weighted": "votes, each weighed by its log-odds on validation",
    "greedy": "mean of members chosen one after another, with replacement",
    "stack": "linear model of the members' predictions",
    "soup": "one network of the mean of the members' weights",
    "samme": "votes of the rounds (SAMME)",
    "gradient": "sum of the rounds (gradient boosting)",
}
NAMES = {
    BALANCED: "balanced accuracy",
    "nll": "log loss",
    "brier": "Brier",
    "ece": "ECE",
    "mse": "MSE",
    "mae": "MAE",
    "r2": "R²",
}
COSTS = {
    "train_seconds": "training",
    "flops_per_sample": "a prediction",
    "parameters": "parameters",
}


def text(made: Made) -> str:
    """Return what is said of an ensemble that was made."""
    found, n = made.judged, len(made.team.members)
    lines = [f"{n} members, {TITLES[made.recipe.method]}"]
    if made.chosen_on:
        lines[0] += f"; chosen on {made.chosen_on}"
    lines += [_weights(made)] if made.recipe.method in ("weighted", "greedy") else []
    names = list(next(iter(found.rows.values())))
    table = [[f"on {found.samples:,} test samples", *(NAMES.get(name, name) for name in names)]]
    for name, row in found.rows.items():
        title = f"{name} (by validation)" if name == BEST else name
        table.append([title, *(_number(row[measure]) for measure in names)])
    lines += ["", aligned_rows(table), ""]
    lines += [f"better than {who}: {gain(found, interval)}" for who, interval in _gains(found).items()]
    lines.append("  95 % intervals over the test samples, paired, for these members as they are")
    if found.decomposition is not None:
        d, what = found.decomposition, "Brier" if made.team.classes is not None else "squared error"
        lines.append(
            f"{what} {d.ensemble:.4g} = the members' {d.members:.4g} less their disagreement {d.ambiguity:.4g}"
        )
    lines += ["", _costs(made), *made.notes]
    lines.append(f"folder  {made.folder}")
    lines.append(f"next    {joined(['optbench', 'predict', str(made.folder)])}")
    return "\n".join(lines) + "\n"


def rounds(weights: Sequence[float], errors: Sequence[float], method: str) -> str:
    """Return what became of each round of a boost."""
    what = "weighted error" if method == "samme" else "training loss up to here"
    table = [["round", what, "weight"]]
    table += [[str(i), f"{e:.4g}", f"{w:.4g}"] for i, (w, e) in enumerate(zip(weights, errors, strict=True), 1)]
    return aligned_rows(table) + "\n"


def _gains(found: Judged) -> dict[str, Interval]:
    titles = {BEST: BEST, MEAN: MEAN, ALONE: ALONE, LUCKIEST: f"{LUCKIEST}, known by the test alone"}
    return {titles[name]: interval for name, interval in found.gains.items()}


def gain(found: Judged, interval: Interval) -> str:
    """Return a difference with its interval: a share's in points."""
    if found.measure != "accuracy":
        return f"{interval.mean:+.4g} in MSE [{interval.low:.3g}, {interval.high:.3g}]"
    return f"{100 * interval.mean:+.3g} points [{100 * interval.low:.3g}, {100 * interval.high:.3g}]"


def _weights(made: Made) -> str:
    shares = [w / sum(made.recipe.weights) for w in made.recipe.weights]
    kept = [(share, m.title) for share, m in zip(shares, made.team.members, strict=True) if share > 0]
    kept.sort(reverse=True)
    shown = [f"  {share:.3f}  {title}" for share, title in kept[:10]]
    more = [f"  and {len(kept) - 10} more"] if len(kept) > 10 else []
    out = len(shares) - len(kept)
    return "\n".join([*shown, *more, *([f"  {out} count nothing"] if out else [])])


def _costs(made: Made) -> str:
    cost = made.judged.cost
    parts = []
    for key, what in COSTS.items():
        one = cost[f"{key}_of_one"]
        if math.isfinite(cost[key]) and one > 0:
            parts.append(f"{what} {cost[key] / one:.1f} times")
    return f"cost, beside one member: {', '.join(parts)}" if parts else "cost: the members do not tell"


def _number(value: float) -> str:
    return f"{value:.4g}" if math.isfinite(value) else ("–" if math.isnan(value) else "∞")
