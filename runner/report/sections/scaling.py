"""How the loss falls with the size of the network: a power law over the best setting of each size."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter, LogLocator, NullFormatter

from runner.report.drawing import charts
from runner.report.drawing.columns import aligned, filled
from runner.report.drawing.figures import log_axis
from runner.report.drawing.looks import COLOURS, DASHES, MARKERS, Look
from runner.report.load import Records
from runner.report.section import DOUBLE, Plot, Section, Table
from runner.report.settings import Workload
from runner.statistics.power_law import EXPONENTS, FEWEST_SIZES, Law, fit
from runner.statistics.scores import Array

SIZES = {"parameters": "parameters", "flops_per_sample": "FLOPs a sample"}
"""Columns that say how large a network is; the FLOPs are of a forward pass."""
LOSSES = {"final_val_loss": "validation", "test_loss": "test"}
SIZE_AXES = ("model.width", "model.depth", "model.widths")
TITLE = "How does the loss fall with size?"


@dataclass(frozen=True)
class Size:
    """The best setting of a size."""

    count: float
    """Of parameters, or FLOPs."""
    setting: int
    losses: dict[str, Array]
    """Of its runs, by the loss's column."""


@dataclass(frozen=True)
class Fit:
    """A loss against a measure of size."""

    size: str
    loss: str
    sizes: list[Size]
    law: Law | None
    """None where there are too few sizes."""

    @property
    def doubt(self) -> str:
        """Why the law says nothing, or what speaks against it; empty where nothing does."""
        if self.law is None:
            return f"{len(self.sizes)} sizes: the law's three numbers need {FEWEST_SIZES}"
        low, high = self.law.exponent_interval
        if self.law.coefficient == 0:
            return "not identifiable: the loss does not fall with size"
        if low <= EXPONENTS[0]:
            return "not identifiable: the interval of α covers 0"
        if high >= EXPONENTS[-1]:
            return "not identifiable: the interval of α has no upper end"
        against = ["the sizes' means lie further from the law than seeds explain"] if self.law.misfit else []
        if self.law.floor_interval[0] == 0:
            against.append("the interval of E begins at 0, so that no floor can be told")
        return "; ".join(against)

    def row(self) -> dict[str, object]:
        """Return what the table says of it."""
        row: dict[str, object] = {"against": SIZES[self.size], "loss": LOSSES[self.loss], "sizes": len(self.sizes)}
        if self.law is not None:
            law = self.law
            (low, high), (floor_low, floor_high) = law.exponent_interval, law.floor_interval
            row |= {"alpha": law.exponent, "alpha_low": low, "alpha_high": high}
            row |= {"E": law.floor, "E_low": floor_low, "E_high": floor_high}
            row |= {"A": law.coefficient * law.unit**law.exponent, "relative_error": law.error}
            row |= {"intervals": "over seeds" if law.over_seeds else "over residuals"}
        return row | {"doubt": self.doubt}


def scaling(workload: Workload, records: Records) -> Section | None:
    """Fit loss = E + A·N^(−α) to the best setting of each size, where there are ``FEWEST_SIZES`` sizes at least.

    A size's best setting is the one of lowest mean validation loss over seeds, those without diverged or failed runs
    first: the test loss has no part in the choice.
    """
    counted = {size: best_of_each_size(workload, records, size) for size in SIZES}
    counts = len(counted["parameters"])
    if counts < FEWEST_SIZES and not (counts > 1 and set(SIZE_AXES) & set(workload.axes)):
        return None
    if "loss" in workload.axes:
        return _said(f"{counts} distinct parameter counts, and losses of several kinds, which cannot be compared.")
    if counts < FEWEST_SIZES:
        return _said(
            f"{counts} distinct parameter counts: to fit loss = E + A·N^(−α), which has three numbers, takes "
            f"{FEWEST_SIZES} at least."
        )
    fits = [_fit(size, loss, sizes) for size, sizes in counted.items() for loss in LOSSES]
    fits = [f for f in fits if f.sizes]
    said = [_what(workload, counted["parameters"]), *_how(workload, fits)]
    frame = pd.DataFrame([f.row() for f in fits])
    shown = frame[[c for c in SAID if c in frame]]
    best = _best(counted, fits, workload)
    doubts = [f"{f.row()['loss']} loss against {f.row()['against']}: {f.doubt}." for f in fits if f.doubt]
    plot = Plot(
        "scaling",
        "Loss against size",
        f"Loss against size on logarithmic axes for {counts} sizes, with the fitted power laws and their bands.",
        lambda figure: _draw(figure, fits),
        width=DOUBLE,
        height=2.8,
        chart=lambda: _chart(workload, fits),
    )
    tables = Table("scaling-law", "The fitted laws", frame), Table("scaling", "The best of each size", best)
    lines = [filled(said[0]), aligned(shown), *map(filled, doubts)]
    return Section(TITLE, (*said, *doubts), (plot,), tables, "\n".join(lines))


SAID = ("against", "loss", "alpha", "alpha_low", "alpha_high", "E", "E_low", "E_high", "A")
"""What the terminal shows of the laws."""


def _said(text: str) -> Section:
    return Section(TITLE, (text,), terminal=filled(f"Scaling: {text}"))


def best_of_each_size(workload: Workload, records: Records, column: str) -> list[Size]:
    """Return the best setting of each size, smallest first; a run without a positive loss of either kind is none."""
    runs = workload.runs[workload.runs["value"].notna()].copy()
    for name in (column, *LOSSES):
        runs[name] = records.number(name).loc[runs.index]
    runs = runs[(runs[[column, "final_val_loss"]] > 0).all(axis=1)]
    found = []
    for count, of_size in runs.groupby(column):
        settings = of_size.groupby("setting")["final_val_loss"].mean().to_frame()
        bad, good = (workload.table.loc[settings.index, c].to_numpy(float) for c in ("bad", "n"))
        settings["bad"] = bad / (bad + good)
        best = settings.sort_values(["bad", "final_val_loss"]).index[0]
        its = of_size[of_size["setting"] == best]
        losses = {name: its.loc[its[name] > 0, name].to_numpy(float) for name in LOSSES}
        found.append(Size(float(str(count)), int(best), losses))
    return found


def _fit(size: str, loss: str, sizes: Sequence[Size]) -> Fit:
    known = [s for s in sizes if len(s.losses[loss])]
    counts, losses = np.array([s.count for s in known]), [s.losses[loss] for s in known]
    return Fit(size, loss, known, fit(counts, losses) if len(known) >= FEWEST_SIZES else None)


def _what(workload: Workload, sizes: Sequence[Size]) -> str:
    least, most = (f"{count:,.0f}" for count in (sizes[0].count, sizes[-1].count))
    return (
        f"Scaling: loss = E + A·N^(−α) over {len(sizes)} distinct parameter counts, {least} to {most}, each at its own "
        f"best setting (by validation loss, mean over {workload.replicate_word}s):"
    )


def _how(workload: Workload, fits: Sequence[Fit]) -> list[str]:
    laws = [f.law for f in fits if f.law is not None]
    word = workload.replicate_word
    said = [
        "Least squares of relative residuals, E ≥ 0 and A ≥ 0. The 95 % intervals are a bootstrap's: "
        + (
            f"each size's {word}s are drawn anew from the relative deviations of all sizes' {word}s."
            if all(law.over_seeds for law in laws)
            else f"residuals are drawn anew where there is one {word}, or where {word}s explain less than the misfit."
        )
        + " Sizes beyond those measured are a guess; FLOPs are of one sample's forward pass."
    ]
    models = sorted({str(workload.row(s.setting).get("model", "")) for f in fits for s in f.sizes})
    if len(models) > 1:
        said.append(f"The sizes are of several models, for which one law need not hold: {', '.join(models)}.")
    return said


def _best(counted: Mapping[str, Sequence[Size]], fits: Sequence[Fit], workload: Workload) -> pd.DataFrame:
    rows: list[dict[str, object]] = []
    for size, s in ((size, s) for size, sizes in counted.items() for s in sizes):
        runs = len(s.losses["final_val_loss"])
        row = {"against": SIZES[size], "size": s.count, "setting": workload.words(s.setting), "runs": runs}
        for f in fits:
            if f.size == size and len(s.losses[f.loss]):
                row[f"{LOSSES[f.loss]}_loss"] = float(s.losses[f.loss].mean())
                row[f"{LOSSES[f.loss]}_law"] = float(f.law.at(np.array([s.count]))[0]) if f.law else np.nan
        rows.append(row)
    return pd.DataFrame(rows)


def _shown(fits: Sequence[Fit]) -> list[str]:
    return [size for size in SIZES if any(f.size == size for f in fits)]


def _label(f: Fit) -> str:
    law = f" loss: α = {f.law.exponent:.3g}, E = {f.law.floor:.3g}" if f.law is not None else " loss"
    return f"{LOSSES[f.loss]}{law}"


def _chart(workload: Workload, fits: Sequence[Fit]) -> charts.Chart:
    shown, traces = _shown(fits), []
    for panel, size in enumerate(shown):
        for number, f in enumerate(f for f in fits if f.size == size):
            x, y = np.array([s.count for s in f.sizes]), np.array([s.losses[f.loss].mean() for s in f.sizes])
            look, name = Look(COLOURS[number], number), f"{SIZES[size]}, {_label(f)}"
            said = [f"{s.count:,.0f}, {workload.words(s.setting)}: {v:.5g}" for s, v in zip(f.sizes, y, strict=True)]
            dots = {"mode": "markers", "marker": {"symbol": look.symbol, "size": 9, "color": look.colour}}
            hover = {"text": [charts.label(t, 90) for t in said], "hovertemplate": "%{text}"}
            traces.append(charts.line(x, y, name, look, panel, f.law is None, **dots, **hover))
            if f.law is not None:
                along = np.geomspace(x.min(), x.max(), 60)
                traces.append(charts.band(along, *f.law.band(along), name, look, panel))
                traces.append(charts.line(along, f.law.at(along), name, look, panel))
    everything = np.concatenate([v for f in fits for s in f.sizes if len(v := s.losses[f.loss])])
    y_axis = charts.logarithmic("loss", everything)
    x_axes = [
        charts.logarithmic(SIZES[size], [s.count for f in fits if f.size == size for s in f.sizes]) for size in shown
    ]
    y_axes = [y_axis, *[charts.logarithmic("", everything) | {"matches": "y"}] * (len(shown) - 1)]
    return {"data": traces, "layout": charts.layout([""] * len(shown), x_axes, y_axes)}


def _draw(figure: Figure, fits: Sequence[Fit]) -> None:
    shown = _shown(fits)
    for ax, size in zip(figure.subplots(1, len(shown), squeeze=False, sharey=True)[0], shown, strict=True):
        losses: list[float] = []
        for number, f in enumerate(f for f in fits if f.size == size):
            x, y = np.array([s.count for s in f.sizes]), np.array([s.losses[f.loss].mean() for s in f.sizes])
            colour = COLOURS[number]
            ax.plot(x, y, color=colour, marker=MARKERS[number], ls="", label=None if f.law else _label(f))
            for s in f.sizes:
                ax.plot([s.count] * len(s.losses[f.loss]), s.losses[f.loss], color=colour, marker="_", ls="", alpha=0.5)
                losses += s.losses[f.loss].tolist()
            if f.law is not None:
                line = np.geomspace(x.min(), x.max(), 100)
                ax.plot(line, f.law.at(line), color=colour, ls=DASHES[number], label=_label(f))
                ax.fill_between(line, *f.law.band(line), color=colour, alpha=0.15, lw=0)
        ax.set_xscale("log")
        ax.xaxis.set_major_formatter(EngFormatter(sep=""))
        ax.xaxis.set_minor_formatter(NullFormatter())
        counts = [s.count for f in fits if f.size == size for s in f.sizes]
        ax.xaxis.set_major_locator(LogLocator(10, (1.0,) if max(counts) / min(counts) > 50 else (1.0, 2.0, 5.0)))
        log_axis(ax, losses, "y")
        ax.set_xlabel(SIZES[size])
        ax.legend()
    figure.axes[0].set_ylabel("loss")
