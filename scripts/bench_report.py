"""How long a report on 10,000 runs of 100 rows takes, and how much memory. Run: python scripts/bench_report.py"""

import argparse
import json
import math
import random
import resource
import subprocess
import sys
import tempfile
import time
from itertools import product
from pathlib import Path

INITS = ("default", "he_normal", "he_uniform", "normal", "uniform", "xavier_normal", "xavier_uniform", "zeros")
OPTIMS = ("adam", "adamw", "momentum", "nesterov", "sgd")
HEADER = (
    "step,epoch,samples_seen,train_seconds,lr,batch_size,batch_loss,train_loss,train_accuracy,val_loss,val_accuracy,"
    "grad_norm,update_ratio,status\n"
)


def make(folder: Path, runs: int, rows: int) -> None:
    """Write a sweep of so many runs, each with so many rows."""
    rng = random.Random(0)
    seeds = 10
    rates = max(1, round(runs / (len(INITS) * len(OPTIMS) * seeds)))
    lrs = [float(f"{10 ** (-4 + 4 * i / max(1, rates - 1)):.3g}") for i in range(rates)]
    folder.mkdir(parents=True)
    with (folder / "runs.csv").open("w") as table:
        table.write("init,optim,optim.lr,data,seed,run_id,status,final_val_loss,final_val_accuracy,test_accuracy\n")
        for number, (init, optim, lr, seed) in enumerate(product(INITS, OPTIMS, lrs, range(seeds))):
            if number == runs:
                return
            identifier, final = f"{number:08x}", 0.9 - 0.05 * abs(math.log10(lr) + 2) + rng.gauss(0, 0.01)
            place = folder / f"{init}-{optim}-lr{lr:g}-s{seed}-{identifier}"
            place.mkdir()
            lines = []
            for i in range(rows):
                loss, value = 2.3 * math.exp(-i / 20), final * (1 - math.exp(-i / 20))
                lines.append(
                    f"{21 * i},{i},{1295 * i},{i / 50},{lr},64,{loss},{loss},{value},{loss},{value},{loss},0.01,ok\n"
                )
            (place / "metrics.csv").write_text(HEADER + "".join(lines))
            (place / "summary.json").write_text(json.dumps({"status": "completed", "final_val_accuracy": value}))
            table.write(f"{init},{optim},{lr},digits,{seed},{identifier},completed,{loss},{value},{value - 0.01}\n")


def main() -> None:
    """Make the sweep, report on it, print what it took."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=10_000)
    parser.add_argument("--rows", type=int, default=100)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place) / "outputs" / "made"
        make(folder, arguments.runs, arguments.rows)
        began = time.perf_counter()
        subprocess.run([sys.executable, "-m", "runner", "report", str(folder)], check=True, stdout=subprocess.DEVNULL)
        seconds = time.perf_counter() - began
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    print(f"{arguments.runs:,} runs × {arguments.rows} rows: {seconds:.1f} s, {peak / 2**20:,.0f} MiB")


if __name__ == "__main__":
    main()
