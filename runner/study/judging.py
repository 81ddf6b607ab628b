"""What judgements share: numbers of runs, intervals, rows that say whether they hold, and plots of curves."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from matplotlib.figure import Figure

from runner.report.drawing.figures import legend_below, log_axis
from runner.report.drawing.looks import COLOURS, DASHES
from runner.report.load import Records, read_layers
from runner.report.section import Plot
from runner.run.files import read_csv
from runner.statistics.scores import mean_interval
from runner.study.study import Judgement

if TYPE_CHECKING:
    from runner.after.members import Predicted

Array = npt.NDArray[np.floating[Any]]
Rows = list[dict[str, object]]
Curves = dict[str, tuple[Array, Array]]


def judgement(rows: Rows, plot: Plot) -> Judgement:
    """Return that everything expected was found, where each row says whether it ``holds``."""
    return Judgement(all(bool(row["holds"]) for row in rows), pd.DataFrame(rows), plot)


def numbers(records: Records, *columns: str) -> pd.DataFrame:
    """Return the runs, these columns as numbers; ``decay`` is what a step at the full rate shrinks weights by."""
    runs: pd.DataFrame = records.runs.copy()
    if "decay" in columns:
        rate = pd.to_numeric(runs["optim.lr"])
        both = [runs[c] for c in ("optim.weight_decay", "regularization.l2.strength") if c in runs]
        strength = sum(pd.to_numeric(column, errors="coerce").fillna(0.0) for column in both)
        runs["decay"] = (rate * strength).map(lambda value: float(f"{value:.3g}"))
    for column in columns:
        runs[column] = pd.to_numeric(runs[column], errors="coerce")
    return runs


def interval(differences: Array) -> tuple[float, float, float]:
    """Return the mean of paired differences and its 95 % interval (Student's)."""
    found = mean_interval(differences)
    return found.mean, found.low, found.high


def compared(what: str, mean: float, low: float, high: float, expected: str, holds: bool) -> dict[str, object]:
    """Return a row: what is compared, its mean and 95 % interval, what was expected and whether it holds."""
    return {"compared": what, "mean": mean, "low": low, "high": high, "expected": expected, "holds": holds}


def lines(
    name: str,
    title: str,
    axes: tuple[str, str],
    curves: Mapping[str, tuple[Array, Array]],
    log: bool = True,
    log_x: bool = False,
) -> Plot:
    """Return a plot of some curves, one a label."""

    def draw(figure: Figure) -> None:
        ax = figure.subplots()
        for number, (label, (x, y)) in enumerate(curves.items()):
            ax.plot(x, y, color=COLOURS[number % 8], ls=DASHES[number % 8], label=label)
        ax.set_xlabel(axes[0])
        ax.set_ylabel(axes[1])
        if log_x:
            log_axis(ax, np.concatenate([x for x, _ in curves.values()]), "x")
        positive = np.concatenate([y[np.isfinite(y) & (y > 0)] for _, y in curves.values()])
        if log and len(positive):
            log_axis(ax, positive, "y")
        legend_below(figure, [ax])

    return Plot(name, title, f"{title}: {', '.join(curves)}.", draw)


def over_steps(records: Records, run_id: str, column: str) -> tuple[Array, Array]:
    """Return the steps at which a run was evaluated and what it has in a column of ``metrics.csv``, NaN for nothing."""
    rows = read_csv(records.places[run_id] / "metrics.csv")
    return np.array([float(r["step"]) for r in rows]), np.array([float(r[column] or "nan") for r in rows])


def training_losses(records: Records, run_id: str) -> tuple[Array, Array]:
    """Return the steps at which a run was evaluated and its training losses, NaN where one is not finite."""
    of_run = records.curves[records.curves["run_id"] == run_id]
    return of_run["step"].to_numpy(float), of_run["train_loss"].to_numpy(float)


def layers_of(records: Records, run_id: str) -> pd.DataFrame:
    """Return the rows of ``layers.csv`` of a run whose sweep asks for diagnostics."""
    layers = read_layers(records.places[run_id])
    assert layers is not None, "the sweep asks for diagnostics"
    return layers


def predicted(records: Records, run_ids: Sequence[str]) -> "Predicted":
    """Return what runs predict of the test set, in their order."""
    from runner.after.members import Team, find

    members, _ = find([str(records.places[run_id]) for run_id in run_ids])
    return Team(members).predict("test")


def layers_at_start(records: Records, column: str) -> dict[str, list[Array]]:
    """Return for each run, by its initializer and gain, a column of ``layers.csv`` at step 0, of hidden layers."""
    found: dict[str, list[Array]] = {}
    for _, row in records.runs.iterrows():
        layers = layers_of(records, row["run_id"])
        first = layers[(layers["step"] == 0) & layers["layer"].str.startswith("hidden")]
        gain = float(row["init.gain"])
        found.setdefault(f"{row['init']}, gain {gain:.4g}", []).append(first[column].to_numpy(float))
    return found
