"""How near a run's steps come to what this machine can do: FLOP/s against its matrix products, bytes/s against copies.

    python scripts/bench_limits.py [--workloads digits,…] [--data-root FOLDER] [--repeats 3] [--cpu] [--update]

FLOPs are three times those of a forward pass (twice as much goes back). Bytes are the fewest that a step can move: the
batch once, each activation written and read in both directions, and weights, gradients and two moments as Adam reads
and writes them. What caches hold never goes to memory, so a share above 1 says that the work lies in the cache.
"""

import argparse
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch
from pages import Told, asked
from torch import Tensor, nn

from runner.config.compose import Composer
from runner.engine.state import State, start
from runner.run.build import build
from runner.run.claim import run_pack
from runner.run.flops import forward_flops
from runner.run.job import Job, prepare

PAGE = Path(__file__).parents[1] / "docs" / "speed.md"
SIZE = 2048
"""Of the matrices that are multiplied."""
COPIED = 2**25
"""Numbers, 128 MiB, more than any cache."""
SETTINGS = ["force=true", "baselines=false", "save=none", "batch.drop_last=true"]
WORKLOADS: dict[str, tuple[str, list[str], int, int]] = {
    "digits": ("digits 64-64-10, batch 64", ["data=digits", "model.width=64", "model.depth=1"], 1, 600),
    "digits_64": ("64 × digits 64-64-10, batch 64", ["data=digits", "model.width=64", "model.depth=1"], 64, 600),
    "mlp": ("MNIST 784-256-256-10, batch 128", ["data=mnist", "batch.size=128"], 1, 400),
    "mlp_16": ("16 × MNIST 784-256-256-10, batch 128", ["data=mnist", "batch.size=128"], 16, 60),
    "batch_norm_64": (
        "64 × MNIST 784-64-128-64-10 with batch norm, batch 128",
        ["data=mnist", "batch.size=128", "model.widths=[64,128,64]", "model.normalization=batch"],
        64,
        40,
    ),
    "cnn": ("MNIST CNN, batch 128", ["data=mnist", "batch.size=128", "model=cnn"], 1, 60),
    "resnet20": ("digits ResNet-20, batch 128", ["data=digits", "batch.size=128", "model=resnet"], 1, 60),
    "vit": ("digits ViT, batch 128", ["data=digits", "batch.size=128", "model=vit", "model.patch=4"], 1, 60),
    "gpt": ("text GPT", ["data=text", "model=gpt"], 1, 40),
    "rnn": ("text LSTM", ["data=text", "model=rnn"], 1, 40),
}


def rate(work: Callable[[], object], amount: float, clock: Callable[[], float], repeats: int = 7) -> float:
    """Return how much of an amount a second is done, the median of several times."""
    work()
    seconds = []
    for _ in range(repeats):
        began = clock()
        work()
        seconds.append(clock() - began)
    return amount / statistics.median(seconds)


def limits(clock: Callable[[], float]) -> tuple[float, float, float]:
    """Return this machine's FLOP/s of float32 and bf16 products, and its bytes/s of copies, read and written."""
    a, b = torch.randn(SIZE, SIZE), torch.randn(SIZE, SIZE)
    half, other = a.bfloat16(), b.bfloat16()
    numbers, into = torch.ones(COPIED), torch.ones(COPIED)
    flops = 2.0 * SIZE**3
    return (
        rate(lambda: a @ b, flops, clock),
        rate(lambda: half @ other, flops, clock),
        rate(lambda: into.copy_(numbers), 2.0 * numbers.numel() * numbers.element_size(), clock),
    )


def bytes_of_step(state: State, samples: int) -> float:
    """Return the fewest bytes that a step of a batch moves: see the top."""
    kept = [0]

    def count(layer: nn.Module, _: object, outputs: object) -> None:
        first = outputs[0] if isinstance(outputs, tuple) else outputs
        if isinstance(first, Tensor) and not list(layer.children()):
            kept[0] += first.numel() * first.element_size()

    hooks = [layer.register_forward_hook(count) for layer in state.model.modules()]
    x = state.run.train.x[:1]
    with torch.no_grad(), state.evaluating():
        state.model.forward(x)
    for hook in hooks:
        hook.remove()
    weights = sum(p.numel() * p.element_size() for p in state.model.parameters())
    return samples * (x.numel() * x.element_size() + 4.0 * kept[0]) + 10.0 * weights


def recurrent_flops(state: State) -> int:
    """Count what recurrent layers multiply of one sample, two FLOPs each: ``forward_flops`` does not see into them."""
    found = [0]

    def count(layer: nn.Module, _: object, outputs: tuple[Tensor, object]) -> None:
        assert isinstance(layer, nn.RNNBase)
        gates = layer.weight_ih_l0.shape[0]
        found[0] += 2 * gates * (layer.input_size + layer.hidden_size) * outputs[0].numel() // layer.hidden_size

    hooks = [m.register_forward_hook(count) for m in state.model.modules() if isinstance(m, nn.RNNBase)]
    with torch.no_grad(), state.evaluating():
        state.model.forward(state.run.train.x[:1])
    for hook in hooks:
        hook.remove()
    return found[0]


def jobs_of(overrides: list[str], runs: int, steps: int, root: str | None) -> list[Job]:
    """Return the jobs of a workload, of one seed each."""
    composer = Composer.over()
    placed = [f"data.root={root}"] if "data=mnist" in overrides else []
    length = [f"max_steps={steps}", f"eval_every={steps}", "optim=adamw", *SETTINGS]
    return [prepare(composer.compose([*overrides, *placed, *length, f"seed={seed}"])) for seed in range(runs)]


def trained(jobs: list[Job], cpu: bool) -> float:
    """Return the seconds a step and run of jobs that are trained as one."""
    wall, used = time.perf_counter(), time.process_time()
    outcomes = run_pack(jobs, "none")
    share = (time.process_time() - used) / (time.perf_counter() - wall) if cpu else 1.0
    seconds = [o.summary["train_seconds"] / o.summary["steps"] for o in outcomes if o is not None]
    return share * statistics.mean(seconds)


def main() -> None:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--workloads", default=",".join(WORKLOADS), help=", ".join(WORKLOADS))
    parser.add_argument("--data-root", default=os.environ.get("OPTBENCH_DATA"), help="the folder that holds MNIST/raw")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--cpu", action="store_true", help="count the processor's seconds, on a machine that is shared")
    parser.add_argument("--update", action="store_true", help="write the table into docs/speed.md")
    arguments = asked(parser, "workloads")
    root = str(Path(arguments.data_root).resolve()) if arguments.data_root else None
    os.chdir(tempfile.mkdtemp())
    sgemm, bf16, copies = limits(time.process_time if arguments.cpu else time.perf_counter)
    capability = torch.backends.cpu.get_cpu_capability()
    tell, clock = Told(), "of the processor " if arguments.cpu else ""
    tell(
        f"{torch.get_num_threads()} threads, {capability}, torch {torch.__version__}: products "
        f"{sgemm / 1e9:.0f} GFLOP/s, of bf16 {bf16 / 1e9:.0f}; copies {copies / 1e9:.1f} GB/s.",
        "",
        f"| workload | µs {clock}a run and step | GFLOP/s | of the products | GB/s | of the copies |",
        "| --- | --- | --- | --- | --- | --- |",
    )
    for name in arguments.workloads.split(","):
        title, overrides, runs, steps = WORKLOADS[name]
        if "data=mnist" in overrides and root is None:
            print(f"{name}: skipped, no --data-root", file=sys.stderr)
            continue
        jobs = jobs_of(overrides, runs, steps, root)
        state, size = start(build(jobs[0])), int(jobs[0].config["batch"]["size"])
        flops, moved = 3.0 * size * (forward_flops(state) + recurrent_flops(state)), bytes_of_step(state, size)
        seconds = statistics.median(trained(jobs, arguments.cpu) for _ in range(arguments.repeats))
        tell(
            f"| {title} | {1e6 * seconds:,.0f} | {flops / seconds / 1e9:.1f} | {flops / seconds / sgemm:.0%} | "
            f"{moved / seconds / 1e9:.1f} | {moved / seconds / copies:.0%} |"
        )
    if arguments.update:
        tell.write(PAGE, "limits")


if __name__ == "__main__":
    main()
