"""What the user's own parts are called in folders, tables and reports: by their own names, not by their option's."""

import re
from collections.abc import Mapping
from typing import Any

from runner.config.fields import show
from runner.config.options import find
from runner.errors import ConfigError

PART = "custom"
"""The option that stands for a part of the user's own, in every group that takes one."""
SHOWN_AS = "shown_as"
"""The setting of such a part that says what it is called."""
LONGEST = 60
"""Letters of a name: a folder's name holds two of them."""


def shown(group: str, option: Mapping[str, Any]) -> str:
    """Return what an option is called: by its name, a part of the user's own by the name given, or its own."""
    if not is_part(option):
        return str(option["_option_"])
    return str(option.get(SHOWN_AS) or name_of_part(group, option["target"]))


def is_part(option: Mapping[str, Any]) -> bool:
    """Say whether an option stands for a part of the user's own and has no name of its own beside."""
    return option.get("_option_") == PART and "target" in option


def name_of_part(group: str, target: str) -> str:
    """Return the name of what an import path names; the path itself where an option of the group has that name."""
    name = target.rpartition(".")[2]
    return target if find(group, name) is not None else name


def refuse_no_name(group: str, option: Mapping[str, Any]) -> None:
    """Refuse a name that a folder cannot have, or that is an option's.

    Raises:
        ConfigError: naming the setting.
    """
    name = option.get(SHOWN_AS)
    if name is None or not is_part(option):
        return
    if not re.fullmatch(r"\w[\w.-]*", name) or len(name) > LONGEST:
        valid = f"a name of at most {LONGEST} letters, digits, _, . and -"
        raise ConfigError(f"{group}.{SHOWN_AS} must be {valid}, got {show(name)}")
    if find(group, name) is not None:
        raise ConfigError(f"{group}.{SHOWN_AS}={name} is the name of an option of {group}: give it another")
