"""One run before it is built: its config, its data, its id and its folder. Never imports torch."""

import functools
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from runner import schema
from runner.compose import Composed
from runner.data import Source
from runner.targets import arguments, resolve

OUTPUTS = Path("outputs")
SPLIT_KEYS = ("split_seed", "val_fraction", "fraction", "normalize")


@dataclass(frozen=True)
class Job:
    """A run that is known to be well-formed."""

    config: schema.Config
    source: Source
    run_id: str
    overrides: tuple[str, ...]
    hydra: Any
    """Hydra's own part of the composed config, for ``.hydra/hydra.yaml``."""

    @property
    def folder(self) -> Path:
        """Where the run's files lie."""
        return OUTPUTS / str(self.config["name"]) / schema.folder_name(self.config, self.run_id)

    def __str__(self) -> str:
        return " ".join(self.overrides) or "the defaults"


def prepare(composed: Composed) -> Job:
    """Read the data and name the run.

    Raises:
        ConfigError: if the data is not there.
    """
    data = composed.config["data"]
    source = _read(data["_target_"], tuple(sorted(arguments(data, *SPLIT_KEYS).items())))
    run_id = schema.run_id(composed.config, source.fingerprint)
    return Job(composed.config, source, run_id, composed.overrides, composed.hydra)


@functools.lru_cache(maxsize=4)  # a sweep reads its data once
def _read(target: str, settings: tuple[tuple[str, Any], ...]) -> Source:
    source: Source = resolve(target)(**dict(settings))
    return source
