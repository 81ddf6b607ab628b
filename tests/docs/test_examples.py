"""The examples' commands and notebooks do what their page says."""

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.pages import ROOT

EXAMPLES = ROOT / "examples"
FOLDERS = ("own_table", "own_pictures", "own_model", "own_optimizer", "own_loss", "from_python", "pytorch")
AT_ONCE = ("own_loss",)
"""Examples whose commands the fast tests run too."""
WAITS_S = 300


def typed(example: str) -> list[str]:
    part = (EXAMPLES / "README.md").read_text(encoding="utf-8").partition(f"`{example}/`")[2]
    block = re.search(r"```sh\n(.*?)```", part, re.DOTALL)
    assert block is not None
    return block[1].splitlines()


@pytest.mark.parametrize("example", [e if e in AT_ONCE else pytest.param(e, marks=pytest.mark.slow) for e in FOLDERS])
def test_an_examples_commands_run_in_a_copy_of_its_folder(example: str, tmp_path: Path) -> None:
    shutil.copytree(EXAMPLES / example, tmp_path, dirs_exist_ok=True)
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    for line in typed(example):
        program, *words = shlex.split(line)
        module = ["-m", "runner"] if program == "optbench" else []
        command = [sys.executable, *module, *words]
        done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=WAITS_S)
        assert done.returncode == 0, (line, done.stderr)


@pytest.mark.parametrize("name", ["initializers", pytest.param("compare", marks=pytest.mark.slow)])
def test_a_notebook_runs_from_top_to_bottom(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    code = (
        "import nbformat, nbclient, sys\n"
        "book = nbformat.read(sys.argv[1], 4)\n"
        f"nbclient.NotebookClient(book, timeout={WAITS_S}, kernel_name='python3').execute()\n"
        "print([o['data']['text/plain'] for c in book.cells for o in c.get('outputs', []) if 'data' in o][-1])\n"
    )
    path = EXAMPLES / "from_python" / f"{name}.ipynb"
    done = subprocess.run([sys.executable, "-c", code, str(path)], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    if name == "initializers":
        slopes = dict(re.findall(r"(\w+) +(-?\d\.\d+)", done.stdout))
        assert -1.4 < float(slopes["xavier"]) < -0.7 and abs(float(slopes["he"])) < 0.3
