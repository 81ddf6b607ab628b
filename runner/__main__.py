"""The process: what it ends with, however it ends. Imports next to nothing before a Ctrl-C can be taken well."""

import os
import sys

from runner import INTERRUPTED, TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import NoReturn


def entrypoint(argv: "Sequence[str] | None" = None) -> "NoReturn":
    """Run the command line of this process and exit with its code."""
    try:
        from runner.cli.main import main

        if sys.stdout is None:
            raise OSError("stdout is closed")
        code = main(sys.argv[1:] if argv is None else argv)
        sys.stdout.flush()
        _ignore_interrupts()
    except KeyboardInterrupt:
        _ignore_interrupts()
        print("optbench: interrupted", file=sys.stderr)
        code = INTERRUPTED
    except BrokenPipeError:  # the reader of a pipe has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 0
    except OSError as error:
        print(f"optbench: {error}", file=sys.stderr)
        code = 1
        if sys.stdout is not None:  # what is left in its buffer cannot be written either
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    sys.exit(code)


def _ignore_interrupts() -> None:
    """Let the process end as it would: all is done, and a Ctrl-C now would add a traceback."""
    import signal

    signal.signal(signal.SIGINT, signal.SIG_IGN)


if __name__ == "__main__":
    entrypoint()
