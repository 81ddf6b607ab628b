"""Every job of a sweep is checked before its first starts: composed, named and built; large grids on all cores."""

import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from tqdm import tqdm

from runner.config.fields import show
from runner.config.identity import CONTROL
from runner.config.options import name_of
from runner.errors import ConfigError
from runner.run.devices import checked as build_spread
from runner.run.devices import is_spread, layout_of, refuse_lone_devices
from runner.run.forked import in_processes
from runner.run.job import Job
from runner.run.outcome import finished
from runner.run.stackable import refuse, traits_of
from runner.shell import key_of
from runner.sweep.held import Held, Maker
from runner.sweep.terminal import doubts_of

SAME = (*CONTROL, "parallel")
"""What takes one value a sweep."""
LARGE = 1000
"""So many jobs are worth processes of their own, which take a moment to start."""
AT_A_TIME = 50
"""Jobs that a process is handed."""


@dataclass(frozen=True)
class Found:
    """What is kept of a job that can be run."""

    run_id: str
    place: tuple[str, str]
    """Names of the sweep's folder and of the run's."""
    control: tuple[str, ...]
    """Values of ``SAME``, as they are shown."""
    fingerprint: str
    """Of its data."""
    memory: dict[Callable[[Job], Any], Any]
    """What the sweep asks of every job: it composes none of them again for that."""

    def held(self, overrides: Sequence[str], make: Maker) -> Held:
        """Return the job, to be composed where it is looked at."""
        return Held(tuple(overrides), self.run_id, self.place, make, memory=self.memory)


@dataclass(frozen=True)
class Check:
    """Checks one job of a sweep."""

    make: Maker
    several_experiments: bool

    def __call__(self, overrides: Sequence[str]) -> Found | str:
        """Return what is kept of a job, or why it cannot be run."""
        try:
            job = self.make(overrides)
            refuse_lone_devices(job)
            axes = job.hydra.sweeper.get("params") or job.hydra.sweeper.get("unions")
            if self.several_experiments and axes:
                names = ", ".join(map(str, axes))
                raise ConfigError(f"an experiment with axes of its own ({names}) is no axis itself")
            given = {key_of(override) for override in overrides}
            if lost := [key for key in map(key_of, job.hydra.sweeper.get("params") or {}) if key not in given]:
                raise ConfigError(f"the experiment is a sweep over {', '.join(lost)}: give it before the first +")
            if finished(job) is None and not job.is_own:
                from runner.run.build import build

                refuse(job, build_spread(job, layout_of(job, None)) if is_spread(job) else build(job))
        except ConfigError as error:
            return str(error)
        place = (str(job.config["name"]), job.folder.name)
        from runner.run.baselines import split_of

        memory: dict[Callable[[Job], Any], Any] = {of: of(job) for of in (doubts_of, traits_of, split_of)}
        return Found(job.run_id, place, tuple(_shown(job, key) for key in SAME), job.source.fingerprint, memory)


def _shown(job: Job, key: str) -> str:
    value: Any = job.config.get(key)
    if key != "parallel":
        return show(value)
    return f"{name_of(key, value)} on {show(value['devices'])} devices" if is_spread(job) else "none"


def checked(check: Check, job_overrides: Sequence[Sequence[str]]) -> Iterator[Found | str]:
    """Yield what was found of each job, in order."""
    if len(job_overrides) < LARGE:
        yield from map(check, job_overrides)
        return
    yield check(job_overrides[0])  # the processes share what it read: configs and data
    rest = job_overrides[1:]
    found, shown = in_processes(check, rest, AT_A_TIME), sys.stderr.isatty()
    yield from tqdm(found, "checking", len(rest), unit="job", leave=False, disable=not shown, dynamic_ncols=True)
