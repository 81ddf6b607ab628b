"""The one run that a command's overrides name."""

import os
import sys
from typing import TYPE_CHECKING

from runner.config.fields import show
from runner.config.identity import OF_SWEEPS
from runner.errors import ConfigError

if TYPE_CHECKING:
    from runner.config.hydra_door import Hydra
    from runner.run.job import Job


def find_parts_in_current_folder() -> None:
    """Let parts of the user's own be imported from the current folder, which console scripts leave out.

    Raises:
        ConfigError: if the folder is no longer there.
    """
    try:
        here = os.getcwd()
    except FileNotFoundError as error:
        raise ConfigError("the current folder is no longer there: change to another one") from error
    if here not in sys.path:  # last, so that nothing of it hides a library
        sys.path.append(here)


def prepared(overrides: list[str], config_dir: str | None) -> "Job":
    """Return the job of one run.

    Raises:
        ConfigError: for what cannot be run, or where a key has several values.
    """
    find_parts_in_current_folder()
    from runner.config.compose import Composer
    from runner.run.devices import refuse_spread
    from runner.run.job import prepare

    composer = Composer.over(config_dir)
    for override in composer.parse(overrides, sweep=True):
        if override.sweeps:
            raise ConfigError(f"{override.line} gives several values to one run: give one")
    job = prepare(composer.compose(overrides))
    refuse_spread(job)
    if job.is_own:
        raise ConfigError(f"task={job.config['task']['_option_']}: this command needs what optbench's own loop trains")
    return job


def single(hydra: "Hydra", overrides: list[str]) -> "Job":
    """Return the job that ``optbench train`` without ``-m`` trains.

    Raises:
        ConfigError: for what cannot be run, or is of a sweep.
    """
    from runner.config.compose import Composer
    from runner.run.job import prepare
    from runner.run.launcher import started_here

    if any(o == "+" or o.startswith("seeds=") for o in overrides):
        raise ConfigError("seeds=… and a lone + are for sweeps: add -m")
    composed = Composer.of(hydra.config_loader).compose(overrides)
    if started_here():  # by a sweep perhaps, which has looked at what is a sweep's
        return prepare(composed)
    for key in OF_SWEEPS:
        if composed.config[key]:
            raise ConfigError(f"{key}={show(composed.config[key])} is for sweeps: add -m, or leave it out")
    if axes := composed.hydra.sweeper.get("params") or composed.hydra.sweeper.get("unions"):
        raise ConfigError(f"this experiment is a sweep over {', '.join(map(str, axes))}: add -m")
    return prepare(composed)
