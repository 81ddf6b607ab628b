"""Every command in README.md and docs/ is taken by the command line, and (slow) does what it says."""

import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest

from runner.cli.commands import COMMANDS
from tests.support.known import MNIST_ROOT
from tests.support.pages import PAGES, ROOT, commands, furnish, named_in_text
from tests.support.pasted import pasted
from tests.support.records import Result

EVERY = [(page.relative_to(ROOT).as_posix(), command) for page in PAGES for command in commands(page)]
NAMED = {(page.relative_to(ROOT).as_posix(), command) for page in PAGES for command in named_in_text(page)}

ELSEWHERE = {
    "optbench demo": "test_the_demo_ends_with_an_answer",
    "--watch": "goes on until Ctrl-C: tests/report/test_watch.py",
    "weights.": "a file of the reader's: tests/test_init.py",
    "resnet18.pth": "a file of the reader's: tests/model/test_torchvision.py",
    "hydra/launcher": "needs Slurm or Ray: tests/sweep",
    "workers=8": "needs eight cores: tests/sweep",
    "cuda:1": "needs two GPUs",
}
SHORTER = {
    "--budget 10m": "--budget 60s",
    "--budget 8h": "--trials 2 --generation 2 --finalists 1",
    "--label price": "--label price --budget 2m",  # 10 minutes without
    "auto pictures/": "auto pictures/ --budget 2m",
    "mymodel.Net": "mymodel.Net --budget 2m",
    "--trials 100": "--trials 32",
    "--trials 160": "--trials 32",
}
"""What would take longer than two minutes, and what is run in its place. A grid of a page takes a minute on 2 cores."""
SWEEP = "optbench train -m name={} init=he,xavier seeds=2 epochs=1 data={}"
SMALLER = {
    "data=mnist model=cnn seeds=5": "data=mnist data.fraction=0.1 model=cnn seeds=2 epochs=2",
    "distill=0.5+prune=0.8 --epochs 5": "distill=0.5+prune=0.8 --epochs 1",
}
"""Likewise, of commands that are no search: the networks of docs/compress.md take 20 minutes to train."""
FIRST = {
    "outputs/grid": SWEEP.format("grid", "digits"),
    "outputs/a": SWEEP.format("a", "digits"),
    "outputs/b": SWEEP.format("b", "wine"),
    "outputs/digits": SWEEP.format("digits", "digits"),
    "outputs/mnist": SWEEP.format("mnist", "mnist1d"),
    "outputs/wine": SWEEP.format("wine", "wine"),
    "elsewhere/mnist": SWEEP.format("mnist", "mnist1d"),
    "RUN": "optbench train epochs=2",
}
"""What a command names, and what the reader has trained before."""
TAKES_S = 900


@pytest.mark.parametrize(("page", "command"), sorted({*EVERY, *NAMED}))
def test_a_command_is_taken(page: str, command: str, folder: Path) -> None:
    """Sweeps and runs are composed, what others take is parsed; nothing is trained."""
    furnish(folder)
    words = shlex.split(command)[1:]
    if words[0] == "train":
        assert pasted(command)
    else:
        parser = COMMANDS[words[0]].parser()
        parser.parse_intermixed_args(words[1:])


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_extras_and_scripts_that_a_page_names_are_there(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["optional-dependencies"]
    assert set(re.findall(r"optbench\[(\w+)\]", text)) <= set(extras)
    for script, options in re.findall(r"`(?:python )?(scripts/[\w.]+)([^`]*)`", text):
        assert (ROOT / script).is_file(), script
        source = (ROOT / script).read_text(encoding="utf-8")
        assert [o for o in re.findall(r"--[\w-]+", options) if o not in source] == [], script


@pytest.mark.parametrize(
    "typed",
    [
        ["train", "optim=adamv"],
        ["init=he"],
        ["train", "-m", "optim.lr=interval(1e-4,1)"],
        ["train", "init=pretrained"],
    ],
)
def test_a_quoted_message_is_the_one_that_is_given(typed: list[str], optbench: Callable[..., Result]) -> None:
    refused = optbench(*typed)
    assert refused.code == 2
    assert refused.err.splitlines()[0] in (ROOT / "docs" / "faq.md").read_text(encoding="utf-8")


@pytest.mark.slow
@pytest.mark.parametrize("page", sorted({page for page, _ in EVERY}))
def test_a_pages_commands_run_one_after_another(page: str, tmp_path: Path) -> None:
    typed = [command for of, command in EVERY if of == page]
    if any("data=mnist " in command for command in typed) and not MNIST_ROOT:
        pytest.skip("no MNIST under $OPTBENCH_DATA")
    furnish(tmp_path)
    _furnish_more(tmp_path)
    for command in typed:
        if any(word in command for word in ELSEWHERE):
            continue
        for word, first in FIRST.items():
            if word in command and not (tmp_path / word).exists() and (word != "RUN" or not _runs(tmp_path, command)):
                _run(first, tmp_path)
            if word in command and word.startswith("elsewhere"):
                shutil.copytree(tmp_path / "outputs" / "mnist", tmp_path / word)
        _run(_filled(command, tmp_path), tmp_path)


def _furnish_more(folder: Path) -> None:
    """Put into a folder what takes longer: pictures, and a network by the name that a page uses."""
    make = ROOT / "examples" / "own_pictures" / "make_pictures.py"
    subprocess.run([sys.executable, str(make)], cwd=folder, check=True, capture_output=True)
    shutil.copy(folder / "mine.py", folder / "mymodel.py")


def _runs(folder: Path, command: str) -> list[Path]:
    """Return the runs that a command can mean, those in the folder that it names."""
    named = re.search(r"outputs/(\w+)/RUN", command)
    return sorted(folder.glob(f"outputs/{named[1] if named else 'default'}/*/checkpoint.pt"))


def _filled(command: str, folder: Path) -> str:
    """Return a command with a run in the place of RUN, and shorter where it would take long."""
    if re.search(r"\bRUN\b", command):
        run = _runs(folder, command)[0].parent.relative_to(folder)
        command = re.sub(r"\S*\bRUN\b", lambda found: f"{found[0].rpartition('=')[0]}={run}".lstrip("="), command)
    if found := re.search(r"outputs/ensembles/(mean-of-\d+-)\w+", command):
        command = command.replace(found[0], str(next(folder.glob(f"outputs/ensembles/{found[1]}*"))))
    for long, short in (SHORTER if command.startswith(("optbench auto", "optbench tune")) else SMALLER).items():
        command = command.replace(long, short)
    return command


def _run(command: str, folder: Path) -> None:
    words = shlex.split(command)[1:]
    done = subprocess.run(
        [sys.executable, "-m", "runner", *words], cwd=folder, capture_output=True, text=True, timeout=TAKES_S
    )
    assert done.returncode == 0, (command, done.stderr)


@pytest.mark.slow
def test_the_demo_ends_with_an_answer(tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, "-m", "runner", "demo"], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "Use:\noptbench train " in done.stdout and (tmp_path / "outputs/demo/report.html").is_file()


@pytest.mark.slow
@pytest.mark.parametrize("name", ["python.md", "report.md", "tune.md"])
def test_a_pages_python_runs(name: str, tmp_path: Path) -> None:
    _run(FIRST["outputs/grid"], tmp_path)
    page = (ROOT / "docs" / name).read_text(encoding="utf-8")
    for block in re.findall(r"(?ms)^```python\n(.*?)^```", page):
        done = subprocess.run([sys.executable, "-c", block], cwd=tmp_path, capture_output=True, text=True)
        assert done.returncode == 0, (block, done.stderr)
