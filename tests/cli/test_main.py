"""The command line: quick where it needs nothing heavy, and complete."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import runner
from runner import __version__
from runner.config import options


def seconds_of(code: str, *argv: str) -> tuple[float, subprocess.CompletedProcess[str]]:
    """The processor's seconds, which other processes do not lengthen, of Python code in a process of its own."""
    before = os.times()
    found = subprocess.run([sys.executable, "-c", code, *argv], capture_output=True, text=True, check=True)
    after = os.times()
    return after.children_user - before.children_user + after.children_system - before.children_system, found


@pytest.fixture(scope="module")
def import_of_torch() -> float:
    """The processor's seconds that importing torch takes here."""
    return seconds_of("import torch")[0]


@pytest.mark.parametrize(
    "argv",
    [
        ["--help"],
        ["--version"],
        ["list"],
        ["list", "optim"],
        ["train", "--help"],
        ["completion", "bash"],
        ["completion", "query", "--", "train", "optim"],
        ["completion", "query", "--", "study", ""],
    ],
    ids=" ".join,
)
def test_what_needs_no_tensor_starts_at_once(argv: list[str], import_of_torch: float, folder: Path) -> None:
    heavy = "import sys; from runner.cli.main import main; code = main(sys.argv[1:]); "
    heavy += (
        "print({'torch', 'hydra', 'pandas', 'numpy', 'sklearn'} & set(sys.modules), file=sys.stderr); sys.exit(code)"
    )
    for _ in range(3):  # the fastest counts: other processes share the caches
        seconds, found = seconds_of(heavy, *argv)
        assert found.stdout
        assert found.stderr.strip() == "set()"
        if seconds < import_of_torch / 3:
            return
    pytest.fail(f"it took {seconds:.2f} s of the processor, importing torch {import_of_torch:.2f} s")


def test_a_refusal_that_needs_no_tensor_stays_clear_of_torch(folder: Path) -> None:
    code = "import sys; from runner.cli.main import main; "
    code += "print([main(['train', 'data=mnist', word]) for word in sys.argv[1:]], 'torch' in sys.modules)"
    bad = ["optim.lr=-1", "optim=adamm", "+x=1", "data.root=/nowhere"]
    found = subprocess.run([sys.executable, "-c", code, *bad], check=True, capture_output=True, text=True)
    assert found.stdout == "[2, 2, 2, 2] False\n", found.stderr


def test_version_and_help(optbench: Callable) -> None:
    assert optbench("--version").out == f"optbench {__version__}\n"
    text = optbench("--help").out
    assert all(command in text for command in ("train", "list", "doctor", "completion"))
    first = optbench()
    assert first.code == 0 and first.out.count("\n  optbench ") == 3 and "--help" in first.out


def test_train_help_shows_groups_options_keys_and_examples(optbench: Callable) -> None:
    text = optbench("train", "--help").out
    for group in options.groups():
        assert group in text
        assert all(option.name in text for option in options.options(group))
    for word in ("seed: 0", "epochs: null", "optbench train -m", "--config-dir"):
        assert word in text


def test_list_names_every_option_with_its_meaning(optbench: Callable) -> None:
    for group in options.groups():
        lines = [line for line in optbench("list", group).out.splitlines() if not line.startswith(" ")]
        assert [line.split()[0] for line in lines] == [option.name for option in options.options(group)]
        assert all(len(line.split()) > 2 for line in lines)
    everything = optbench("list").out
    assert all(option.name in everything for group in options.groups() for option in options.options(group))


def test_doctor_says_what_is_here(optbench: Callable) -> None:
    result = optbench("doctor")
    assert result.code == 0
    for word in ("torch", "device", "cpu", "amp", "bf16", "cores", "data", "digits"):
        assert word in result.out


def test_cfg_prints_the_config_and_writes_nothing(optbench: Callable, folder: Path) -> None:
    import yaml

    result = optbench("train", "--cfg", "job", "init=he", "optim.lr=0.5")
    assert yaml.safe_load(result.out)["optim"]["lr"] == 0.5
    assert list(folder.iterdir()) == []
    refused = optbench("train", "-m", "--cfg", "job", "init=he,xavier")
    assert refused.code == 2 and "--cfg job is of one run: leave -m out" in refused.err


def test_a_config_dir_adds_options(optbench: Callable, folder: Path) -> None:
    mine = folder / "mine" / "init"
    mine.mkdir(parents=True)
    (mine / "small.yaml").write_text("# Small\n_option_: small\n_target_: runner.init.normal\nstd: 0.001\nbias: 0.0\n")
    result = optbench("train", "--config-dir", "mine", "init=small", "max_steps=1")
    assert result.code == 0
    assert "small-adamw" in result.out
    assert optbench("train", "init=small", "max_steps=1").code == 2


ENDING = """
import atexit, os, signal, sys
from runner import __main__
from runner.cli import main as cli
{before}
atexit.register(os.kill, os.getpid(), signal.SIGINT)
__main__.entrypoint(["list"])
"""
INTERRUPTED = """
def interrupted(argv):
    os.kill(os.getpid(), signal.SIGINT)
cli.main = interrupted
"""


@pytest.mark.parametrize(("before", "code", "said"), [(INTERRUPTED, 130, "optbench: interrupted\n"), ("", 0, "")])
def test_a_ctrl_c_while_the_process_ends_changes_nothing(before: str, code: int, said: str, folder: Path) -> None:
    command = [sys.executable, "-c", ENDING.format(before=before)]
    found = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (found.returncode, found.stderr) == (code, said)


def test_a_ctrl_c_while_modules_are_imported_is_one_line(folder: Path) -> None:
    (folder / "argparse.py").write_text("import os, signal\nos.kill(os.getpid(), signal.SIGINT)\n")
    code = "from runner.__main__ import entrypoint; entrypoint(['list'])"
    path = os.pathsep.join([str(folder), str(Path(runner.__file__).parents[1])])
    found = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": path},
    )
    assert (found.returncode, found.stderr) == (130, "optbench: interrupted\n")


def test_the_process_imports_nothing_before_it_can_be_interrupted(folder: Path) -> None:
    code = "import sys; before = set(sys.modules); import runner.__main__; print(*sorted(set(sys.modules) - before))"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.split() == ["runner", "runner.__main__"]


@pytest.mark.parametrize("where", ["> /dev/full", ">&-"])
def test_a_stdout_that_cannot_be_written_is_one_message(where: str, folder: Path) -> None:
    command = f"{sys.executable} -c 'from runner.__main__ import entrypoint; entrypoint([\"list\"])' {where}"
    found = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=False)
    assert found.returncode == 1
    assert len(found.stderr.splitlines()) == 1
