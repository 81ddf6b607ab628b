"""A grid of digits on worker processes, a real Slurm and a real Ray of this host: the same runs, and what it costs.

    python scripts/bench_clusters.py [--seeds 5] [--rounds 1] [--update]

Slurm and Ray have two workers of one process each, as the grid without them has: so the same packs are trained. Every
file that a run leaves is compared byte for byte, but for columns of seconds and memory, and the overhead is the whole
command's wall time beside that of worker processes. Slurm takes root and slurm-wlm and munge, Ray `optbench[ray]`.
``--update`` writes the table into docs/clusters.md.
"""

import argparse
import contextlib
import csv
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from comparison import ASIDE, differences
from pages import rewrite

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from tests.support import raylets, slurm  # noqa: E402  # which start them

NAME = "grid"
PAGE = ROOT / "docs" / "clusters.md"
MARKS = ("<!-- clusters table -->", "<!-- end of clusters table -->")
HERE = "worker processes"
Packs = set[str]


def grid(seeds: int) -> list[str]:
    """Return a grid of forty settings."""
    rates = "optim.lr=0.1,0.03,0.01,0.003,0.001"
    return [f"name={NAME}", "init=he,xavier,lecun_normal,orthogonal", "optim=sgd,adam", rates, f"seeds={seeds}"]


@contextlib.contextmanager
def places(folder: Path) -> Iterator[dict[str, tuple[list[str], dict[str, str]]]]:
    """Yield what each place adds to the command and to its environment, while Slurm and Ray run."""
    found: dict[str, tuple[list[str], dict[str, str]]] = {HERE: (["workers=2"], {})}
    with contextlib.ExitStack() as stack:
        for name, why in (("Slurm", slurm.missing()), ("Ray", raylets.missing())):
            if why is not None:
                print(f"without {name}: {why}")
        if slurm.missing() is None:
            conf = stack.enter_context(slurm.running(folder / "slurm"))
            asked = ["hydra/launcher=optbench_slurm", "hydra.launcher.workers=2"]
            found["Slurm"] = (asked, {"SLURM_CONF": str(conf)})
        if raylets.missing() is None:
            cluster = stack.enter_context(raylets.running(2))
            address = f"hydra.launcher.address='{cluster.address}'"
            found["Ray"] = (["hydra/launcher=optbench_ray", address, "hydra.launcher.workers=2"], {})
        yield found


def swept(folder: Path, argv: list[str], environment: dict[str, str]) -> tuple[float, Packs]:
    """Run a sweep; return its wall seconds, and the packs that were seen to be kept beside its runs."""
    folder.mkdir(parents=True)
    passed = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT), **environment}
    kept: Packs = set()
    began = time.monotonic()
    with (folder / "log").open("w") as log:
        command = [sys.executable, "-m", "runner", "train", "-m", *argv]
        process = subprocess.Popen(command, cwd=folder, env=passed, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        while process.poll() is None:
            kept |= {path.name for path in (folder / "outputs" / NAME / ".stacks").glob("*.json")}
            time.sleep(0.05)
    seconds = time.monotonic() - began
    if process.returncode:
        raise SystemExit(f"ended with {process.returncode}:\n{(folder / 'log').read_text()[-3000:]}")
    return seconds, kept


def rows(folder: Path) -> list[dict[str, str]]:
    """Return the rows of ``runs.csv`` by id, without what is not compared."""
    with (folder / "outputs" / NAME / "runs.csv").open(newline="") as file:
        found = [{k: v for k, v in row.items() if k not in ASIDE} for row in csv.DictReader(file)]
    return sorted(found, key=lambda row: row["run_id"])


def same(here: Path, there: Path, packs: tuple[Packs, Packs]) -> str:
    """Say what is the same in two folders, or what differs first."""
    for folder in (here, there):
        for asked in folder.glob("outputs/*/*/.hydra"):  # by whom is not the same
            shutil.rmtree(asked)
    paths = {**{str(folder): "FOLDER" for folder in (here, there)}, "workers: 2": "workers: null"}
    found = differences(here / "outputs" / NAME, there / "outputs" / NAME, paths)
    found.pop("runs.csv")  # whose rows stand in the order in which runs ended
    wrong = [f"{run}: {difference}" for run, difference in found.items() if difference]
    if packs[0] != packs[1]:
        wrong.append(f"packs: {sorted(packs[0] ^ packs[1])}")
    if rows(here) != rows(there):
        wrong.append("runs.csv")
    if wrong:
        return f"DIFFERS: {wrong[0]}, and {len(wrong) - 1} more"
    return f"{len(found)} of {len(found)} in {len(packs[1])} packs"


def measured(seeds: int, rounds: int) -> str:
    """Return the table."""
    seconds: dict[str, list[float]] = {}
    equal: dict[str, str] = {}
    with tempfile.TemporaryDirectory() as name, places(Path(name)) as asked:
        for number in range(rounds):
            packs: dict[str, Packs] = {}
            for place, (more, environment) in asked.items():
                folder = Path(name) / f"{number}-{place.partition(' ')[0]}"
                took, packs[place] = swept(folder, [*grid(seeds), *more], environment)
                seconds.setdefault(place, []).append(took)
                if place != HERE:
                    here = Path(name) / f"{number}-{HERE.partition(' ')[0]}"
                    equal[place] = same(here, folder, (packs[HERE], packs[place]))
                print(f"{place}: {took:.1f} s; {equal.get(place, '')}", flush=True)
    runs = 40 * seeds
    told = "one sweep each" if rounds == 1 else f"the median of {rounds}"
    lines = [f"{runs} runs of digits, two workers of one core, {told}, {os.cpu_count()} cores:", ""]
    lines += ["| on | wall seconds | more than worker processes | runs that are equal |", "| --- | --- | --- | --- |"]
    base = statistics.median(seconds[HERE])
    for place, times in seconds.items():
        took = statistics.median(times)
        over = "–" if place == HERE else f"{took - base:.1f} s"
        lines.append(f"| {place} | {took:.1f} | {over} | {equal.get(place, '–')} |")
    return "\n".join(lines)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seeds", type=int, default=5, help="of each of forty settings")
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--update", action="store_true", help="write the table into docs/clusters.md")
    arguments = parser.parse_args()
    found = measured(arguments.seeds, arguments.rounds)
    print(found)
    if "DIFFERS" in found:
        raise SystemExit(1)
    if arguments.update:
        rewrite(PAGE, MARKS, found)


if __name__ == "__main__":
    main()
