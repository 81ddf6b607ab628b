"""The page of dependencies has each that pyproject.toml names, beside its extra, and no other."""

import re
import tomllib

from tests.support.pages import ROOT

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
PAGE = (ROOT / "docs" / "dependencies.md").read_text(encoding="utf-8")
OWN = ("all", "dev")


def names(requirements: list[str]) -> set[str]:
    """Distributions, without versions and without this project's own extras."""
    return {name for r in requirements if (name := re.split(r"[\[<>=, ]", r)[0]) != "optbench"}


def told(part: str) -> dict[str, str]:
    """By package, the second cell of its row in a part of the page."""
    text = PAGE.split(f"## {part}")[1].split("\n## ")[0]
    rows = [line.split("|")[1:3] for line in text.splitlines() if line.startswith("| `")]
    return {name: second.strip(" `") for first, second in rows for name in re.findall(r"`([^`]+)`", first)}


def test_what_is_always_installed() -> None:
    assert told("Always installed").keys() == names(PROJECT["dependencies"])


def test_what_comes_with_an_extra() -> None:
    extras = PROJECT["optional-dependencies"]
    expected = {name: extra for extra in extras if extra not in OWN for name in names(extras[extra])}
    assert told("With an extra") == expected


def test_what_it_is_developed_with() -> None:
    text = PAGE.split("## For working on it")[1]
    assert set(re.findall(r"`([a-zA-Z][\w-]+)`", text)) == names(PROJECT["optional-dependencies"]["dev"])
