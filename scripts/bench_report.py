"""How long a report takes, its text and all of it, how much memory, and how large its page is.

python scripts/bench_report.py [--settings 2000] [--seeds 5] [--rows 100]
"""

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


def make(folder: Path, settings: int, seeds: int, rows: int) -> None:
    """Write a sweep of so many settings, each with so many seeds, each with so many rows."""
    rng = random.Random(0)
    rates = -(-settings // (len(INITS) * len(OPTIMS)))
    lrs = [float(f"{10 ** (-4 + 4 * i / max(1, rates - 1)):.3g}") for i in range(rates)]
    folder.mkdir(parents=True)
    with (folder / "runs.csv").open("w") as table:
        table.write("init,optim,optim.lr,data,seed,run_id,status,final_val_loss,final_val_accuracy,test_accuracy\n")
        chosen = list(product(lrs, OPTIMS, INITS))[:settings]
        for number, ((lr, optim, init), seed) in enumerate(product(chosen, range(seeds))):
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


def timed(folder: Path) -> tuple[float, float]:
    """Return after how many seconds the text was there, and after how many all was written."""
    began = time.perf_counter()
    command = [sys.executable, "-m", "runner", "report", str(folder)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.read(1)  # the text is printed at once, before anything is drawn
        text = time.perf_counter() - began
        process.stdout.read()
    if process.returncode:
        sys.exit(process.returncode)
    return text, time.perf_counter() - began


def main() -> None:
    """Make the sweep, report on it, print what it took."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--settings", type=int, default=2_000)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--rows", type=int, default=100)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place) / "outputs" / "made"
        make(folder, arguments.settings, arguments.seeds, arguments.rows)
        text, seconds = timed(folder)
        size = (folder / "report.html").stat().st_size
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    runs = f"{arguments.settings:,} settings × {arguments.seeds} seeds × {arguments.rows} rows"
    print(
        f"{runs}: text {text:.1f} s, page and files {seconds - text:.1f} s, {peak / 2**20:,.0f} MiB; "
        f"report.html {size / 1e6:.1f} MB"
    )


if __name__ == "__main__":
    main()
