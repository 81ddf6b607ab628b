"""Where the best setting errs: ROC and precision-recall curves and the confusion of its runs, in validation."""

import json
import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd
from matplotlib.figure import Figure

from runner.report.drawing import charts
from runner.report.drawing.figures import ORDER, legend_below, short
from runner.report.drawing.looks import Look, looks_of_settings
from runner.report.load import Records
from runner.report.section import DOUBLE, SINGLE, Plot, Section, Table
from runner.report.settings import Workload
from runner.run.classification import GRID
from runner.run.files import VALIDATION
from runner.statistics.scores import Array

MOST_CLASSES = 30
"""Of more, the most common mistakes are listed, but no matrix is drawn."""
MOST_LABELLED = 12
"""Up to so many classes, cells say their numbers in a file's figure."""
RIGHT = ("#f3f6fa", "#74a9cf", "#1f62a5")
"""From none to all of a class."""


@dataclass(frozen=True)
class Classified:
    """What the runs of a setting got right and wrong, each run a row."""

    labels: list[str]
    counts: npt.NDArray[np.int64]
    """``[runs, true, called]``"""
    rates: Array
    """True positive rates ``[runs, grid]``; no row where runs have no curves."""
    precisions: Array
    share: float
    """Of positives: what chance's precision is."""

    @property
    def shares(self) -> Array:
        """Return of each true class which share was called what, all runs together; NaN of one without samples."""
        together = self.counts.sum(0).astype(float)
        of = together.sum(1, keepdims=True)
        return np.where(of > 0, together / np.maximum(of, 1), np.nan)


def read(workload: Workload, records: Records) -> tuple[Classified | None, int, int]:
    """Return what the best setting's runs hold, how many of them hold it, and how many there are."""
    its = workload.runs[(workload.runs["setting"] == 0) & workload.runs["value"].notna()]
    found = []
    for identifier in map(str, its["run_id"]):
        try:
            path = records.places[identifier] / VALIDATION
            found.append(_run(json.loads(path.read_text(encoding="utf-8"))))
        except (KeyError, OSError, ValueError, TypeError, IndexError, OverflowError, RecursionError):
            continue
    found = [one for one in found if one.labels == found[0].labels]
    if not found:
        return None, 0, len(its)
    rates, precisions = (np.concatenate([getattr(one, c) for one in found]) for c in ("rates", "precisions"))
    share = float(np.mean([one.share for one in found]))
    counts = np.concatenate([one.counts for one in found])
    return Classified(found[0].labels, counts, rates, precisions, share), len(found), len(its)


def _run(held: dict[str, object]) -> Classified:
    """Return one run's.

    Raises:
        ValueError: if it is not what a run writes; or KeyError, TypeError, IndexError.
    """
    labels = [str(label) for label in held["labels"]]  # type: ignore[attr-defined]
    counts = np.zeros((1, len(labels), len(labels)), np.int64)
    for true, called, n in held["confusion"]:  # type: ignore[attr-defined]
        counts[0, int(true), int(called)] = int(n)
    curves = np.array([held.get(key, []) for key in ("true_positive_rate", "precision")], float)
    if curves.shape[1] not in (0, len(GRID)) or not np.isfinite(curves).all():
        raise ValueError("not at the places that curves are held at")
    rows = curves.reshape(2, -1, len(GRID))
    return Classified(labels, counts, rows[0], rows[1], float(str(held.get("positive_share", "nan"))))


def classified(workload: Workload, records: Records) -> Section | None:
    """Draw where the best setting errs; None where its runs tell no classes, or recorded nothing of it."""
    found, there, runs = read(workload, records)
    if found is None:
        return None
    word = workload.replicate_word
    some = f"the best setting's {runs} runs"
    some = some if there == runs else f"{there} of {some} (the others have no {VALIDATION})"
    said = [f"Of {'the run' if runs == 1 else some}, on the validation set, with the weights that it ended with."]
    if len(found.rates):
        each = "the second class against the first" if len(found.labels) == 2 else "each class against all others, mean"
        bands = f" The band is from the worst to the best {word}." if len(found.rates) > 1 else ""
        said.append(f"Curves: {each}.{bands} Dotted: what chance reaches.")
    mistakes = _mistakes(found)
    if len(mistakes):
        one = mistakes.iloc[0]
        said.append(
            f"The most common mistake: {one['true']} taken for {one['called']}, {one['samples']} times in all, "
            f"{100 * one['share_of_class']:.3g} % of the samples of {one['true']}."
        )
    plots = [_curves_plot(workload, found)] if len(found.rates) else []
    plots += [_matrix_plot(found)] if len(found.labels) <= MOST_CLASSES else []
    tables = (Table("mistakes", "Every mistake", mistakes, folded=True, names=2),) if len(mistakes) else ()
    return Section("Where does it err?", tuple(said), tuple(plots), tables)


def missing(workload: Workload, records: Records) -> str | None:
    """Return that the best setting's runs, which tell classes, recorded nothing of where they err; or None."""
    tells_classes = records.number("final_val_accuracy").loc[workload.runs.index].notna().any()
    found, _, runs = read(workload, records)
    if found is not None or not tells_classes or not runs:
        return None
    return (
        f"The best setting's runs have no {VALIDATION}, as runs of an earlier version or on text have none: there are "
        "no ROC and precision-recall curves and no confusion matrix."
    )


def _mistakes(found: Classified) -> pd.DataFrame:
    """Return a row each two classes that were taken for another, the most common first."""
    together, shares = found.counts.sum(0), found.shares
    wrong = [(i, j) for i, j in np.argwhere(together > 0).tolist() if i != j]
    rows = [
        {
            "true": found.labels[i],
            "called": found.labels[j],
            "samples": int(together[i, j]),
            "share_of_class": shares[i, j],
        }
        for i, j in sorted(wrong, key=lambda at: -int(together[at]))
    ]
    return pd.DataFrame(rows)


PANELS = (("ROC", "false positive rate", "true positive rate"), ("Precision and recall", "recall", "precision"))


def _curves_plot(workload: Workload, found: Classified) -> Plot:
    look = looks_of_settings(workload, [0])[0]
    area = float(np.trapezoid(found.rates.mean(0), GRID))
    return Plot(
        "roc",
        f"ROC, of mean area {area:.4f}, and precision against recall",
        f"ROC curve of area {area:.4f} and precision-recall curve of {workload.words(0)}, {len(found.rates)} runs.",
        lambda figure: _draw_curves(figure, found, look),
        width=DOUBLE,
        height=2.9,
        chart=lambda: _curves_chart(workload, found, look),
    )


def _chance(panel: int, found: Classified) -> tuple[list[float], list[float]]:
    return [0.0, 1.0], [0.0, 1.0] if panel == 0 else [found.share, found.share]


def _curves_chart(workload: Workload, found: Classified, look: Look) -> charts.Chart:
    traces, name = [], workload.words(0)
    for panel, curves in enumerate((found.rates, found.precisions)):
        if len(curves) > 1:
            traces.append(charts.band(GRID, curves.min(0), curves.max(0), name, look, panel))
        traces.append(charts.line(GRID, curves.mean(0), name, look, panel, panel == 0))
        x, y = _chance(panel, found)
        soft = {"line": {"color": charts.SOFT, "dash": "dot", "width": 1.5}, "hoverinfo": "skip"}
        traces.append(charts.line(x, y, "chance", look, panel, panel == 0, **soft))
    ends = {"range": [-0.02, 1.02], "zeroline": False}
    x_axes, y_axes = ([charts.named(p[i], **ends) for p in PANELS] for i in (1, 2))
    return {"data": traces, "layout": charts.layout([p[0] for p in PANELS], x_axes, y_axes, 2, 360)}


def _draw_curves(figure: Figure, found: Classified, look: Look) -> None:
    for panel, (ax, curves) in enumerate(zip(figure.subplots(1, 2), (found.rates, found.precisions), strict=True)):
        ax.plot(GRID, curves.mean(0), color=look.colour, label=f"mean of {len(curves)} runs")
        ax.fill_between(GRID, curves.min(0), curves.max(0), color=look.colour, alpha=0.2, lw=0)
        ax.plot(*_chance(panel, found), color="0.5", ls=":", label="chance")
        title, x, y = PANELS[panel]
        ax.set(title=title, xlabel=x, ylabel=y, xlim=(-0.02, 1.02), ylim=(-0.02, 1.02))
    legend_below(figure, figure.axes[:1])


def _matrix_plot(found: Classified) -> Plot:
    k = len(found.labels)
    right = float(np.trace(found.counts.sum(0)) / max(1, found.counts.sum()))
    return Plot(
        "confusion",
        "Confusion: which share of each class, a row, was called what",
        f"Confusion matrix of {k} classes; {right:.4f} of all samples lie on its diagonal.",
        lambda figure: _draw_matrix(figure, found),
        width=SINGLE if k <= 6 else DOUBLE,
        height=min(6.5, 1.1 + 0.3 * k),
        chart=lambda: _matrix_chart(found),
    )


def _matrix_chart(found: Classified) -> charts.Chart:
    k, shares, counts = len(found.labels), found.shares, found.counts
    names = [charts.label(label, 16) for label in found.labels]
    several = len(counts) > 1
    hover = [
        [
            f"{names[i]} called {names[j]}: {counts[:, i, j].sum()} ({100 * shares[i, j]:.3g} %)"
            + (f"<br>{counts[:, i, j].min()} to {counts[:, i, j].max()} a run" if several else "")
            for j in range(k)
        ]
        for i in range(k)
    ]
    texts = [[f"{100 * v:.3g} %" if v > 0 else "" for v in row] for row in shares]
    cells = {
        "type": "heatmap",
        "z": shares,
        "text": hover,
        "hovertemplate": "%{text}<extra></extra>",
        "colorscale": [[i / 2, colour] for i, colour in enumerate(RIGHT)],
        "zmin": 0,
        "zmax": 1,
        "xgap": 1,
        "ygap": 1,
        "colorbar": {"thickness": 12, "outlinewidth": 0, "tickformat": ".0%"},
    }
    data: list[charts.Chart] = [cells]
    for colour, dark in (("#1b1f24", False), ("#ffffff", True)) if k <= MOST_LABELLED else ():
        at = np.argwhere((np.nan_to_num(shares) > 0) & ((shares > 0.75) == dark))
        if len(at):
            text = {"mode": "text", "text": [texts[i][j] for i, j in at.tolist()], "textfont": {"color": colour}}
            data.append({"type": "scatter", "x": at[:, 1], "y": at[:, 0], "hoverinfo": "skip"} | text)
    ticks = {"tickvals": list(range(k)), "ticktext": names, "showgrid": False, "zeroline": False, "type": "linear"}
    x, y = charts.named("called", **ticks), charts.named("true", autorange="reversed", **ticks)
    size = max(22, min(44, 640 // k))
    return {"data": data, "layout": charts.layout([""], [x], [y], 1, 90 + size * k, 130 + 40 * k, legend=False)}


def _draw_matrix(figure: Figure, found: Classified) -> None:
    ax, shares = figure.subplots(), found.shares
    k = len(found.labels)
    image = ax.imshow(shares, cmap=ORDER.from_list("right", RIGHT), vmin=0, vmax=1, aspect="auto")
    names = [short(label, 14) for label in found.labels]
    ax.set_xticks(range(k), names, rotation=90 if max(map(len, names)) > 4 else 0)
    ax.set_yticks(range(k), names)
    ax.set(xlabel="called", ylabel="true")
    ax.grid(visible=False)
    for i, j in np.argwhere(np.nan_to_num(shares) > 0).tolist() if k <= MOST_LABELLED else ():
        value = f"{100 * shares[i, j]:.2g}" if not math.isclose(shares[i, j], 1) else "100"
        ax.text(j, i, value, ha="center", va="center", fontsize=6, color="white" if shares[i, j] > 0.75 else "black")
    figure.colorbar(image, ax=ax, shrink=0.9, format=lambda v, _: f"{100 * v:.0f} %").outline.set_visible(False)
