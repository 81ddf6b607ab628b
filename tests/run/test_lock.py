"""A run has one owner: who holds its lock, and when it may be taken over."""

import json
import os
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from runner.run import lock


def test_a_lock_is_held_by_one_and_released(tmp_path: Path) -> None:
    path = tmp_path / "locks" / "a"
    with lock.holding(path) as first:
        assert first
        owner, _ = lock.owner_of(path)
        assert (owner.host, owner.pid) == (lock.this_host(), os.getpid())
        with lock.holding(path) as second:
            assert not second
        assert path.exists()
    assert not path.exists()


@pytest.mark.parametrize(
    ("owner", "silent", "taken"),
    [
        ({"pid": 2**22 + 1}, 0, True),
        ({"started": "1"}, 0, True),
        ({"host": "elsewhere"}, 0, False),
        ({"host": "elsewhere"}, 2 * lock.SILENT_SECONDS, False),
        ({"host": "elsewhere"}, -lock.CLOCKS_APART_SECONDS, False),
        ({"host": "elsewhere"}, lock.SILENT_SECONDS + lock.CLOCKS_APART_SECONDS + 1, True),
        ({}, 10 * lock.SILENT_SECONDS, False),
    ],
    ids=[
        "dead pid",
        "reused pid",
        "other host",
        "an early clock",
        "a late clock",
        "silent other host",
        "slow but alive",
    ],
)
def test_only_a_dead_owners_lock_is_taken_over(owner: dict, silent: float, taken: bool, tmp_path: Path) -> None:
    path = tmp_path / "a"
    here = {"host": lock.this_host(), "pid": os.getpid(), "started": lock.start_time(os.getpid()), "token": "t"}
    path.write_text(json.dumps(here | owner))
    then = time.time() - silent
    os.utime(path, (then, then))
    with lock.holding(path) as held:
        assert held == taken


def test_a_torn_lock_is_free(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_text('{"host": "x", ')
    with lock.holding(path) as held:  # whoever writes it may be about to
        assert not held
    then = time.time() - 2 * lock.TORN_SECONDS
    os.utime(path, (then, then))
    with lock.holding(tmp_path / "a") as held:
        assert held


def test_a_process_of_the_same_name_elsewhere_is_known_by_its_heartbeat(tmp_path: Path) -> None:
    """Containers may have the host's name, and process numbers of their own."""
    path = tmp_path / "a"
    path.write_text(json.dumps({"host": f"{socket.gethostname()}/other/1", "pid": 1, "started": "1", "token": "t"}))
    assert lock.is_held(path)
    with lock.holding(path) as held:
        assert not held


def test_a_process_that_the_system_hides_is_alive(monkeypatch: pytest.MonkeyPatch) -> None:
    read = Path.read_text

    def hiding(path: Path) -> str:
        if path.name == "stat":
            raise FileNotFoundError(path)
        return read(path)

    def refuse(pid: int, number: int) -> None:
        raise PermissionError

    owner = lock.Owner(lock.this_host(), os.getpid(), lock.start_time(os.getpid()), "t")
    monkeypatch.setattr(Path, "read_text", hiding)
    assert owner.alive(0.0)
    monkeypatch.setattr(os, "kill", refuse)
    assert owner.alive(0.0)


OTHER = """
import os, socket, sys, threading, time
from pathlib import Path
host, early, path, seconds = sys.argv[1], float(sys.argv[2]), Path(sys.argv[3]), float(sys.argv[4])
socket.gethostname = lambda: host
from runner.run import lock
lock.HEARTBEAT_SECONDS, lock.SILENT_SECONDS = 0.05, 1.5
touch, moment, end = os.utime, time.time, time.monotonic() + seconds
lock.os.utime = lambda path, times=None: touch(path, times or (moment() + early, moment() + early))  # its own clock's
while time.monotonic() < end:
    with lock.holding(path) as held:
        if held:
            with open(path.parent / "inside", "x"):
                print(f"{host} {time.monotonic_ns()}", flush=True)
                time.sleep(float(sys.argv[5]))
            (path.parent / "inside").unlink()
    time.sleep(0.01)
"""
"""A process of another host, whose clock is wrong by some seconds: in turns with others it is inside a lock."""


def _other(host: str, early: float, path: Path, seconds: float, inside: float) -> subprocess.Popen[str]:
    given = [host, str(early), str(path), str(seconds), str(inside)]
    return subprocess.Popen(
        [sys.executable, "-c", OTHER, *given], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


@pytest.mark.slow
def test_hosts_with_clocks_ten_minutes_apart_are_inside_one_at_a_time(tmp_path: Path) -> None:
    """Each holds the lock for longer than an owner may be silent; ``inside`` is there once."""
    hosts = [_other(f"host{i}", early, tmp_path / "a", 20, 2.5) for i, early in enumerate((-300, 0, 300, 300))]
    found = [process.communicate(timeout=300) for process in hosts]
    assert [err for _, err in found] == [""] * 4
    assert sum(len(out.splitlines()) for out, _ in found) >= 4


@pytest.mark.parametrize("early", [-300, 0, 300])
def test_a_dead_host_is_known_by_the_watchers_clock(
    early: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a"
    path.write_text(json.dumps({"host": "elsewhere", "pid": 1, "started": "1", "token": "t"}))
    then = time.time() + early
    os.utime(path, (then, then))
    now = [1000.0]
    monkeypatch.setattr(lock.time, "monotonic", lambda: now[0])
    for seconds, taken in ((0, False), (lock.SILENT_SECONDS / 2, False), (lock.SILENT_SECONDS, True)):
        now[0] = 1000.0 + seconds
        with lock.holding(path) as held:
            assert held == taken
    assert [p.name for p in tmp_path.iterdir()] == []


def test_a_heartbeat_keeps_a_lock_whatever_the_clock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a"
    path.write_text(json.dumps({"host": "elsewhere", "pid": 1, "started": "1", "token": "t"}))
    now = [0.0]
    monkeypatch.setattr(lock.time, "monotonic", lambda: now[0])
    for beat in range(20):
        os.utime(path, (time.time() - 300 + beat, time.time() - 300 + beat))
        now[0] += lock.SILENT_SECONDS / 2
        with lock.holding(path) as held:
            assert not held


def test_of_many_that_take_over_from_the_dead_one_does(tmp_path: Path) -> None:
    """Also from an heir that died before it had written the lock."""
    for name, heir in (("a", False), ("b", True)):
        path = tmp_path / name
        dead = {"host": lock.this_host(), "pid": 2**22 + 1, "started": "1", "token": "t"}
        path.write_text(json.dumps(dead))
        if heir:
            (tmp_path / f".{name}.after.t").write_text(json.dumps(dead | {"token": "u"}))
        together, found = threading.Barrier(8, timeout=300), []

        def take(path: Path = path, found: list[bool] = found, together: threading.Barrier = together) -> None:
            together.wait()
            with lock.holding(path) as held:
                found.append(held)
                together.wait()  # who holds it does until each has been answered

        threads = [threading.Thread(target=take) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sorted(found) == [False] * 7 + [True]
    assert [p.name for p in tmp_path.iterdir()] == []


def test_without_flock_one_process_at_a_time_writes(tmp_path: Path) -> None:
    """As on file systems where it is refused, or known to one host alone."""
    count = """
import sys
from pathlib import Path
from runner.run import lock
def refused(*ignored): raise OSError(38, "Function not implemented")
lock.fcntl.flock = refused
for _ in range(100):
    with lock.exclusive(Path(sys.argv[1]), "sum"):
        total = Path(sys.argv[1], "total")
        total.write_text(str(int(total.read_text()) + 1 if total.exists() else 1))
"""
    processes = [subprocess.Popen([sys.executable, "-c", count, str(tmp_path)]) for _ in range(3)]
    assert [process.wait(timeout=300) for process in processes] == [0, 0, 0]
    assert (tmp_path / "total").read_text() == "300"


def test_a_process_whose_lock_is_anothers_ends(tmp_path: Path) -> None:
    """It was silent for so long, suspended perhaps, that another one goes on with its run."""
    script = """
import json, sys, time
from pathlib import Path
from runner.run import lock
lock.HEARTBEAT_SECONDS = 0.05
with lock.holding(Path(sys.argv[1])):
    Path(sys.argv[1]).write_text(json.dumps({"host": "elsewhere", "pid": 1, "started": "1", "token": "t"}))
    time.sleep(60)
"""
    found = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path / "a")], capture_output=True, text=True, check=False
    )
    assert found.returncode == 1
    assert "taken over by elsewhere" in found.stderr
    assert json.loads((tmp_path / "a").read_text())["host"] == "elsewhere"
