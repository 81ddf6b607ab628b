"""The processes of a run find one another, or say within seconds why they cannot."""

import datetime
import json
import os
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

import torch
import torch.distributed as dist
from torch._C._distributed_c10d import PrefixStore, Store, TCPStore

from runner.errors import ConfigError, ProcessError

JOIN_SECONDS = 25.0
"""For all processes of a run to come."""
STEP_MINUTES = 10
"""For what processes compute together: one that is stopped for longer is given up."""
POLL_SECONDS = 0.1
NAMES = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT")


@dataclass(frozen=True)
class Place:
    """This process's among those of its run, as torchrun names them in the environment."""

    rank: int
    size: int
    local: int
    """Among those of this machine."""

    @property
    def is_first(self) -> bool:
        """Whether it is the one that records and speaks."""
        return self.rank == 0


def place_of(environment: Mapping[str, str] = os.environ) -> Place | None:
    """Return which of several processes this is; None where nothing like torchrun started it.

    Raises:
        ConfigError: if what started it says half of it, or nonsense.
    """
    if "RANK" not in environment or "WORLD_SIZE" not in environment:
        return None
    if missing := [name for name in ("MASTER_ADDR", "MASTER_PORT") if name not in environment]:
        raise ConfigError(f"RANK is set and {' and '.join(missing)} is not: start the processes by torchrun")
    rank, size, local = (environment.get(name, environment["RANK"]) for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK"))
    if not (rank.isdigit() and size.isdigit() and local.isdigit() and int(rank) < int(size)):
        raise ConfigError(f"RANK={rank} and WORLD_SIZE={size} name no process: start the processes by torchrun")
    return Place(int(rank), int(size), int(local))


def join(place: Place, kind: str, about: Mapping[str, Any]) -> Store:
    """Wait for the others, hold what each says against what this one does, and start the default group.

    Args:
        place: this process's.
        kind: of device.
        about: what all must say alike, with their names; ``refused`` is why a process cannot take part.

    Raises:
        ConfigError: if processes differ, or one of them refuses the run.
        ProcessError: if one does not come, or the first one's port cannot be had.
    """
    store = _store(place)
    said = {"WORLD_SIZE": place.size, **about}
    store.set(f"said/{place.rank}", json.dumps(said))
    _hold_against(store, place, said)
    backend = "cpu:gloo,cuda:nccl" if kind == "cuda" else "gloo"
    patience = datetime.timedelta(minutes=STEP_MINUTES)
    try:
        dist.init_process_group(
            backend, store=PrefixStore("run", store), rank=place.rank, world_size=place.size, timeout=patience
        )
        arrived = torch.zeros(1)
        soon = datetime.timedelta(seconds=JOIN_SECONDS)
        dist.all_reduce(arrived, group=cast(dist.ProcessGroup, dist.new_group(backend="gloo", timeout=soon)))
    except RuntimeError as error:
        raise ProcessError(f"the processes of the run cannot reach one another: {_first_line(error)}") from error
    return store


def _store(place: Place) -> Store:
    host, port = os.environ["MASTER_ADDR"], os.environ["MASTER_PORT"]
    where = f"MASTER_ADDR={host} MASTER_PORT={port}"
    theirs = os.environ.get("TORCHELASTIC_USE_AGENT_STORE") == "True"  # whoever started the processes keeps it
    try:
        store: Store = TCPStore(
            host,
            int(port),
            is_master=place.is_first and not theirs,
            timeout=datetime.timedelta(seconds=JOIN_SECONDS),
            wait_for_workers=False,
        )
    except (RuntimeError, ValueError) as error:
        if "EADDRINUSE" in str(error) or "already in use" in str(error):
            raise ProcessError(f"{where}: the port is taken; choose another one") from error
        raise ProcessError(f"{where}: process 0 cannot be reached: {_first_line(error)}") from error
    restarts = os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")
    return PrefixStore(f"optbench/{restarts}", store)


def _hold_against(store: Store, place: Place, said: Mapping[str, Any]) -> None:
    """Wait for all, and compare."""
    left, ends = [rank for rank in range(place.size) if rank != place.rank], time.monotonic() + JOIN_SECONDS
    while left:
        for rank in [rank for rank in left if store.check([f"said/{rank}"])]:
            left.remove(rank)
            theirs = json.loads(store.get(f"said/{rank}"))
            if theirs.get("refused"):
                raise ConfigError(f"process {rank} cannot take part: {theirs['refused']}")
            for name in said:
                if theirs.get(name) != said[name]:
                    raise ConfigError(
                        f"process {rank} has {name}={theirs.get(name)}, process {place.rank} {name}={said[name]}: "
                        "start all of them with the same command"
                    )
        if left and time.monotonic() > ends:
            raise ProcessError(
                f"process {left[0]} of {place.size} has not come in {JOIN_SECONDS:g} s"
                + (f", nor have {len(left) - 1} others" if len(left) > 1 else "")
            )
        if left:
            time.sleep(POLL_SECONDS)


def refuse(place: Place, reason: str) -> None:
    """Let the others know that this process cannot take part, where they can be reached."""
    try:
        _store(place).set(f"said/{place.rank}", json.dumps({"refused": reason}))
    except ProcessError:  # they will say that it has not come
        return


def is_lost(error: BaseException) -> bool:
    """Say whether an error is that another process has gone, and none of this one's own."""
    said = str(error)
    gone = ("gloo", "Connection closed", "Connection reset", "Broken pipe", "NCCL", "ncclRemoteError", "TCPStore")
    return isinstance(error, dist.DistError) or (isinstance(error, RuntimeError) and any(w in said for w in gone))


def _first_line(error: BaseException) -> str:
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
