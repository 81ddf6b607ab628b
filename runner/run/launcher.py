"""The processes of one run are started on this machine, watched, and ended together. Never imports torch itself."""

import contextlib
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import FrameType
from typing import IO, Any

import runner
from runner import INTERRUPTED
from runner.errors import ProcessError
from runner.run.devices import GOES_ON

LOST = 74
"""What a process of such a run exits with where another one has gone: who started them says so."""
STARTED_BY = "OPTBENCH_STARTED_BY"
"""The id of the process that started this one among others."""
POLL_SECONDS = 0.1
ENDS_ITSELF_SECONDS = 5.0
"""For the others, once one process has gone: then they are asked to stop, and after as long again they are killed."""
TAIL_LINES = 5


def started_here() -> bool:
    """Say whether ``launched`` started this process."""
    return STARTED_BY in os.environ


def launched(
    arguments: Sequence[str], devices: int, said: Path | None = None, stopped: Callable[[], None] = lambda: None
) -> int:
    """Run a command on so many processes, and return what the first one exits with.

    Args:
        arguments: of ``optbench train``.
        devices: how many.
        said: the folder for what all of them say; None: the first one speaks.
        stopped: called when a SIGINT or SIGTERM is passed on to them. It may end a process that is still starting: the
            run counts as interrupted all the same.

    Raises:
        ProcessError: if one of them has gone before the run was over, though none was told to stop.
    """
    from torch._C._distributed_c10d import TCPStore

    store = TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)  # on whatever port is free
    with tempfile.TemporaryDirectory() as own, contextlib.ExitStack() as files:
        place = said or Path(own)
        started = []
        for rank in range(devices):
            output = files.enter_context((place / str(rank)).open("w")) if rank or said else None
            started.append(_started(arguments, rank, devices, store.port, output))
        told = []

        def stop() -> None:
            told.append(True)
            stopped()

        before = {n: signal.signal(n, _passed_on(started, stop)) for n in (signal.SIGINT, signal.SIGTERM)}
        try:
            first = _until_over(started)
        finally:
            for process in started:
                process.kill()
                process.wait()
            for number, handler in before.items():
                signal.signal(number, handler)
        code = started[0].returncode
        if first is None or not (code == LOST or code < 0):
            return code
        if told:
            return INTERRUPTED
        rank, ended = first
        how = f"by {signal.Signals(-ended).name}" if ended < 0 else f"with exit code {ended}"
        raise ProcessError(f"process {rank} of {devices} ended {how}; {GOES_ON}{_tail(place / str(rank))}")


def last_words(said: Path) -> str:
    """Return the last line that the first of several processes said on stderr, without the program's name."""
    lines = _lines(said / "0")
    return lines[-1].removeprefix("optbench: ") if lines else ""


def _started(
    arguments: Sequence[str], rank: int, devices: int, port: int, said: IO[str] | None
) -> "subprocess.Popen[bytes]":
    package = str(Path(runner.__file__).resolve().parent.parent)
    paths = [package, *filter(None, [os.environ.get("PYTHONPATH")])]
    names = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": devices, "LOCAL_WORLD_SIZE": devices, "MASTER_PORT": port}
    environment = {
        **os.environ,
        **{name: str(value) for name, value in names.items()},
        "MASTER_ADDR": "127.0.0.1",
        "TORCHELASTIC_USE_AGENT_STORE": "True",  # this process keeps it
        "PYTHONPATH": os.pathsep.join(paths),
        STARTED_BY: str(os.getpid()),
    }
    command = [sys.executable, "-P", "-m", "runner.train", *arguments]
    # A session of their own: a Ctrl-C reaches them through this process, once each.
    stdout = subprocess.DEVNULL if said else None
    return subprocess.Popen(command, env=environment, stdout=stdout, stderr=said, start_new_session=True)


def _passed_on(started: "Sequence[subprocess.Popen[bytes]]", stopped: Callable[[], None] = lambda: None) -> Any:
    def pass_on(number: int, frame: FrameType | None) -> None:
        stopped()
        for process in started:
            if process.poll() is None:
                process.send_signal(number)

    return pass_on


def _until_over(started: "Sequence[subprocess.Popen[bytes]]") -> tuple[int, int] | None:
    """Wait for all; return the first that ended badly, with what it ended with."""
    first: tuple[int, int] | None = None
    ended_at, asked = 0.0, False
    while None in [process.poll() for process in started]:  # of all: one that ended is seen while another waits
        bad = [(rank, p.returncode) for rank, p in enumerate(started) if p.returncode not in (None, 0, LOST)]
        if first is None and (bad or any(p.returncode == LOST for p in started)):
            ended_at = time.monotonic()
            first = bad[0] if bad else None
        if ended_at and time.monotonic() - ended_at > ENDS_ITSELF_SECONDS:
            _passed_on(started)(signal.SIGKILL if asked else signal.SIGTERM, None)
            ended_at, asked = time.monotonic(), True
        time.sleep(POLL_SECONDS)
    ends = [(rank, process.returncode) for rank, process in enumerate(started) if process.returncode != 0]
    return first or next((end for end in ends if end[1] != LOST), ends[0] if ends else None)


def _tail(said: Path) -> str:
    """Return the last lines of what a process said, below a message; nothing of one that spoke for itself."""
    return "".join(f"\n    {line}" for line in _lines(said)[-TAIL_LINES:])


def _lines(said: Path) -> list[str]:
    if not said.exists():
        return []
    return [line.rstrip() for line in said.read_text(errors="replace").splitlines() if line.strip()]
