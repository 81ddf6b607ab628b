"""Learning curves over steps and seconds: what was wrong, in validation and in training, on a logarithmic scale."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from runner.report.drawing import charts
from runner.report.drawing.figures import legend_below, log_axis, short
from runner.report.drawing.looks import Look, first_axis, looks_of_settings
from runner.report.drawing.wrong import Wrong, above, wrong
from runner.report.load import Records
from runner.report.section import DOUBLE, Plot, Section, Table
from runner.report.settings import Workload
from runner.statistics.scores import Array

MOST_CURVES = 6
_ENDS = ("mean", "min", "max")
CLOCKS = {"step": "steps", "train_seconds": "seconds of training"}


def shown_settings(workload: Workload) -> list[int]:
    """Return the settings worth drawing: the best of each optimizer, or of each value of the first axis."""
    axis = first_axis(workload)
    found = sorted(workload.best_of([axis] if axis else []).values())
    return [s for s in found if workload.table.at[s, "n"] or workload.table.at[s, "bad"]][:MOST_CURVES]


def learning_curves(workload: Workload, records: Records) -> Section | None:
    """Draw what is wrong with the best settings against steps and seconds, in validation and in training."""
    measure = workload.measure
    twin = f"train_{measure.name.partition('_')[2]}"
    columns = [measure.name, twin if twin in records.curves and records.curves[twin].notna().any() else "train_loss"]
    both = [wrong(measure, column) for column in columns]
    settings = shown_settings(workload)
    histories = {s: found for s in settings if len(found := history(workload, records, s, columns))}
    if not histories:
        return None
    rows = pd.concat([h.assign(setting=workload.words(s)) for s, h in histories.items()])
    rows = rows[["setting", *[c for c in rows if c != "setting"]]]
    plots = tuple(_plot(workload, histories, both, clock) for clock in CLOCKS)
    axis = first_axis(workload)
    said, alone = [], len(workload.runs) == 1
    if not alone:
        spread = ": the mean over seeds, the band from the worst to the best" if len(workload.replicates) > 1 else ""
        of = f"The best setting of each {axis}" if axis else "Every seed"
        of += f" (the best {MOST_CURVES} of them)" if axis and len(workload.levels(axis)) > MOST_CURVES else ""
        said = [f"{of}{spread}. A run that stopped early stays at its end."]
    said += ["What is 0 is drawn on the lower edge."] if _touches_zero(histories, both) else []
    return Section(
        f"How did {'it' if alone else 'they'} learn?",
        (" ".join(said),) if said else (),
        plots,
        (Table("curves", "The curves", rows, folded=True),),
    )


def history(workload: Workload, records: Records, setting: int, columns: Sequence[str]) -> pd.DataFrame:
    """Return a setting's rows: mean and range of some columns over its runs at each step."""
    its = workload.runs[(workload.runs["setting"] == setting)]
    its = its[its["value"].notna()] if its["value"].notna().any() else its
    rows = records.curves[records.curves["run_id"].isin(its["run_id"])]
    if not len(rows) or columns[0] not in rows:
        return pd.DataFrame()
    wide = rows.drop_duplicates(["step", "run_id"], keep="last")
    names = list(dict.fromkeys(["train_seconds", *columns]))
    wide = wide.pivot(index="step", columns="run_id", values=names).sort_index().ffill()
    by_run = {name: pd.DataFrame(wide[name]) for name in names}
    found = pd.DataFrame(
        {"step": wide.index.to_numpy(), "train_seconds": by_run["train_seconds"].mean(axis=1).to_numpy()}
    )
    for name in dict.fromkeys(columns):
        for what in _ENDS:
            found[f"{name}_{what}"] = getattr(by_run[name], what)(axis=1).to_numpy()
    return found.assign(seeds=by_run[columns[0]].notna().sum(axis=1).to_numpy())


def _plot(workload: Workload, histories: Mapping[int, pd.DataFrame], both: Sequence[Wrong], clock: str) -> Plot:
    said = CLOCKS[clock]
    return Plot(
        f"curves-{clock}",
        f"Learning curves against {said}",
        f"{both[0].title} and {both[1].title} of {len(histories)} settings against {said}.",
        lambda figure: _draw(figure, workload, histories, both, clock),
        width=DOUBLE,
        height=2.6 + 0.16 * (len(histories) // 2),
        chart=lambda: _chart(workload, histories, both, clock),
    )


def _touches_zero(histories: Mapping[int, pd.DataFrame], both: Sequence[Wrong]) -> bool:
    return any(
        w.logarithmic and bool((w.of(h[f"{w.column}_{end}"].to_numpy(float)) <= 0).any())
        for w in both
        for h in histories.values()
        for end in _ENDS
    )


def _floor(histories: Mapping[int, pd.DataFrame], what: Wrong) -> float | None:
    return what.floor(what.of(h[f"{what.column}_{e}"].to_numpy(float)) for h in histories.values() for e in _ENDS)


def _curves(rows: pd.DataFrame, what: Wrong, floor: float | None) -> tuple[Array, Array, Array]:
    """Return a setting's mean, lower and upper curve."""
    mean, low, high = (what.of(rows[f"{what.column}_{end}"].to_numpy(float)) for end in _ENDS)
    low, high = np.minimum(low, high), np.maximum(low, high)
    return above(mean, floor), above(low, floor), above(high, floor)


def _chart(
    workload: Workload, histories: Mapping[int, pd.DataFrame], both: Sequence[Wrong], clock: str
) -> charts.Chart:
    looks = looks_of_settings(workload, list(histories))
    bands, lines, drawn, logarithmic = [], [], list[list[Array]](), []
    for panel, what in enumerate(both):
        floor, values = _floor(histories, what), []
        for setting, rows in histories.items():
            mean, low, high = _curves(rows, what, floor)
            name, x = workload.words(setting), rows[clock].to_numpy(float)
            if (rows["seeds"] > 1).any():
                bands.append(charts.band(x, low, high, name, looks[setting], panel))
            true = what.of(rows[f"{what.column}_mean"].to_numpy(float))
            hover = {"text": [f"{v:.4g}" for v in true], "hovertemplate": "%{x:.4~g}: %{text}"}
            lines.append(charts.line(x, mean, name, looks[setting], panel, panel == 0, **hover))
            values += [mean, low, high]
        drawn.append(values)
        logarithmic.append(floor is not None)
    if alike := logarithmic[0] == logarithmic[1] and both[0].from_one == both[1].from_one:
        drawn = [drawn[0] + drawn[1]] * 2
    axes = [
        charts.logarithmic("", np.concatenate(v)) if log else charts.named("")
        for v, log in zip(drawn, logarithmic, strict=True)
    ]
    axes[1] |= {"matches": "y"} if alike else {}  # so that the gap between both is seen
    x_axes = [charts.named(CLOCKS[clock], rangemode="tozero")] * 2
    titles = [what.title for what in both]
    return {"data": bands + lines, "layout": charts.layout(titles, x_axes, axes, legend=len(histories) > 1)}


def _draw(
    figure: Figure, workload: Workload, histories: Mapping[int, pd.DataFrame], both: Sequence[Wrong], clock: str
) -> None:
    alike = both[0].from_one == both[1].from_one
    axes = figure.subplots(1, 2, sharey=alike)
    looks = looks_of_settings(workload, list(histories))
    everything: list[Array] = []
    for ax, what in zip(axes, both, strict=True):
        floor = _floor(histories, what)
        for setting, rows in histories.items():
            mean, low, high = _curves(rows, what, floor)
            _line(
                ax, rows[clock].to_numpy(float), (mean, low, high), looks[setting], short(workload.words(setting), 48)
            )
            everything += [mean, low, high]
        ax.set_xlabel(CLOCKS[clock])
        ax.set_title(what.title)
        if floor is not None:
            found = np.concatenate(everything)
            log_axis(ax, found[np.isfinite(found)], "y")
        everything = everything if alike else []
    if len(histories) > 1:
        legend_below(figure, [axes[0]])


def _line(ax: Axes, x: Array, curve: tuple[Array, Array, Array], look: Look, label: str) -> None:
    mean, low, high = curve
    ax.plot(x, mean, color=look.colour, ls=look.dash, label=label)
    ax.fill_between(x, low, high, color=look.colour, alpha=0.18, lw=0)
