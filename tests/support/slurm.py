"""A Slurm of this host alone, without systemd, for tests: a controller, two nodes of one core each, and munge.

It needs root and Debian's packages: apt-get install --no-install-recommends slurm-wlm munge.
"""

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

NODES = ("one", "two")
START_SECONDS = 120


def missing() -> str | None:
    """Return why there can be none here."""
    absent = [name for name in ("slurmctld", "slurmd", "sbatch", "munged") if shutil.which(name) is None]
    if absent:
        return f"no {', '.join(absent)} (slurm-wlm and munge)"
    return "it takes root" if os.geteuid() else None


def _settings(folder: Path) -> str:
    host, port = socket.gethostname().partition(".")[0], _free_ports(1 + len(NODES))
    nodes = [
        f"NodeName={n} NodeHostname={host} Port={p} CPUs=1 State=UNKNOWN" for n, p in zip(NODES, port[1:], strict=True)
    ]
    return "\n".join(
        [
            "ClusterName=local",
            f"SlurmctldHost={host}",
            "SlurmUser=root",
            "AuthType=auth/munge",
            "AuthInfo=cred_expire=5",  # otherwise a job that is queued again waits for two minutes
            "CredType=cred/munge",
            "ProctrackType=proctrack/linuxproc",
            "TaskPlugin=task/none",
            "SelectType=select/cons_tres",
            "SelectTypeParameters=CR_Core",
            f"StateSaveLocation={folder}/state",
            f"SlurmdSpoolDir={folder}/spool.%n",
            f"SlurmctldPidFile={folder}/slurmctld.pid",
            f"SlurmdPidFile={folder}/slurmd.%n.pid",
            f"SlurmctldLogFile={folder}/slurmctld.log",
            f"SlurmdLogFile={folder}/slurmd.%n.log",
            f"SlurmctldPort={port[0]}",
            "ReturnToService=2",
            "MpiDefault=none",
            "JobAcctGatherType=jobacct_gather/none",
            "AccountingStorageType=accounting_storage/none",
            "KillWait=30",
            "JobRequeue=1",
            "SchedulerParameters=sched_interval=2",
            "PreemptType=preempt/partition_prio",
            "PreemptMode=REQUEUE",
            *nodes,
            "PartitionName=main Nodes=ALL Default=YES MaxTime=INFINITE State=UP PriorityTier=1 GraceTime=60",
            "PartitionName=urgent Nodes=ALL MaxTime=INFINITE State=UP PriorityTier=10",
            "",
        ]
    )


def _free_ports(count: int) -> list[int]:
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind(("", 0))
        return [one.getsockname()[1] for one in sockets]


@contextlib.contextmanager
def running(folder: Path) -> Iterator[Path]:
    """Yield the slurm.conf of a cluster that runs while the block does; its state and logs lie in a folder."""
    for name in ("state", *(f"spool.{node}" for node in NODES)):
        (folder / name).mkdir(parents=True)
    place = folder / "slurm.conf"
    place.write_text(_settings(folder))
    if subprocess.run(["munge", "-n"], capture_output=True, check=False).returncode:
        Path("/run/munge").mkdir(exist_ok=True)
        shutil.chown("/run/munge", "munge", "munge")
        subprocess.run(["su", "-s", "/bin/sh", "munge", "-c", "munged"], check=True)
    try:
        subprocess.run(["slurmctld", "-f", place], check=True)
        for node in NODES:
            start_node(place, node)
        wait_for_nodes(place, len(NODES))
        yield place
    finally:
        for pid_file in folder.glob("slurm*.pid"):
            with contextlib.suppress(ValueError, ProcessLookupError):
                os.kill(int(pid_file.read_text()), signal.SIGKILL)


def start_node(place: Path, node: str) -> None:
    """Start a node."""
    subprocess.run(["slurmd", "-f", place, "-N", node], check=True)


def ask(place: Path, *command: str) -> str:
    """Return what a command of Slurm says."""
    environment = {**os.environ, "SLURM_CONF": str(place)}
    found = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    return found.stdout


def wait_for_nodes(place: Path, count: int) -> None:
    """Wait until so many nodes are idle."""
    until = time.monotonic() + START_SECONDS
    while ask(place, "sinfo", "-h", "-N", "-p", "main", "-t", "idle", "-o", "%N").count("\n") < count:
        if time.monotonic() > until:
            pytest.skip(f"no Slurm: its nodes did not come up in {START_SECONDS} s")
        time.sleep(0.2)


def tasks(place: Path, state: str = "R") -> list[str]:
    """Return the jobs and tasks of arrays that are in a state, ``R`` of those that run."""
    return ask(place, "squeue", "-h", "-r", "-t", state, "-o", "%i").split()
