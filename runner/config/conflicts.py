"""What cannot go together: conditions on a config that a YAML names below ``_spec_``, and what is said of each.

    conflicts:
      - when: {model.mup: true}
        says: "model.mup=true beside regularization=l1, whose pull would change with the width"

A condition names a group or a key. It holds where the value is the one given, or one of a list; of a group of which
several options may be chosen, and of a list, where any of them is. Instead of a value it may say ``{given: true}``
(there is such a key, and it is not null), ``{exists: true}`` (the chosen option has it), or bounds, as in ``{lt: 1}``.
"""

import math
import operator
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from runner.config.fields import show
from runner.errors import ConfigError

COMPARED = {"gt": operator.gt, "ge": operator.ge, "lt": operator.lt, "le": operator.le}
TESTS = ("given", "exists", *COMPARED)


@dataclass(frozen=True)
class Conflict:
    """Conditions that must not all hold at once."""

    when: Mapping[str, Any]
    says: str
    """The message; ``{key}`` stands for the value of a key, ``{group}`` for the option chosen."""

    @staticmethod
    def of(said: object, where: str) -> "Conflict":
        """Read one from a YAML.

        Raises:
            ConfigError: if it is not made of ``when`` and ``says``.
        """
        whole = isinstance(said, Mapping) and said.keys() == {"when", "says"}
        if not whole or not isinstance(said["when"], Mapping) or not isinstance(said["says"], str):  # type: ignore[index]
            raise ConfigError(f"{where} must be made of when: {{key: value}} and says: message, got {said}")
        for key, wanted in said["when"].items():  # type: ignore[index]
            if isinstance(wanted, Mapping) and not wanted.keys() <= set(TESTS):
                odd = next(test for test in wanted if test not in TESTS)
                raise ConfigError(f"{where}: {key} has the unknown condition {odd!r}\nvalid: {', '.join(TESTS)}")
        return Conflict(said["when"], said["says"])  # type: ignore[index]

    def holds(self, values: Mapping[str, Any]) -> bool:
        """Say whether all conditions hold of a config's values by their keys, the groups' options among them."""
        return all(_holds(wanted, values, key) for key, wanted in self.when.items())

    def message(self, values: Mapping[str, Any]) -> str:
        """Return what is said of a config in which it holds."""
        return re.sub(r"\{([\w.]+)\}", lambda found: _shown(values.get(found[1])), self.says)


@dataclass(frozen=True)
class Mistake:
    """What runs of older versions found wrongly: they are trained again."""

    before: tuple[int, ...]
    """The version that mended it."""
    of: Conflict
    """Which runs, and what was wrong."""

    @staticmethod
    def read(said: object, where: str) -> "Mistake":
        """Read one from a YAML.

        Raises:
            ConfigError: if it is not made of ``before``, ``when`` and ``says``.
        """
        if not isinstance(said, Mapping) or not re.fullmatch(r"\d+(\.\d+)*", str(said.get("before"))):
            raise ConfigError(f"{where} must say before: VERSION beside when: and says:, got {said}")
        rest = {key: value for key, value in said.items() if key != "before"}
        return Mistake(version_of(str(said["before"])), Conflict.of(rest, where))


def version_of(text: str) -> tuple[int, ...]:
    """Return the numbers of a version such as ``0.2.0``."""
    return tuple(map(int, re.findall(r"\d+", text)))


def _holds(wanted: Any, values: Mapping[str, Any], key: str) -> bool:
    value = values.get(key)
    if isinstance(wanted, Mapping):
        number = value if isinstance(value, int | float) else math.nan
        of = {"given": value is not None, "exists": key in values}
        return all(of[t] == bound if t in of else COMPARED[t](number, bound) for t, bound in wanted.items())
    valid = wanted if isinstance(wanted, list) else [wanted]
    held = value if isinstance(value, Sequence) and not isinstance(value, str) else [value]
    return any(one in valid for one in held)


def _shown(value: object) -> str:
    if isinstance(value, bool) or value is None:
        return show(value)
    if isinstance(value, Sequence) and not isinstance(value, str):
        return ", ".join(map(_shown, value))
    return f"{value:g}" if isinstance(value, float) else str(value)
