"""How fast a grid is, side by side in one go: stacked, one process a core, and one run after another.

    python scripts/bench_fused.py [--workloads digits,…] [--data-root FOLDER] [--repeats 5] [--scale 1] [--csv FILE]

Every contender trains the same runs through the command line, in a process of its own that has PyTorch imported:
planning, evaluations and records are counted in, the start-up that every command pays once is not.
``--scale`` shortens the runs. ``difference`` is the largest between a run's final validation loss and the loop's.
"""

import argparse
import csv
import json
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path

import torch
from torch.optim import AdamW

from runner.cli.main import main as main_of_optbench
from runner.run.build import build  # noqa: F401  # imported once, for all

AXES = ["init=he,xavier,default,orthogonal", "optim=sgd,adamw", "optim.lr=3e-4,1e-3,3e-3,1e-2,3e-2,0.1,0.3,1"]
BATCH_NORM = ["data=mnist", "model.widths=[64,128,64]", "model.normalization=batch", "batch.size=128"]
WORKLOADS = {
    "digits": ("64 × digits 64-64-10, batch 32", [*AXES, "model.width=64", "model.depth=1", "batch.size=32"], 200),
    "batch_norm": (
        "64 × MNIST 784-64-128-64-10 with batch norm, batch 128",
        [*AXES, *BATCH_NORM],
        1,
    ),
    "mlp": (
        "16 × MNIST 784-256-256-10, batch 128",
        ["init=he,xavier", "optim=sgd,adamw", "optim.lr=1e-3,3e-3,1e-2,3e-2", "data=mnist", "batch.size=128"],
        1,
    ),
    "batch_norm_bf16": (
        "64 × MNIST 784-64-128-64-10 with batch norm, batch 128, bf16",
        [*AXES, *BATCH_NORM, "amp=bf16"],
        1,
    ),
    "cnn": (
        "8 × MNIST CNN, batch 128",
        ["optim=sgd,adamw", "optim.lr=3e-4,1e-3,3e-3,1e-2", "data=mnist", "model=cnn", "batch.size=128"],
        1,
    ),
    "ema": (
        "64 × digits 64-64-10 with ema, batch 32",
        [*AXES, "model.width=64", "model.depth=1", "batch.size=32", "regularization=ema"],
        100,
    ),
    "augment": (
        "64 × mnist1d 40-64-64-10 with augmentation, batch 32",
        [*AXES, "data=mnist1d", "model.width=64", "batch.size=32", "augment=noise"],
        20,
    ),
}
CORES = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
CONTENDERS = {
    "loop, one after another": ["engine=loop", "workers=1"],
    "loop, a process a core": ["engine=loop", f"workers={CORES}"],
    "auto": ["engine=auto", f"workers={CORES}"],
}


def sweep(overrides: list[str]) -> tuple[float, dict[str, float | None], str]:
    """Run a sweep in an empty folder; return its seconds, each run's final validation loss, and the engines used."""
    with tempfile.TemporaryDirectory() as folder:
        began = time.perf_counter()
        child = os.fork()
        if child == 0:
            os.chdir(folder)
            quiet = os.open(os.devnull, os.O_WRONLY)
            os.dup2(quiet, 1)
            os.dup2(quiet, 2)
            os._exit(main_of_optbench(["train", "-m", *overrides]))
        _, status = os.waitpid(child, 0)
        seconds = time.perf_counter() - began
        assert status == 0, f"{overrides} ended with {os.waitstatus_to_exitcode(status)}"
        found = [json.loads(path.read_text()) for path in Path(folder).glob("outputs/*/*/summary.json")]
    losses = {summary["run_id"]: summary.get("final_val_loss") for summary in found}
    engines = sorted({f"{summary['engine']} {summary['stack_size']}" for summary in found})
    return seconds, losses, ", ".join(engines)


def largest_difference(losses: dict[str, float | None], reference: dict[str, float | None]) -> float:
    """Return the largest difference of a run's loss, relative where it is above 1."""
    assert losses.keys() == reference.keys(), "the contenders trained other runs"
    pairs = [(loss, reference[run]) for run, loss in losses.items()]
    return max(abs(a - b) / max(1.0, abs(b)) for a, b in pairs if a is not None and b is not None)


def main() -> int:
    """Let the contenders take turns and print medians."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--workloads", default=",".join(WORKLOADS))
    parser.add_argument("--data-root", default=os.environ.get("OPTBENCH_DATA"))
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--scale", type=float, default=1.0)
    parser.add_argument("--csv")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    AdamW([torch.nn.Parameter(torch.zeros(1))]).step()  # which imports the rest of PyTorch
    rows = []
    for name in arguments.workloads.split(","):
        title, overrides, epochs = WORKLOADS[name]
        if "data=mnist" in overrides:
            if not arguments.data_root:
                print(f"{title}: needs --data-root", file=sys.stderr)
                continue
            overrides = [*overrides, f"data.root={Path(arguments.data_root).resolve()}"]
        overrides = [*overrides, f"epochs={max(1, round(epochs * arguments.scale))}"]
        seconds: dict[str, list[float]] = {contender: [] for contender in CONTENDERS}
        losses, engines = {}, {}
        for _ in range(arguments.repeats):
            for contender, extra in CONTENDERS.items():
                taken, losses[contender], engines[contender] = sweep([*overrides, *extra])
                seconds[contender].append(taken)
        first = next(iter(CONTENDERS))
        for contender, taken in seconds.items():
            row = {
                "workload": title,
                "contender": contender,
                "seconds": round(statistics.median(taken), 1),
                "times as fast": round(statistics.median(seconds[first]) / statistics.median(taken), 2),
                "difference": f"{largest_difference(losses[contender], losses[first]):.1g}",
                "engine and stack size": engines[contender],
            }
            rows.append(row)
            print(" | ".join(map(str, row.values())), flush=True)
    if arguments.csv:
        with Path(arguments.csv).open("w", newline="") as file:
            writer = csv.DictWriter(file, rows[0])
            writer.writeheader()
            writer.writerows(rows)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
