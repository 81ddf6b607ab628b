"""One lock a run, so that of any number of sweeps on one folder each run is trained by one process.

A lock is a file that names its owner: host, pid, the process's start time (a reused pid is not taken for it), and a
heartbeat in the file's modification time. A lock whose owner is known to be dead is taken over.
"""

import contextlib
import fcntl
import json
import os
import socket
import threading
import uuid
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

HEARTBEAT_SECONDS = 5.0
SILENT_SECONDS = 120.0
"""A lock of another host, whose processes cannot be looked at, is dead after so long without a heartbeat."""


@dataclass(frozen=True)
class Owner:
    """Who holds a lock."""

    host: str
    pid: int
    started: str
    """The process's start time, as the system counts it."""
    token: str

    def alive(self, silent_seconds: float) -> bool:
        """Say whether the owner still runs; of another host's, whether it has been heard of lately."""
        if self.host != socket.gethostname():
            return silent_seconds < SILENT_SECONDS
        return start_time(self.pid) == self.started


def start_time(pid: int) -> str | None:
    """Return when a process of this host started, or None where there is none."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except FileNotFoundError:
        if Path("/proc/self/stat").exists():
            return None
    else:
        return None if fields[0] == "Z" else fields[19]  # a zombie holds nothing
    try:  # a system without /proc: the pid alone
        os.kill(pid, 0)
    except ProcessLookupError:
        return None
    except PermissionError:
        pass
    return "unknown"


def owner_of(path: Path) -> tuple[Owner, float] | None:
    """Return a lock's owner and the seconds since its last heartbeat, or None where it is free."""
    try:
        owner = Owner(**json.loads(path.read_text()))
        now = path.with_name(f".{path.name}.{uuid.uuid4().hex}")  # the file system's own clock, not this host's
        now.touch()
        silent = now.stat().st_mtime - path.stat().st_mtime
        now.unlink()
    except (FileNotFoundError, ValueError, TypeError):
        return None
    return owner, silent


@contextlib.contextmanager
def holding(path: Path) -> Iterator[bool]:
    """Hold a run's lock while the block runs; False where a living process holds it."""
    owner = Owner(socket.gethostname(), os.getpid(), start_time(os.getpid()) or "unknown", uuid.uuid4().hex)
    with exclusive(path.parent, "guard"):
        held = owner_of(path)
        free = held is None or not held[0].alive(held[1])
        if free:
            beside = path.with_name(f".{path.name}.{owner.token}")
            beside.write_text(json.dumps(asdict(owner)))
            os.replace(beside, path)
    if not free:
        yield False
        return
    over = threading.Event()
    beat = threading.Thread(target=_beat, args=(path, over), daemon=True)
    beat.start()
    try:
        yield True
    finally:
        over.set()
        beat.join()
        with contextlib.suppress(OSError):  # the run is over: a lock that cannot be removed ends with its process
            now = owner_of(path)
            if now is not None and now[0] == owner:
                path.unlink(missing_ok=True)


def _beat(path: Path, over: threading.Event) -> None:
    while not over.wait(HEARTBEAT_SECONDS):
        with contextlib.suppress(OSError):
            os.utime(path)


@contextlib.contextmanager
def exclusive(folder: Path, name: str) -> Iterator[None]:
    """Let one process at a time do something short, such as to look at a folder's locks and take one."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / f".{name}").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
