"""Workers as actors of Ray Core, which outlive the command that asked for them. Ray places lost ones anew by itself."""

import contextlib
import logging
import os
import socket
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from runner.errors import ConfigError
from runner.sweep.launch.cluster import Gone
from runner.sweep.launch.worker import WITH_PARENT
from runner.sweep.shared import CANCELLED

NAMESPACE = "optbench"
PASSED_ON = ("PYTHONPATH", "OPTBENCH_DATA", "OMP_NUM_THREADS")
"""Of this process's environment, what workers get too."""
CONNECT_SECONDS = 10
STOP_SECONDS = 30
START = "start one by `ray start --head`, or give hydra.launcher.address=HOST:PORT of one that runs"


@dataclass
class Ray:
    """What each worker gets, in Ray's words."""

    workers: int
    processes: int
    address: str = "auto"
    num_cpus: float = 1
    num_gpus: float = 0
    memory_gb: float | None = None
    resources: Mapping[str, float] = field(default_factory=dict)
    name: str = "Ray"
    _names: dict[int, str] = field(default_factory=dict)
    """What each worker is called."""
    _token: str = field(default_factory=lambda: uuid.uuid4().hex[:8])
    _folder: Path | None = None

    def check(self) -> None:
        """Connect, and refuse what the cluster does not have.

        Raises:
            ConfigError: if Ray is not installed, not reached, or no host of it has what a worker needs.
        """
        try:
            import ray
        except ImportError as error:
            raise ConfigError("hydra/launcher=optbench_ray needs Ray: pip install 'optbench[ray]'") from error
        os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")  # as Ray does from now on: it hides no GPU
        if not ray.is_initialized():
            if self.address == "local":
                raise ConfigError(f"hydra.launcher.address=local would end with this command: {START}")
            try:
                if self.address != "auto":  # Ray itself would try for many minutes
                    host, _, port = self.address.rpartition("/")[2].rpartition(":")
                    socket.create_connection((host, int(port)), CONNECT_SECONDS).close()
                ray.init(address=self.address, namespace=NAMESPACE, log_to_driver=False, logging_level=logging.ERROR)
            except Exception as error:  # of many kinds
                said = next((line for line in str(error).splitlines() if line.strip()), type(error).__name__)
                raise ConfigError(
                    f"hydra.launcher.address={self.address}: Ray is not reached: {said}; {START}"
                ) from error
        needed = self._needed()
        hosts = [node["Resources"] for node in ray.nodes() if node["Alive"]]
        if not any(all(host.get(key, 0) >= amount for key, amount in needed.items()) for host in hosts):
            asked = ", ".join(f"{key} {amount:g}" for key, amount in needed.items())
            most = {key: max((host.get(key, 0) for host in hosts), default=0) for key in needed}
            here = ", ".join(f"{key} {amount:g}" for key, amount in most.items())
            raise ConfigError(f"no host of Ray has what a worker needs: {asked}; the most that one has: {here}")

    def _needed(self) -> dict[str, float]:
        memory = {} if self.memory_gb is None else {"memory": self.memory_gb * 2**30}
        return {"CPU": self.num_cpus, "GPU": self.num_gpus, **memory, **self.resources}

    def start(self, folder: Path, numbers: Sequence[int]) -> None:
        """Have actors placed; Ray starts those that die anew, wherever there is room."""
        import ray

        self._folder = folder
        memory = {} if self.memory_gb is None else {"memory": int(self.memory_gb * 2**30)}
        passed = {key: os.environ[key] for key in PASSED_ON if key in os.environ}
        passed["PYTHONPATH"] = os.pathsep.join(
            dict.fromkeys(filter(None, [*_own_path(), passed.get("PYTHONPATH", "")]))
        )
        for number in numbers:
            name = f"{self._token}-{number}"
            actor = ray.remote(Member).options(
                name=name,
                namespace=NAMESPACE,
                lifetime="detached",
                max_restarts=-1,
                num_cpus=self.num_cpus,
                num_gpus=self.num_gpus,
                resources=dict(self.resources) or None,
                runtime_env={"env_vars": passed},
                **memory,
            )
            actor.remote(str(folder), number)
            self._names[number] = name

    def alive(self) -> set[int]:
        """Return the workers whose actors are not dead for good."""
        import ray

        found = set()
        for number, name in self._names.items():
            with contextlib.suppress(ValueError):  # there is none
                ray.get_actor(name, namespace=NAMESPACE)
                found.add(number)
        return found

    def gone(self, number: int) -> Gone:
        """Say how a worker ended, as it wrote beside the queue."""
        assert self._folder is not None
        self._names.pop(number, None)
        said = self._folder / f"ended.{number}"
        how = (
            said.read_text(errors="replace").strip()
            if said.is_file()
            else "it does not see the folder, or cannot write"
        )
        return Gone(number, False, f"worker {number} {how}")

    def waiting(self) -> str | None:
        """Return what is free in the cluster, which does not suffice."""
        import ray

        left: dict[str, float] = ray.available_resources()
        free = {key: amount for key, amount in left.items() if key in self._needed()}
        return f"free are {', '.join(f'{key} {amount:g}' for key, amount in free.items()) or 'none'}"

    def cancel(self) -> None:
        """Let the workers checkpoint, and end their actors."""
        import ray

        if self._folder is not None and self._folder.exists():
            (self._folder / CANCELLED).touch()
        until = time.monotonic() + STOP_SECONDS
        while self.alive() and time.monotonic() < until and self._folder is not None and self._folder.exists():
            time.sleep(0.5)
        for name in self._names.values():
            with contextlib.suppress(ValueError):
                ray.kill(ray.get_actor(name, namespace=NAMESPACE), no_restart=True)

    def cancel_command(self, folder: Path) -> str:
        """Return what ends the workers: a file that they look for."""
        return f"touch {folder / CANCELLED}"


class Member:
    """The actor: keeps a worker process, and goes when that has ended."""

    def __init__(self, folder: str, number: int) -> None:
        import ray

        self._own = ray.get_runtime_context().current_actor
        threading.Thread(target=self._keep, args=(Path(folder), number), daemon=True).start()

    def _keep(self, folder: Path, number: int) -> None:
        import ray

        command = [sys.executable, "-m", "runner.sweep.launch.worker", str(folder), str(number), WITH_PARENT]
        try:
            if not folder.is_dir():
                return
            with (folder / f"worker.{number}.err").open("ab") as errors:
                code = subprocess.run(command, stdout=errors, stderr=errors, check=False).returncode
            if folder.is_dir() and code:
                lines = (folder / f"worker.{number}.err").read_text(errors="replace").strip().splitlines()
                said = f"ended with exit code {code} on {os.uname().nodename}: {lines[-1] if lines else ''}"
                (folder / f"ended.{number}").write_text(said)
        except OSError:
            pass
        finally:
            ray.kill(self._own, no_restart=True)


def _own_path() -> list[str]:
    """Return where this package was imported from, where that is no installation."""
    place = Path(__file__).resolve().parents[3]
    return [] if place.name in ("site-packages", "dist-packages") else [str(place)]
