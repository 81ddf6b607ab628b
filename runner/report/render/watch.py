"""A report that follows its runs: the page is made anew when they change, and the browser takes it by itself.

Runs are looked at, never touched: no lock is taken, and nothing is written but the report.
"""

import hashlib
import html
import os
import re
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NoReturn

from runner.errors import ConfigError, NothingYet, RecordError
from runner.report.render.page import document
from runner.report.render.serve import Server, Shown
from runner.report.write import Report

POLL_SECONDS = 2.0
POLLING_SHARE, MAKING_SHARE = 0.05, 0.33
"""At most this share of the time goes into looking at the runs, and into making pages, however many runs there are."""
NICENESS = 10
POLICY = re.compile(r'(?<=http-equiv="Content-Security-Policy" content=")[^"]+')
SCRIPT = Path(__file__).with_name("watch.js")


def watch(folders: Sequence[Path], make: Callable[[], Report], port: int, started: Callable[[str], None]) -> NoReturn:
    """Serve a report and keep it up to date until a folder is gone or the user ends it.

    Args:
        folders: of the runs that the report is of.
        make: draws the report.
        port: of the page; 0 is any that is free.
        started: is told the page's address once it is there.

    Raises:
        ConfigError: if the port is taken, or the report is refused before it was ever made.
        RecordError: when a folder is gone.
    """
    server = Server(port, folders[0] / "report", _waiting(folders, "The report is being made."))
    with server:
        os.nice(NICENESS)
        seen = stamp(folders)
        began = time.monotonic()
        server.shown = _made(folders, make, server)
        took = time.monotonic() - began
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            started(server.url)
            _follow(folders, make, server, seen, took)
        finally:
            server.shutdown()


def _follow(folders: Sequence[Path], make: Callable[[], Report], server: Server, seen: str, took: float) -> NoReturn:
    """Make the page anew whenever the runs have changed, and not more often than it may cost."""
    next_at = time.monotonic() + _rest(took)
    pause = POLL_SECONDS
    while True:
        time.sleep(pause)
        if gone := [folder for folder in folders if not folder.is_dir()]:
            raise RecordError(f"{gone[0]} is no longer there: watching has ended")
        began = time.monotonic()
        now = stamp(folders)
        pause = max(POLL_SECONDS, (time.monotonic() - began) / POLLING_SHARE)
        if now == seen or time.monotonic() < next_at:
            continue
        began = time.monotonic()
        try:
            server.shown = _made(folders, make, server)
            seen = now
        except ConfigError as error:  # such as axes that do not vary yet
            server.shown, seen = _waiting(folders, str(error)), now
        except OSError as error:  # a full disk, a folder that is just going: tried again
            server.shown = noted(server.shown, f"The page could not be made anew: {error}")
        next_at = time.monotonic() + _rest(time.monotonic() - began)


def _rest(took: float) -> float:
    return took * (1 / MAKING_SHARE - 1)


def stamp(folders: Sequence[Path]) -> str:
    """Return what changes when a run gets a row or a result, comes or goes, and when a search or baselines go on.

    10,000 runs are 10,000 looks at a file's time and size, 0.1 s on a local disk.
    """
    found = hashlib.sha256()
    for folder in folders:
        try:
            with os.scandir(folder) as entries:
                runs = [entry.path for entry in entries if "-" in entry.name and not entry.name.startswith(".")]
        except OSError:
            continue
        for path in ("runs.csv", "metrics.csv", "summary.json", "search.json", "finals.json", "baselines.csv"):
            found.update(_state(f"{folder}/{path}").encode())
        for run in sorted(runs):
            found.update(f"{run}{_state(f'{run}/metrics.csv')}".encode("utf-8", "surrogateescape"))
    return found.hexdigest()


def _state(path: str) -> str:
    try:
        status = os.stat(path)
    except OSError:
        return "-"
    return f"{status.st_mtime_ns},{status.st_size},{status.st_ino};"


def _made(folders: Sequence[Path], make: Callable[[], Report], server: Server) -> Shown:
    try:
        found = make()
    except NothingYet as error:
        return _waiting(folders, str(error))
    found.write()
    server.files = found.page.parent / "report"
    return served(found.page.read_text(encoding="utf-8"))


def served(page: str, note: str = "") -> Shown:
    """Return a page as it is served: with leave to ask its server, and the script that does.

    Args:
        page: as it lies on disk.
        note: what a reader must know of it.
    """
    version = hashlib.sha256(f"{note}\0{page}".encode("utf-8", "replace")).hexdigest()[:16]
    policy, (body, end, rest) = POLICY.search(page), page.rpartition("</body>")
    assert policy is not None and end, "a page has a policy and a body"
    asking = f"{policy[0]}; connect-src 'self'"  # the file on disk may ask for nothing
    said = html.escape(note, quote=True)
    status = f'<p id="watching" class="soft" role="status">{said}</p>'
    script = f'<script data-version="{version}" data-note="{said}">{SCRIPT.read_text(encoding="utf-8")}</script>'
    return Shown(f"{POLICY.sub(asking, body, count=1)}{status}{script}{end}{rest}", asking, version, page)


def noted(shown: Shown, note: str) -> Shown:
    """Return the same page with a note."""
    return served(shown.page, note)


def _waiting(folders: Sequence[Path], said: str) -> Shown:
    """Return the page that stands where there is no report yet."""
    of = ", ".join(folder.resolve().name for folder in folders)
    lines = "".join(f"<p>{html.escape(line)}</p>" for line in said.splitlines())
    main = f'<section class="answer" id="answer-0"><h2>No answer yet</h2>{lines}</section>'
    footer = "This page becomes the report once there is something to report."
    return served(document(f"optbench report: {of}", "", main, footer, ("answer-0", "Skip to what is said")))
