"""The study of sharpness-aware minimization: how curved the loss is where it ends."""

import numpy as np

from runner.report.load import Records
from runner.study.judging import Curves, Rows, compared, interval, judgement, lines, numbers, over_steps
from runner.study.study import Judgement, Study


def sam_sharpness(records: Records) -> Judgement:
    """Compare the largest eigenvalue of the Hessian at the end of runs with sam and without, seed by seed."""
    runs = numbers(records, "seed", "final_sharpness", "final_train_loss", "test_accuracy")
    runs["sam"] = runs["optim.wrap"].str.contains("sam")
    runs["log_sharpness"], runs["error"] = np.log10(runs["final_sharpness"]), 100 * (1 - runs["test_accuracy"])
    found = {sam: of.set_index("seed").sort_index() for sam, of in runs.groupby("sam")}
    mean, low, high = interval((found[True]["log_sharpness"] - found[False]["log_sharpness"]).to_numpy(float))
    what = "log10 of the last sharpness, with sam less without"
    rows: Rows = [compared(what, mean, low, high, "interval below 0", high < 0)]
    for said, column in (("sharpness", "final_sharpness"), ("training loss", "final_train_loss")):
        for sam, name in ((True, "with sam"), (False, "without")):
            rows.append(
                compared(f"last {said} {name}", *interval(found[sam][column].to_numpy(float)), "reported", True)
            )
    less = interval((found[True]["error"] - found[False]["error"]).to_numpy(float))
    rows.append(compared("test error, with sam less without, points", *less, "reported", True))
    rows.append(compared("test error without, %", *interval(found[False]["error"].to_numpy(float)), "reported", True))
    curves: Curves = {}
    for sam, name in ((True, "with sam"), (False, "without")):
        paths = [over_steps(records, run_id, "sharpness") for run_id in found[sam]["run_id"]]
        curves[name] = paths[0][0], np.mean([path for _, path in paths], axis=0)
    axes = ("steps", "largest eigenvalue of the Hessian")
    return judgement(rows, lines("sam-sharpness", "Sharpness over steps", axes, curves))


STUDIES = (
    Study(
        "sam-sharpness",
        "Sharpness-aware minimization ends where the loss is less curved than the same optimizer without does",
        "Foret et al. 2021, §4.2 and Fig. 3",
        "ordering",
        "MNIST-1D, 100-100 ReLU units, momentum at 0.1, batches of 100, 1,500 steps, 10 seeds: the 95 % interval of "
        "the paired difference of the logarithm of the last sharpness, with sam (ρ = 0.05) less without, lies below 0",
        60,
        (
            *("data=mnist1d", "model.width=100", "init=he", "optim=momentum", "batch.size=100"),
            "optim.lr=0.1",  # the best of 0.01, 0.03 and 0.1 without sam, on the validation of seeds 100 to 102
            *("max_steps=1500", "eval_every=300", "sharpness=true", "seeds=10", "optim.wrap=[],[sam]"),
        ),
        sam_sharpness,
    ),
)
