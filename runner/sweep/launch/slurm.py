"""Workers as the tasks of a Slurm array, submitted by submitit.

Near its time limit, or where Slurm says that it is preempted, a worker gets a signal, checkpoints what it trains, and
is queued again. A worker that Slurm itself queues again (a lost node) begins anew, and goes on with what it finds.
"""

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from runner import INTERRUPTED
from runner.errors import ConfigError, closest
from runner.sweep.launch.cluster import Gone

OFTEN = 10**6
"""How often a worker may reach its time limit: until the sweep is over."""
ASK_TIMEOUT_SECONDS = 60
POLL_SECONDS = 0.1
REQUEUE_SECONDS = 15
"""Of the time between the signal and the limit, so much is kept for asking Slurm to queue the worker again."""
TEXTS = ("partition", "qos", "account", "constraint", "exclude", "nodelist", "gres", "comment")
"""Settings that sbatch and submitit call by the same name."""


@dataclass
class Slurm:
    """What each worker gets, in submitit's words."""

    workers: int
    processes: int
    timeout_min: int
    cpus_per_task: int
    gpus_per_worker: int = 0
    mem_gb: float | None = None
    signal_delay_s: int = 90
    texts: Mapping[str, str] = field(default_factory=dict)
    """Those of ``TEXTS`` that are set."""
    additional_parameters: Mapping[str, Any] = field(default_factory=dict)
    setup: Sequence[str] = ()
    python: str | None = None
    name: str = "Slurm"
    _jobs: dict[int, str] = field(default_factory=dict)
    """Slurm's id of each worker."""
    _states: dict[str, tuple[str, str]] = field(default_factory=dict)
    """State and reason of those that squeue knew when it was asked last."""

    def check(self) -> None:
        """Refuse what Slurm would refuse; nothing is submitted.

        Raises:
            ConfigError: if submitit or Slurm is not here, or sbatch refuses the parameters.
        """
        try:
            import submitit  # noqa: F401
        except ImportError as error:
            raise ConfigError("hydra/launcher=optbench_slurm needs submitit: pip install 'optbench[slurm]'") from error
        for command in ("sbatch", "squeue", "scontrol", "scancel", "srun"):
            if shutil.which(command) is None:
                raise ConfigError(
                    f"hydra/launcher=optbench_slurm needs Slurm's {command}, which is not on this machine: start the "
                    "sweep on one from which jobs are submitted, or leave the launcher out"
                )
        known = _ask("sinfo", "-h", "-o", "%R")
        if known.returncode:
            raise ConfigError(f"Slurm does not answer: {_said(known)}; see sinfo, and SLURM_CONF")
        names = sorted(set(known.stdout.split()))
        for name in filter(None, self.texts.get("partition", "").split(",")):
            if name not in names:
                hint = f"{closest(name, names)}\nvalid: {', '.join(names)}"
                raise ConfigError(f"hydra.launcher.partition: Slurm has no partition {name!r}{hint}")
        tried = _ask("sbatch", "--test-only", *self.arguments(), "--wrap=true")
        if tried.returncode:
            raise ConfigError(f"Slurm refuses such workers: {_said(tried)}")

    def arguments(self) -> list[str]:
        """Return what is asked for each worker as sbatch takes it."""
        flags = []
        for key, value in {**self._resources(), **self.additional_parameters}.items():
            if value is not None and value is not False:
                flag = f"--{key.replace('_', '-')}"
                flags.append(flag if value is True else f"{flag}={value}")
        return flags

    def _resources(self) -> dict[str, Any]:
        """Return what is asked for each worker, in the words that sbatch and submitit share."""
        given = {
            "time": self.timeout_min,
            "cpus_per_task": self.cpus_per_task,
            "gpus_per_node": self.gpus_per_worker or None,
            "mem": None if self.mem_gb is None else f"{round(self.mem_gb * 1024)}M",
        }
        return {key: value for key, value in given.items() if value is not None} | dict(self.texts)

    def start(self, folder: Path, numbers: Sequence[int]) -> None:
        """Submit an array.

        Raises:
            ConfigError: with what sbatch says.
        """
        import submitit

        logs = folder / "slurm"
        executor = submitit.SlurmExecutor(folder=logs, max_num_timeout=OFTEN, python=self.python)
        executor.update_parameters(
            job_name="optbench",
            signal_delay_s=self.signal_delay_s,
            array_parallelism=len(numbers),
            setup=list(self.setup) or None,
            additional_parameters={"requeue": True, **self.additional_parameters},
            **self._resources(),
        )
        patience = max(self.signal_delay_s - REQUEUE_SECONDS, self.signal_delay_s / 2)
        workers = [Member(str(folder), number, patience) for number in numbers]
        try:
            with executor.batch():
                jobs = [executor.submit(worker) for worker in workers]
        except submitit.core.utils.FailedJobError as error:
            said = [line for line in str(error).splitlines() if line.strip()]
            raise ConfigError(f"sbatch refuses the workers: {said[-1] if said else error}") from error
        self._jobs |= {number: str(job.job_id) for number, job in zip(numbers, jobs, strict=True)}
        self._states |= {str(job.job_id): ("PENDING", "") for job in jobs}

    def alive(self) -> set[int]:
        """Return the workers that squeue knows; those of the last time where it does not answer."""
        ids = sorted({job.partition("_")[0] for job in self._jobs.values()})
        found: dict[str, tuple[str, str]] = {}
        for one in ids:
            asked = _ask("squeue", "-h", "-r", "-j", one, "-o", "%i|%T|%r")
            if asked.returncode and "Invalid job id" not in asked.stderr:  # the controller is away for a moment
                return {number for number, job in self._jobs.items() if job in self._states}
            for line in asked.stdout.splitlines():
                job, state, reason = line.split("|", 2)
                found[job] = (state, reason)
        self._states = found
        return {number for number, job in self._jobs.items() if job in found}

    def gone(self, number: int) -> Gone:
        """Say how a worker ended; its log's last line is shown."""
        job = self._jobs.pop(number)
        fields = _shown(job)
        state, node = fields.get("JobState", "gone"), fields.get("NodeList", "(null)")
        how = f"job {job}, {state}" + (f" on {node}" if node != "(null)" else "")
        log = Path(fields.get("StdErr", ""))
        lines = log.read_text(errors="replace").split("\n") if log.is_file() else []
        last = next((line.strip() for line in reversed(lines) if line.strip().startswith(("optbench:", "E"))), None)
        last = last or next((line.strip() for line in reversed(lines) if line.strip()), None)
        if last:
            how += f": {last}"
        elif not log.is_file():
            how += "; it left no log, as where its host does not see the folder"
        return Gone(number, state == "CANCELLED", how)

    def waiting(self) -> str | None:
        """Return Slurm's reasons why workers do not run."""
        held = {reason or "None" for state, reason in self._states.values() if state not in ("RUNNING", "COMPLETING")}
        return ", ".join(sorted(held)) or None

    def cancel(self) -> None:
        """Cancel the jobs: Slurm sends a SIGTERM first."""
        if self._jobs:
            _ask("scancel", *self._ids())

    def cancel_command(self, folder: Path) -> str:
        """Return the command that does."""
        return " ".join(("scancel", *self._ids()))

    def _ids(self) -> list[str]:
        return sorted({job.partition("_")[0] for job in self._jobs.values()})


@dataclass
class Member:
    """What runs in a task of the array."""

    folder: str
    number: int
    patience_s: float = 60.0
    """So long the worker is given to checkpoint near its limit: a step may take longer."""
    _pid: int = 0

    def __call__(self) -> int:
        """Run a worker to its end.

        Raises:
            RuntimeError: if it cannot work.
        """
        command = [sys.executable, "-m", "runner.sweep.launch.worker", self.folder, str(self.number)]
        worker = subprocess.Popen(command, preexec_fn=_deaf)
        self._pid = worker.pid
        code = worker.wait()
        self._pid = 0
        if code == INTERRUPTED and _is_preempted():
            _ask("scontrol", "requeue", _own_job())
        if code not in (0, INTERRUPTED):
            raise RuntimeError(f"the worker ended with exit code {code}")
        return code

    def checkpoint(self) -> Any:
        """Let the worker checkpoint and end, on the signal before the limit; submitit queues it again.

        One that does not end in time is queued again all the same, and goes on from the checkpoint before: a task that
        reached its limit would be gone.
        """
        import submitit

        with contextlib.suppress(ProcessLookupError, ChildProcessError):  # it ended just now
            if self._pid:
                os.kill(self._pid, signal.SIGTERM)
                _wait(self._pid, self.patience_s)
        return submitit.helpers.DelayedSubmission(Member(self.folder, self.number, self.patience_s))


def _wait(pid: int, seconds: float) -> None:
    """Wait for a child to end, so long at most; it is not reaped: who started it does that."""
    until = time.monotonic() + seconds
    while os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT | os.WNOHANG) is None and time.monotonic() < until:
        time.sleep(POLL_SECONDS)


def _deaf() -> None:
    """Leave the signal before the limit, which reaches all of a task's processes, to submitit."""
    signal.signal(signal.SIGUSR2, signal.SIG_IGN)


def _own_job() -> str:
    array, task = os.environ.get("SLURM_ARRAY_JOB_ID"), os.environ.get("SLURM_ARRAY_TASK_ID")
    return f"{array}_{task}" if array and task else os.environ["SLURM_JOB_ID"]


def _is_preempted() -> bool:
    """Say whether Slurm takes the resources back after a time of grace: a job that ends in it is not queued again."""
    fields = _shown(_own_job())
    return fields.get("JobState") == "RUNNING" and fields.get("PreemptTime", "None") not in ("None", "")


def _shown(job: str) -> dict[str, str]:
    """Return what scontrol says of a job, by field; nothing where it does not answer."""
    shown = _ask("scontrol", "-o", "show", "job", job).stdout
    return dict(part.split("=", 1) for part in shown.split() if "=" in part)


def _ask(*command: str) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(command, capture_output=True, text=True, check=False, timeout=ASK_TIMEOUT_SECONDS)
    except subprocess.TimeoutExpired:
        return subprocess.CompletedProcess(command, 1, "", f"{command[0]} took more than {ASK_TIMEOUT_SECONDS} s")


def _said(answer: subprocess.CompletedProcess[str]) -> str:
    lines = [line.strip() for line in answer.stderr.splitlines() if line.strip()]
    return "; ".join(line.removeprefix("sbatch: error: ").removeprefix("sinfo: error: ") for line in lines)
