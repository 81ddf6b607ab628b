"""What ``optbench report`` takes, refuses and opens."""

import webbrowser
from collections.abc import Callable
from pathlib import Path

import pytest

from runner.cli import browser
from runner.cli.completion import complete
from tests.support.made_sweep import made_run, make_sweep


@pytest.fixture
def sweep(folder: Path) -> Path:
    return make_sweep(folder / "sweep", [made_run(0.9)])


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What a browser was asked to open, on a machine that has one."""
    found: list[str] = []
    monkeypatch.setenv("DISPLAY", ":0")
    monkeypatch.setattr(webbrowser, "open", lambda url: found.append(url) or True)
    return found


def test_the_page_is_opened_where_there_is_a_browser(sweep: Path, opened: list[str], optbench: Callable) -> None:
    result = optbench("report", "sweep", "--open")
    assert (result.code, result.err) == (0, "")
    assert opened == [(sweep / "report.html").as_uri()]


def test_without_a_browser_it_is_said_where_the_page_is(
    sweep: Path, optbench: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in browser.DISPLAYS:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(browser.sys, "platform", "linux")
    result = optbench("report", "sweep", "--open")
    assert (result.code, result.err) == (0, "optbench: there is no browser here; the page is sweep/report.html\n")


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        (["--port", "8000"], "--port 8000 needs --watch: add it, or leave --port out"),
        (["--watch", "--port", "many"], "argument --port: must be a whole number, got 'many'"),
        (["--within", "100"], "--within must be > 0 and < 100, in percent of the best, got 100"),
        (["--axes", "init"], "--axes takes two axes, such as init,optim, got 'init'"),
        (["--watc"], "unrecognized arguments: --watc; did you mean '--watch'?"),
    ],
    ids=lambda v: " ".join(v) if isinstance(v, list) else "",
)
def test_what_does_not_go_is_refused(asked: list[str], said: str, sweep: Path, optbench: Callable) -> None:
    refused = optbench("report", "sweep", *asked)
    assert refused.code == 2 and refused.err.startswith(f"optbench: {said}") and refused.out == ""
    assert not (sweep / "report.html").exists()


def test_its_options_are_completed() -> None:
    assert {"--watch", "--port", "--open", "--tensorboard"} <= set(complete(["report", "outputs/default", "--"]))
    assert complete(["report", "outputs/default", "--tensorboard", ""]) == [":folders"]
    assert complete(["report", "outputs/default", "--watch", "--wa"]) == []
