"""A queue on disk, ``outputs/<name>/.workers/<id>/``: one process posts packs, any that see the folder train them.

``packs.jsonl`` holds a pack a line, ``log.<process>.jsonl`` what one process found of the packs that it took. Who takes
a pack holds its lock, ``lock.<number>``, and looks at the logs again before it trains: so that also runs that are asked
for anew (``force``, ``retry``) are trained once. Files are opened to be looked at and closed when they are written,
which is when a network file system tells its hosts of changes. Never imports torch.
"""

import contextlib
import json
import math
import os
import shutil
import socket
import time
import uuid
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from runner.run import files, lock, packs, record
from runner.run.job import Job
from runner.run.outcome import Outcome
from runner.sweep.held import Held, Maker, maker_over

FOLDER = ".workers"
PACKS = "packs.jsonl"
SETTINGS = "sweep.json"
COMPLETE = "complete"
"""A file that says that no more is posted."""
CANCELLED = "cancelled"
"""A file that has every worker stop: what runs is checkpointed."""
ABANDONED_SECONDS = lock.SILENT_SECONDS + lock.CLOCKS_APART_SECONDS
"""A queue whose command has not been heard of for so long was left by it."""
ANEW = ("force=", "retry=")
"""What has runs trained that have ended."""
MOST_DEATHS = 10
"""A pack is given up when so many processes have died over it, each without a word, and it came no further."""

Answer = tuple[dict[str, Any], bool]
"""A run's summary, and whether it was trained for it."""


class Shared:
    """Packs that are posted in a folder, and what became of them."""

    def __init__(self, folder: Path) -> None:
        """Look at a queue that was begun.

        Args:
            folder: of the queue.
        """
        self.folder = folder
        self.packs: list[list[Held]] = []
        """The jobs of each pack that was read so far."""
        self.answers: defaultdict[int, dict[int, Answer]] = defaultdict(dict)
        """Of each pack, what became of its jobs, by their place in it."""
        self.joined: dict[str, Mapping[str, Any]] = {}
        """What each process said of itself, by the name of its log."""
        self._read: dict[str, int] = {}
        self._log: Path | None = None
        self._make: Maker | None = None
        self._posts = False

    @staticmethod
    def begin(runs: Path, config_dir: str | None, processes: int) -> "Shared":
        """Begin a queue over a folder of runs.

        Args:
            runs: the folder.
            config_dir: the user's own YAMLs.
            processes: how many of them each worker is to have.

        Raises:
            RecordError: if it cannot be written.
        """
        shared = Shared((runs / FOLDER / uuid.uuid4().hex[:8]).absolute())
        shared._posts = True
        own = None if config_dir is None else str(Path(config_dir).absolute())
        said = {"config_dir": own, "processes": processes, "folder": os.getcwd()}
        with record.writing(shared.folder):
            shared.folder.mkdir(parents=True)
            record.write_whole(shared.folder / SETTINGS, json.dumps(said) + "\n")
        return shared

    def settings(self) -> dict[str, Any]:
        """Return what `begin` was told, and the folder from which the command was given.

        Raises:
            OSError: if this host does not see the folder.
        """
        return dict(json.loads((self.folder / SETTINGS).read_text(encoding="utf-8")))

    # ---- what the process that posts does

    def post(self, packs: Sequence[Sequence[Job]]) -> range:
        """Post packs, in one write; return their numbers."""
        lines, first = [], len(self.packs)
        for jobs in packs:
            held = [job for job in jobs if isinstance(job, Held)]
            assert len(held) == len(jobs), "sweeps and searches hold jobs as overrides"
            self.packs.append(held)
            lines.append([[given for given in job.__reduce__()[1] if given is not job.make] for job in held])
        text = "".join(json.dumps(line) + "\n" for line in lines)
        with record.writing(self.folder / PACKS), (self.folder / PACKS).open("a", encoding="utf-8") as file:
            file.write(text)
        return range(first, len(self.packs))

    def beat(self) -> None:
        """Show that whoever posts is there."""
        with contextlib.suppress(OSError):
            os.utime(self.folder / SETTINGS)

    def complete(self) -> None:
        """Say that no more is posted: workers end when all is done."""
        (self.folder / COMPLETE).touch()

    def cancel(self) -> None:
        """Have every worker checkpoint what it trains, and end."""
        (self.folder / CANCELLED).touch()

    def remove(self) -> None:
        """Remove the queue, and those beside it that their commands left, if nothing of them is left; the runs stay."""
        now = self._touched()
        shutil.rmtree(self.folder, ignore_errors=True)
        for path in self.folder.parent.glob(f"*/{SETTINGS}"):
            with contextlib.suppress(OSError, ValueError):
                left = Shared(path.parent)
                if (left.folder / COMPLETE).exists() or now - left._touched() > ABANDONED_SECONDS:
                    left.look()
                    if left._is_done():
                        shutil.rmtree(left.folder, ignore_errors=True)
        with contextlib.suppress(OSError):  # others may be there
            self.folder.parent.rmdir()

    def _touched(self) -> float:
        """Return when whoever posts was there last, by the file system's clock; infinite where the queue is gone."""
        try:
            return (self.folder / SETTINGS).stat().st_mtime
        except FileNotFoundError:
            return math.inf

    def _is_done(self) -> bool:
        """Say whether nothing that was posted is left to train, whoever trained it."""
        left = [job for number, pack in enumerate(self.packs) if not self.is_over(number) for job in pack]
        if any(override.lstrip("+").startswith(ANEW) for job in left for override in job.overrides):
            return False
        places = packs.places_in(self.folder.parent.parent, {job.run_id for job in left})
        found = [files.read_summary(Path(places[job.run_id])) if job.run_id in places else None for job in left]
        return all(summary is not None and summary["status"] in files.ENDED for summary in found)

    # ---- what workers do

    def join(self, said: Mapping[str, Any]) -> None:
        """Begin a log, and say in it who this is."""
        self._log = self.folder / f"log.{socket.gethostname()}-{os.getpid()}-{uuid.uuid4().hex[:6]}.jsonl"
        self._write({"joined": {"host": socket.gethostname(), "pid": os.getpid(), **said}})

    def look(self) -> None:
        """Read what was posted by another process, and what is new in the logs."""
        if not self._posts:
            self._make = self._make or maker_over(self.settings()["config_dir"])
            for line in self._new_lines(PACKS):
                self.packs.append([_held(said, self._make) for said in json.loads(line)])
        for name in os.listdir(self.folder):
            if name.startswith("log."):
                for line in self._new_lines(name):
                    self._hear(name, json.loads(line))

    def is_over(self, number: int) -> bool:
        """Say whether what became of each job of a pack is known."""
        return len(self.answers[number]) == len(self.packs[number])

    @contextlib.contextmanager
    def claim(self, number: int) -> Iterator[bool]:
        """Hold a pack while the block runs; False where another process does, or it is over."""
        with lock.holding(self.folder / f"lock.{number}") as held:
            if held:
                self.look()
            yield held and not self.is_over(number)

    @contextlib.contextmanager
    def trying(self, number: int) -> Iterator[int]:
        """Count how many processes began a pack, and died before it came any further; the block is told how many."""
        path = self.folder / f"begun.{number}"
        before = path.stat().st_size if path.exists() else 0
        if before and self._went_on(number, path.stat().st_mtime):
            path.unlink()
            before = 0
        with path.open("a", encoding="utf-8") as file:
            file.write("x")
        try:
            yield before
        finally:  # not where this process is killed
            path.unlink(missing_ok=True)

    def _went_on(self, number: int, since: float) -> bool:
        """Say whether a pack left a checkpoint, or a member of it ended, after a time of the file system's clock."""
        jobs = self.packs[number]
        kept = [packs.checkpoint_of(packs.place(jobs)[1])]
        kept += [job.folder / name for job in jobs for name in ("checkpoint.pt", "summary.json")]
        return any(path.exists() and path.stat().st_mtime > since for path in kept)

    def found(self, number: int, outcomes: Mapping[int, Outcome]) -> None:
        """Say what became of jobs of a pack, given by their place in it."""
        if outcomes:
            answers = {i: [record.finite(outcome.summary), outcome.trained] for i, outcome in outcomes.items()}
            self._write({"pack": number, "answers": answers})

    @contextlib.contextmanager
    def on(self, number: int, who: str) -> Iterator[None]:
        """Keep on disk which pack a process trains; it stays there where the process is killed."""
        path = self.folder / f"on.{who}"
        path.write_text(str(number))
        try:
            yield
        finally:
            path.unlink(missing_ok=True)

    def was_on(self, who: str) -> int | None:
        """Return which pack a process that was killed trained, once; None where it trained none."""
        path = self.folder / f"on.{who}"
        try:
            number = int(path.read_text())
        except (OSError, ValueError):
            return None
        path.unlink(missing_ok=True)
        return number

    def held(self) -> int:
        """Return how many jobs are in packs that are held now."""
        numbers = (name.removeprefix("lock.") for name in os.listdir(self.folder) if name.startswith("lock."))
        return sum(len(self.packs[int(number)]) for number in numbers)

    @property
    def is_cancelled(self) -> bool:
        """Whether every worker is to stop."""
        return (self.folder / CANCELLED).exists() or not self.folder.exists()

    def takes_no_more(self, watch: "Watch") -> bool:
        """Say whether no more is posted, or whoever posts has gone without saying so."""
        return (self.folder / COMPLETE).exists() or watch.is_silent(self.folder / SETTINGS)

    # ----

    def _write(self, line: Mapping[str, Any]) -> None:
        assert self._log is not None, "it has joined"
        with record.writing(self._log), self._log.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")

    def _hear(self, log: str, line: Mapping[str, Any]) -> None:
        if "joined" in line:
            self.joined[log] = line["joined"]
            return
        for place, (summary, trained) in line["answers"].items():
            self.answers[line["pack"]].setdefault(int(place), (summary, bool(trained)))

    def _new_lines(self, name: str) -> list[str]:
        """Return the whole lines that were written to a file since it was read last."""
        try:
            with (self.folder / name).open("rb") as file:
                file.seek(self._read.setdefault(name, 0))
                whole = file.read().rpartition(b"\n")[0]
        except FileNotFoundError:
            return []
        self._read[name] += len(whole) + 1 if whole else 0
        return whole.decode().split("\n") if whole else []


class Watch:
    """Tells by this process's own clock whether a file is touched."""

    def __init__(self) -> None:
        self._seen: tuple[int, float] = (0, 0.0)

    def is_silent(self, path: Path) -> bool:
        """Say whether a file, looked at again and again, has not been touched for as long as a lock's owner may be."""
        try:
            touched = path.stat().st_mtime_ns
        except FileNotFoundError:
            return True
        now = time.monotonic()
        if touched != self._seen[0]:
            self._seen = (touched, now)
        return now - self._seen[1] > lock.SILENT_SECONDS


def _held(said: Sequence[Any], make: Maker) -> Held:
    overrides, run_id, place, *more = said  # as a job goes to any other process
    return Held(tuple(overrides), run_id, (place[0], place[1]), make, *more)
