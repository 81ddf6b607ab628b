"""What a watched report gives away: its page and the files beside it, to who is on this machine, for reading alone."""

import gzip
import http.client
import json
import re
import shutil
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from runner.errors import ConfigError
from runner.report.render.page import document
from runner.report.render.serve import Server, Shown
from runner.report.render.watch import served

PAGE = document("A title", "a line", "<p>the body</p>", "an end", ("main", "Skip"))


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    """A page of a folder that holds more than the report."""
    (tmp_path / "report").mkdir()
    (tmp_path / "report" / "settings.csv").write_text("init\nhe\n")
    (tmp_path / "report" / "plot.svg").write_text("<svg><script>alert(1)</script></svg>")
    (tmp_path / "report" / "notes.txt").write_text("not of the report")
    (tmp_path / "report" / ".hidden.csv").write_text("hidden")
    (tmp_path / "runs.csv").write_text("secret")
    (tmp_path / "report" / "link.csv").symlink_to(tmp_path / "runs.csv")
    (tmp_path / "report" / "folder.csv").mkdir()
    with Server(0, tmp_path / "report", served(PAGE)) as found:
        thread = threading.Thread(target=found.serve_forever, args=(0.01,))
        thread.start()
        yield found
        found.shutdown()
        thread.join()


def ask(server: Server, path: str, method: str = "GET", **headers: str) -> tuple[http.client.HTTPResponse, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", server.server_address[1], timeout=10)
    connection.request(method, path, headers={k.replace("_", "-"): v for k, v in headers.items()})
    response = connection.getresponse()
    body = response.read()
    connection.close()
    return response, body


def test_the_page_may_ask_its_server_and_the_file_may_not(server: Server) -> None:
    response, body = ask(server, "/")
    assert response.status == 200 and response.headers["Content-Type"] == "text/html; charset=utf-8"
    assert "connect-src 'self'" in response.headers["Content-Security-Policy"]
    assert "img-src data: blob:; connect-src 'self'\">" in body.decode()
    assert "connect-src" not in PAGE and "fetch(" not in PAGE
    assert body.decode().count("</body>") == 1 and body.decode().index("fetch(") < body.decode().index("</body>")


def test_the_version_is_the_pages_and_changes_with_it(server: Server) -> None:
    version = ask(server, "/version")[1].decode().strip()
    assert f'data-version="{version}"' in ask(server, "/")[1].decode()
    server.shown = served(PAGE)
    assert ask(server, "/version")[1].decode().strip() == version
    for other in (served(PAGE.replace("body", "text", 1)), served(PAGE, "a note")):
        server.shown = other
        assert ask(server, "/version")[1].decode().strip() != version


def test_the_page_is_compressed_for_who_takes_it_and_sent_once(server: Server) -> None:
    plain, body = ask(server, "/")
    packed, small = ask(server, "/", Accept_Encoding="br, gzip;q=0.5")
    assert packed.headers["Content-Encoding"] == "gzip" and gzip.decompress(small) == body and len(small) < len(body)
    assert "Content-Encoding" not in ask(server, "/", Accept_Encoding="gzip;q=0, br")[0].headers
    assert plain.headers["ETag"] != packed.headers["ETag"]
    for headers in ({"If_None_Match": plain.headers["ETag"]}, {"If_None_Match": f'"x", W/{plain.headers["ETag"]}'}):
        response, body = ask(server, "/", **headers)
        assert (response.status, body) == (304, b"")
    assert ask(server, "/", If_None_Match=packed.headers["ETag"])[0].status == 200


def test_the_files_of_the_report_are_there(server: Server) -> None:
    response, body = ask(server, "/report/settings.csv")
    assert (response.status, body) == (200, b"init\nhe\n")
    assert response.headers["X-Content-Type-Options"] == "nosniff"
    assert "script-src" not in ask(server, "/report/plot.svg")[0].headers["Content-Security-Policy"]
    response, body = ask(server, "/report/settings.csv", "HEAD")
    assert (response.status, response.headers["Content-Length"], body) == (200, "8", b"")


NOWHERE = ["/report/../runs.csv", "/report/..%2Fruns.csv", "/report/%2e%2e/runs.csv", "/runs.csv", "//etc/passwd"]
NOWHERE += ["/report/", "/report", "/report/notes.txt", "/report/.hidden.csv", "/report/link.csv", "/report/folder.csv"]
NOWHERE += ["/report//settings.csv", "/report/settings.csv%00", "/report/none.csv", "/report/settings.csv%0A", "/x"]


@pytest.mark.parametrize("path", NOWHERE)
def test_nothing_else_is_there(server: Server, path: str) -> None:
    response, body = ask(server, path)
    assert response.status == 404 and b"secret" not in body and b"not of the report" not in body


@pytest.mark.parametrize("host", ["elsewhere.example", "127.0.0.1.elsewhere.example", "", "localhost.", "[::1]:80"])
@pytest.mark.parametrize("path", ["/", "/version", "/report/settings.csv"])
def test_a_page_that_calls_this_machine_by_another_name_learns_nothing(server: Server, host: str, path: str) -> None:
    response, body = ask(server, path, Host=host)
    assert response.status == 403 and body == b"only as 127.0.0.1 or localhost\n"


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:9000", "127.0.0.1:1"])
def test_this_machine_is_known_by_its_names_at_any_port(server: Server, host: str) -> None:
    assert ask(server, "/version", Host=host)[0].status == 200  # such as the near end of an ssh tunnel


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS"])
def test_it_is_for_reading_alone(server: Server, method: str) -> None:
    response, _ = ask(server, "/", method)
    assert response.status == 405 and response.headers["Allow"] == "GET, HEAD"


def test_a_port_that_is_taken_is_named(server: Server, tmp_path: Path) -> None:
    port = server.server_address[1]
    with pytest.raises(ConfigError, match=rf"--port {port}.*Address already in use"):
        Server(port, tmp_path, server.shown)


BROWSER = next((b for b in ("chromium", "chromium-browser", "google-chrome") if shutil.which(b)), None)
PROBE = """<script>
  addEventListener("load", () => {
    if (!sessionStorage.getItem("seen")) {
      sessionStorage.setItem("seen", "1");
      document.getElementById("fold").open = true;
      scrollTo(0, 1500);
    } else setTimeout(() => {
      const found = { y: scrollY, open: document.getElementById("fold").open };
      document.body.dataset.probe = JSON.stringify(found);
    }, 3000);
  });</script></body>"""


class Changing(Server):
    """Shows one page after another, and goes on with the last."""

    coming: list[Shown]

    @property
    def shown(self) -> Shown:
        return self.coming.pop(0) if len(self.coming) > 1 else self.coming[0]


@pytest.mark.skipif(BROWSER is None, reason="no Chromium")
def test_a_browser_takes_the_new_page_where_its_reader_was(server: "Changing", tmp_path: Path) -> None:
    """The first page scrolls and unfolds; the second, which is longer above, says where its reader then is."""
    fold = '<section id="late"><details id="fold"><summary>More</summary>text</details>'
    long = f'<div style="height: 1000px"></div>{fold}<div style="height: 3000px"></div></section>'
    first = PAGE.replace("<p>the body</p>", long).replace("</body>", PROBE)
    second = first.replace("<main>", '<main><div style="height: 700px"></div>')
    server.__class__, server.coming = Changing, [served(page) for page in (first, first, second)]
    flags = ["--headless=new", "--no-sandbox", "--disable-gpu", "--enable-logging=stderr", "--window-size=900,700"]
    flags += [f"--user-data-dir={tmp_path / 'profile'}", "--virtual-time-budget=15000", "--dump-dom"]
    done = subprocess.run([BROWSER, *flags, server.url], capture_output=True, text=True, timeout=120)
    assert "CONSOLE" not in done.stderr, done.stderr
    match = re.search(r'data-probe="([^"]*)"', done.stdout)
    assert match is not None, done.stdout[-2000:] + done.stderr
    assert json.loads(match[1].replace("&quot;", '"')) == {"y": pytest.approx(2200, abs=2), "open": True}
    assert "Watching: this page follows its runs." in done.stdout
