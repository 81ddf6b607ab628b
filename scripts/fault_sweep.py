"""Kill a sweep at random moments, whole or one worker, run it again each time, and hold it against an undisturbed one.

    python scripts/fault_sweep.py [--engine loop] [--groups 50] [--workers-killed 20] [--runs 40] [--seed 0]
                                  [OVERRIDE …]

Every third start asks the runs to pause at a random step. Checks after each kill that no process is left, after each
re-run that finished folders were not touched, and at the end that every run's rows and summary equal the undisturbed
sweep's, timing aside, nothing twice and nothing lost. With ``--engine auto`` a stack may go on with fewer members than
it had, and measures are then equal up to the rounding that other sizes of products bring with them.
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

NOT_COMPARED = {*TIMING, "resumed_from_step"}
SPREAD = 1e-6
"""Relative to 1 or to the measure, whichever is larger: far more than rounding in float64 comes to over a run."""
STEPS = 500
"""Of a run, about."""
OF_THE_STACK = {"stack_size", "optimizer_state_bytes"}


def grid(runs: int, engine: str, overrides: list[str]) -> list[str]:
    """Return the overrides of a sweep of so many short runs, each with some of its own."""
    seeds = ",".join(map(str, range(max(1, runs // 8))))
    axes = ["init=he,xavier", "optim=sgd,adamw", "optim.lr=1e-3,1e-2", f"seed={seeds}"]
    return [
        "train",
        "-m",
        *axes,
        "epochs=25",
        "model.width=32",
        *(overrides or ["regularization=dropout"]),
        "eval_every=10",
        f"engine={engine}",
        *(["dtype=float64"] if engine == "auto" else []),
    ]


def start(folder: Path, command: list[str]) -> int:
    """Start the sweep in a forked process with a session of its own (torch is imported once); return its pid."""
    pid = os.fork()
    if pid:
        return pid
    os.setsid()
    folder.mkdir(parents=True, exist_ok=True)
    os.chdir(folder)
    log = os.open(folder / "log", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(log, 1)
    os.dup2(log, 2)
    from runner.cli.main import main

    os._exit(main(command))


def processes(session: int) -> list[int]:
    """Return the living processes of a session."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[3]) == session and fields[0] != "Z":
            found.append(int(path.parent.name))
    return found


def finished(folder: Path) -> dict[Path, int]:
    """Return the newest modification time below each finished run's folder."""
    done = {}
    for summary in folder.glob("outputs/default/*/summary.json"):
        if json.loads(summary.read_text())["status"] == "completed":
            done[summary.parent] = max(p.stat().st_mtime_ns for p in summary.parent.rglob("*.*"))
    return done


def results(folder: Path) -> dict[str, Any]:
    """Return every run's rows and summary, and its row of runs.csv, without timing."""
    found = {}
    with (folder / "outputs/default/runs.csv").open() as file:
        listed = list(csv.DictReader(file))
    rows_by_id = {row["run_id"]: {k: v for k, v in row.items() if k not in NOT_COMPARED} for row in listed}
    assert len(rows_by_id) == len(listed), "a run stands twice in runs.csv"
    for run in sorted(p.parent for p in folder.glob("outputs/default/*/config.yaml")):
        with (run / "metrics.csv").open() as file:
            rows = [{k: v for k, v in row.items() if k not in NOT_COMPARED} for row in csv.DictReader(file)]
        summary = json.loads((run / "summary.json").read_text())
        kept = {k: v for k, v in summary.items() if k not in NOT_COMPARED}
        found[run.name] = (rows, kept, rows_by_id[summary["run_id"]])
    assert len(found) == len(listed), "runs.csv and the folders differ"
    return found


def alike(found: Any, expected: Any) -> bool:
    """Say whether results are equal but for the spread of measures."""
    if isinstance(expected, dict):
        keys = expected.keys() - OF_THE_STACK
        return found.keys() == expected.keys() and all(alike(found[k], expected[k]) for k in keys)
    if isinstance(expected, list | tuple):
        return len(found) == len(expected) and all(map(alike, found, expected))
    if found == expected:  # a run id may read as a number too, such as 94e21989
        return True
    try:
        return abs(float(found) - float(expected)) <= SPREAD * max(1.0, abs(float(expected)))
    except (TypeError, ValueError):
        return False


def wait(pid: int) -> int:
    """Wait for the sweep to end and return its exit code."""
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def kill_once(folder: Path, command: list[str], whole: bool, rng: random.Random, longest: float) -> bool:
    """Start the sweep and kill it, or one of its workers; False where it ended before."""
    before = finished(folder)
    pid = start(folder, command)
    deadline = time.monotonic() + rng.uniform(0.3, longest)
    killed = False
    while time.monotonic() < deadline + (10 if not whole else 0):
        if os.waitpid(pid, os.WNOHANG)[0] == pid:
            break
        if time.monotonic() >= deadline:
            workers = [p for p in processes(pid) if p != pid]
            if not whole and workers:
                os.kill(rng.choice(workers), signal.SIGKILL)
                killed = True
                assert wait(pid) in (0, 1), (folder / "log").read_text()  # 0: the worker had just finished its run
                break
        time.sleep(0.01)
    else:
        os.killpg(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        killed = True
    for _ in range(100):
        if not (left := processes(pid)):
            break
        time.sleep(0.05)
    assert not left, f"processes left: {left}"
    after = finished(folder)
    touched = [str(path) for path, stamp in before.items() if after.get(path) != stamp]
    assert not touched, f"finished folders were touched: {touched}"
    return killed


def main() -> int:
    """Kill, re-run, compare."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--engine", choices=["loop", "auto"], default="loop")
    parser.add_argument("--groups", type=int, default=50, help="kills of the whole process group")
    parser.add_argument("--workers-killed", type=int, default=20, help="kills of a single worker")
    parser.add_argument("--runs", type=int, default=40)
    parser.add_argument("--seed", type=int, default=0)
    about = "what every run has, such as regularization=ema; default: regularization=dropout"
    parser.add_argument("overrides", nargs="*", metavar="OVERRIDE", help=about)
    arguments = parser.parse_args()
    import torch

    torch.set_num_threads(1)
    rng = random.Random(arguments.seed)
    place = Path(tempfile.mkdtemp(prefix="optbench-sweep-"))
    command = grid(arguments.runs, arguments.engine, arguments.overrides)
    began = time.monotonic()
    assert wait(start(place / "undisturbed", command)) == 0, (place / "undisturbed/log").read_text()
    seconds = time.monotonic() - began
    expected = results(place / "undisturbed")
    print(f"undisturbed: {len(expected)} runs in {seconds:.0f} s", flush=True)
    todo = [True] * arguments.groups + [False] * arguments.workers_killed
    rng.shuffle(todo)
    wrong, number, paused = 0, 0, 0
    while todo:
        number += 1
        folder, done = place / f"killed-{number}", 0
        for _ in range(10):
            if not todo:
                break
            pause = [f"pause_at={rng.randint(1, STEPS)}"] if rng.random() < 1 / 3 else []
            if not kill_once(folder, [*command, *pause], todo[-1], rng, seconds / 3):
                paused += bool(pause)
                if not pause:
                    break
                continue
            paused += bool(pause)
            todo.pop()
            done += 1
        code = wait(start(folder, command))
        found = results(folder) if code == 0 else None
        same = found == expected if arguments.engine == "loop" else code == 0 and alike(found, expected)
        wrong += not same
        print(
            f"sweep {number}: {done} kills, then exit {code}, {'equal' if same else 'DIFFERENT'} ({folder})", flush=True
        )
    total = arguments.groups + arguments.workers_killed
    print(f"{total} kills, {paused} starts to be paused, {number} sweeps of {len(expected)} runs, {wrong} different")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
