"""How fast a grid is, side by side in one go: stacked, one process a core, and one run after another.

    python scripts/bench_fused.py [--workloads digits,…] [--data-root FOLDER] [--repeats 5] [--scale 1] [--csv FILE]
                                  [--update]

Every contender trains the same runs through the command line, in a process of its own that has PyTorch imported:
planning, evaluations and records are counted in; the start-up that every command pays once is not, nor are baselines,
which a folder of MNIST measures for several seconds, whatever is trained in it.
``--scale`` shortens the runs. ``difference`` is the largest between a run's final validation loss and the loop's.
``--update`` writes the table into docs/speed.md.
"""

import argparse
import csv
import json
import math
import os
import statistics
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import torch
from pages import Told, asked
from torch.optim import AdamW

from runner.cli.main import main as main_of_optbench
from runner.run.build import build  # noqa: F401  # imported once, for all

PAGE = Path(__file__).parents[1] / "docs" / "speed.md"
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
    "one after another": ["engine=loop", "workers=1"],
    "a process a core": ["engine=loop", f"workers={CORES}"],
    "auto": ["engine=auto", f"workers={CORES}"],
}


@dataclass(frozen=True)
class Swept:
    """What a sweep took, and what it came to."""

    seconds: float
    losses: dict[str, float | None]
    """Each run's last validation loss."""
    engines: str
    steps: int
    """Of all runs together."""


def sweep(overrides: list[str]) -> Swept:
    """Run a sweep in an empty folder."""
    with tempfile.TemporaryDirectory() as folder:
        began = time.perf_counter()
        child = os.fork()
        if child == 0:
            os.chdir(folder)
            quiet = os.open(os.devnull, os.O_WRONLY)
            os.dup2(quiet, 1)
            os.dup2(quiet, 2)
            os._exit(main_of_optbench(["train", "-m", "baselines=false", *overrides]))
        _, status = os.waitpid(child, 0)
        seconds = time.perf_counter() - began
        assert status == 0, f"{overrides} ended with {os.waitstatus_to_exitcode(status)}"
        found = [json.loads(path.read_text()) for path in Path(folder).glob("outputs/*/*/summary.json")]
    losses = {summary["run_id"]: summary.get("final_val_loss") for summary in found}
    kinds = sorted({(summary["engine"], summary["stack_size"]) for summary in found})
    stacks = [size for engine, size in kinds if engine == "fused"]
    engines = f"stacks of {', '.join(map(str, stacks))}" if stacks else "single runs"
    return Swept(seconds, losses, engines, sum(summary["steps"] for summary in found))


def largest_difference(losses: dict[str, float | None], reference: dict[str, float | None]) -> float:
    """Return the largest difference of a run's loss, relative where above 1; infinite where one alone has none."""
    assert losses.keys() == reference.keys(), "the contenders trained other runs"
    pairs = [(loss, reference[run]) for run, loss in losses.items()]
    if any((a is None) != (b is None) for a, b in pairs):
        return math.inf
    return max(abs(a - b) / max(1.0, abs(b)) for a, b in pairs if a is not None and b is not None)


def row_of(title: str, overrides: list[str], repeats: int) -> dict[str, object]:
    """Let the contenders take turns at a grid, and return its row of the table."""
    turns = [{name: sweep([*overrides, *extra]) for name, extra in CONTENDERS.items()} for _ in range(repeats)]
    taken = {name: statistics.median(turn[name].seconds for turn in turns) for name in CONTENDERS}
    last, ours = turns[-1], taken["auto"]
    others = {f"{name} / auto": f"{seconds / ours:.2f}" for name, seconds in taken.items() if name != "auto"}
    return {
        "grid": title,
        **{f"{name}, s": f"{seconds:.1f}" for name, seconds in taken.items()},
        **others,
        "auto, µs a run and step": f"{1e6 * ours / last['auto'].steps:.1f}",
        "auto trains": last["auto"].engines,
        "difference": f"{largest_difference(last['auto'].losses, last[next(iter(CONTENDERS))].losses):.1g}",
    }


def main() -> int:
    """Let the contenders take turns and print medians."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--workloads", default=",".join(WORKLOADS))
    parser.add_argument("--data-root", default=os.environ.get("OPTBENCH_DATA"))
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--scale", type=float, default=1.0)
    parser.add_argument("--csv")
    parser.add_argument("--update", action="store_true", help="write the table into docs/speed.md")
    arguments = asked(parser, "workloads", "scale")
    torch.set_num_threads(1)
    AdamW([torch.nn.Parameter(torch.zeros(1))]).step()  # which imports the rest of PyTorch
    tell, rows = Told(), list[dict[str, object]]()
    machine = f"{CORES} cores, {torch.backends.cpu.get_cpu_capability()}, torch {torch.__version__}"
    tell(f"Seconds are medians of {arguments.repeats} turns; {machine}:", "")
    for name in arguments.workloads.split(","):
        title, overrides, epochs = WORKLOADS[name]
        if "data=mnist" in overrides:
            if not arguments.data_root:
                print(f"{title}: needs --data-root", file=sys.stderr)
                continue
            overrides = [*overrides, f"data.root={Path(arguments.data_root).resolve()}"]
        length = max(1, round(epochs * arguments.scale))
        title = f"{title}, {length} epoch{'s' if length > 1 else ''}"
        rows.append(row_of(title, [*overrides, f"epochs={length}"], arguments.repeats))
        if len(rows) == 1:
            tell(f"| {' | '.join(rows[0])} |", "| --- |" + " --- |" * (len(rows[0]) - 1))
        tell(f"| {' | '.join(map(str, rows[-1].values()))} |")
    if arguments.update:
        tell.write(PAGE, "grids")
    if arguments.csv:
        with Path(arguments.csv).open("w", newline="") as file:
            writer = csv.DictWriter(file, rows[0])
            writer.writeheader()
            writer.writerows(rows)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
