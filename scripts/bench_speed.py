"""How fast one run is, side by side in one go: optbench, a plain loop by hand, and the DataLoader habit.

    python scripts/bench_speed.py [--workloads mlp,cnn,…] [--data-root FOLDER] [--repeats 5] [--csv FILE] [--update]

Each contender trains the same model for the same steps; they take turns, and medians are printed. ``training`` is
steps a second by ``train_seconds``; ``whole`` counts everything in: building, evaluations, CSV, checkpoints. The plain
loop is contiguous, in float32, with torch.optim.AdamW as it is built without a word, and the allocator keeps what a
step frees, as optbench has it; ``default allocator`` is the same loop in a process of its own that was told nothing.
With ``--cpu`` seconds are those of the processor, which other processes on the machine disturb least; of those of
training it is known what share they are of the whole by the clock. ``--update`` writes the table into docs/speed.md.
"""

import argparse
import csv
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import torch
from pages import Told, asked
from torch import nn
from torch.nn import functional as F

PAGE = Path(__file__).parents[1] / "docs" / "speed.md"
IMAGES = ["data=digits", "batch.size=128", "max_steps=200", "eval_every=100"]
TEXT = ["data=text", "max_steps=100", "eval_every=100"]
WORKLOADS = {
    "mlp": ("digits MLP 64-256-256-10", ["data=digits", "batch.size=64", "epochs=100"]),
    "small_mlp": (
        "digits MLP 64-64-10",
        ["data=digits", "model.width=64", "model.depth=1", "batch.size=32", "epochs=50"],
    ),
    "mnist_mlp": ("MNIST MLP 784-256-256-10", ["data=mnist", "batch.size=128", "epochs=3"]),
    "cnn": ("MNIST CNN", ["data=mnist", "model=cnn", "batch.size=128", "epochs=1"]),
    "cnn_bf16": ("MNIST CNN, bf16", ["data=mnist", "model=cnn", "batch.size=128", "epochs=1", "amp=bf16"]),
    "resnet20": ("digits ResNet-20", [*IMAGES, "model=resnet"]),
    "vit": ("digits ViT", [*IMAGES, "model=vit", "model.patch=4"]),
    "gpt": ("text GPT", [*TEXT, "model=gpt"]),
    "rnn": ("text LSTM", [*TEXT, "model=rnn"]),
    "mobilenet_v3_small": ("digits MobileNetV3-small", [*IMAGES, "model=torchvision", "model.name=mobilenet_v3_small"]),
}
OWN_ALLOCATOR = ("cnn", "resnet20")
"""Of which the loop with the default allocator is measured too."""
clock = time.perf_counter


def by_optbench(overrides: list[str]) -> tuple[float, float]:
    """Return (training, whole) seconds of one run, recorded like any other."""
    from runner.config.compose import Composer
    from runner.run.claim import run_job
    from runner.run.job import prepare

    settings = [*overrides, "force=true", "baselines=false"]
    job = prepare(Composer.over().compose(settings))
    began, wall = clock(), time.perf_counter()
    outcome = run_job(job)
    assert outcome is not None, "nobody else trains it"
    whole, passed = clock() - began, time.perf_counter() - wall
    return outcome.summary["train_seconds"] * whole / passed, whole


def tensors(overrides: list[str]) -> tuple[torch.Tensor, torch.Tensor, nn.Module, int, int]:
    """Return the same training tensors, a fresh model of the same shape, the batch size and the steps."""
    from runner.config.compose import Composer
    from runner.run.build import build
    from runner.run.job import prepare

    job = prepare(Composer.over().compose(overrides))
    run = build(job)
    return run.train.x, run.train.y, run.construct(), job.config["batch"]["size"], run.steps


def by_plain_loop(overrides: list[str], most: int | None = None) -> float:
    """Return the seconds of the loop that one would write by hand over the same tensors."""
    x, y, model, batch, steps = tensors([o for o in overrides if not o.startswith("amp=")])
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    left = min(steps, most or steps)
    began = clock()
    while left:
        for index in torch.randperm(len(y)).split(batch)[:left]:
            optimizer.zero_grad()
            outputs = model(x[index])
            loss = F.cross_entropy(outputs.flatten(0, -2), y[index].flatten())
            loss.backward()
            optimizer.step()
            left -= 1
    return clock() - began


def with_the_default_allocator(name: str, root: str | None) -> float:
    """Return the seconds of the plain loop in a process whose allocator is as the C library has it."""
    command = [sys.executable, __file__, "--plain", name, *(["--data-root", root] if root else [])]
    command += ["--cpu"] if clock is time.process_time else []
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()[-1])


def by_data_loader(overrides: list[str], root: str) -> tuple[float, int]:
    """Return the seconds and steps of one epoch over torchvision's MNIST with transforms and a DataLoader."""
    from torchvision import datasets, transforms

    _, _, model, batch, _ = tensors(overrides)
    change = transforms.Compose([transforms.ToTensor(), transforms.Normalize((0.1307,), (0.3081,))])
    loader = torch.utils.data.DataLoader(datasets.MNIST(root, transform=change), batch, shuffle=True)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    began = clock()
    for steps, (x, y) in enumerate(loader, 1):
        optimizer.zero_grad()
        F.cross_entropy(model(x), y).backward()
        optimizer.step()
        if steps >= 150:
            break
    return clock() - began, steps


def main() -> None:
    """Measure, print the table and write the CSV."""
    global clock
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--workloads", default=",".join(WORKLOADS), help=", ".join(WORKLOADS))
    parser.add_argument("--data-root", default=os.environ.get("OPTBENCH_DATA"), help="the folder that holds MNIST/raw")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--loader", action="store_true", help="measure the DataLoader habit too")
    parser.add_argument("--cpu", action="store_true", help="count the processor's seconds")
    parser.add_argument("--plain", help="print the seconds of this workload's plain loop alone")
    parser.add_argument("--csv", type=Path)
    parser.add_argument("--update", action="store_true", help="write the table into docs/speed.md")
    arguments = asked(parser, "workloads", "plain")
    clock = time.process_time if arguments.cpu else time.perf_counter
    target = arguments.csv.resolve() if arguments.csv else None
    root = str(Path(arguments.data_root).resolve()) if arguments.data_root else None
    os.chdir(tempfile.mkdtemp())
    if arguments.plain:
        overrides = placed(arguments.plain, root)
        by_plain_loop(overrides, 3)
        print(by_plain_loop(overrides))
        return
    rows = []
    for name in arguments.workloads.split(","):
        if "data=mnist" in WORKLOADS[name][1] and root is None:
            print(f"{name}: skipped, no --data-root", file=sys.stderr)
            continue
        rows.append(measured(name, placed(name, root), root, arguments.repeats, arguments.loader))
        print(*(f"{k} {v:.3g}" if isinstance(v, float) else v for k, v in rows[-1].items()), sep="  ", file=sys.stderr)
    capability = torch.backends.cpu.get_cpu_capability()
    what = "CPU seconds" if arguments.cpu else "seconds"
    tell = Told()
    tell(
        f"Steps a {what[:-1]}, medians of {arguments.repeats} turns; {torch.get_num_threads()} threads, {capability}, "
        f"torch {torch.__version__}:",
        "",
        "| workload | plain loop | training | whole | training / plain | whole / plain | default allocator / plain |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    )
    for row in rows:
        slower = row["default_allocator_over_plain"]
        tell(
            f"| {row['workload']} | {row['plain_steps_per_second']:,.0f} | {row['training_steps_per_second']:,.0f} | "
            f"{row['whole_steps_per_second']:,.0f} | {row['training_over_plain']:.2f} | "
            f"{row['whole_over_plain']:.2f} | {'–' if slower is None else f'{slower:.2f}'} |"
        )
    if arguments.update:
        tell.write(PAGE, "speed")
    if target:
        with target.open("w", newline="") as file:
            writer = csv.DictWriter(file, rows[0])
            writer.writeheader()
            writer.writerows(rows)


def placed(name: str, root: str | None) -> list[str]:
    """Return a workload's settings, with where its data are."""
    overrides = WORKLOADS[name][1]
    return [*overrides, f"data.root={root}"] if "data=mnist" in overrides else overrides


def measured(name: str, overrides: list[str], root: str | None, repeats: int, with_loader: bool) -> dict[str, object]:
    """Let the contenders take turns at a workload, and return its row."""
    steps = tensors(overrides)[-1]
    training, whole, plain, loader, default = [], [], [], [], []
    by_optbench(["data=digits", "max_steps=3"])  # which tells the allocator
    by_plain_loop(overrides, 3)
    for _ in range(repeats):
        plain.append(steps / by_plain_loop(overrides))
        seconds = by_optbench(overrides)
        training.append(steps / seconds[0])
        whole.append(steps / seconds[1])
        if name in OWN_ALLOCATOR:
            default.append(steps / with_the_default_allocator(name, root))
        if with_loader and "data=mnist" in overrides:
            taken, done = by_data_loader(overrides, str(root))
            loader.append(done / taken)
    return {
        "workload": WORKLOADS[name][0],
        "plain_steps_per_second": statistics.median(plain),
        "training_steps_per_second": statistics.median(training),
        "whole_steps_per_second": statistics.median(whole),
        "loader_steps_per_second": statistics.median(loader) if loader else None,
        "training_over_plain": ratio(training, plain),
        "whole_over_plain": ratio(whole, plain),
        "whole_over_loader": ratio(whole, loader) if loader else None,
        "default_allocator_over_plain": ratio(default, plain) if default else None,
    }


def ratio(rates: list[float], others: list[float]) -> float:
    """Return the median over turns."""
    return statistics.median(a / b for a, b in zip(rates, others, strict=True))


if __name__ == "__main__":
    main()
