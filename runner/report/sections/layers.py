"""What signals, gradients and curvature did, where a run recorded it: layer by layer, and over steps."""

from collections.abc import Mapping

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from runner.report.drawing import charts
from runner.report.drawing.figures import legend_below, log_axis, short
from runner.report.drawing.looks import looks_of_settings
from runner.report.evaluations import as_number
from runner.report.load import Records, read_layers
from runner.report.section import DOUBLE, SINGLE, Plot, Section, Table
from runner.report.sections.histories import MOST_CURVES, history, shown_settings
from runner.report.settings import LR, Workload

LAYER_MEASURES = {
    "activation_second_moment": "second moment of activations",
    "gradient_second_moment": "second moment of gradients",
}
SHARPNESS = "sharpness"
PLAIN_DESCENT = ("gd", "sgd")
"""Optimizers that the edge at 2/lr is known of."""


def layers(workload: Workload, records: Records) -> Section | None:
    """Draw what signals and gradients did over depth, where it was recorded."""
    found: dict[int, pd.DataFrame] = {}
    by = "init" if "init" in workload.axes else next(iter(workload.axes), "")
    for setting in sorted(workload.best_of([by] if by else []).values())[:MOST_CURVES]:
        identifier = str(workload.row(setting)["run_id"])
        rows = read_layers(records.places[identifier]) if identifier in records.places else None
        if rows is not None and len(rows) and {"step", "layer", *LAYER_MEASURES} <= set(rows):
            found[setting] = rows
    if not found:
        return None
    rows = pd.concat([r.assign(setting=workload.words(s)) for s, r in found.items()])
    rows = rows[["setting", *[c for c in rows if c != "setting"]]]
    plot = Plot(
        "layers",
        "Signals and gradients over depth",
        f"Second moments of activations and gradients in each layer for {len(found)} settings.",
        lambda figure: _draw_layers(figure, workload, found, by),
        width=DOUBLE,
        height=2.8,
        chart=lambda: _layers_chart(workload, found, by),
    )
    said = (
        "Second moments in each layer before training (pale, dotted) and at the end. A straight slope is a signal that "
        "shrinks or grows by the same factor in every layer."
    )
    return Section(
        "What happened in the layers?", (said,), (plot,), (Table("layers", "Every layer", rows, folded=True, names=3),)
    )


def _ends(rows: pd.DataFrame) -> list[tuple[bool, pd.DataFrame]]:
    """Return the layers before training and at the end, and whether it is the end."""
    first, last = rows["step"].min(), rows["step"].max()
    both = [(False, rows[rows["step"] == first]), (True, rows[rows["step"] == last])]
    return both if first != last else both[:1]


def _layers_chart(workload: Workload, found: Mapping[int, pd.DataFrame], by: str) -> charts.Chart:
    looks, lines, y_axes = looks_of_settings(workload, list(found), by or None), [], []
    for panel, name in enumerate(LAYER_MEASURES):
        everything: list[float] = []
        for setting, rows in found.items():
            for ended, part in _ends(rows):
                values = pd.to_numeric(part[name], errors="coerce").to_numpy(float)
                look, x = looks[setting], np.arange(1, len(part) + 1)
                everything += values.tolist()
                words = workload.words(setting)
                line = charts.line(x, np.where(values > 0, values, np.nan), words, look, panel, ended and panel == 0)
                line |= {"mode": "lines+markers", "marker": {"symbol": look.symbol, "size": 7, "color": look.colour}}
                line |= {"text": [charts.label(str(v)) for v in part["layer"]]}
                when = "at the end" if ended else "before training"
                line |= {"hovertemplate": f"%{{text}} {when}: %{{y:.4~g}}"}
                line["line"] = {"color": look.colour, "dash": "solid" if ended else "dot", "width": 2}
                lines.append(line | ({} if ended else {"opacity": 0.5}))
        y_axes.append(charts.logarithmic("", everything))
    x_axis = charts.named("layer, from input to output", dtick=1)
    return {"data": lines, "layout": charts.layout(list(LAYER_MEASURES.values()), [x_axis] * 2, y_axes)}


def _draw_layers(figure: Figure, workload: Workload, found: Mapping[int, pd.DataFrame], by: str) -> None:
    axes, looks = figure.subplots(1, 2), looks_of_settings(workload, list(found), by or None)
    for ax, (name, title) in zip(axes, LAYER_MEASURES.items(), strict=True):
        positive = []
        for setting, rows in found.items():
            look = looks[setting]
            for ended, part in _ends(rows):
                values = pd.to_numeric(part[name], errors="coerce").to_numpy(float)
                positive += [v for v in values if v > 0]
                label = short(workload.words(setting)) if ended else None
                style = {"ls": "-" if ended else ":", "alpha": 1.0 if ended else 0.45, "marker": look.marker}
                ax.plot(np.arange(1, len(part) + 1), values, color=look.colour, label=label, **style)
        ax.set_xlabel("layer, from input to output")
        ax.set_ylabel(title)
        if positive:
            log_axis(ax, positive, "y")
        ax.xaxis.get_major_locator().set_params(integer=True)
    legend_below(figure, [axes[0]])


def sharpness(workload: Workload, records: Records) -> Section | None:
    """Draw the sharpness over steps, where runs recorded it."""
    if SHARPNESS not in records.curves or not records.curves[SHARPNESS].notna().any():
        return None
    found = {}
    for setting in shown_settings(workload):
        rows = history(workload, records, setting, [SHARPNESS])
        if len(rows) and (rows[f"{SHARPNESS}_mean"] > 0).any():
            found[setting] = rows
    if not found:
        return None
    plot = Plot(
        SHARPNESS,
        "Sharpness over steps",
        f"The largest eigenvalue of the training loss's Hessian over steps, for {len(found)} settings.",
        lambda figure: _draw_sharpness(figure, workload, found),
        width=SINGLE if len(found) == 1 else DOUBLE,
        height=2.8,
        chart=lambda: _sharpness_chart(workload, found),
    )
    said = (
        "The largest eigenvalue of the training loss's Hessian: the mean over seeds, the band from the least to the "
        "most. Plain gradient descent is unstable where it exceeds 2/lr, drawn thin at the rate that a run starts with "
        "(Cohen et al. 2021)."
    )
    return Section("How sharp is where they went?", (said,), (plot,))


def _edge(workload: Workload, setting: int) -> float | None:
    """Return 2/lr of a setting of plain gradient descent."""
    row = workload.row(setting)
    rate = as_number(row.get(LR, ""))
    return 2 / rate if row.get("optim") in PLAIN_DESCENT and rate > 0 else None


def _sharpness_chart(workload: Workload, found: Mapping[int, pd.DataFrame]) -> charts.Chart:
    looks, bands, lines, everything = looks_of_settings(workload, list(found)), [], [], []
    for setting, rows in found.items():
        x, name, look = rows["step"].to_numpy(float), workload.words(setting), looks[setting]
        mean, low, high = (_positive(rows, end) for end in ("mean", "min", "max"))
        if (rows["seeds"] > 1).any():
            bands.append(charts.band(x, low, high, name, look))
        lines.append(charts.line(x, mean, name, look))
        everything += [mean, low, high]
        if (edge := _edge(workload, setting)) is not None:
            thin = {"line": {"color": look.colour, "width": 1, "dash": "dot"}, "hovertemplate": "2/lr: %{y:.4~g}"}
            lines.append(charts.line(x[[0, -1]], [edge, edge], name, look, 0, False, **thin))
            everything.append(np.array([edge]))
    y_axis = charts.logarithmic("sharpness", np.concatenate(everything))
    return {"data": bands + lines, "layout": charts.layout([""], [charts.named("steps")], [y_axis], 1, 340)}


def _positive(rows: pd.DataFrame, end: str) -> "np.ndarray[tuple[int], np.dtype[np.float64]]":
    values = rows[f"{SHARPNESS}_{end}"].to_numpy(float)
    return np.where(values > 0, values, np.nan)


def _draw_sharpness(figure: Figure, workload: Workload, found: Mapping[int, pd.DataFrame]) -> None:
    ax, looks, everything = figure.subplots(), looks_of_settings(workload, list(found)), []
    for setting, rows in found.items():
        x, look = rows["step"].to_numpy(float), looks[setting]
        mean, low, high = (_positive(rows, end) for end in ("mean", "min", "max"))
        ax.plot(x, mean, color=look.colour, ls=look.dash, label=short(workload.words(setting), 48))
        ax.fill_between(x, low, high, color=look.colour, alpha=0.18, lw=0)
        if (edge := _edge(workload, setting)) is not None:
            ax.axhline(edge, color=look.colour, lw=0.6, ls=":")
        everything.append(mean[np.isfinite(mean)])
    ax.set_xlabel("steps")
    ax.set_ylabel("sharpness")
    log_axis(ax, np.concatenate(everything), "y")
    legend_below(figure, [ax])
