"""``--watch`` of what trains: the report's page, which follows its runs, served by a process beside it."""

import multiprocessing
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from runner.errors import OptbenchError

LOOK_SECONDS = 0.5
ABOUT = "show the report as a page on this machine that follows the runs, until the command ends"


@contextmanager
def followed(folder: Path | None, config_dir: str | None = None) -> Iterator[None]:
    """Serve the report of a folder while the block trains into it; nothing where there is no folder.

    The other process waits for the folder, writes the report alone, and ends with this one however this one ends.
    """
    if folder is None:
        yield
        return
    serving = multiprocessing.get_context("spawn").Process(
        target=_serve, args=(str(folder.resolve()), str(folder), config_dir, os.getpid())
    )  # no daemon: it draws on all cores, and a daemon may have no processes of its own
    serving.start()
    try:
        yield
    finally:
        serving.terminate()
        serving.join()


def _serve(folder: str, called: str, config_dir: str | None, parent: int) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a Ctrl-C is the other's, who ends this
    signal.signal(signal.SIGTERM, lambda *_: sys.exit())  # so, and whole: what draws for this one ends first
    threading.Thread(target=_end_with, args=(parent,), daemon=True).start()
    while not os.path.isdir(folder):
        time.sleep(LOOK_SECONDS)
    from runner.report.render.watch import watch
    from runner.report.write import Asked, report

    def started(url: str) -> None:
        print(f"optbench: {url} shows the report of {called} and follows its runs", file=sys.stderr, flush=True)

    try:
        watch([Path(folder)], lambda: report([Path(folder)], Asked(config_dir=config_dir)), 0, started)
    except OptbenchError as error:
        print(f"optbench: watching has ended: {error}", file=sys.stderr, flush=True)


def _end_with(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(LOOK_SECONDS)
    os._exit(0)
