"""Measure what a sweep of very many runs takes beside training: python scripts/bench_many.py 100000 [FOLDER].

Synthetic runs that have ended are written; then the same grid is planned, found finished, its ``runs.csv`` rebuilt and
updated, and reported, each in a process of its own: seconds and peak memory. At last a hundred runs are trained, in an
empty folder and in that one, in which the plans of as many packs lie as such a sweep has while it is under way. From
the sizes so far, ten times as many are projected by a power law through the last two.
"""

import argparse
import hashlib
import json
import math
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

NAME = "many"
PACK = 256
"""Runs of a stack, at most."""


def grid(runs: int) -> list[str]:
    """Return a grid of so many runs: rates and seeds."""
    rates = 100
    lines = ",".join(f"{0.3 * 10 ** (-i / 40):.6g}" for i in range(rates))
    seeds = ",".join(map(str, range(max(1, runs // rates))))
    return [f"name={NAME}", "model.width=8", "max_steps=10", "eval_every=10", f"optim.lr={lines}", f"seed={seeds}"]


def _jobs(runs: int) -> list:
    from runner.config.compose import Composer
    from runner.sweep.plan import Grid, plan

    composer = Composer.over()
    return plan(composer, Grid.of({}, (), grid(runs)).jobs(composer))


def write(runs: int) -> None:
    """Write runs that have ended, as training leaves them."""
    from runner.run import record

    jobs = _jobs(runs)
    for job in jobs:
        rate, seed = job.config["optim"]["lr"], job.config["seed"]
        job.folder.mkdir(parents=True)
        loss = 0.1 + 0.2 * abs(math.log10(rate) + 1.5) + 0.01 * math.sin(seed)
        summary = {
            "status": "completed",
            "stop_reason": "max_steps",
            "run_id": job.run_id,
            "steps": 10,
            "epochs": 0.5,
            "final_val_loss": loss,
            "best_val_loss": loss,
            "test_loss": loss,
            "train_seconds": 0.1,
            "seed": seed,
            "final_val_accuracy": 1 - loss / 4,
            "test_accuracy": 1 - loss / 4,
            "saved": "none",
            "eval_every": 10,
            "steps_per_epoch": 20,
            "diagnostics": False,
            "target": job.target,
            "data_fingerprint": job.source.fingerprint,
            "data_names": job.source.names,
            "optbench_version": "0.2.0",
            "parameters": 650,
            "engine": "fused",
        }
        (job.folder / "config.yaml").write_text(record._as_yaml(job.config))
        (job.folder / "summary.json").write_text(json.dumps(summary))
        header = (
            "step,epoch,samples_seen,train_seconds,lr,batch_size,batch_loss,train_loss,val_loss,val_accuracy,status\n"
        )
        rows = [f"{s},{s / 20},{64 * s},{s / 100},{rate},64,{loss},{loss},{loss},{1 - loss / 4},ok\n" for s in (0, 10)]
        (job.folder / "metrics.csv").write_text(header + "".join(rows))


def plan_it(runs: int) -> None:
    """Compose and check every job, of which none is to be trained."""
    assert len(_jobs(runs)) == runs // 100 * 100


def skip(runs: int) -> None:
    """Give the same command once more."""
    from runner.cli.main import main

    assert main(["train", "-m", *grid(runs)]) == 0


def rebuild(runs: int) -> None:
    """Write ``runs.csv`` anew from the runs' folders."""
    from runner.run import record

    assert record.rebuild_runs_csv(Path("outputs", NAME)) == runs // 100 * 100


def update(runs: int) -> None:
    """Write one more row: what each run that ends costs."""
    from runner.config.compose import Composer
    from runner.run import record
    from runner.run.job import prepare

    job = prepare(Composer.over().compose(["name=many", "model.width=8", "max_steps=10"]))
    record.update_runs_csv([(job, {"status": "completed"})])


def report(runs: int) -> None:
    """Answer."""
    from runner.report.write import report as answer

    answer(Path("outputs", NAME))


def _trained(name: str) -> None:
    from runner.cli.main import main

    seed = f"seed={10**6}"  # of no run of the grid
    assert main(["train", "-m", *grid(100)[1:-1], f"name={name}", seed, "baselines=false", "workers=1"]) == 0


def alone(runs: int) -> None:
    """Train a hundred runs in an empty folder."""
    _trained("alone")


def beside(runs: int) -> None:
    """Train a hundred runs among all others."""
    _trained(NAME)


def plans(runs: int) -> None:
    """Write the plans of packs that nobody has trained yet, as many as the grid has."""
    from runner.run import packs

    given = grid(runs)[:-2]
    ids = [hashlib.sha256(str(i).encode()).hexdigest()[:8] for i in range(runs)]
    for first in range(0, runs, PACK):
        members = {one: [*given, f"optim.lr=0.{one}", f"seed={one}"] for one in ids[first : first + PACK]}
        packs.write(packs.place_of(Path("outputs", NAME), members), packs.Plan(members))


STEPS: dict[str, Callable[[int], None]] = {
    "write": write,
    "plan": plan_it,
    "rebuild": rebuild,
    "skip": skip,
    "update": update,
    "report": report,
    "alone": alone,
    "plans": plans,
    "beside": beside,
}


def measure(step: str, runs: int) -> tuple[float, float, float]:
    """Return wall seconds, CPU seconds and peak memory in MB of a step in a process of its own."""
    began = time.monotonic()
    process = subprocess.Popen([sys.executable, __file__, "--step", step, str(runs)], stdout=subprocess.DEVNULL)
    _, status, used = os.wait4(process.pid, 0)
    assert status == 0, f"{step} of {runs} runs failed"
    return time.monotonic() - began, used.ru_utime + used.ru_stime, used.ru_maxrss / 1024


def main() -> None:
    """Measure at a tenth of the runs, and at all of them."""
    if sys.argv[1] == "--step":
        STEPS[sys.argv[2]](int(sys.argv[3]))
        return
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n\n")[0])
    parser.add_argument("runs", type=int)
    parser.add_argument("folder", nargs="?", help="for the runs; by default the system's own")
    parser.add_argument("--without", nargs="*", default=[], choices=STEPS, help="steps that are left out")
    given = parser.parse_args()
    steps = [step for step in STEPS if step not in given.without]
    found: dict[str, list[tuple[float, float, float]]] = {step: [] for step in steps}
    for size in (given.runs // 10, given.runs):
        with tempfile.TemporaryDirectory(dir=given.folder) as place:
            os.chdir(place)
            for step in steps:
                found[step].append(measure(step, size))
                wall, cpu, memory = found[step][-1]
                print(f"{size:>8} runs  {step:<8} {wall:8.1f} s wall {cpu:8.1f} s CPU {memory:7.0f} MB", flush=True)
            if "alone" in steps:
                files = sum(len(names) + len(folders) for _, folders, names in os.walk("outputs/alone"))
                print(f"{size:>8} runs  {files / 100:.1f} inodes a run that was trained", flush=True)
            os.chdir("/")
            shutil.rmtree(place, ignore_errors=True)
            os.mkdir(place)
    print(f"projected for {10 * given.runs}:")
    for step, (small, large) in found.items():
        power = math.log(large[1] / small[1], 10)
        print(f"  {step:<8} {large[1] * 10**power / 60:8.1f} min CPU, {large[2] * (large[2] / small[2]):7.0f} MB")


if __name__ == "__main__":
    main()
