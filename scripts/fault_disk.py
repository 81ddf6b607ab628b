"""Let the n-th write of a run fail with ENOSPC, EACCES or EROFS, and see that nothing half-written is taken for whole.

    python scripts/fault_disk.py [--writes 20]

Each case must exit 1 with one message that names a path, leave no summary that says the run ended, and finish to the
undisturbed result when run again. Prints a line a case; exits 1 if any fails.
"""

import argparse
import contextlib
import csv
import errno
import io
import json
import os
import pathlib
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from comparison import TIMING

COMMAND = ["train", "init=he", "epochs=4", "model.width=16", "regularization=dropout", "diagnostics=true"]
ERRORS = {"ENOSPC": errno.ENOSPC, "EACCES": errno.EACCES, "EROFS": errno.EROFS}
NOT_COMPARED = {*TIMING, "resumed_from_step"}


class Disk:
    """Counts writes below ``outputs`` and lets one of them fail, half-done where it has content."""

    def __init__(self, fail_at: int, number: int) -> None:
        self.done, self.fail_at, self.number = 0, fail_at, number
        self.failed_on = ""

    def count(self, operation: str, path: object) -> bool:
        """Count a write; True if it is the one that fails."""
        if "outputs" not in str(path) or (operation == "unlink" and ".locks" in str(path)):
            return False  # a lock left behind ends with its process
        self.done += 1
        if self.done == self.fail_at:
            self.failed_on = f"{operation} {Path(str(path)).name}"
        return self.done == self.fail_at

    def error(self, path: object) -> OSError:
        """Return the operating system's refusal."""
        return OSError(self.number, os.strerror(self.number), str(path))


class File:
    """A file whose writes are counted."""

    def __init__(self, disk: Disk, path: Path, file: Any) -> None:
        self._disk, self._path, self._file = disk, path, file

    def write(self, content: Any) -> Any:
        """Write, or half of it and fail."""
        if self._disk.count("write", self._path):
            self._file.write(content[: len(content) // 2])
            self._file.flush()
            raise self._disk.error(self._path)
        return self._file.write(content)

    def __enter__(self) -> "File":
        return self

    def __exit__(self, *ignored: object) -> None:
        self._file.close()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)


@contextlib.contextmanager
def failing(disk: Disk) -> Iterator[None]:
    """Put the disk under everything that writes."""
    original_open, original_text = pathlib.Path.open, pathlib.Path.write_text
    functions = {name: getattr(os, name) for name in ("replace", "rename", "mkdir", "unlink")}
    files: list[Any] = []

    def opened(path: Path, mode: str = "r", *rest: Any, **keywords: Any) -> Any:
        if "r" in mode:
            return original_open(path, mode, *rest, **keywords)
        if disk.count("open", path):
            raise disk.error(path)
        files.append(original_open(path, mode, *rest, **keywords))
        return File(disk, path, files[-1])

    def written(path: Path, text: str, **keywords: Any) -> int:
        with opened(path, "w", **keywords) as file:
            return int(file.write(text))

    def wrapped(name: str) -> Any:
        def call(path: Any, *rest: Any, **keywords: Any) -> Any:
            if disk.count(name, path):
                raise disk.error(path)
            return functions[name](path, *rest, **keywords)

        return call

    pathlib.Path.open, pathlib.Path.write_text = opened, written  # type: ignore[assignment,method-assign]
    for name in functions:
        setattr(os, name, wrapped(name))
    try:
        yield
    finally:
        pathlib.Path.open, pathlib.Path.write_text = original_open, original_text  # type: ignore[method-assign]
        for name, function in functions.items():
            setattr(os, name, function)
        for file in files:  # also those that could not be closed
            file.close()


def call() -> tuple[int, str]:
    """Run the command in this process; return its code and what it said on stderr."""
    from runner.cli.main import main

    said = io.StringIO()
    with contextlib.redirect_stderr(said), contextlib.redirect_stdout(io.StringIO()):
        code = main(COMMAND)
    return code, said.getvalue()


def result() -> Any:
    """Return the recorded rows and summary without timing."""
    (run,) = (p.parent for p in Path("outputs/default").glob("*/summary.json"))
    with (run / "metrics.csv").open() as file:
        rows = [{k: v for k, v in row.items() if k not in NOT_COMPARED} for row in csv.DictReader(file)]
    layers = (run / "layers.csv").read_text()
    summary = json.loads((run / "summary.json").read_text())
    return rows, layers, {k: v for k, v in summary.items() if k not in NOT_COMPARED}


def case(number: int, fail_at: int, expected: Any) -> tuple[bool, str]:
    """Run one case in an empty folder; return whether all held, and what happened."""
    os.chdir(tempfile.mkdtemp(prefix="optbench-disk-"))
    disk = Disk(fail_at, number)
    with failing(disk):
        code, said = call()
    if not disk.failed_on:
        return code == 0, f"only {disk.done} writes"
    whole = [p for p in Path("outputs").glob("*/*/summary.json") if json.loads(p.read_text())["status"] == "completed"]
    message = said.strip().splitlines()[-1] if said.strip() else ""
    clear = code == 1 and "outputs" in message and os.strerror(number) in message and "Traceback" not in said
    # A run that had recorded its end may fail afterwards, in what is derived from it.
    ended_before = bool(whole) and ("runs.csv" in disk.failed_on or "unlink checkpoint" in disk.failed_on)
    again, _ = call()
    same = again == 0 and result() == expected
    # Baselines stand beside the runs: where they cannot be written that is said, and training goes on.
    beside = code == 0 and "baselines.csv is not written" in said and os.strerror(number) in said
    held = (beside or (clear and (not whole or ended_before))) and same
    return held, f"{disk.failed_on}: exit {code}, {message!r}; again {again}, {'equal' if same else 'DIFFERENT'}"


def main() -> int:
    """Run every case."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--writes", type=int, default=20, help="fail at each of so many writes, spread over the run")
    arguments = parser.parse_args()
    os.chdir(tempfile.mkdtemp(prefix="optbench-disk-"))
    counting = Disk(0, 0)
    with failing(counting):
        code, said = call()
    assert code == 0, said
    expected = result()
    wrong = 0
    places = sorted({1 + i * (counting.done - 1) // max(1, arguments.writes - 1) for i in range(arguments.writes)})
    for name, number in ERRORS.items():
        for fail_at in places:
            held, text = case(number, fail_at, expected)
            wrong += not held
            print(f"{'ok   ' if held else 'WRONG'} {name} at write {fail_at} of {counting.done}: {text}", flush=True)
    print(f"{len(ERRORS) * len(places)} cases, {wrong} wrong")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
