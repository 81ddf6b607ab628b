"""The values that a key takes: its type, its range, its words.

A YAML says them below ``_spec_``, as in ``eps: {gt: 0}``; what it leaves out follows from the setting's default.
"""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from runner.config import instead
from runner.errors import ConfigError


def show(value: object) -> str:
    """Return a value as it is typed on the command line."""
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    return repr(value)


ANY_LENGTH = -1
KINDS: dict[str, type] = {
    "flag": bool,
    "whole": int,
    "number": float,
    "text": str,
    "import_path": str,
    "arguments": dict,
}
"""The words of a YAML for the kinds of values."""
NOUNS = {
    bool: "true or false",
    int: "a whole number",
    float: "a finite number",
    str: "a text",
    dict: "a set of key: value",
}
BOUNDS = {"gt": ">", "ge": "≥", "lt": "<", "le": "≤"}
REQUIRED = "???"
"""The default of a setting that must be given."""


def is_import_path(text: str) -> bool:
    """Say whether a text reads as ``package.module.name``."""
    return re.fullmatch(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)+", text) is not None


@dataclass(frozen=True)
class Field:
    """The values one key takes."""

    kind: type = float
    """bool, int, float or str."""
    words: tuple[str, ...] = ()
    """Words that are valid: the only ones for a str field, beside numbers for the others."""
    gt: float | None = None
    ge: float | None = None
    lt: float | None = None
    le: float | None = None
    null: bool = False
    length: int | None = None
    """A list of so many such values."""
    path: bool = False
    """An import path is valid too."""
    steps_or_share: bool = False
    """From 1 on it counts steps, which are whole; below 1 it is a fraction of the run."""

    def parse(self, key: str, value: object) -> Any:
        """Return the value in its own type.

        Raises:
            ConfigError: naming the key, the value and what is valid.
        """
        if self.length is not None:
            if not isinstance(value, list) or self.length not in (ANY_LENGTH, len(value)):
                raise self._refuse(key, value)
            item = replace(self, length=None)
            return [item.parse(f"{key}[{i}]", v) for i, v in enumerate(value)]
        if value is None and self.null:
            return None
        if isinstance(value, str) and (self._is_word(value) or (self.path and is_import_path(value))):
            return value
        plain_text = self.kind is str and not self.words and not self.path
        if plain_text and isinstance(value, int) and not isinstance(value, bool):
            value = str(value)
        if self.kind is float and isinstance(value, int) and not isinstance(value, bool):
            value = float(value)
        if type(value) is not self.kind or (self.kind is str and (self.words or self.path)):
            raise self._refuse(key, value)
        if isinstance(value, int | float) and not isinstance(value, bool) and not self._inside(value):
            raise self._refuse(key, value)
        return value + 0.0 if isinstance(value, float) else value  # -0.0 is 0.0

    def _is_word(self, value: str) -> bool:
        """Say whether a text is one of the words, of which ``cuda:N`` stands for ``cuda:0``, ``cuda:1`` and so on."""
        return value in self.words or re.sub(r":\d+$", ":N", value) in self.words

    def _inside(self, value: float) -> bool:
        return (
            math.isfinite(value)
            and (self.gt is None or value > self.gt)
            and (self.ge is None or value >= self.ge)
            and (self.lt is None or value < self.lt)
            and (self.le is None or value <= self.le)
            and (not self.steps_or_share or value < 1 or value == int(value))
        )

    def _refuse(self, key: str, value: object) -> ConfigError:
        hint = instead.of_word(key, value, self.words) if isinstance(value, str) else ""
        if self.length == ANY_LENGTH and isinstance(value, str | int | float) and not isinstance(value, bool):
            plain = isinstance(value, str) and re.fullmatch(r"[\w.-]+", value)
            hint = f"; did you mean {key}=[{value if plain else show(value)}]?"
        return ConfigError(f"{key} must be {self.describe()}, got {show(value)}{hint}")

    def describe(self) -> str:
        """Say what is valid, as it stands in messages: ``a whole number ≥ 1, or null``."""
        bounds = ((sign, getattr(self, bound)) for bound, sign in BOUNDS.items())
        ranges = " and ".join(f"{sign} {value:g}" for sign, value in bounds if value is not None)
        noun = NOUNS[self.kind]
        if self.steps_or_share:
            noun = "whole steps, or a fraction of the run below 1,"
        if self.kind is str and self.words:
            noun = f"one of {', '.join(self.words)}{', or an import path such as package.name' if self.path else ''}"
        elif self.path:
            noun = "an import path such as package.name"
        valid = f"{noun} {ranges}".strip()
        if self.words and self.kind is not str and not self.path:
            valid += f", or {' or '.join(self.words)}"
        if self.length == ANY_LENGTH:
            return f"a list, each {valid}"
        if self.length is not None:
            return f"a list of {self.length}, each {valid}"
        return valid + (", or null" if self.null else "")


def siblings(said: Mapping[str, Any]) -> dict[str, str]:
    """Return the bounds of a setting that are other settings of its option, as in ``le: most`` or ``le: [9, most]``."""
    return {bound: other for bound in BOUNDS for other in _each(said.get(bound)) if isinstance(other, str)}


def _each(bound: object) -> list[object]:
    return bound if isinstance(bound, list) else [bound]


def field_of(default: object, said: Mapping[str, Any]) -> Field | None:
    """Return the values that a setting takes; None where neither its default nor what is said tells.

    Args:
        default: as the YAML has it; a default of null makes null valid.
        said: what the YAML says of the setting: ``kind`` (a word of ``KINDS``), ``gt``, ``ge``, ``lt`` and ``le``,
            ``words``, ``nullable``, ``length`` (of a list: a number, or ``any``), ``path`` (an import path is valid
            too), ``steps_or_share``.
    """
    is_list = "length" in said or isinstance(default, list)
    item = default[0] if isinstance(default, list) and default else None if is_list else default
    path = said.get("path", said.get("kind") == "import_path")
    inferred = next((kind for kind in (bool, int, float, str, dict) if isinstance(item, kind)), None)
    known = inferred if item != REQUIRED else None
    kind = KINDS[said["kind"]] if "kind" in said else str if path or ("words" in said and known is None) else known
    if kind is None:
        return None
    return Field(
        kind,
        words=tuple(map(str, said.get("words", ()))),
        **{bound: value for bound in BOUNDS for value in _each(said.get(bound)) if isinstance(value, int | float)},
        null=said.get("nullable", default is None),
        length=(ANY_LENGTH if said.get("length", "any") == "any" else said["length"]) if is_list else None,
        path=path,
        steps_or_share=said.get("steps_or_share", False),
    )
