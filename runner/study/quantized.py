"""The study of int8: what onnxruntime's rounding costs a trained network in accuracy."""

from functools import partial
from pathlib import Path

import numpy as np

from runner.after.chains import Chain
from runner.after.compress import Measured, as_program
from runner.after.dense import Dense
from runner.after.onnx_program import refuse_without_onnx
from runner.report.load import Records
from runner.run.files import read_config
from runner.run.load import load_model
from runner.study.judging import Curves, Rows, compared, interval, judgement, lines, numbers
from runner.study.study import Judgement, Study

COST = 0.5
"""Points of test accuracy."""


def programs(place: Path) -> tuple[Measured, Measured]:
    """Return a run's network on the test set as onnxruntime runs it, in float32 and in static int8."""
    run = Dense(place, read_config(place), ())
    return as_program(load_model(place), run, None), as_program(load_model(place), run, Chain.read("static"))


def static_int8(records: Records) -> Judgement:
    """Compare the test accuracy of static int8 with that of float32, network by network."""
    order = numbers(records, "seed").sort_values("seed")
    pairs = [programs(records.places[run_id]) for run_id in order["run_id"]]
    whole, rounded = (100 * np.array([pair[i].scores.mean() for pair in pairs]) for i in range(2))
    mean, low, high = interval(rounded - whole)
    smaller = np.array([pair[0].file_bytes / pair[1].file_bytes for pair in pairs])
    other = np.array([100 * float((pair[0].scores != pair[1].scores).mean()) for pair in pairs])
    rows: Rows = [
        compared("test points, int8 less float32", mean, low, high, f"interval within ± {COST:g}", False),
        compared("test accuracy in float32, %", *interval(whole), "reported", True),
        compared("images of which one alone is right, %", *interval(other), "reported", True),
        compared("bytes of float32 over int8", *interval(smaller), "reported", True),
    ]
    rows[0]["holds"] = max(-low, high) < COST
    seeds = order["seed"].to_numpy(float)
    curves: Curves = {"float32": (seeds, whole), "static int8": (seeds, rounded)}
    axes = ("seed", "test accuracy, %")
    return judgement(rows, lines("static-int8", "Test accuracy of each seed", axes, curves, log=False))


STUDIES = (
    Study(
        "static-int8",
        "A trained convolutional network rounded to int8, its ranges from training images, is as accurate",
        "Jacob et al. 2018, §4; Krishnamoorthi 2018, §3",
        "ordering",
        "13,500 MNIST images, two blocks of convolution of 16 and 32 channels, Adam, 4 epochs, 5 seeds, onnxruntime's "
        "static int8 with the ranges of 512 training images: the 95 % interval of the paired difference of test "
        "accuracy to float32 in the same runtime lies within ± 0.5 points",
        90,
        (
            *("data=mnist", "data.fraction=0.25", "init=he", "model=cnn", "optim=adam", "epochs=4", "batch.size=128"),
            *("eval_every=10000", "seeds=5", "save=last"),
        ),
        static_int8,
        refuse=partial(refuse_without_onnx, "optbench study static-int8"),
    ),
)
