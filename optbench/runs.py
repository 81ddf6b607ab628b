"""Runs from Python: train one, and read those of a folder."""

import html
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from runner.errors import ConfigError

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Result:
    """One run's outcome."""

    summary: dict[str, Any]
    folder: Path
    trained: bool
    """False where a finished run was found."""

    @property
    def metrics(self) -> "pd.DataFrame":
        """The rows of ``metrics.csv``."""
        import pandas as pd

        found = self.folder / "metrics.csv"
        return pd.read_csv(found) if found.exists() and found.stat().st_size else pd.DataFrame()

    def _repr_html_(self) -> str:
        rows = self.metrics.to_html(max_rows=20, notebook=True)
        return f"<p>{html.escape(str(self.folder))}: {self.summary['status']}</p>{rows}"


def train(*overrides: str | Sequence[str], config_dir: str | None = None) -> Result:
    """Train one run, as ``optbench train OVERRIDES`` does, and return what it found.

    Raises:
        ConfigError: for what cannot be run; nothing was written.
        RecordError: if the run's folder cannot be written.
    """
    from runner.cli import one_run
    from runner.config.compose import start_hydra
    from runner.run.claim import run_job

    look_anew()
    hydra = start_hydra(config_dir)
    try:
        job = one_run.single(hydra, flat(overrides))
    except ConfigError as error:  # of a grid, which the command line takes with -m
        raise ConfigError(str(error).replace("add -m", "call optbench.sweep")) from error
    if job.config["dry_run"]:
        raise ConfigError("dry_run=true is for the command line: optbench.train trains the run")
    outcome = run_job(job)
    assert outcome is not None, "it waits where another process trains the run"
    return Result(outcome.summary, outcome.job.folder, outcome.trained)


def load_runs(path: str | Path) -> "pd.DataFrame":
    """Return one row a run of ``outputs/<name>``: every choice, then every number of its summary.

    Raises:
        ConfigError: if the folder holds no ``runs.csv``.
    """
    import pandas as pd

    found = Path(path) / "runs.csv"
    if not found.is_file():
        raise ConfigError(f"{found} is not there: give the folder of a sweep, such as outputs/default")
    return pd.read_csv(found, dtype={"run_id": str})


def look_anew() -> None:
    """Find parts of the user's own in the current folder, and read them and the data again: they may have changed."""
    from runner.cli.one_run import find_parts_in_current_folder
    from runner.run.job import forget_data

    find_parts_in_current_folder()
    forget_data()


def flat(overrides: Sequence[str | Sequence[str]]) -> list[str]:
    """Return overrides that were given one by one or as lists, one by one."""
    return [o for given in overrides for o in ([given] if isinstance(given, str) else given)]
