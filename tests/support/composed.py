"""A composer, and a run's job from what a user types."""

from runner.config.compose import Composer, start_hydra
from runner.run.job import Job, prepare


def new_composer(config_dir: str | None = None) -> Composer:
    return Composer(start_hydra(config_dir).config_loader)


def compose_job(overrides: list[str]) -> Job:
    return prepare(new_composer().compose(overrides))
