"""A browser that opens the report's page as a file, and writes down what it complains of or asks for."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

BROWSER = next((b for b in ("chromium", "chromium-browser", "google-chrome") if shutil.which(b)), None)
FLAGS = ("--no-sandbox", "--use-angle=swiftshader", "--enable-unsafe-swiftshader")
"""Parallel coordinates need WebGL, which machines without a screen compute."""


@dataclass
class Opened:
    """A page, and what happened on it."""

    page: Any
    complaints: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)

    def wide(self) -> int:
        """By how many pixels the page is wider than its window."""
        return int(self.page.evaluate("document.documentElement.scrollWidth - innerWidth"))

    def draw_all(self) -> None:
        """Bring every chart into sight, so that it is drawn."""
        for at in range(self.page.locator(".chart").count()):
            self.page.locator(".chart").nth(at).scroll_into_view_if_needed()
            self.page.wait_for_function("at => charts[at].drawn", arg=at)


@contextmanager
def opened(file: Path, width: int = 1280, **context: Any) -> Iterator[Opened]:
    """Open a file; what it asks for beside itself is written down."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which(BROWSER or ""), args=list(FLAGS))
        page = browser.new_context(viewport={"width": width, "height": 900}, **context).new_page()
        page.set_default_timeout(60_000)
        found = Opened(page)
        page.on("console", lambda message: found.complaints.append(message.text))
        page.on("pageerror", lambda error: found.complaints.append(str(error)))
        own = ("data:", "blob:", file.resolve().as_uri())
        page.on("request", lambda r: None if r.url.startswith(own) else found.requests.append(r.url))
        page.goto(file.resolve().as_uri())
        yield found
        browser.close()


def axe_violations(opened: Opened) -> list[str]:
    """What axe-core calls serious or critical, with where."""
    import axe_playwright_python

    script = Path(os.path.dirname(axe_playwright_python.__file__)) / "axe.min.js"
    opened.page.evaluate(script.read_text(encoding="utf-8"))
    found = opened.page.evaluate("axe.run().then(r => r.violations)")
    return [
        f"{v['id']}: {v['nodes'][0]['html'][:160]} ({len(v['nodes'])})"
        for v in found
        if v["impact"] in ("serious", "critical")
    ]
