"""What can go wrong, and the exit code it ends with.

OptbenchError
├── ConfigError   what the user asked for cannot be done; nothing was written       exit 2
└── RecordError   a file could not be written or read while a run was on its way    exit 1
"""

from collections.abc import Iterable
from difflib import get_close_matches


class OptbenchError(Exception):
    """Every error whose message is meant for the user."""

    exit_code = 1


class ConfigError(OptbenchError, ValueError):
    """A key, value or combination that cannot be run; the message names it and what is valid."""

    exit_code = 2


class RecordError(OptbenchError, OSError):
    """A run's folder could not be written or read; the message names the path."""


def closest(word: str, valid: Iterable[str]) -> str:
    """Return a hint such as ``"; did you mean 'adam'?"``, empty where nothing is close."""
    valid = list(valid)
    matches = get_close_matches(word, valid, n=1, cutoff=0.55)
    if not matches:  # a key given without its group, such as lr for optim.lr
        matches = [v for v in valid if v.rpartition(".")[2] == word.rpartition(".")[2]][:1]
    return f"; did you mean {matches[0]!r}?" if matches else ""
