"""How fast a run is on CUDA, in turns: a loop by hand, the same as a CUDA graph, optbench, its loop and its stacks.

    python scripts/bench_cuda.py [--device cuda] [--steps 500] [--repeats 5] [--data-root FOLDER]

Every contender trains the same model for the same steps of the same batch size; each line is a workload's row as JSON,
printed as soon as it is measured: medians of steps a second, a stack's counted for each of its runs. With
``$OPTBENCH_SECONDS`` set, no workload is begun, and no turn, that would take longer than there is time.
"""

import argparse
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional as F

from runner.config.compose import Composer
from runner.engine.run import Run
from runner.run.build import build
from runner.run.claim import run_job, run_pack
from runner.run.job import Job, prepare

WORKLOADS = {
    "digits MLP 64-256-256-10, batch 64": ["data=digits", "batch.size=64"],
    "digits CNN, batch 64": ["data=digits", "model=cnn", "batch.size=64"],
    "MNIST MLP 784-256-256-10, batch 128": ["data=mnist", "batch.size=128"],
    "MNIST CNN, batch 128": ["data=mnist", "model=cnn", "batch.size=128"],
    "digits ResNet-20, batch 128": ["data=digits", "model=resnet", "batch.size=128"],
    "digits ViT, batch 128": ["data=digits", "model=vit", "model.patch=4", "batch.size=128"],
    "MNIST wide CNN, batch 512": ["data=mnist", "model=cnn", "model.width=128", "batch.size=512"],
}
STACKED = 16
"""Runs of a stack."""
WARM_UP = 3
"""Steps by hand before a graph is captured, on a stream of their own."""


def job_of(overrides: list[str], steps: int, device: str) -> Job:
    """Return a job that is trained for so many whole batches and evaluated at its ends alone."""
    length = [f"max_steps={steps}", f"eval_every={steps}", "batch.drop_last=true", f"device={device}", "save=none"]
    composed = Composer.over().compose([*overrides, *length, "force=true", "optim=adamw"])
    return prepare(composed)


def by_hand(run: Run, size: int, steps: int, graphed: bool) -> float:
    """Return the seconds of the loop that one would write by hand over the same tensors, captured or not."""
    x, y, model = run.train.x, run.train.y, run.construct()
    on_cuda = run.device.type == "cuda"
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, fused=True, capturable=graphed)

    def step(index: Tensor) -> None:
        optimizer.zero_grad()
        F.cross_entropy(model(x[index]), y[index]).backward()
        optimizer.step()

    make: Callable[[Tensor], None] = step
    if graphed:
        held = torch.arange(size, device=run.device)
        aside = torch.cuda.Stream()
        aside.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(aside):
            for _ in range(WARM_UP):
                step(held)
        torch.cuda.current_stream().wait_stream(aside)
        graph = torch.cuda.CUDAGraph()
        optimizer.zero_grad()
        with torch.cuda.graph(graph):
            step(held)

        def make(index: Tensor) -> None:
            held.copy_(index)
            graph.replay()

    if on_cuda:
        torch.cuda.synchronize()
    began, made = time.perf_counter(), 0
    while made < steps:
        order = torch.randperm(len(y)).to(run.device)
        for index in order[: len(y) // size * size].split(size)[: steps - made]:
            make(index)
            made += 1
    if on_cuda:
        torch.cuda.synchronize()
    return time.perf_counter() - began


def by_optbench(job: Job) -> float:
    """Return the ``train_seconds`` of one run, recorded like any other."""
    outcome = run_job(job, bar=False)
    assert outcome is not None and outcome.summary["status"] == "completed", outcome
    return float(outcome.summary["train_seconds"])


def by_stack(jobs: list[Job]) -> float:
    """Return the seconds that each run of a stack took."""
    found = [outcome.summary for outcome in run_pack(jobs, "none") if outcome is not None]
    assert [summary["stack_size"] for summary in found] == [len(jobs)] * len(jobs), "they were not stacked"
    return statistics.mean(float(summary["train_seconds"]) for summary in found)


def bench(
    name: str, overrides: list[str], steps: int, repeats: int, device: str, until: float
) -> dict[str, str | float | None]:
    """Return a workload's row: medians of steps a second, of as many turns as there is time for."""
    one, loop = job_of(overrides, steps, device), job_of([*overrides, "engine=loop"], steps, device)
    grid = [f"optim.lr={1e-3 * (1 + i / STACKED)}" for i in range(STACKED)]
    several = [job_of([*overrides, "engine=fused", lr], steps, device) for lr in grid]
    run, size = build(one), one.config["batch"]["size"]
    contenders: dict[str, Callable[[], float]] = {"loop by hand": lambda: by_hand(run, size, steps, graphed=False)}
    if device == "cuda":
        contenders["by hand, graphed"] = lambda: by_hand(run, size, steps, graphed=True)
    contenders["optbench"] = lambda: by_optbench(one)
    contenders["optbench, engine=loop"] = lambda: by_optbench(loop)
    contenders[f"{STACKED} stacked, a run"] = lambda: by_stack(several)
    rates: dict[str, list[float]] = {contender: [] for contender in contenders}
    by_hand(run, size, min(steps, 20), graphed=False)
    turn_s = 0.0
    for turn in range(repeats):
        began = time.monotonic()
        if turn and began + turn_s > until:
            break
        for contender, measure in contenders.items():
            rates[contender].append(steps / measure())
        turn_s = time.monotonic() - began
    medians = {contender: statistics.median(found) for contender, found in rates.items()}
    graphed = medians.get("by hand, graphed")
    return {
        "workload": name,
        **medians,
        "optbench / loop by hand": medians["optbench"] / medians["loop by hand"],
        "optbench / graphed": medians["optbench"] / graphed if graphed else None,
        "stacked / graphed": medians[f"{STACKED} stacked, a run"] / graphed if graphed else None,
        "turns": float(len(rates["optbench"])),
    }


def main() -> None:
    """Measure, and print a row a workload."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--steps", type=int, default=500)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--workloads", nargs="+", choices=list(WORKLOADS), default=list(WORKLOADS), metavar="NAME")
    parser.add_argument("--data-root", default=os.environ.get("OPTBENCH_DATA"), help="the folder that holds MNIST/raw")
    arguments = parser.parse_args()
    root = Path(arguments.data_root).resolve() if arguments.data_root else None
    began, seconds = time.monotonic(), float(os.environ.get("OPTBENCH_SECONDS", "inf"))
    os.chdir(tempfile.mkdtemp())
    longest = 0.0
    for i, name in enumerate(arguments.workloads):
        overrides = WORKLOADS[name]
        if "data=mnist" in overrides:
            if root is None or not (root / "MNIST" / "raw").is_dir():
                print(f"{name}: left out, no MNIST below --data-root or $OPTBENCH_DATA", file=sys.stderr)
                continue
            overrides = [*overrides, f"data.root={root}"]
        start = time.monotonic()
        left = began + seconds - start
        if longest > left:
            print(f"{name}: left out, no time is left", file=sys.stderr)
            continue
        until = start + left / (len(arguments.workloads) - i)
        print(
            json.dumps(bench(name, overrides, arguments.steps, arguments.repeats, arguments.device, until)), flush=True
        )
        longest = max(longest, time.monotonic() - start)


if __name__ == "__main__":
    main()
