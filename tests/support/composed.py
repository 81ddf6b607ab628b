"""A run's job from what a user types."""

from runner.config.compose import Composer
from runner.run.job import Job, prepare


def compose_job(overrides: list[str]) -> Job:
    return prepare(Composer.over().compose(overrides))
