"""What a search is asked for beside its space: how it proposes and when it ends. Reads no config, and is quick."""

import re
from dataclasses import dataclass

from runner.errors import ConfigError

SAMPLERS = ("tpe", "random", "qmc", "gp")
HALVINGS = ("none", "3", "4")
GENERATION = 16
FINALISTS = 5
SIZES = {GENERATION: FINALISTS, 8: 2, 4: 1}
"""Generations that auto takes, and how many finalists with each: the largest that its budget holds."""
UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


@dataclass(frozen=True)
class Limits:
    """When a search ends."""

    trials: int | None
    seconds: float | None
    """A generation is begun only if it, and the finals, are expected to end within them."""
    finalists: int = 0
    """So many of the best are run with new seeds at the end."""


class BudgetError(ConfigError):
    """A budget that does not hold the first generation of a search and its finals; nothing was written."""

    def __init__(self, message: str, seconds_a_run: float, seconds_left: float) -> None:
        super().__init__(message)
        self.seconds_a_run = seconds_a_run
        """As estimated, all workers together."""
        self.seconds_left = seconds_left
        """Of the budget."""


def duration(text: str) -> float:
    """Return the seconds of a time such as ``90s``, ``10m``, ``1.5h`` or ``1h30m``.

    Raises:
        ConfigError: if it is none, or not above 0.
    """
    parts = re.findall(r"(\d+(?:\.\d+)?)([smhd])", text)
    seconds = sum(float(number) * UNITS[unit] for number, unit in parts)
    if "".join(f"{number}{unit}" for number, unit in parts) != text or not 0 < seconds < 1e9:
        raise ConfigError(f"--budget must be a time above 0, such as 90s, 10m or 1h30m, got {text!r}")
    return seconds


def refuse_numbers(trials: int | None, budget: str | None, generation: int, seed: int, finalists: int) -> None:
    """Refuse numbers that no search can have, and a search without an end.

    Raises:
        ConfigError: naming the flag.
    """
    if trials is None and budget is None:
        raise ConfigError("tune needs an end: --trials 100, or --budget 10m")
    for flag, value, least in (
        ("--trials", trials, 1),
        ("--generation", generation, 1),
        ("--seed", seed, 0),
        ("--finalists", finalists, 0),
    ):
        if value is not None and value < least:
            raise ConfigError(f"{flag} must be a whole number ≥ {least}, got {value}")
