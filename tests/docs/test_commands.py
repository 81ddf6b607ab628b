"""Every command in README.md and docs/ is taken by the command line, and (slow) does what it says."""

import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from runner.cli.commands import COMMANDS
from tests.support.pages import PAGES, ROOT, commands, furnish
from tests.support.pasted import pasted
from tests.support.records import Result

EVERY = [(page.relative_to(ROOT).as_posix(), command) for page in PAGES for command in commands(page)]

LONG = {
    "optbench train -m experiment=grid": "a minute",
    "optbench tune": "its budget",
    "optbench study": "minutes; the studies have tests of their own",
    "optbench demo": "half a minute; run by its own test",
}
ELSEWHERE = {
    "--watch": "goes on until Ctrl-C: tests/report/test_watch.py",
    "outputs/a outputs/b": "sweeps of the reader's: tests/report/test_several_folders.py",
    "outputs/digits": "sweeps of the reader's: tests/report/test_several_folders.py",
    "weights.pth": "a file of the reader's: tests/test_init.py",
    "resnet18.pth": "a file of the reader's",
    "--config-dir mine": "options of the reader's: tests/run/test_own_task.py",
    "--tensorboard": "tests/report/test_tensorboard.py",
    "hydra/launcher": "tests/sweep",
}
TAKES_S = 600


@pytest.mark.parametrize(("page", "command"), sorted(set(EVERY)))
def test_a_command_is_taken(page: str, command: str, folder: Path) -> None:
    """Sweeps and runs are composed, what others take is parsed; nothing is trained."""
    furnish(folder)
    words = shlex.split(command)[1:]
    (folder / "mine" / "task").mkdir(parents=True)
    own = "_option_: mine\n_target_: runner.task.custom\ntarget: mine.train\nargs: {}\ndepth: 3\n"
    (folder / "mine" / "task" / "mine.yaml").write_text(own)
    if words[0] == "train":
        assert pasted(command)
    else:
        parser = COMMANDS[words[0]].parser()
        parser.parse_intermixed_args(words[1:])


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
    furnish(tmp_path)
    for of, command in EVERY:
        if of != page or any(command.startswith(start) for start in LONG) or any(e in command for e in ELSEWHERE):
            continue
        if "outputs/default/RUN" in command:
            runs = sorted(tmp_path.glob("outputs/default/*/checkpoint.pt"))
            if not runs:
                subprocess.run([sys.executable, "-m", "runner", "train"], cwd=tmp_path, check=True, timeout=TAKES_S)
                runs = sorted(tmp_path.glob("outputs/default/*/checkpoint.pt"))
            command = command.replace("outputs/default/RUN", str(runs[0].parent.relative_to(tmp_path)))
        if command.startswith("optbench report outputs/grid"):
            small = "train -m name=grid init=he,xavier seeds=2 epochs=1"
            subprocess.run([sys.executable, "-m", "runner", *small.split()], cwd=tmp_path, check=True, timeout=TAKES_S)
        words = shlex.split(command)[1:]
        done = subprocess.run(
            [sys.executable, "-m", "runner", *words], cwd=tmp_path, capture_output=True, text=True, timeout=TAKES_S
        )
        assert done.returncode == 0, (command, done.stderr)


@pytest.mark.slow
def test_the_demo_ends_with_an_answer(tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, "-m", "runner", "demo"], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "Use:\noptbench train " in done.stdout and (tmp_path / "outputs/demo/report.html").is_file()
