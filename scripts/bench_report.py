"""How long a report on 2,000 settings × 5 seeds of 100 rows takes, how much memory, and how large its page is."""

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
    """Write a sweep of so many settings and seeds, each run with so many rows."""
    rng = random.Random(0)
    runs = settings * seeds
    rates = max(1, math.ceil(settings / (len(INITS) * len(OPTIMS))))
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
    parser.add_argument("--settings", type=int, default=2_000)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--rows", type=int, default=100)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place) / "outputs" / "made"
        make(folder, arguments.settings, arguments.seeds, arguments.rows)
        began, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run([sys.executable, "-m", "runner", "report", str(folder)], check=True, stdout=subprocess.DEVNULL)
        seconds, after = time.perf_counter() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
        size = (folder / "report.html").stat().st_size
    busy = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    peak = after.ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    print(
        f"{arguments.settings:,} settings × {arguments.seeds} seeds × {arguments.rows} rows: {seconds:.1f} s, of them "
        f"{busy:.1f} s computing; {peak / 2**20:,.0f} MiB; report.html {size / 1e6:.1f} MB"
    )


if __name__ == "__main__":
    main()
