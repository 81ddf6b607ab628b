"""A revision of this repository beside the working tree, for the scripts that hold the two against each other."""

import contextlib
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


@contextlib.contextmanager
def checked_out(rev: str) -> Iterator[Path]:
    """Give a temporary folder with the files of a revision."""
    git = ["git", "-C", str(ROOT)]
    found = subprocess.run([*git, "rev-parse", "--verify", "--quiet", f"{rev}^{{commit}}"], capture_output=True)
    if found.returncode:
        raise SystemExit(f"{rev!r} is no revision of {ROOT}")
    with tempfile.TemporaryDirectory(prefix="optbench-revision-") as place:
        archive = subprocess.run([*git, "archive", found.stdout.decode().strip()], check=True, stdout=subprocess.PIPE)
        subprocess.run(["tar", "-x", "-C", place], check=True, input=archive.stdout)
        yield Path(place).resolve()


def start(tree: Path, folder: Path, *words: str) -> "subprocess.Popen[str]":
    """Start Python in ``folder`` with a tree's code first on its path, one thread, and both outputs piped.

    It may keep compiled code in the tree: otherwise the tree that happens to have some starts 15 % faster.
    """
    environment = {**os.environ, "PYTHONPATH": str(tree), "OMP_NUM_THREADS": "1", "MPLBACKEND": "agg"}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    return subprocess.Popen(
        [sys.executable, *words],
        cwd=folder,
        env=environment,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
