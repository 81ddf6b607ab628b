"""Which runs a contest is made of, and in which shards they are trained: functions of the contest alone."""

import hashlib
import json
import math
import random
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

from runner.config.compose import Composer
from runner.config.options import find
from runner.errors import ConfigError
from runner.search.defaults import ranges
from runner.search.space import Number, Parameter
from runner.study.contest.contenders import BASELINE, Contender
from runner.study.contest.workloads import EVALUATIONS, Workload

TRIAL, FINAL, LENGTH, TIMED = "trial", "final", "length", "timed"
"""Roles: trials tune, finals judge, lengths are the tuned baseline's at others, a timed one tells what a step takes."""
TIMED_SEED, TIMED_STEPS = 90, 131
"""Of a run that is timed."""


@dataclass(frozen=True)
class Contest:
    """Optimizers × workloads × schedules, each cell tuned by as many trials."""

    name: str
    finding: str
    source: str
    rule: str
    """When the finding counts as reproduced, fixed before the run."""
    workloads: tuple[Workload, ...]
    contenders: tuple[Contender, ...]
    schedules: tuple[str, ...]
    trials: int
    """Of each cell, the defaults first."""
    tuning_seeds: tuple[int, ...]
    seeds: tuple[int, ...]
    """Fresh: no trial has them."""
    budgets: tuple[int, ...]
    """Finals are run of the best of so many trials, the first ones; 1 is the defaults."""
    lengths: tuple[float, ...] = ()
    """Of the tuned baseline, over the workload's."""
    timed: bool = False


@dataclass(frozen=True)
class Part:
    """A cell: what is tuned by itself."""

    workload: Workload
    schedule: str
    contender: Contender

    @property
    def key(self) -> tuple[str, str, str]:
        """What tells it from the others of its contest."""
        return self.workload.name, self.schedule, self.contender.name


@dataclass(frozen=True)
class Run:
    """One run of a part."""

    part: Part
    role: str
    trial: int
    setting: tuple[str, ...]
    seed: int
    steps: int

    @property
    def overrides(self) -> list[str]:
        """What is typed to get it; its sweep's name is left out."""
        part = self.part
        return [
            *part.workload.overrides,
            f"scheduler={part.contender.schedule or part.schedule}",
            f"optim={part.contender.name}",
            *self.setting,
            f"max_steps={self.steps}",
            f"eval_every={self.steps if self.role == TIMED else self.steps // EVALUATIONS}",
            f"seed={self.seed}",
        ]


def parts(contest: Contest) -> list[Part]:
    """Return the cells of which the optimizer is an option here, a workload's and a schedule's side by side."""
    gone = absent(contest)
    return [part for part in every_part(contest) if part.contender.name not in gone]


def every_part(contest: Contest) -> list[Part]:
    """Return all cells of optimizers that fit their workloads, also of those that are no option here."""
    return [
        Part(workload, schedule, contender)
        for workload in contest.workloads
        for schedule in contest.schedules
        for contender in contest.contenders
        if workload.name not in contender.not_on
    ]


def absent(contest: Contest) -> list[str]:
    """Return the names of the optimizers that are no option here."""
    return [c.name for c in contest.contenders if find("optim", c.name) is None]


def cells(contest: Contest) -> list[tuple[str, str]]:
    """Return the workloads with each schedule: the optimizers of one train side by side, as stacks where that pays."""
    return [(workload.name, schedule) for workload in contest.workloads for schedule in contest.schedules]


def shard(contest: Contest, number: int, of: int) -> list[Part]:
    """Return the parts of a shard: those of neighbouring cells.

    Args:
        contest: whose.
        number: from 1 on.
        of: how many shards there are.

    Raises:
        ConfigError: if there are fewer cells.
    """
    every = cells(contest)
    if of > len(every):
        raise ConfigError(f"--shard: {contest.name} has {len(every)} cells, which are divided into so many at most")
    own = {cell for place, cell in enumerate(every) if place * of // len(every) == number - 1}
    return [part for part in parts(contest) if part.key[:2] in own]


def parse_shard(text: str) -> tuple[int, int]:
    """Return ``3/12`` as numbers.

    Raises:
        ConfigError: if it is nothing of the kind.
    """
    number, slash, of = text.partition("/")
    if not (slash and number.isdecimal() and of.isdecimal() and 1 <= int(number) <= int(of)):
        raise ConfigError(f"--shard must be a shard and how many there are, such as 3/12, got {text!r}")
    return int(number), int(of)


def runs_of(contest: Contest, part: Part) -> float:
    """Return how many runs a part has at most, in runs of the workload's length."""
    finals = len(contest.seeds) * len(contest.budgets)
    is_baseline = part.contender.name == BASELINE
    longer = len(contest.seeds) * sum(contest.lengths) if is_baseline else 0.0
    timed = TIMED_STEPS / part.workload.steps if contest.timed else 0.0
    return contest.trials * len(contest.tuning_seeds) + finals + longer + timed


def seconds(contest: Contest, part: Part) -> float:
    """Return about how long a part takes one thread."""
    return runs_of(contest, part) * part.workload.seconds


def design(contest: Contest, part: Part) -> str:
    """Return a digest of what a part's records were made by: records of another design are not this contest's."""
    workload = part.workload
    made_by = [workload.overrides, workload.steps, part.schedule, part.contender.schedule, contest.trials]
    seeds = [contest.tuning_seeds, contest.seeds, contest.budgets, contest.lengths]
    return hashlib.sha256(json.dumps([*made_by, *seeds]).encode()).hexdigest()[:8]


@cache
def composer() -> Composer:
    """Return what composes a contest's runs."""
    return Composer.over()


def settings(contest: Contest, part: Part) -> list[tuple[str, ...]]:
    """Return the settings that a part's trials try: the defaults, then a Latin hypercube of its default ranges.

    Of every range each of ``trials - 1`` equal slices is drawn from once, in the logarithm where the range is so. The
    draws follow from the contest's, workload's and optimizer's names.
    """
    option = find("optim", part.contender.name)
    assert option is not None, "parts are of options that are there"
    count = contest.trials - 1
    chance = random.Random(f"{contest.name} {part.workload.name} {part.contender.name}")
    drawn: list[list[str]] = [[] for _ in range(count)]
    for parameter in ranges(composer(), option, (), [f"optim={option.name}"], None):
        order = chance.sample(range(count), count)
        for setting, slice_number in zip(drawn, order, strict=True):
            setting += _at(parameter, (slice_number + chance.random()) / count)
    return list(dict.fromkeys([(), *map(tuple, drawn)]))  # without ranges there is nothing to tune


def edge(contest: Contest, part: Part, setting: Sequence[str]) -> int:
    """Say whether a setting's learning rate lies in the lowest slice of its range (-1), in the highest (1), or not (0).

    Then a wider range may have held a better one.
    """
    option = find("optim", part.contender.name)
    given = [float(o.removeprefix("optim.lr=")) for o in setting if o.startswith("optim.lr=")]
    if option is None or not given:
        return 0
    rates = (p for p in ranges(composer(), option, (), [f"optim={option.name}"], None) if p.name == "optim.lr")
    rate = next((p for p in rates if isinstance(p, Number) and p.log), None)
    if rate is None:
        return 0
    share = math.log(given[0] / rate.low) / math.log(rate.high / rate.low) * (contest.trials - 1)
    return -1 if share < 1 else 1 if share > contest.trials - 2 else 0


def _at(parameter: Parameter, share: float) -> tuple[str, ...]:
    """Return the overrides of a value that lies a share of the way through a parameter's range."""
    if not isinstance(parameter, Number):
        return parameter.overrides(int(share * len(parameter.options)))
    low, high = parameter.low, parameter.high
    return parameter.overrides(
        parameter.kept(low * (high / low) ** share if parameter.log else low + share * (high - low))
    )


def tuning(contest: Contest, part: Part) -> list[Run]:
    """Return the trials' runs."""
    return [
        Run(part, TRIAL, number, setting, seed, part.workload.steps)
        for number, setting in enumerate(settings(contest, part))
        for seed in contest.tuning_seeds
    ]


def finals(contest: Contest, part: Part, chosen: Sequence[tuple[int, tuple[str, ...]]]) -> list[Run]:
    """Return the runs with fresh seeds of the settings that each budget chose, and those that go with them.

    Args:
        contest: whose.
        part: of which.
        chosen: each budget's trial by its number, and its setting; the last is the largest budget's.
    """
    steps = part.workload.steps
    found = [Run(part, FINAL, *one, seed, steps) for one in dict(chosen).items() for seed in contest.seeds]
    if part.contender.name == BASELINE:
        lengths = [EVALUATIONS * round(share * steps / EVALUATIONS) for share in contest.lengths]
        found += [Run(part, LENGTH, *chosen[-1], seed, length) for length in lengths for seed in contest.seeds]
    return found


def timed(contest: Contest, part: Part) -> list[Run]:
    """Return the run of the defaults that tells how long a step takes; none where that is not asked."""
    return [Run(part, TIMED, 0, (), TIMED_SEED, TIMED_STEPS)] if contest.timed else []
