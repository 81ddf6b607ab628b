"""The study of generated samples: a GAN's, beside classic augmentation and beside nothing, where data are little."""

import numpy as np
import pandas as pd

from runner.report.load import Records
from runner.study.judging import Curves, Rows, compared, interval, judgement, lines, numbers
from runner.study.study import Judgement, Study

LENGTHS = (1000, 2000, 4000, 8000)
"""Steps: all kinds are trained for the first, those without a generator for the others too."""
KINDS = {
    "none": ("none", False),
    "classic": ("crop+rotate", False),
    "generated": ("none", True),
    "classic and generated": ("crop+rotate", True),
}
"""What is compared: its ``augment``, and whether samples are generated."""


def generated(records: Records) -> Judgement:
    """Compare test errors seed by seed, at equal steps and at equal seconds, those of the generator counted in.

    At equal seconds a kind is trained for the longest of ``LENGTHS`` that takes, in the mean over seeds, no longer than
    the generator and its run together.
    """
    runs = numbers(
        records, "seed", "max_steps", "test_accuracy", "train_seconds", "generated_seconds", "data.generated"
    )
    runs["error"] = 100 * (1 - runs["test_accuracy"])
    runs["seconds"] = runs["train_seconds"] + runs["generated_seconds"].fillna(0.0)

    def of(kind: str, steps: int, column: str = "error") -> "pd.Series[float]":
        changed, drawn = KINDS[kind]
        alike = (runs["augment"] == changed) & ((runs["data.generated"] > 0) == drawn) & (runs["max_steps"] == steps)
        found: pd.Series[float] = runs[alike].set_index("seed")[column].sort_index()
        return found

    first = LENGTHS[0]
    budget = of("generated", first, "seconds").mean()
    rows: Rows = []
    for kind in KINDS:
        said = f"test error, {kind}, {first} steps, %"
        rows.append(compared(said, *interval(of(kind, first).to_numpy(float)), "reported", True))

    def less(kind: str, other: str, steps: int, judged: bool) -> None:
        mean, low, high = interval((of(kind, first) - of(other, steps)).to_numpy(float))
        equal = "equal steps" if steps == first else f"equal seconds ({other}: {steps} steps)"
        expected = "interval above 0" if judged else "reported"
        rows.append(compared(f"{kind} less {other}, {equal}, points", mean, low, high, expected, low > 0 or not judged))

    less("generated", "none", first, judged=False)
    less("generated", "classic", first, judged=True)
    less("classic and generated", "classic", first, judged=False)
    for other in ("none", "classic"):
        within = [steps for steps in LENGTHS[1:] if of(other, steps, "seconds").mean() <= budget]
        if within:  # otherwise a step of its own costs more than the generator does
            less("generated", other, within[-1], judged=other == "classic")
    for kind in KINDS:
        said = f"seconds, {kind}, {first} steps, the generator's counted in"
        rows.append(compared(said, *interval(of(kind, first, "seconds").to_numpy(float)), "reported", True))
    curves: Curves = {}
    for kind in KINDS:
        lengths = [steps for steps in LENGTHS if len(of(kind, steps))]
        seconds, errors = (np.array([of(kind, n, column).mean() for n in lengths]) for column in ("seconds", "error"))
        curves[kind] = seconds, errors
    axes = ("seconds, the generator's counted in", "test error, %")
    return judgement(rows, lines("seconds", "Test error over seconds", axes, curves, log=False))


STUDIES = (
    Study(
        "generated",
        "Where data are little, the samples of a GAN that saw no others help less than classic augmentation",
        "Ravuri & Vinyals 2019; Shorten & Khoshgoftaar 2019",
        "ordering",
        "2,700 MNIST images, 784-128-10, Adam at 0.002 falling to zero, batches of 64, 5 seeds, as many generated "
        "as real images: the 95 % interval of the paired difference of test error, generated less classic (crops by "
        "up to 2 pixels with rotations by up to 15°), lies above 0 at 1,000 steps each, and again where classic "
        "trains for the longest of 2,000, 4,000 and 8,000 steps that takes no more seconds than the generator and "
        "its run together, if one does; nothing and both are reported",
        240,
        (
            *("data=mnist", "data.fraction=0.05", "init=he", "model.width=128", "model.depth=1", "batch.size=64"),
            *("optim=adam", "optim.lr=0.002", "scheduler=linear", "eval_every=1000", "engine=loop", "seeds=5"),
            *("+", f"max_steps={','.join(map(str, LENGTHS))}"),
            *("+", f"max_steps={','.join(map(str, LENGTHS))}", "augment=[crop,rotate]", "augment.crop.pad=2"),
            *("+", f"max_steps={LENGTHS[0]}", "data.generated=1"),
            *("+", f"max_steps={LENGTHS[0]}", "data.generated=1", "augment=[crop,rotate]", "augment.crop.pad=2"),
        ),
        generated,
    ),
)
