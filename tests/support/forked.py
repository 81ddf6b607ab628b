"""Commands in processes that are forked: what the tests have imported is there, and they can be killed."""

import contextlib
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path

import torch

from runner.cli.main import main


def call(function: Callable[[], int]) -> int:
    """Call a function in a new process, the head of a group; return its id.

    It exits with the code that the function returns, and with 1 if that raises.
    """
    if (pid := os.fork()) == 0:
        code = 1
        try:
            os.setsid()
            signal.signal(signal.SIGINT, signal.default_int_handler)
            torch.set_num_threads(1)
            code = function()
        finally:
            os._exit(code)
    return pid


def start(folder: Path, *argv: str, prepare: Callable[[], object] = lambda: None, said: str = "said.txt") -> int:
    """``optbench …`` in a folder, silent, as the head of a group of processes; return its id.

    ``prepare`` is called in the new process first; what it says goes to the file ``said`` in the folder.
    """

    def silent() -> int:
        os.chdir(folder)
        prepare()
        with (folder / said).open("w") as file:
            os.dup2(file.fileno(), 1)
            os.dup2(file.fileno(), 2)
            sys.stdout = sys.stderr = file
            return main(list(argv))

    return call(silent)


def has_ended(pid: int) -> bool:
    return os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None


def code_of(pid: int) -> int:
    """Wait for its end, and return its exit code; of a signal, the negative number."""
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def kill(pid: int) -> None:
    """End it and all that it started."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(pid, signal.SIGKILL)
    code_of(pid)
