"""Kill processes of runs on several devices at random moments: each goes on to the rows of a run left alone.

    python scripts/fault_parallel.py [times] [seed]

Each time one process of a run is killed, or the one that started them; all must be gone within 30 s with one message
and exit code 1, and the same command, spread in another way now and then, goes on until it is done.
"""

import csv
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

RUN = ["device=cpu", "dtype=float64", "epochs=60", "model.width=32", "regularization=[dropout,ema]", "baselines=false"]
WAYS = ["ddp", "fsdp", "tensor", "pipeline"]
GONE_SECONDS = 30.0
EQUAL = 1e-9
"""Rows may differ by rounding, as the run goes on spread in other ways."""


def command(name: str, way: str | None) -> list[str]:
    """Return the command of a run, spread in a way."""
    spread = [] if way is None else [f"parallel={way}", "parallel.devices=2"]
    return [sys.executable, "-m", "runner", "train", f"name={name}", *RUN, *spread]


def members(parent: int) -> list[int]:
    """Return the processes of a run, of those that a process started: not what it asks for a moment, as git is."""
    try:
        children = Path(f"/proc/{parent}/task/{parent}/children").read_text().split()
        return [int(pid) for pid in children if b"runner.train" in Path(f"/proc/{pid}/cmdline").read_bytes()]
    except FileNotFoundError:  # one of them has just ended
        return []


def rows(folder: Path) -> list[dict[str, str]]:
    """Return the rows of the run in a folder."""
    [path] = folder.glob("*/metrics.csv")
    return list(csv.DictReader(path.open()))


def killed(name: str, way: str, draw: random.Random, latest: float) -> bool:
    """Start a run and kill one of its processes after so many seconds at most; say whether it was still on its way."""
    started = subprocess.Popen(command(name, way), stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True)
    ends = time.monotonic() + draw.uniform(1, latest)
    while time.monotonic() < ends and started.poll() is None:
        time.sleep(0.05)
    children = members(started.pid)
    if started.poll() is not None or not children:
        started.kill()
        started.wait()
        return False
    victim = draw.choice([*children, started.pid])
    os.kill(victim, signal.SIGKILL)
    began = time.monotonic()
    said = started.communicate(timeout=GONE_SECONDS)[1]
    while (left := [pid for pid in children if Path(f"/proc/{pid}").exists()]) and victim == started.pid:
        assert time.monotonic() - began < GONE_SECONDS, f"processes {left} are left"
        time.sleep(0.1)
    assert not left, f"processes {left} are left"
    lines = [line for line in said.splitlines() if line.startswith("optbench: ")]
    if victim != started.pid:
        assert started.returncode in (0, 1), (started.returncode, said)
        assert started.returncode == 0 or len(lines) == 1, said
    which = children.index(victim) if victim in children else "the one that started them"
    print(f"  {way}: killed {which}, gone in {time.monotonic() - began:.1f} s: {lines}", flush=True)
    return True


def same(one: list[dict[str, str]], other: list[dict[str, str]]) -> bool:
    """Say whether rows are the same but for rounding and time."""

    def near(a: str, b: str) -> bool:
        return a == b or abs(float(a) - float(b)) <= EQUAL * max(1.0, abs(float(a)))

    return len(one) == len(other) and all(
        near(row[key], twin[key]) for row, twin in zip(one, other, strict=True) for key in row if key != "train_seconds"
    )


def main() -> None:
    """Kill so many times."""
    times = int(sys.argv[1]) if len(sys.argv) > 1 else 20
    draw = random.Random(int(sys.argv[2]) if len(sys.argv) > 2 else 0)
    with tempfile.TemporaryDirectory() as place:
        os.chdir(place)
        subprocess.run(command("alone", None), check=True, capture_output=True)
        expected, kills, name = rows(Path("outputs/alone")), 0, 0
        began = time.monotonic()
        subprocess.run(command("timed", WAYS[0]), check=True, capture_output=True)
        takes = time.monotonic() - began
        print(f"a run takes {takes:.0f} s to start and train", flush=True)
        while kills < times:
            for _ in range(4):
                kills += killed(f"run{name}", draw.choice(WAYS), draw, takes)
            subprocess.run(command(f"run{name}", draw.choice(WAYS)), check=True, capture_output=True)
            assert same(expected, rows(Path(f"outputs/run{name}"))), f"run{name} came to other rows"
            print(f"run{name}: the same {len(expected)} rows; {kills} kills so far", flush=True)
            name += 1


if __name__ == "__main__":
    main()
