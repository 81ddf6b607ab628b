"""The reliability plot: how often those are right who are sure to a degree."""

from collections.abc import Mapping

import numpy as np
from matplotlib.figure import Figure

from runner.report.drawing.figures import legend_below
from runner.report.drawing.looks import COLOURS, DASHES
from runner.report.section import SINGLE, Plot
from runner.statistics.ensembles import Calibration


def reliability(of: Mapping[str, Calibration]) -> Plot:
    """Return the plot of some predictors, by their names (DeGroot & Fienberg 1983)."""

    def draw(figure: Figure) -> None:
        ax = figure.subplots()
        ax.plot([0, 1], [0, 1], color="0.6", lw=0.8, ls=":", label="calibrated")
        for number, (name, found) in enumerate(of.items()):
            known = np.isfinite(found.accuracy)
            label = f"{name}, ECE {found.error:.3g}"
            x, y = found.confidence[known], found.accuracy[known]
            ax.plot(x, y, color=COLOURS[number], ls=DASHES[number], marker="o", label=label)
        ax.set_xlabel("probability of the called class")
        ax.set_ylabel("share that is right")
        legend_below(figure, [ax], columns=1)

    said = "; ".join(f"{name}: expected calibration error {found.error:.3g}" for name, found in of.items())
    return Plot("reliability", "Reliability", f"Accuracy over confidence in bins. {said}.", draw, SINGLE, 3.4)
