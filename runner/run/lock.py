"""One lock a run, so that of any number of sweeps on one folder each run is trained by one process.

A lock is a file that names its owner: host, pid, the process's start time (a reused pid is not taken for it), and a
heartbeat in the file's modification time. A lock whose owner is known to be dead is taken over.

Hosts may share the folder by NFS, and their clocks may differ. So a lock is taken by a hard link, which is atomic there
as no other way is (Linux open(2), O_EXCL); an owner on another host is dead when its heartbeat has not moved for
``SILENT_SECONDS`` of the clock of whoever looks, again and again; and who takes over a lock first becomes the one heir
of its dead owner, by a link of that owner's name. An owner that finds its lock in other hands ends at once.
"""

import contextlib
import errno
import fcntl
import functools
import json
import os
import socket
import sys
import threading
import time
import uuid
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

HEARTBEAT_SECONDS = 5.0
SILENT_SECONDS = 120.0
"""A lock of another host, whose processes cannot be looked at, is dead after so long without a heartbeat."""
CLOCKS_APART_SECONDS = 600.0
"""Two hosts' clocks may differ by so much, each by half of it; what is older is dead without being watched."""
TORN_SECONDS = 10.0
"""A lock that cannot be read after so long will never be written to its end."""
NO_LINKS = (errno.EPERM, errno.ENOSYS, errno.EOPNOTSUPP, errno.EMLINK)
"""What file systems without hard links say."""


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
        if self.host != this_host():
            return silent_seconds < SILENT_SECONDS + CLOCKS_APART_SECONDS
        return start_time(self.pid) in (self.started, HIDDEN)


HIDDEN = "unknown"
"""The start time of a process that is there and of which the system says no more."""


@functools.cache
def this_host() -> str:
    """Return this host's name, with what tells its processes from those of containers and machines of that name."""
    told = [socket.gethostname()]
    with contextlib.suppress(OSError):  # a system without /proc
        told.append(Path("/proc/sys/kernel/random/boot_id").read_text()[:8])
        told.append(os.readlink("/proc/self/ns/pid").partition("[")[2].rstrip("]"))
    return "/".join(told)


def start_time(pid: int) -> str | None:
    """Return when a process of this host started, or None where there is none."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except FileNotFoundError:  # or it is another user's, whose processes are hidden
        pass
    else:
        return None if fields[0] == "Z" else fields[19]  # a zombie holds nothing
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return None
    except PermissionError:
        pass
    return HIDDEN


def owner_of(path: Path) -> tuple[Owner, float] | None:
    """Return a lock's owner and the seconds since its last heartbeat, or None where it is free."""
    owner = _read(path)
    if owner is None:
        return None
    try:
        if owner.host == this_host():  # which is asked for its processes
            return owner, 0.0
        return owner, _silent(path)
    except FileNotFoundError:
        return None


def is_held(path: Path) -> bool:
    """Say whether a process that lives, as far as is known, holds a lock."""
    found = owner_of(path)
    return found is not None and found[0].alive(found[1])


def _read(path: Path) -> Owner | None:
    try:
        return Owner(**json.loads(path.read_text()))
    except (FileNotFoundError, ValueError, TypeError):
        return None


def _silent(path: Path) -> float:
    """Return the seconds since a file was touched, by the file system's own clock, not this host's."""
    now = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
    now.touch()
    try:
        return now.stat().st_mtime - path.stat().st_mtime
    finally:
        now.unlink()


_watched: dict[Path, tuple[str, int, float]] = {}
"""Locks of other hosts that this process looks at: whose, when touched, and since when it is so by this one's clock."""


def _is_dead(path: Path, owner: Owner) -> bool:
    """Say whether the owner of a lock is known to be dead; of another host's that takes several looks."""
    if owner.host == this_host():
        return not owner.alive(0.0)
    try:
        if not owner.alive(_silent(path)):
            return True
        touched = path.stat().st_mtime_ns
    except FileNotFoundError:
        return False  # it was released just now
    now = time.monotonic()
    seen = _watched.get(path)
    if seen is None or seen[:2] != (owner.token, touched):
        _watched[path] = (owner.token, touched, now)
        return False
    return now - seen[2] >= SILENT_SECONDS


@contextlib.contextmanager
def holding(path: Path) -> Iterator[bool]:
    """Hold a run's lock while the block runs; False where a living process holds it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    owner = _this_process()
    if not _take(path, owner):
        yield False
        return
    over = threading.Event()
    beat = threading.Thread(target=_beat, args=(path, owner, over), daemon=True)
    beat.start()
    try:
        yield True
    finally:
        over.set()
        beat.join()
        with contextlib.suppress(OSError):  # the run is over: a lock that cannot be removed ends with its process
            if _read(path) == owner:
                path.unlink(missing_ok=True)


def _this_process() -> Owner:
    return Owner(this_host(), os.getpid(), start_time(os.getpid()) or HIDDEN, uuid.uuid4().hex)


def _take(path: Path, owner: Owner) -> bool:
    """Take a lock that is free, or whose owner is dead; False where it is held."""
    beside = path.with_name(f".{path.name}.{owner.token}")
    beside.write_text(json.dumps(asdict(owner)))
    try:
        return _link(beside, path) or _inherit(path, beside)
    finally:
        beside.unlink(missing_ok=True)


def _link(whole: Path, path: Path) -> bool:
    """Give a whole file another name, unless that is taken."""
    try:
        os.link(whole, path)
    except FileExistsError:
        return whole.stat().st_nlink > 1  # on NFS an answer may be lost, and the second one says that it is there
    except OSError as error:
        if error.errno not in NO_LINKS:
            raise
        try:
            with path.open("x") as file:
                file.write(whole.read_text())
        except FileExistsError:
            return False
    return True


def _inherit(path: Path, beside: Path) -> bool:
    """Take a lock over from a dead owner; of any number that try, one does.

    An owner's heir is who links its own name to the owner's. An heir that died before it wrote the lock has one too.
    """
    chain: list[Path] = [path]
    first = last = _read(path)
    while True:
        if last is None:
            return _take_torn(chain[-1], beside) if len(chain) == 1 else False
        heir = path.with_name(f".{path.name}.after.{last.token}")
        if not heir.exists():
            break
        chain.append(heir)
        last = _read(heir)
    if not _is_dead(chain[-1], last):
        return False
    copy = beside.with_name(f"{beside.name}.heir")
    copy.write_text(beside.read_text())
    try:
        if not _link(copy, heir):
            return False
        if _read(path) != first:  # it changed hands since it was looked at
            heir.unlink(missing_ok=True)
            return False
        os.replace(beside, path)
        for gone in (*chain[1:], heir):
            gone.unlink(missing_ok=True)
        return True
    finally:
        copy.unlink(missing_ok=True)


def _take_torn(path: Path, beside: Path) -> bool:
    """Take a lock that was never written to its end, or is gone by now."""
    try:
        if path.stat().st_size and _read(path) is not None:
            return False
        if _silent(path) > TORN_SECONDS:
            path.unlink(missing_ok=True)
    except FileNotFoundError:
        pass
    return _link(beside, path)


def _beat(path: Path, owner: Owner, over: threading.Event) -> None:
    """Touch a lock that is held; end the process if another one has it, which trains the run by now."""
    while not over.wait(HEARTBEAT_SECONDS):
        with contextlib.suppress(OSError):
            held = _read(path)
            if held is not None and held != owner and not over.is_set():
                by = held.host.partition("/")[0]
                sys.stderr.write(
                    f"optbench: {path} was taken over by {by}: this process sent no heartbeat for too long\n"
                )
                os._exit(1)
            os.utime(path)


@contextlib.contextmanager
def exclusive(folder: Path, name: str) -> Iterator[None]:
    """Let one process at a time do something short, such as to write a file that many write.

    Processes of one host wait in a row, where the file system has ``flock``; those of several wait for a lock.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / f".{name}").open("w") as file:
        with contextlib.suppress(OSError):  # Lustre and NFS may have none
            fcntl.flock(file, fcntl.LOCK_EX)
        path, owner, wait = folder / f".{name}.held", _this_process(), 0.001
        while not _take(path, owner):
            time.sleep(wait)
            wait = min(0.1, 2 * wait)
        try:
            yield
        finally:
            if _read(path) == owner:
                path.unlink(missing_ok=True)
