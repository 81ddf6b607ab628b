"""Studies of class ordering whose runs begin from others: tickets, low-rank changes, weights of other classes."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from runner.config.options import options_in
from runner.report.load import Records
from runner.run.job import Job
from runner.statistics.ensembles import Classes
from runner.study.judging import Array, Curves, Rows, compared, interval, judgement, lines, numbers, predicted
from runner.study.study import Judgement, Study

SPARSITIES = (0.8, 0.95, 0.98)
JUDGED = SPARSITIES[1:]
FRESH = 50
"""More than a ticket's seed: that of the weights which it is not of."""
LENET = (
    *("data=mnist", "data.fraction=0.2", "model.widths=[300,100]", "init=xavier_normal", "optim=adam"),
    *("optim.lr=0.0012", "scheduler=constant", "batch.size=60", "max_steps=1800", "eval_every=1800"),
)
"""The paper's network, initial weights, optimizer and batches (Frankle & Carbin 2019, Fig. 2)."""


def rewound(jobs: Sequence[Job]) -> list[str]:
    """Return the overrides of runs on each pruned run's ticket: from its own initial weights, and from fresh ones."""
    words = list(LENET)
    for job in jobs:
        if options_in(job.config["compress"]):
            seed = job.config["seed"]
            words += ["+", "compress=ticket", f"compress.ticket.run='{job.folder}'", f"seed={seed},{seed + FRESH}"]
    return words


def winning_tickets(records: Records) -> Judgement:
    """Compare tickets from the weights that they were drawn with and from fresh ones, sparsity by sparsity."""
    runs = numbers(records, "seed", "test_accuracy", "sparsity")
    runs["percent"], runs["fresh"] = 100 * runs["test_accuracy"], runs["seed"] >= FRESH
    runs["ticket"] = runs["seed"] % FRESH
    rows: Rows = []
    drawn: dict[str, list[float]] = {"own initial weights": [], "fresh weights": [], "cut after training": []}
    for share in SPARSITIES:
        near = (runs["sparsity"] - share).abs() < 1e-3
        of = [
            runs[near & (runs["compress"] == kind) & (runs["fresh"] == fresh)].set_index("ticket").sort_index()
            for kind, fresh in (("ticket", False), ("ticket", True), ("prune_once", False))
        ]
        mean, low, high = interval((of[0]["percent"] - of[1]["percent"]).to_numpy(float))
        judged = share in JUDGED
        what = f"test points, own less fresh weights, {100 * share:g} % are 0"
        rows.append(
            compared(what, mean, low, high, "interval above 0" if judged else "reported", low > 0 or not judged)
        )
        for name, found in zip(drawn, of, strict=True):
            said = interval(found["percent"].to_numpy(float))
            rows.append(compared(f"test accuracy, {name}, {100 * share:g} % are 0", *said, "reported", True))
            drawn[name].append(said[0])
    dense = interval(runs[runs["compress"] == "none"]["percent"].to_numpy(float))
    rows.append(compared("test accuracy, dense, %", *dense, "reported", True))
    kept = 100 * (1 - np.array(SPARSITIES))
    curves: Curves = {name: (kept, np.array(drawn[name])) for name in list(drawn)[:2]}  # the others are far below
    curves["dense"] = kept, np.full(len(kept), dense[0])
    axes = ("weights that are not 0, %", "test accuracy, %")
    return judgement(rows, lines("winning-tickets", "Tickets over sparsity", axes, curves, log=False, log_x=True))


CLASSES = ("data=custom", "data.target=runner.study.parts.mnist_classes")
HALF, REST = ("data.args={first: 0, last: 4}", "data.args={first: 5, last: 9}")


def _from(job: Job, *kinds: Sequence[str]) -> list[str]:
    """Return a grid of each kind from a job's weights, with its seed and a last layer that is drawn anew."""
    own = ("init=pretrained", f"init.run='{job.folder}'", "init.head=xavier_uniform", f"seed={job.config['seed']}")
    return [word for kind in kinds for word in ("+", *own, *kind)]


RANKS = (1, 2, 4, 8)
WORSE = 1.0
"""Points of test accuracy."""
TUNED = (
    ("finetune=full", "optim.lr=0.001"),
    ("finetune=head", "optim.lr=0.03"),
    ("finetune=lora", "optim.lr=0.01", f"finetune.lora.rank={','.join(map(str, RANKS))}"),
)
"""The best rates of 0.0003 to 0.03, on the validation of seeds 100 and 101."""


def tuned_otherwise(jobs: Sequence[Job]) -> list[str]:
    """Return the overrides of runs that learn the other half of the classes from each job's weights."""
    shared = ("model.width=256", "optim=adam", "batch.size=64", "data.fraction=0.2", "epochs=10", "eval_every=10000")
    return [*CLASSES, REST, *shared, *(word for job in jobs for word in _from(job, *TUNED))]


def lora_rank(records: Records) -> Judgement:
    """Compare low-rank changes of several ranks with full fine-tuning, seed by seed."""
    runs = numbers(records, "seed", "test_accuracy", "trainable_parameters", "finetune.lora.rank")
    runs = runs[runs["init"] == "pretrained"].set_index("seed").sort_index()
    runs["percent"] = 100 * runs["test_accuracy"]
    full, head = (runs[runs["finetune"] == kind]["percent"] for kind in ("full", "head"))
    rows: Rows = []
    means = []
    for rank in RANKS:
        found = runs[(runs["finetune"] == "lora") & (runs["finetune.lora.rank"] == rank)]
        mean, low, high = interval((found["percent"] - full).to_numpy(float))
        what = f"test points, rank {rank} ({found['trainable_parameters'].iloc[0]:,.0f} numbers trained) less full"
        rows.append(compared(what, mean, low, high, f"interval above −{WORSE:g}", low > -WORSE))
        means.append(float(found["percent"].mean()))
    less = interval((head - full).to_numpy(float))
    rows.append(compared("test points, last layer alone less full", *less, "reported", True))
    rows.append(compared("test accuracy, full, %", *interval(full.to_numpy(float)), "reported", True))
    at = np.array(RANKS, float)
    curves: Curves = {"low rank": (at, np.array(means))}
    curves |= {name: (at, np.full(len(at), part.mean())) for name, part in (("full", full), ("last layer", head))}
    axes = ("rank", "test accuracy, %")
    plot = lines("lora-rank", "Test accuracy over the rank", axes, curves, log=False, log_x=True)
    return judgement(rows, plot)


FEW = ("data=mnist", "data.fraction=0.05", "model=cnn", "model.width=8", "optim=adam", "batch.size=64", "epochs=10")
BEGUN = (("optim.lr=0.01",),)
SCRATCH = ("init=he", "optim.lr=0.01")
"""The best of 0.001, 0.003 and 0.01 for each, on the validation of seeds 100 and 101."""


def on_few(jobs: Sequence[Job]) -> list[str]:
    """Return the overrides of runs on few samples of all classes, from each job's weights and from scratch."""
    seeds = ",".join(str(job.config["seed"]) for job in jobs)
    begun = [word for job in jobs for word in _from(job, *BEGUN)]
    return [*FEW, "eval_every=10000", "save=last", *begun, "+", *SCRATCH, f"seed={seeds}"]


def right(records: Records, runs: pd.DataFrame) -> tuple[Array, Classes]:
    """Return which test samples runs are right about, ``[runs, n]``, and the samples' classes."""
    test = predicted(records, runs["run_id"].tolist())
    return (test.outputs.argmax(2) == test.labels).astype(float), test.labels


def half_classes(records: Records) -> Judgement:
    """Compare networks that knew half of the classes with those from scratch, on few samples of all of them."""
    runs = numbers(records, "seed", "test_accuracy").sort_values("seed")
    runs = runs[runs["data"] == "mnist"]
    begun, scratch = (runs[(runs["init"] == "pretrained") == known] for known in (True, False))
    percent = {name: 100 * of["test_accuracy"].to_numpy(float) for name, of in (("begun", begun), ("scratch", scratch))}
    mean, low, high = interval(percent["begun"] - percent["scratch"])
    rows: Rows = [compared("test points gained by trained weights", mean, low, high, "interval above 0", low > 0)]
    (ours, classes), (theirs, _) = (right(records, of) for of in (begun, scratch))
    for said, which in (("0 to 4, which they knew", classes <= 4), ("5 to 9", classes > 4)):
        gained = 100 * (ours - theirs)[:, which].mean(1)
        rows.append(compared(f"test points gained, classes {said}", *interval(gained), "reported", True))
    for name, found in percent.items():
        said = "from trained weights" if name == "begun" else "from scratch"
        rows.append(compared(f"test accuracy {said}, %", *interval(found), "reported", True))
    seeds = begun["seed"].to_numpy(float)
    curves: Curves = {"from trained weights": (seeds, percent["begun"]), "from scratch": (seeds, percent["scratch"])}
    axes = ("seed", "test accuracy, %")
    return judgement(rows, lines("half-classes", "Test accuracy of each seed", axes, curves, log=False))


STUDIES = (
    Study(
        "winning-tickets",
        "A pruned network, trained again from the weights that it was drawn with, is better than under the same mask "
        "from fresh ones",
        "Frankle & Carbin 2019, Fig. 3 and Fig. 4",
        "ordering",
        "10,800 MNIST images, 784-300-100-10, Adam at 0.0012, batches of 60, 1,800 steps, the weights of least "
        "magnitude of each layer cut after the last, 5 seeds: the 95 % interval of the paired difference of test "
        "accuracy, from its own initial weights less from fresh ones, lies above 0 where 95 % of the weights are 0 and "
        "where 98 % are",
        150,
        (
            *(*LENET, "seeds=5", "save=last"),
            *("+", "compress=none"),
            *("+", "compress=prune_once", "compress.prune_once.start=1800", "compress.prune_once.across=layer"),
            f"compress.prune_once.sparsity={','.join(map(str, SPARSITIES))}",
        ),
        winning_tickets,
        then=rewound,
    ),
    Study(
        "lora-rank",
        "To fine-tune a network, changes of its weights of a very low rank suffice",
        "Hu et al. 2022, §7.2",
        "ordering",
        "MNIST, 784-256-256-5, trained on the classes 0 to 4, then tuned on 5,300 images of 5 to 9 with a fresh last "
        "layer, Adam, 10 epochs, 5 seeds: the 95 % interval of the paired difference of test accuracy, changes of rank "
        "1, 2, 4 and 8 less all weights, lies above −1 point for each",
        90,
        (
            *(*CLASSES, HALF, "model.width=256", "optim=adam", "batch.size=128", "epochs=3", "eval_every=10000"),
            *("seeds=5", "save=last"),
        ),
        lora_rank,
        then=tuned_otherwise,
    ),
    Study(
        "half-classes",
        "Where data are little, a network that was trained on half of the classes learns all of them better than one "
        "from scratch",
        "Yosinski et al. 2014; Donahue et al. 2014",
        "ordering",
        "MNIST, two blocks of convolution of 8 and 16 channels, trained on the classes 0 to 4, then on 2,700 images "
        "(5 %) of all ten with a fresh last layer, Adam, 10 epochs, 5 seeds: the 95 % interval of the paired "
        "difference of test accuracy to networks from scratch on the same images lies above 0",
        90,
        (
            *(*CLASSES, HALF, "model=cnn", "model.width=8", "init=he", "optim=adam", "batch.size=128", "epochs=2"),
            *("eval_every=10000", "seeds=5", "save=last"),
        ),
        half_classes,
        then=on_few,
    ),
)
