"""Processes find one another, or say within seconds why not."""

import socket

import pytest

from runner.errors import ConfigError, ProcessError
from runner.parallel import join
from runner.parallel.join import Place, place_of

HERE = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "29500"}


@pytest.fixture
def port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        found: int = free.getsockname()[1]
        return found


def at(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MASTER_ADDR", "127.0.0.1")
    monkeypatch.setenv("MASTER_PORT", str(port))
    monkeypatch.delenv("TORCHELASTIC_USE_AGENT_STORE", raising=False)
    monkeypatch.setattr(join, "JOIN_SECONDS", 1.0)


def test_a_process_by_itself_has_no_place() -> None:
    assert place_of({}) is None


def test_a_place_is_read_as_torchrun_writes_it() -> None:
    assert place_of({"RANK": "3", "WORLD_SIZE": "4", "LOCAL_RANK": "1", **HERE}) == Place(3, 4, 1)


@pytest.mark.parametrize(
    "odd", [{"RANK": "2", "WORLD_SIZE": "2", **HERE}, {"RANK": "x", "WORLD_SIZE": "2", **HERE},
            {"RANK": "0", "WORLD_SIZE": "2"}]
)  # fmt: skip
def test_half_a_place_is_refused(odd: dict[str, str]) -> None:
    with pytest.raises(ConfigError, match="torchrun"):
        place_of(odd)


def test_a_taken_port_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        at(taken.getsockname()[1], monkeypatch)
        with pytest.raises(ProcessError, match="the port is taken"):
            join.join(Place(0, 2, 0), "cpu", {})


def test_a_process_that_does_not_come_is_named(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    at(port, monkeypatch)
    with pytest.raises(ProcessError, match="process 1 of 2 has not come in 1 s"):
        join.join(Place(0, 2, 0), "cpu", {})


def test_a_first_process_that_cannot_be_reached_is_named(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    at(port, monkeypatch)
    with pytest.raises(ProcessError, match="process 0 cannot be reached"):
        join.join(Place(1, 2, 1), "cpu", {})


@pytest.mark.parametrize(
    ("theirs", "said"),
    [
        ('{"WORLD_SIZE": 3}', "process 1 has WORLD_SIZE=3, process 0 WORLD_SIZE=2"),
        ('{"WORLD_SIZE": 2, "the run": "b"}', "process 1 has the run=b, process 0 the run=a"),
        ('{"refused": "no data there"}', "process 1 cannot take part: no data there"),
    ],
)
def test_processes_that_differ_are_told_apart(
    theirs: str, said: str, port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    at(port, monkeypatch)
    made = join._store(Place(0, 2, 0))
    made.set("said/1", theirs)
    monkeypatch.setattr(join, "_store", lambda place: made)
    with pytest.raises(ConfigError, match=said):
        join.join(Place(0, 2, 0), "cpu", {"the run": "a"})
