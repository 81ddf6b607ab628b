"""Kill runs with SIGKILL at random moments until they finish, and hold what they recorded against undisturbed runs.

    python scripts/fault_kill.py [--kills 100] [--seed 0] [--data-root FOLDER]

Every fourth kill waits for a checkpoint being written; every third start asks the run to pause at a random step. Prints
a line a run; exits 1 at any difference.
"""

import argparse
import csv
import json
import os
import random
import signal
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from comparison import TIMING

DIGITS = ["init=he", "epochs=400", "model.width=64", "regularization=dropout", "eval_every=10"]
MNIST = ["data=mnist", "init=he", "epochs=2", "eval_every=40", "batch.size=128", "optim=momentum"]
NOT_COMPARED = {*TIMING, "resumed_from_step"}
PAUSE_WITHIN = 300
"""Steps."""
LOST_SECONDS = 2.5
"""Most training that a kill may cost: a second between checkpoints, an interval, and the kill's own delay."""


def start(folder: Path, overrides: list[str]) -> int:
    """Start the command in a forked process (torch is imported once) and return its pid."""
    pid = os.fork()
    if pid:
        return pid
    folder.mkdir(parents=True, exist_ok=True)
    os.chdir(folder)
    quiet = os.open(folder / "log", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(quiet, 1)
    os.dup2(quiet, 2)
    from runner.cli.main import main

    os._exit(main(["train", *overrides]))


def ended(pid: int) -> bool:
    """Say whether the process is over, and reap it."""
    return os.waitpid(pid, os.WNOHANG)[0] == pid


def run_of(folder: Path) -> Path | None:
    """Return the run's folder, once it is there."""
    return next((path.parent for path in folder.glob("outputs/default/*/config.yaml")), None)


def status(run: Path | None) -> str:
    """Return how a run stands, as its summary says."""
    summary = run / "summary.json" if run is not None else Path()
    return str(json.loads(summary.read_text())["status"]) if summary.is_file() else "under way"


def rows(run: Path) -> list[dict[str, str]]:
    """Return the whole rows of the run's metrics."""
    text = (run / "metrics.csv").read_text() if (run / "metrics.csv").exists() else ""
    return list(csv.DictReader(line for line in text.splitlines(keepends=True) if line.endswith("\n")))


def result(run: Path) -> tuple[list[dict[str, str]], dict[str, Any]]:
    """Return what is compared: rows and summary without timing."""
    summary = json.loads((run / "summary.json").read_text())
    kept = [{k: v for k, v in row.items() if k not in NOT_COMPARED} for row in rows(run)]
    return kept, {k: v for k, v in summary.items() if k not in NOT_COMPARED}


def undisturbed(folder: Path, overrides: list[str]) -> tuple[tuple[list[dict[str, str]], dict[str, Any]], float]:
    """Run to the end, and return the result and the seconds it took."""
    began = time.monotonic()
    os.waitpid(start(folder, overrides), 0)
    run = run_of(folder)
    assert run is not None, (folder / "log").read_text()
    return result(run), time.monotonic() - began


def kill_until_finished(folder: Path, overrides: list[str], seconds: float, rng: random.Random, most: int) -> list[str]:
    """Kill the run at random moments, at most ``most`` times, or have it pause; return a word for each stop."""
    stops: list[str] = []
    reached, trained = 0.0, [{"step": "0", "train_seconds": "0"}]
    while True:
        step = int(trained[0]["step"])
        pause = [f"pause_at={step + rng.randint(1, PAUSE_WITHIN)}"] if len(stops) % 3 == 2 else []
        pid = start(folder, [*overrides, *pause])
        while_writing, killed = len(stops) % 4 == 3, False
        deadline = time.monotonic() + rng.uniform(0.2, max(1.0, 0.4 * seconds))
        while not ended(pid):
            run = run_of(folder)
            writing = run is not None and (run / "checkpoint.pt.writing").exists()
            due = writing if while_writing else time.monotonic() > deadline
            if due and len(stops) - stops.count("paused") < most:
                os.kill(pid, signal.SIGKILL)
                os.waitpid(pid, 0)
                in_checkpoint = run is not None and (run / "checkpoint.pt.writing").exists()
                stops.append("killed in a checkpoint" if in_checkpoint else "killed")
                killed = True
                break
            if not while_writing:
                time.sleep(0.002)
        run = run_of(folder)
        if not killed and status(run) != "paused":
            return stops
        stops += [] if killed else ["paused"]
        trained = (rows(run) if run is not None else [])[-1:] or trained
        now = float(trained[0]["train_seconds"])
        if now < reached - LOST_SECONDS:
            raise SystemExit(f"progress went back from {reached:.1f} to {now:.1f} s of training in {folder}")
        reached = max(reached, now)


def main() -> int:
    """Kill, compare, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--data-root", default=os.environ.get("OPTBENCH_DATA"), help="the folder that holds MNIST/raw")
    arguments = parser.parse_args()
    import torch

    import runner.engine.loop
    import runner.run.build
    import runner.run.summary  # noqa: F401

    torch.set_num_threads(1)  # a forked process cannot use its parent's threads
    rng = random.Random(arguments.seed)
    place = Path(tempfile.mkdtemp(prefix="optbench-kill-"))
    commands = {"digits": DIGITS}
    if arguments.data_root:
        commands["mnist"] = [*MNIST, f"data.root={Path(arguments.data_root).resolve()}"]
    expected = {name: undisturbed(place / f"{name}-undisturbed", command) for name, command in commands.items()}
    done, in_checkpoint, paused, wrong, number = 0, 0, 0, 0, 0
    while done < arguments.kills:
        name = list(commands)[number % len(commands)]
        folder = place / f"{name}-{number}"
        reference, seconds = expected[name]
        stops = kill_until_finished(folder, commands[name], seconds, rng, min(8, arguments.kills - done))
        run = run_of(folder)
        same = run is not None and result(run) == reference
        done += len(stops) - stops.count("paused")
        in_checkpoint += stops.count("killed in a checkpoint")
        paused += stops.count("paused")
        wrong += not same
        number += 1
        said = "equal" if same else "DIFFERENT"
        print(f"{name} run {number}: {', '.join(stops) or 'undisturbed'}: {said} ({folder})", flush=True)
    print(f"{done} kills, {in_checkpoint} in a checkpoint's write, {paused} pauses, {number} runs, {wrong} different")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
