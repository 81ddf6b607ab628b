"""How fast one run is, side by side in one go: optbench, a plain loop by hand, and the DataLoader habit.

    python scripts/bench_speed.py [--data-root FOLDER] [--repeats 5] [--csv FILE]

Each contender trains the same model for the same steps; they take turns, and medians are printed. ``training`` is
steps a second by ``train_seconds``; ``whole`` counts everything in: building, an evaluation an epoch, CSV, checkpoints.
"""

import argparse
import csv
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path

import torch
from torch import nn
from torch.nn import functional as F

WORKLOADS = {
    "digits MLP 64-256-256-10": (["data=digits", "batch.size=64"], 100),
    "digits MLP 64-64-10": (["data=digits", "model.width=64", "model.depth=1", "batch.size=32"], 50),
    "MNIST MLP 784-256-256-10": (["data=mnist", "batch.size=128"], 3),
    "MNIST CNN": (["data=mnist", "model=cnn", "batch.size=128"], 1),
}


def by_optbench(overrides: list[str], epochs: int) -> tuple[float, float]:
    """Return (training, whole) seconds of one run, recorded like any other."""
    from runner.config.compose import Composer, start_hydra
    from runner.run.claim import run_job
    from runner.run.job import prepare

    job = prepare(Composer(start_hydra().config_loader).compose([*overrides, f"epochs={epochs}", "force=true"]))
    began = time.perf_counter()
    summary = run_job(job).summary
    return summary["train_seconds"], time.perf_counter() - began


def tensors(overrides: list[str]) -> tuple[torch.Tensor, torch.Tensor, nn.Module, int]:
    """Return the same training tensors and a fresh model of the same shape."""
    from runner.config.compose import Composer, start_hydra
    from runner.run.build import build
    from runner.run.job import prepare

    job = prepare(Composer(start_hydra().config_loader).compose(overrides))
    run = build(job)
    return run.train.x, run.train.y, run.construct(), job.config["batch"]["size"]


def by_plain_loop(overrides: list[str], epochs: int) -> float:
    """Return the seconds of the loop that one would write by hand over the same tensors."""
    x, y, model, batch = tensors(overrides)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    began = time.perf_counter()
    for _ in range(epochs):
        order = torch.randperm(len(y))
        for index in order.split(batch):
            optimizer.zero_grad()
            loss = F.cross_entropy(model(x[index]), y[index])
            loss.backward()
            optimizer.step()
    return time.perf_counter() - began


def by_data_loader(overrides: list[str], root: str) -> tuple[float, int]:
    """Return the seconds and steps of one epoch over torchvision's MNIST with transforms and a DataLoader."""
    from torchvision import datasets, transforms

    _, _, model, batch = tensors(overrides)
    change = transforms.Compose([transforms.ToTensor(), transforms.Normalize((0.1307,), (0.3081,))])
    loader = torch.utils.data.DataLoader(datasets.MNIST(root, transform=change), batch, shuffle=True)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    began = time.perf_counter()
    for steps, (x, y) in enumerate(loader, 1):
        optimizer.zero_grad()
        F.cross_entropy(model(x), y).backward()
        optimizer.step()
        if steps >= 150:
            break
    return time.perf_counter() - began, steps


def main() -> None:
    """Measure, print the table and write the CSV."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data-root", default=os.environ.get("OPTBENCH_DATA"), help="the folder that holds MNIST/raw")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--csv", type=Path)
    arguments = parser.parse_args()
    target = arguments.csv.resolve() if arguments.csv else None
    root = str(Path(arguments.data_root).resolve()) if arguments.data_root else None
    os.chdir(tempfile.mkdtemp())
    rows = []
    for name, (overrides, epochs) in WORKLOADS.items():
        if "data=mnist" in overrides:
            if root is None:
                print(f"{name}: skipped, no --data-root", file=sys.stderr)
                continue
            overrides = [*overrides, f"data.root={root}"]
        x, _, _, batch = tensors(overrides)
        steps = epochs * -(-len(x) // batch)
        training, whole, plain, loader = [], [], [], []
        by_plain_loop(overrides, 1)
        for _ in range(arguments.repeats):
            plain.append(steps / by_plain_loop(overrides, epochs))
            seconds = by_optbench(overrides, epochs)
            training.append(steps / seconds[0])
            whole.append(steps / seconds[1])
            if "data=mnist" in overrides:
                taken, done = by_data_loader(overrides, str(root))
                loader.append(done / taken)
        row = {
            "workload": name,
            "plain_steps_per_second": statistics.median(plain),
            "training_steps_per_second": statistics.median(training),
            "whole_steps_per_second": statistics.median(whole),
            "loader_steps_per_second": statistics.median(loader) if loader else None,
            "training_over_plain": statistics.median(t / p for t, p in zip(training, plain, strict=True)),
            "whole_over_plain": statistics.median(w / p for w, p in zip(whole, plain, strict=True)),
            "whole_over_loader": statistics.median(w / d for w, d in zip(whole, loader, strict=True))
            if loader
            else None,
        }
        rows.append(row)
        print(name, *(f"{k} {v:.3g}" for k, v in row.items() if isinstance(v, float)), sep="  ", file=sys.stderr)
    print(
        f"{torch.get_num_threads()} threads, torch {torch.__version__}, medians of {arguments.repeats}, steps a second"
    )
    print("| workload | plain loop | training | whole | DataLoader | training / plain | whole / plain |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    for row in rows:
        loader_text = f"{row['loader_steps_per_second']:,.0f}" if row["loader_steps_per_second"] else "–"
        print(
            f"| {row['workload']} | {row['plain_steps_per_second']:,.0f} | {row['training_steps_per_second']:,.0f} | "
            f"{row['whole_steps_per_second']:,.0f} | {loader_text} | {row['training_over_plain']:.2f} | "
            f"{row['whole_over_plain']:.2f} |"
        )
    if target:
        with target.open("w", newline="") as file:
            writer = csv.DictWriter(file, rows[0])
            writer.writeheader()
            writer.writerows(rows)


if __name__ == "__main__":
    main()
