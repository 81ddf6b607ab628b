"""The command line: what is typed goes to its command, what goes wrong becomes a message and an exit code."""

import contextlib
import sys
import warnings
from collections.abc import Iterator, Sequence
from typing import Any

from runner import __version__
from runner.cli.commands import COMMANDS, FIRST, usage
from runner.errors import ChangedWarning, ConfigError, OptbenchError, closest


def main(argv: Sequence[str]) -> int:
    """Run one command and return its exit code."""
    if not argv:
        print(FIRST, end="")
        return 0
    name, *rest = argv
    try:
        if name in ("-h", "--help", "help"):
            print(usage(), end="")
            return 0
        if name == "--version":
            print(f"optbench {__version__}")
            return 0
        if name not in COMMANDS:
            hint = "; did you mean 'train'?" if "=" in name else closest(name, COMMANDS)
            raise ConfigError(f"{name!r} is not a command{hint}\nvalid: {', '.join(COMMANDS)}")
        with _telling_of_changes():
            return COMMANDS[name].run(rest)
    except OptbenchError as error:
        print(f"optbench: {error}", file=sys.stderr)
        return error.exit_code


@contextlib.contextmanager
def _telling_of_changes() -> Iterator[None]:
    """Say what warns of changed parts as all messages are said; other warnings are shown as they are."""
    shown = warnings.showwarning

    def show(message: Warning | str, category: type[Warning], *where: Any, **more: Any) -> None:
        if issubclass(category, ChangedWarning):
            print(f"optbench: {message}", file=sys.stderr)
        else:
            shown(message, category, *where, **more)

    with warnings.catch_warnings():
        warnings.simplefilter("always", ChangedWarning)
        warnings.showwarning = show
        yield
