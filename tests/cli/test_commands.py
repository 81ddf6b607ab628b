"""The table of commands: dispatch, usage and help come from it alone."""

import subprocess
import sys
from collections.abc import Callable
from importlib import import_module
from pathlib import Path

import pytest

import runner.cli
from runner.cli.commands import COMMANDS, TABLE, usage
from runner.study.catalogue import STUDIES
from runner.study.names import NAMES


def test_every_file_that_is_a_command_is_in_the_table() -> None:
    modules = [f"runner.cli.{path.stem}" for path in Path(runner.cli.__file__).parent.glob("*.py")]
    commands = {m for m in modules if hasattr(import_module(m), "run") and hasattr(import_module(m), "parser")}
    assert commands == {command.module for command in TABLE}
    assert len(COMMANDS) == len(TABLE)


def test_usage_has_a_line_for_each_way_to_call_a_command() -> None:
    lines = usage().partition("commands:\n")[2].partition("\n\n")[0].splitlines()
    forms = [(command.name, arguments, summary) for command in TABLE for arguments, summary in command.forms]
    for line, (name, arguments, summary) in zip(lines, forms, strict=True):
        assert line.split() == f"{name} {arguments} {summary}".split()


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_its_help(name: str, optbench: Callable) -> None:
    shown = optbench(name, "--help")
    assert shown.code == 0
    assert shown.out.startswith(f"usage: optbench {name} ")
    assert shown.err == ""


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full")
def test_help_on_a_full_disk_is_an_error(folder: Path) -> None:
    with Path("/dev/full").open("w") as full:
        command = [sys.executable, "-m", "runner", "report", "--help"]
        ended = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert (ended.returncode, ended.stderr) == (1, "optbench: [Errno 28] No space left on device\n")


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_refuses_a_flag_that_it_has_not_and_names_the_nearest(name: str, optbench: Callable) -> None:
    given = {
        "report": ["x"],
        "runs": ["x"],
        "predict": ["x"],
        "completion": ["zsh"],
        "ensemble": ["x"],
        "boost": ["2"],
        "compress": ["x"],
        "auto": ["x"],
    }.get(name, [])
    refused = optbench(name, *given, "--hepl")
    assert refused.code == 2
    assert refused.err == (
        f"optbench: unrecognized arguments: --hepl; did you mean '--help'?; see optbench {name} --help\n"
    )
    assert refused.out == ""


def test_studies_are_known_by_their_names() -> None:
    assert tuple(study.name for study in STUDIES) == NAMES
