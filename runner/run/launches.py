"""Which runs one command asked for: ``sweeps.jsonl`` in a sweep's folder, a line a command. Never imports torch.

It is a record and no more: without it every run stays what it is. A report reads from it what a command varied, and so
what its runs may be compared by.
"""

import json
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from runner.run.files import whole_lines
from runner.run.lock import exclusive
from runner.run.record import writing

FILE = "sweeps.jsonl"


def note(folder: Path, command: str, run_ids: Sequence[str]) -> None:
    """Append the runs that a command asks for, unless it is known that it does.

    Raises:
        RecordError: if the folder cannot be written.
    """
    path = folder / FILE
    with writing(path):
        folder.mkdir(parents=True, exist_ok=True)
        with exclusive(folder / ".locks", FILE):
            if set(run_ids) <= {run for said, runs in _lines(folder) if said == command for run in runs}:
                return
            line = {"time": time.strftime("%Y-%m-%dT%H:%M:%S%z"), "command": command, "runs": list(run_ids)}
            torn = path.is_file() and path.read_bytes()[-1:] not in (b"", b"\n")
            with path.open("ab", buffering=0) as file:  # one write, behind all others
                file.write((b"\n" if torn else b"") + json.dumps(line).encode() + b"\n")


def launches(folder: Path) -> list[frozenset[str]]:
    """Return the ids of the runs that each command asked for; a command given again counts once.

    Lines that cannot be read are left out.
    """
    found: dict[str, set[str]] = {}
    for command, runs in _lines(folder):
        found.setdefault(command, set()).update(runs)
    return [frozenset(runs) for runs in found.values()]


def _lines(folder: Path) -> Iterator[tuple[str, list[str]]]:
    for text in whole_lines(folder / FILE):
        try:
            line = json.loads(text)
            command, runs = line["command"], line["runs"]
        except (ValueError, KeyError, TypeError):
            continue
        if isinstance(command, str) and isinstance(runs, list) and all(isinstance(run, str) for run in runs):
            yield command, runs
