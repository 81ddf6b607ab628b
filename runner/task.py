"""What a run does: our own loop trains a network, or a function of the user's trains whatever it likes."""

from collections.abc import Callable, Mapping
from typing import Any

Function = Callable[[dict[str, Any], int, Any], object]
"""Takes the config of its run, the seed, and a ``runner.run.own_task.OwnRun`` to record with."""


def train() -> None:
    """Say that no function of one's own trains: the loop of ``runner.engine`` does."""


def custom(*, target: Function, args: Mapping[str, Any] | None = None, **settings: object) -> Function:
    """Return the function that trains; ``args`` and other settings reach it in the config of its run."""
    return target
