"""A run's job from what a user types."""

from runner.config.compose import Composer, start_hydra
from runner.run.job import Job, prepare


def compose_job(overrides: list[str]) -> Job:
    return prepare(Composer(start_hydra().config_loader).compose(overrides))
