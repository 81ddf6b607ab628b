"""A run's job from what a user types; what the shipped configs compose to is made once a process."""

import copy
import functools
from collections.abc import Sequence

from hydra.core.config_loader import ConfigLoader

from runner.config import hydra_door
from runner.config.compose import Composer
from runner.config.hydra_door import Composition
from runner.run.job import Job, prepare

COMPOSED = hydra_door.compose
"""Hydra's own composition: a third of the time of many tests, if each composes anew."""
KEPT: dict[tuple[str, ...], Composition] = {}
"""By choices."""


@functools.cache
def shipped() -> Composer:
    """Over the shipped configs alone."""
    return Composer.over()


def compose_job(overrides: list[str]) -> Job:
    return prepare(shipped().compose(overrides))


def composed_once(loader: ConfigLoader, choices: Sequence[str], left_out: str) -> Composition:
    """Compose as ``hydra_door.compose`` does; choices among the shipped configs alone are composed once a process."""
    if hydra_door.own_folders(loader):
        return COMPOSED(loader, choices, left_out)
    asked = (*choices, left_out)
    if asked not in KEPT:
        KEPT[asked] = COMPOSED(loader, choices, left_out)
    return copy.deepcopy(KEPT[asked])
