"""A report's page on this machine's own address: nothing but the page and the files beside it, for reading alone."""

import gzip
import os
import re
import stat
from dataclasses import dataclass
from functools import cached_property
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote, urlsplit

from runner.errors import ConfigError

ADDRESS = "127.0.0.1"
NAMES = ("127.0.0.1", "localhost")
"""What a browser may call this machine: another name is that of a page elsewhere which was made to point here."""
KINDS = {
    ".png": "image/png",
    ".svg": "image/svg+xml",
    ".pdf": "application/pdf",
    ".csv": "text/csv; charset=utf-8",
    ".tex": "text/plain; charset=utf-8",
    ".json": "application/json",
}
PATIENCE_SECONDS = 30.0
"""A connection that says nothing for so long is closed."""


@dataclass(frozen=True)
class Shown:
    """A page as it is served."""

    html: str
    policy: str
    """Its Content-Security-Policy."""
    version: str
    """Another one for another page."""
    page: str
    """As it lies on disk."""

    @cached_property
    def body(self) -> bytes:
        """The page as it is sent."""
        return self.html.encode("utf-8", "replace")

    @cached_property
    def packed(self) -> bytes:
        """The page as it is sent to who takes gzip."""
        return gzip.compress(self.body, 6, mtime=0)


class Server(ThreadingHTTPServer):
    """Serves one page, which may be exchanged at any time, and the files of one folder."""

    daemon_threads = True

    def __init__(self, port: int, files: Path, shown: Shown) -> None:
        """Take a port; 0 is any that is free.

        Raises:
            ConfigError: if it cannot be had.
        """
        self.files, self.shown = files, shown
        try:
            super().__init__((ADDRESS, port), Handler)
        except OSError as error:
            said = f"--port {port}: {ADDRESS} has no such port to give: {error.strerror or error}"
            raise ConfigError(f"{said}; without --port a free one is taken") from error

    @property
    def url(self) -> str:
        """Where the page is."""
        return f"http://{ADDRESS}:{self.server_address[1]}/"

    def handle_error(self, request: object, client_address: object) -> None:
        """Keep silent where a browser has gone away."""


class Handler(BaseHTTPRequestHandler):
    """Answers GET and HEAD."""

    server: Server
    protocol_version = "HTTP/1.1"
    server_version, sys_version = "optbench", ""
    timeout = PATIENCE_SECONDS

    def do_GET(self) -> None:
        """Send what is asked for."""
        host = re.sub(r":\d+$", "", self.headers.get("Host", "").strip().lower())
        path = unquote(urlsplit(self.path).path)
        if host not in NAMES:
            self._say(HTTPStatus.FORBIDDEN, f"only as {' or '.join(NAMES)}")
        elif path == "/":
            self._page()
        elif path == "/version":
            self._say(HTTPStatus.OK, self.server.shown.version)
        elif match := re.fullmatch(r"/report/(\w[\w.-]*)", path):
            self._file(match[1])
        else:
            self._say(HTTPStatus.NOT_FOUND, "there is no such page")

    do_HEAD = do_GET

    def _refuse(self) -> None:
        self.close_connection = True  # what it may have sent along is not read
        self._say(HTTPStatus.METHOD_NOT_ALLOWED, "for reading alone", {"Allow": "GET, HEAD"})

    do_POST = do_PUT = do_PATCH = do_DELETE = do_OPTIONS = do_TRACE = do_CONNECT = _refuse

    def _page(self) -> None:
        shown = self.server.shown  # once: it may be exchanged at any time
        packed = _takes_gzip(self.headers.get("Accept-Encoding", ""))
        tag = f'"{shown.version}{"-gzip" if packed else ""}"'
        headers = {"Content-Type": "text/html; charset=utf-8", "ETag": tag, "Vary": "Accept-Encoding"}
        headers |= {"Content-Security-Policy": f"{shown.policy}; frame-ancestors 'none'; base-uri 'none'"}
        if tag in (known.strip().removeprefix("W/") for known in self.headers.get("If-None-Match", "").split(",")):
            self._send(HTTPStatus.NOT_MODIFIED, b"", headers)
        else:
            body = shown.packed if packed else shown.body
            self._send(HTTPStatus.OK, body, headers | ({"Content-Encoding": "gzip"} if packed else {}))

    def _file(self, name: str) -> None:
        kind, body = KINDS.get(Path(name).suffix), _regular_file(self.server.files / name)
        if kind is None or body is None:
            self._say(HTTPStatus.NOT_FOUND, "there is no such file")
        else:
            drawn = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"
            self._send(HTTPStatus.OK, body, {"Content-Type": kind, "Content-Security-Policy": drawn})

    def _say(self, status: HTTPStatus, text: str, headers: dict[str, str] | None = None) -> None:
        self._send(status, f"{text}\n".encode(), {"Content-Type": "text/plain; charset=utf-8", **(headers or {})})

    def _send(self, status: HTTPStatus, body: bytes, headers: dict[str, str]) -> None:
        self.send_response(status)
        fixed = {"Cache-Control": "no-cache", "X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer"}
        for name, value in (fixed | headers).items():
            self.send_header(name, value)
        if status != HTTPStatus.NOT_MODIFIED:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Keep silent: the terminal belongs to the user."""


def _takes_gzip(accepted: str) -> bool:
    """Say whether an ``Accept-Encoding`` header allows gzip."""
    for one in accepted.lower().split(","):
        coding, *rest = (part.strip() for part in one.split(";"))
        if coding == "gzip":
            return not any(re.fullmatch(r"q=0(\.0*)?", part) for part in rest)
    return False


def _regular_file(path: Path) -> bytes | None:
    """Return a file's content; None where it is none, or it or its folder is a link to somewhere else."""
    if path.parent.is_symlink():
        return None
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:
        return None
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        return None
    with open(descriptor, "rb") as file:
        return file.read()
