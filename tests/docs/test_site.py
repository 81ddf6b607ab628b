"""The site builds without a warning, asks nothing of other hosts, and says what the code says."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.pages import PAGES, ROOT

MOST_WORDS = 1500
REFERENCE = ("reference", "studies.md")
"""Pages to look things up in, which may be longer."""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    quiet = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(folder)]
    done = subprocess.run(command, cwd=ROOT, env=quiet, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return folder


def test_every_page_is_built_and_none_loads_anything_from_another_host(site: Path) -> None:
    pages = [path.relative_to(ROOT / "docs").with_suffix(".html") for path in PAGES if "README" not in path.name]
    assert [page for page in pages if not (site / page).is_file()] == []
    loaded = re.compile(
        r"""<(?:script|img|iframe)[^>]*\ssrc="?(https?:)?//|<link[^>]*stylesheet[^>]*href="?(https?:)?//"""
    )
    assert [p.name for p in site.rglob("*.html") if loaded.search(p.read_text(encoding="utf-8"))] == []


@pytest.mark.parametrize("script", ["write_reference.py", "draw_floors.py", "table_studies.py", "write_readme.py"])
def test_what_a_script_writes_is_what_stands_there(script: str) -> None:
    done = subprocess.run([sys.executable, f"scripts/{script}", "--check"], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_no_page_is_too_long_to_be_read() -> None:
    read = [page for page in PAGES if not any(part in page.parts for part in REFERENCE)]
    words = {page.name: len(re.sub(r"(?ms)^```.*?^```|^\|.*?$", "", page.read_text("utf-8")).split()) for page in read}
    assert {name: n for name, n in words.items() if n > MOST_WORDS} == {}


def test_the_readme_is_read_in_five_minutes() -> None:
    assert len((ROOT / "README.md").read_text(encoding="utf-8").splitlines()) <= 120


def test_links_of_the_readmes_lead_to_files() -> None:
    for page in (ROOT / "README.md", ROOT / "README.zh.md", ROOT / "CONTRIBUTING.md", ROOT / "examples" / "README.md"):
        for target in re.findall(r"\]\(([^)#]+)", page.read_text(encoding="utf-8")):
            assert target.startswith("https://") or (page.parent / target).exists(), (page.name, target)
