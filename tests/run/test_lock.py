"""A run has one owner: who holds its lock, and when it may be taken over."""

import json
import os
import time
from pathlib import Path

import pytest

from runner.run import lock


def test_a_lock_is_held_by_one_and_released(tmp_path: Path) -> None:
    path = tmp_path / "locks" / "a"
    with lock.holding(path) as first:
        assert first
        owner, _ = lock.owner_of(path)
        assert (owner.host, owner.pid) == (os.uname().nodename, os.getpid())
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
        ({"host": "elsewhere"}, 2 * lock.SILENT_SECONDS, True),
        ({}, 10 * lock.SILENT_SECONDS, False),
    ],
    ids=["dead pid", "reused pid", "other host", "silent other host", "slow but alive"],
)
def test_only_a_dead_owners_lock_is_taken_over(owner: dict, silent: float, taken: bool, tmp_path: Path) -> None:
    path = tmp_path / "a"
    here = {"host": os.uname().nodename, "pid": os.getpid(), "started": lock.start_time(os.getpid()), "token": "t"}
    path.write_text(json.dumps(here | owner))
    then = time.time() - silent
    os.utime(path, (then, then))
    with lock.holding(path) as held:
        assert held == taken


def test_a_torn_lock_is_free(tmp_path: Path) -> None:
    (tmp_path / "a").write_text('{"host": "x", ')
    with lock.holding(tmp_path / "a") as held:
        assert held
