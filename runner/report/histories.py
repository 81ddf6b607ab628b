"""Learning curves over steps and seconds, and what the layers did over depth."""

from collections.abc import Sequence
from functools import partial

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from runner.report.figures import COLOURS, DASHES, clean, legend_below, log_axis, short
from runner.report.load import Records, read_layers
from runner.report.sections import Plot, Section, Table
from runner.report.settings import Workload

MOST_CURVES = 6
LAYER_MEASURES = {
    "activation_second_moment": "second moment of activations",
    "gradient_second_moment": "second moment of gradients",
}


def shown_settings(workload: Workload) -> list[int]:
    """Return the settings worth drawing: the best of each optimizer, or of each value of the first axis."""
    by = [a for a in ("optim", "init", *workload.axes) if a in workload.axes][:1]
    found = sorted(workload.best_of(by).values())
    return [s for s in found if workload.table.at[s, "n"] or workload.table.at[s, "bad"]][:MOST_CURVES]


def learning_curves(workload: Workload, records: Records) -> Section | None:
    """Draw validation measure and training loss of the best settings against steps and seconds."""
    settings = shown_settings(workload)
    histories = {s: found for s in settings if len(found := _history(workload, records, s))}
    if not histories:
        return None
    measure = workload.measure
    rows = pd.concat([h.assign(setting=workload.words(s)) for s, h in histories.items()])
    rows = rows[["setting", *[c for c in rows if c != "setting"]]]
    plots = tuple(
        Plot(
            f"curves-{x}",
            f"Learning curves against {title}",
            f"{measure.title} and training loss of {len(histories)} settings against {title}.",
            partial(_draw, workload=workload, histories=histories, x=x, title=title),
            width=10.5,
            height=4.6,
        )
        for x, title in (("step", "steps"), ("train_seconds", "seconds of training"))
    )
    by = next((a for a in ("optim", "init", *workload.axes) if a in workload.axes), "")
    of = f"The best setting of each {by}" if by else "Every seed"
    said = f"{of}: the mean over seeds, the band from the worst to the best. A run that stopped early stays at its end."
    return Section("How did they learn?", (said,), plots, (Table("curves", "The curves", rows, folded=True),))


def _history(workload: Workload, records: Records, setting: int) -> pd.DataFrame:
    """Return a setting's rows: mean and range over its runs at each step."""
    its = workload.runs[(workload.runs["setting"] == setting)]
    its = its[its["value"].notna()] if its["value"].notna().any() else its
    rows = records.curves[records.curves["run_id"].isin(its["run_id"])]
    measure = workload.measure.name
    if not len(rows) or measure not in rows:
        return pd.DataFrame()
    wide = rows.drop_duplicates(["step", "run_id"], keep="last")
    names = list(dict.fromkeys(["train_seconds", "train_loss", measure]))
    wide = wide.pivot(index="step", columns="run_id", values=names).sort_index().ffill()
    by_run = {name: pd.DataFrame(wide[name]) for name in names}
    found = pd.DataFrame(
        {"step": wide.index.to_numpy(), "train_seconds": by_run["train_seconds"].mean(axis=1).to_numpy()}
    )
    for name in dict.fromkeys([measure, "train_loss"]):
        for what in ("mean", "min", "max"):
            found[f"{name}_{what}"] = getattr(by_run[name], what)(axis=1).to_numpy()
    return found.assign(seeds=by_run[measure].notna().sum(axis=1).to_numpy())


def _draw(figure: Figure, workload: Workload, histories: dict[int, pd.DataFrame], x: str, title: str) -> dict[str, str]:
    left, right = figure.subplots(1, 2)
    for number, (setting, rows) in enumerate(histories.items()):
        label = short(workload.words(setting), 48)
        for ax, name in ((left, workload.measure.name), (right, "train_loss")):
            colour = COLOURS[number]
            ax.plot(rows[x], rows[f"{name}_mean"], color=colour, ls=DASHES[number], label=label)
            ax.fill_between(rows[x], rows[f"{name}_min"], rows[f"{name}_max"], color=colour, alpha=0.15, lw=0)
    for ax, name, names in (
        (left, workload.measure.name, workload.measure.title),
        (right, "train_loss", "training loss"),
    ):
        ax.set_xlabel(title)
        ax.set_ylabel(names)
        values = np.concatenate([h[f"{name}_mean"] for h in histories.values()])
        _log_if_wide(ax, values, name)
    legend_below(figure, [left])
    return {}


def _log_if_wide(ax: Axes, values: Sequence[float] | np.ndarray[tuple[int], np.dtype[np.float64]], name: str) -> None:
    """Use a logarithmic axis for a positive loss that spans more than a decade."""
    known = np.asarray(values)[np.isfinite(values)]
    if name.endswith("loss") and len(known) and known.min() > 0 and known.max() / known.min() > 10:
        log_axis(ax, known, "y")


def layers(workload: Workload, records: Records) -> Section | None:
    """Draw what signals and gradients did over depth, where it was recorded."""
    found: dict[str, pd.DataFrame] = {}
    by = "init" if "init" in workload.axes else next(iter(workload.axes), "")
    for setting in sorted(workload.best_of([by] if by else []).values())[:MOST_CURVES]:
        identifier = str(workload.row(setting)["run_id"])
        rows = read_layers(records.places[identifier]) if identifier in records.places else None
        if rows is not None and {"step", "layer", *LAYER_MEASURES} <= set(rows):
            found[workload.words(setting)] = rows
    if not found:
        return None
    rows = pd.concat([r.assign(setting=name) for name, r in found.items()])
    rows = rows[["setting", *[c for c in rows if c != "setting"]]]
    plot = Plot(
        "layers",
        "Signals and gradients over depth",
        f"Second moments of activations and gradients in each layer for {len(found)} settings.",
        lambda figure: _draw_layers(figure, found),
        width=10.5,
        height=5.0,
    )
    said = (
        "Second moments in each layer before training (pale, dotted) and at the end. A straight slope is a signal that "
        "shrinks or grows by the same factor in every layer."
    )
    return Section(
        "What happened in the layers?", (said,), (plot,), (Table("layers", "Every layer", rows, folded=True),)
    )


def _draw_layers(figure: Figure, found: dict[str, pd.DataFrame]) -> dict[str, str]:
    axes = figure.subplots(1, 2)
    for ax, (name, title) in zip(axes, LAYER_MEASURES.items(), strict=True):
        positive = []
        for number, (setting, rows) in enumerate(found.items()):
            for step, shade, style in ((rows["step"].min(), 0.45, ":"), (rows["step"].max(), 1.0, "-")):
                part = rows[rows["step"] == step]
                values = pd.to_numeric(part[name], errors="coerce").to_numpy(float)
                positive += [v for v in values if v > 0]
                label = clean(setting) if shade == 1.0 else None
                ax.plot(
                    np.arange(1, len(part) + 1),
                    values,
                    style,
                    marker="o",
                    ms=4,
                    color=COLOURS[number],
                    alpha=shade,
                    label=label,
                )
        ax.set_xlabel("layer, from input to output")
        ax.set_ylabel(title)
        if positive:
            log_axis(ax, positive, "y")
        ax.xaxis.get_major_locator().set_params(integer=True)
    legend_below(figure, [axes[0]])
    return {}
