"""Scaling efficiency and bytes a process of runs on several devices, of an mlp and a gpt.

    python scripts/bench_parallel.py [--steps 20] [--update]

Efficiency is the time of one process over devices · theirs: it says something where there are as many cores as
processes, each with one thread. Bytes are of weights, gradients and the optimizer's state that a process holds.
``--update`` writes the table into docs/parallel.md.
"""

import argparse
import os
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from subprocess import Popen

import torch
import torch.distributed as dist
from pages import rewrite
from torch import Tensor

from runner.config.compose import Composer
from runner.engine import loop
from runner.engine.state import State, start
from runner.parallel import Layout
from runner.run.build import build
from runner.run.job import prepare

MODELS = {
    "mlp": ["model.width=1024", "model.depth=4", "batch.size=256"],
    "gpt": ["data=text", "model=gpt", "model.width=256", "model.depth=4", "model.heads=4", "batch.size=32"],
}
LAYOUTS = {
    2: {
        "ddp": Layout(data=2),
        "fsdp": Layout(data=2, sharded=True),
        "tensor": Layout(tensor=2),
        "pipeline": Layout(stages=2, parts=4),
    },
    4: {"fsdp": Layout(data=4, sharded=True), "fsdp × tensor": Layout(data=2, sharded=True, tensor=2)},
}
WARM_UP = 3
PAGE = Path(__file__).parents[1] / "docs" / "parallel.md"
MARKS = ("<!-- parallel table -->", "<!-- end of parallel table -->")


def held_bytes(state: State) -> int:
    """Return the bytes that this process holds of a run."""
    moments = [v for of_one in state.optimizer.state.values() for v in of_one.values() if isinstance(v, Tensor)]
    gradients = [p.grad for p in state.trained if p.grad is not None]
    local = [t.to_local() if hasattr(t, "to_local") else t for t in (*state.trained, *gradients, *moments)]
    return sum(t.numel() * t.element_size() for t in local)


def measured(model: str, layout: Layout | None, steps: int) -> tuple[float, int]:
    """Return seconds a step, and the bytes that this process holds."""
    asked = ["device=cpu", "optim=adamw", f"max_steps={steps + WARM_UP}", f"eval_every={steps + WARM_UP}"]
    job = prepare(Composer.over().compose([*asked, *MODELS[model]]))
    run = build(job)
    if layout is not None:
        from runner.parallel.processes import Processes

        run = replace(run, spread=Processes(layout, "cpu", run.train.x[:1], False))
    state, times = start(run), []

    def pulse(state: State, loss: float) -> bool:
        times.append(time.perf_counter())
        return len(times) == steps + WARM_UP - 1  # the last would be evaluated

    list(loop.train(state, pulse))
    return (times[-1] - times[WARM_UP - 1]) / (len(times) - WARM_UP), held_bytes(state)


def _serve(store: str, devices: int, rank: int, steps: int) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{store}", rank=rank, world_size=devices)
    for name, layout in LAYOUTS.get(devices, {}).items():
        for model in MODELS:
            seconds, held = measured(model, layout, steps)
            every: list[int] = [0] * devices
            dist.all_gather_object(every, held)
            if rank == 0:
                torch.save((seconds, max(every)), f"{store}-{model}-{name}")


def table(steps: int) -> str:
    """Return what was measured, a row a model and way."""
    torch.set_num_threads(1)
    alone = {model: measured(model, None, steps) for model in MODELS}
    here = f"{os.cpu_count()} cores, torch {torch.__version__}, gloo, one thread a process, {steps} steps"
    lines = [f"{here}:", "", "| model | spread | processes | ms a step | efficiency | MB a process |"]
    lines.append("| --- | --- | --- | --- | --- | --- |")
    lines += [f"| {model} | – | 1 | {1e3 * one:.1f} | 1 | {held / 1e6:.1f} |" for model, (one, held) in alone.items()]
    with tempfile.TemporaryDirectory() as place:
        for devices, layouts in LAYOUTS.items():
            store = str(Path(place) / str(devices))
            ours = [sys.executable, __file__, "--rank", store, str(devices)]
            started = [Popen([*ours, str(rank), str(steps)]) for rank in range(devices)]
            assert [process.wait() for process in started] == [0] * devices
            for name in layouts:
                for model, (one, _) in alone.items():
                    seconds, held = torch.load(f"{store}-{model}-{name}", weights_only=True)
                    numbers = f"{1e3 * seconds:.1f} | {one / seconds / devices:.2f} | {held / 1e6:.1f}"
                    lines.append(f"| {model} | {name} | {devices} | {numbers} |")
    return "\n".join(lines)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--update", action="store_true", help="write the table into docs/parallel.md")
    arguments = parser.parse_args()
    found = table(arguments.steps)
    print(found)
    if arguments.update:
        rewrite(PAGE, MARKS, found)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--rank"]:
        _serve(sys.argv[2], int(sys.argv[3]), int(sys.argv[4]), int(sys.argv[5]))
    else:
        main()
