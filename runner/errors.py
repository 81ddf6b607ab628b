"""What can go wrong, and the exit code it ends with.

OptbenchError
├── ConfigError   what the user asked for cannot be done; nothing was written       exit 2
│   ├── TableError    a table that cannot be used as it is, and the settings by which it can
│   ├── PartError     a part of the user's own that is not what its key takes
│   └── NothingYet    there are no results to report, and there may be later
├── RecordError   a file could not be written or read while a run was on its way    exit 1
└── ProcessError  a process of a run on several devices is missing, or has ended      exit 1

ChangedWarning    what a run was trained with is not what is here now
"""

from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any

Table = tuple[tuple[str, ...], ...]


class OptbenchError(Exception):
    """Every error whose message is meant for the user."""

    exit_code = 1


class ConfigError(OptbenchError, ValueError):
    """A key, value or combination that cannot be run; the message names it and what is valid."""

    exit_code = 2


class TableError(ConfigError):
    """A table that cannot be used as it is."""

    def __init__(self, message: str, overview: Table, settings: Mapping[str, Any] | None) -> None:
        super().__init__(message)
        self.overview = overview
        """A line a column, the headings first."""
        self.settings = settings
        """Of data, under which it can be used; None where none are known."""


class PartError(ConfigError):
    """A part of the user's own that is not what its key takes: what it takes is shown beside the message."""

    def __init__(self, key: str, message: str) -> None:
        super().__init__(message)
        self.key = key


class NothingYet(ConfigError):
    """There are no results to report: no run has ended with one."""


class RecordError(OptbenchError, OSError):
    """A run's folder could not be written or read; the message names the path."""


class ProcessError(OptbenchError):
    """A process of several that work together is missing or has ended; what was checkpointed stands."""


class ChangedWarning(UserWarning):
    """A part of the user's own that a run was trained with has changed since: what comes of it may be another thing."""


def unreadable(path: Path, error: Exception) -> ConfigError:
    """Return the refusal of a file that cannot be read, with the line at which a YAML breaks off."""
    mark = getattr(error, "problem_mark", None)
    line = f", line {mark.line + 1}," if mark is not None else ""
    return ConfigError(f"{path}{line} cannot be read: {getattr(error, 'problem', None) or str(error).splitlines()[0]}")


def closest(word: str, valid: Iterable[str]) -> str:
    """Return a hint such as ``"; did you mean 'adam'?"``, empty where nothing is close."""
    valid = list(valid)
    found = nearest(word, valid)
    if found is None:  # a key given without its group, such as lr for optim.lr
        found = next((v for v in valid if v.rpartition(".")[2] == word.rpartition(".")[2]), None)
    return f"; did you mean {found!r}?" if found is not None else ""


def nearest(word: str, valid: Iterable[str], least: float = 0.55) -> str | None:
    """Return the valid word that a misspelt one resembles most, whatever its case; None where none is similar.

    Args:
        least: the least similarity, as ``difflib.SequenceMatcher.ratio`` measures it. Among those that have it, the
            word that takes the fewest edits is the nearest.
    """
    typed = word.lower()
    words = {v.lower(): v for v in valid}
    similar = get_close_matches(typed, words, n=5, cutoff=least)
    return words[min(similar, key=lambda other: _edits(typed, other))] if similar else None


def _edits(one: str, other: str) -> int:
    """Return how many letters must be added, left out, changed or swapped with the next to turn one into the other.

    The optimal string alignment distance (Damerau 1964).
    """
    rows = [list(range(len(other) + 1))]
    for i, letter in enumerate(one, 1):
        row = [i]
        for j, wanted in enumerate(other, 1):
            changed = rows[-1][j - 1] + (letter != wanted)
            row.append(min(rows[-1][j] + 1, row[-1] + 1, changed))
            if i > 1 and j > 1 and letter == other[j - 2] and one[i - 2] == wanted:
                row[-1] = min(row[-1], rows[-2][j - 2] + 1)
        rows.append(row)
    return rows[-1][-1]
