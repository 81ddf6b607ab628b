"""Jobs held as overrides: a sweep keeps what was typed and the ids, and composes a config where it is looked at."""

import functools
from collections import OrderedDict
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar, cast

from runner.config.chosen import Chosen, Config
from runner.config.compose import Composer
from runner.data import Source
from runner.errors import ConfigError
from runner.run.job import OUTPUTS, Job, prepare

T = TypeVar("T")
KEPT = 4096
"""Jobs that are not composed anew while they are among the last looked at."""


class Maker:
    """Makes jobs of overrides, over one set of config folders."""

    def __init__(self, composer: Composer) -> None:
        self._composer = composer
        self._made: OrderedDict[tuple[str, ...], Job] = OrderedDict()
        self._named = frozenset[str]()

    def __call__(self, overrides: Sequence[str]) -> Job:
        """Compose, check and name a job.

        Raises:
            ConfigError: if it cannot be run.
        """
        key = tuple(overrides)
        if key in self._made:
            self._made.move_to_end(key)
            return self._made[key]
        job = self._made[key] = prepare(self._composer.compose(key))
        self._named |= job.allow
        if len(self._made) > KEPT:
            self._made.popitem(last=False)
        return job

    def again(self, overrides: Sequence[str], allow: frozenset[str]) -> Job:
        """Make a job of what a folder says of it: imported is what jobs that were asked for name, and nothing else.

        Args:
            overrides: what it is made of.
            allow: import paths that jobs beside it name.

        Raises:
            ConfigError: if it names others, or cannot be run.
        """
        return prepare(self._composer.compose(tuple(overrides)), allow | self._named)

    @property
    def config_dir(self) -> str | None:
        """The user's own folder of YAMLs."""
        return self._composer.config_dir

    def __reduce__(self) -> tuple[Any, ...]:
        """Go to another process by the user's own folder of YAMLs."""
        return maker_over, (self.config_dir,)


@functools.cache
def maker_over(config_dir: str | None) -> Maker:
    """Return what makes jobs over the shipped configs, and those of a user's own folder before them."""
    return Maker(Composer.over(config_dir))


class Held(Job):
    """A job that is known to be well-formed; its config is composed where it is looked at."""

    def __init__(
        self,
        overrides: tuple[str, ...],
        run_id: str,
        place: tuple[str, str],
        make: Maker,
        pause_at: int | None = None,
        memory: dict[Callable[[Job], Any], Any] | None = None,
    ) -> None:
        """Hold a job.

        Args:
            overrides: what it is made of.
            run_id: its id.
            place: names of its sweep's folder, below outputs/, and of its own.
            make: makes it.
            pause_at: a step from which on it is paused, whatever its overrides say.
            memory: what functions are known to find of it.
        """
        given = {"overrides": overrides, "run_id": run_id, "place": place, "make": make, "pause_at": pause_at}
        given["memory"] = {} if memory is None else memory
        for name, value in given.items():
            object.__setattr__(self, name, value)

    place: tuple[str, str]
    make: Maker
    pause_at: int | None
    memory: dict[Callable[[Job], Any], Any]

    @staticmethod
    def of(job: Job, make: Maker) -> "Held":
        """Hold a job that was made."""
        return Held(tuple(job.overrides), job.run_id, (str(job.config["name"]), job.folder.name), make)

    @property
    def whole(self) -> Job:
        """The job itself.

        Raises:
            ConfigError: if what its overrides stand for has changed since.
        """
        made = self.make(self.overrides)
        if made.run_id != self.run_id:
            raise ConfigError(f"{self} is another run than when the sweep began: its YAMLs, data or parts have changed")
        return made

    @property
    def config(self) -> Config:
        """Its config."""
        config = self.whole.config
        return config if self.pause_at is None else {**config, "pause_at": self.pause_at}

    @property
    def known(self) -> Chosen:
        """What is known of the config's options."""
        return self.whole.known

    @property
    def source(self) -> Source:
        """Its data."""
        return self.whole.source

    @property
    def allow(self) -> frozenset[str]:
        """Import paths of the user's own parts that may be imported."""
        return self.whole.allow

    @property
    def hydra(self) -> Any:
        """Hydra's own part of the config."""
        return self.whole.hydra

    @property
    def folder(self) -> Path:
        """Where the run's files lie."""
        return OUTPUTS.joinpath(*self.place)

    def remembered(self, of: Callable[[Job], T]) -> T:
        """Return what a function finds of the job, which composes it at most once."""
        if of not in self.memory:
            self.memory[of] = of(self.whole)
        return cast(T, self.memory[of])

    def __reduce__(self) -> tuple[Any, ...]:
        """Go to another process as overrides."""
        return Held, (self.overrides, self.run_id, self.place, self.make, self.pause_at)

    def paused(self, at: int | None) -> "Held":
        """Return the same job, to be paused at a step; None: nowhere."""
        return Held(self.overrides, self.run_id, self.place, self.make, at, self.memory)

    def sibling(self, overrides: Sequence[str], allow: frozenset[str]) -> Job:
        """Return another job, of the same config folders."""
        return self.make.again(overrides, allow)
