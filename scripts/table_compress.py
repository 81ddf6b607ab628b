"""What smaller networks lose and gain on MNIST: the table of docs/compress.md, and whether it holds what the page says.

python scripts/table_compress.py [--update] [--seeds N] [--folder FOLDER]

FOLDER keeps the runs, so that the command goes on where it was stopped; without it they are made anew.
"""

import argparse
import contextlib
import csv
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from pages import rewrite

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "compress.md"
MARKS = ("<!-- compress table -->", "<!-- end of compress table -->")
NETWORK = ("data=mnist", "model=cnn", "model.width=32", "batch.size=256", "optim.lr=0.002", "epochs=3")
CHAINS = ("prune_structured=0.5", "prune_structured=0.5+static", "prune=0.8", "low_rank=0.25", "static", "dynamic")


def run(folder: Path, *words: str) -> str:
    """Return what a command prints."""
    command = [sys.executable, "-m", "runner", *words]
    return subprocess.run(command, cwd=folder, check=True, stdout=subprocess.PIPE, text=True).stdout


def table(folder: Path, seeds: int) -> str:
    """Train the dense networks, make them smaller, and return the table."""
    run(folder, "train", "-m", "name=mnist", *NETWORK, f"seeds={seeds}", "save=last", "baselines=false")
    said = run(folder, "compress", "outputs/mnist", *CHAINS, "--epochs", "2", "--rounds", "200")
    return "\n".join(line for line in said.splitlines() if not line.startswith("table "))


def judged(folder: Path) -> list[str]:
    """Return whether the two claims hold."""
    with (folder / "outputs" / "mnist-compress" / "compress.csv").open() as file:
        rows = {row["way"]: row for row in csv.DictReader(file)}
    cut, both, dense = rows["prune_structured=0.5"], rows["prune_structured=0.5+static"], rows["dense"]
    faster = min(float(cut[f"faster_{batch}"]) for batch in (1, 64))
    smaller = float(dense["bytes"]) / float(both["bytes"])
    lost = [float(row["minus_dense_low"]) for row in (cut, both)]
    return [
        f"fewer units: {faster:.2f}× as fast at least (asked 1.5): {'holds' if faster >= 1.5 else 'does not hold'}",
        f"with int8: {smaller:.2f}× smaller (asked 3): {'holds' if smaller >= 3 else 'does not hold'}",
        f"accuracy's intervals end at {lost[0]:+.2f} and {lost[1]:+.2f} points (asked > -0.5): "
        f"{'holds' if min(lost) > -0.5 else 'does not hold'}",
    ]


@contextlib.contextmanager
def place(given: str | None) -> Iterator[Path]:
    """Give the folder of the runs."""
    if given is not None:
        Path(given).mkdir(parents=True, exist_ok=True)
        yield Path(given)
        return
    with tempfile.TemporaryDirectory() as folder:
        yield Path(folder)


def main() -> None:
    """Print the table, and write it where asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--update", action="store_true", help="write the table into docs/compress.md")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--folder", help="where the runs are kept")
    arguments = parser.parse_args()
    if "OPTBENCH_DATA" not in os.environ:
        parser.error("set OPTBENCH_DATA to the folder of MNIST")
    with place(arguments.folder) as folder:
        text = table(folder, arguments.seeds)
        print(text, *judged(folder), sep="\n")
    if arguments.update:
        rewrite(PAGE, MARKS, text)


if __name__ == "__main__":
    main()
