"""Sweeps made up on disk, of which the truth is known."""

import csv
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

CHOICES = ("init", "optim", "optim.lr", "data", "model", "scheduler", "regularization", "batch", "batch.size", "seed")
DEFAULTS = {"init": "he_normal", "optim": "adam", "optim.lr": 0.01, "data": "digits", "model": "mlp", "batch.size": 64}
DEFAULTS |= {"scheduler": "linear", "regularization": "none", "batch": "fixed", "seed": 0}
ROWS = 5
STEPS = 20


def made_run(value: float | None, status: str = "completed", **choices: Any) -> dict[str, Any]:
    """A run whose final validation accuracy is ``value``; its test accuracy is one point lower."""
    run = {**DEFAULTS, **{k.replace("__", "."): v for k, v in choices.items()}, "status": status}
    if value is not None:
        run |= {"final_val_accuracy": value, "final_val_loss": 1 - value, "test_accuracy": value - 0.01}
    return run | {"train_seconds": 2.0, "parameters": 100, "stop_reason": "finished"}


def make_sweep(folder: Path, runs: Iterable[Mapping[str, Any]], rows: bool = True, choices: Sequence[str] = ()) -> Path:
    """Write ``runs.csv`` and a folder with ``metrics.csv`` and ``summary.json`` for each run.

    ``choices`` names columns that are choices beside the usual ones.
    """
    folder.mkdir(parents=True)
    lines = []
    for number, run in enumerate(runs):
        line = {**run, "run_id": run.get("run_id", f"{number:08x}")}
        lines.append(line)
        place = folder / f"{line['init']}-{line['optim']}-lr{line['optim.lr']}-s{line['seed']}-{line['run_id']}"
        if not rows:
            continue
        place.mkdir()
        summary = {k: v for k, v in line.items() if k not in CHOICES and not k.startswith("model.")}
        if line["status"] != "running":
            (place / "summary.json").write_text(json.dumps(summary))
        curve = ["step,epoch,train_seconds,train_loss,val_loss,val_accuracy,status"]
        for i in range(ROWS + 1):
            final = line.get("final_val_accuracy", 0.1)
            accuracy = 0.1 + (final - 0.1) * i / ROWS
            curve.append(f"{i * STEPS},{i},{i * 0.4},{1 - accuracy},{1 - accuracy},{accuracy},ok")
        (place / "metrics.csv").write_text("\n".join(curve) + "\n")
    names = dict.fromkeys(k for line in lines for k in line)
    chosen = [*CHOICES, *(n for n in names if n.startswith("model.")), *(c for c in choices if c in names)]
    columns = [*chosen, "run_id", "status", *(n for n in names if n not in (*chosen, "run_id", "status"))]
    with (folder / "runs.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, columns, restval="", lineterminator="\n")
        writer.writeheader()
        writer.writerows(lines)
    return folder
