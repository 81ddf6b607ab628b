"""The finals: the best few of a search are run with new seeds, and what is chosen among them is judged on newer ones.

A search picks the luckiest of many noisy trials. So its values choose the finalists and nothing else: these race on
seeds that no trial had, those that others clearly beat (``runner.statistics.best``) drop out, and the leader is judged
on seeds that had no part in any choice. All of it follows from the trials' values.
"""

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np

from runner.report.measure import Measure
from runner.search.space import Choice, Drawn, Space
from runner.statistics.best import BestSet, best_set
from runner.statistics.scores import Array, Interval, mean_interval, resolution

FIRST_SEEDS = 3
"""Of every finalist."""
MOST_SEEDS = 6
"""Of those that are not told apart."""
JUDGES = 5
"""Seeds that the chosen one is judged on."""
JUDGING = range(MOST_SEEDS, MOST_SEEDS + JUDGES)
"""Their numbers, behind those of the race."""

WAITING = math.inf
"""The result of runs that have not ended."""
Result = Callable[[int, int], float | None]
"""Of a finalist with a new seed, both by their number: its value, None where it has none, or ``WAITING``."""


@dataclass(frozen=True)
class Finals:
    """How far the finals are, and what they say so far."""

    wanted: tuple[tuple[int, int], ...]
    """The round that has not ended, finalists and new seeds by their numbers; none at the end."""
    scores: Array
    """``[finalists, seeds]``, more is better; NaN is no value."""
    dropped: tuple[int, ...]
    """Finalists that diverged or failed with a new seed."""
    chosen: int | None
    """None while they race, or where none is left."""
    judged: tuple[float, ...] = ()
    """The chosen one's values on seeds that had no part in the choice."""

    @property
    def over(self) -> bool:
        """Whether nothing is left to run."""
        return not self.wanted

    def raced(self, measure: Measure) -> BestSet | None:
        """Return which finalists can be the best; None where there was nothing to compare."""
        rows = self.raced_to_the_end
        if len(rows) < 2 or self.chosen is None:
            return None
        scores, leader = self.scores[rows], rows.index(self.chosen)
        step = resolution(scores) if measure.counted else 0.0
        return best_set(scores, step, measure.scale(scores), leader=leader)

    def regret(self, measure: Measure) -> float | None:
        """Return by how much the best finalist may be better than the chosen one (95 %); None without a race."""
        found = self.raced(measure)
        if found is None:
            return None
        others = [i for i in range(len(found.mean)) if i != found.leader]
        return max(0.0, *(-float(found.low[i]) for i in others))

    def interval(self) -> Interval:
        """Return what the chosen one comes to on fresh seeds, 95 %."""
        return mean_interval(self.judged)

    @property
    def raced_to_the_end(self) -> list[int]:
        """The finalists that have a value with every seed that they were given."""
        there = np.isfinite(self.scores).any(1)
        return [int(i) for i in np.flatnonzero(there) if i not in self.dropped]


def finals(finalists: int, measure: Measure, result: Result) -> Finals:
    """Return how far the finals are.

    Args:
        finalists: how many there are, one at least.
        measure: what they are judged by.
        result: of what was run.
    """
    scores = np.full((finalists, MOST_SEEDS), math.nan)
    racing, seeds = list(range(finalists)), FIRST_SEEDS
    dropped: list[int] = []
    leader = 0
    while finalists > 1:
        values = {(i, seed): result(i, seed) for i in racing for seed in range(seeds)}
        if WAITING in values.values():
            new = range(FIRST_SEEDS) if seeds == FIRST_SEEDS else (seeds - 1,)
            return Finals(tuple((i, seed) for i in racing for seed in new), scores, tuple(dropped), None)
        dropped += [i for i in racing if any(values[i, seed] is None for seed in range(seeds))]
        racing = [i for i in racing if i not in dropped]
        for i in racing:
            scores[i, :seeds] = [measure.sign * (values[i, seed] or 0.0) for seed in range(seeds)]
        if not racing:
            return Finals((), scores, tuple(dropped), None)
        here = scores[racing, :seeds]
        found = best_set(here, resolution(here) if measure.counted else 0.0, measure.scale(here))
        leader = racing[found.leader]
        racing = [i for i, inside in zip(racing, found.inside, strict=True) if inside]
        if len(racing) == 1 or seeds == MOST_SEEDS:
            break
        seeds += 1
    last = [result(leader, number) for number in JUDGING]
    wanted = tuple((leader, number) for number in JUDGING) if WAITING in last else ()
    judged = tuple(value for value in last if value is not None and value != WAITING)
    return Finals(wanted, scores, tuple(dropped), leader, judged)


def expected_runs(finalists: int) -> int:
    """Return about how many times a setting is run in the finals, the defaults included."""
    return 0 if finalists == 0 else 2 * JUDGES + (finalists * FIRST_SEEDS + 2 * MOST_SEEDS if finalists > 1 else 0)


def last_seed(space: Space, of_first: Iterable[int]) -> int:
    """Return the largest seed that a search may use; larger ones are new.

    Args:
        space: what is searched, in which a part of a union may have a seed of its own.
        of_first: seeds of the first setting's runs, which an experiment's YAML may give.
    """
    choices = [p for p in space.parameters if isinstance(p, Choice)]
    in_parts = [o for choice in choices for option in choice.options for o in option if _is_seed(o)]
    return max([*of_first, *(int(o.partition("=")[2]) for o in in_parts)])


def runs_with_new_seed(space: Space, drawn: Drawn, seed: int) -> list[list[str]]:
    """Return the overrides of a setting's runs with another seed; folds and splits stay."""
    setting = [o for o in space.overrides(drawn) if not _is_seed(o)]
    rests = dict.fromkeys(tuple(o for o in part if not _is_seed(o)) for part in space.replicates)
    return [[*setting, *rest, f"seed={seed}"] for rest in rests]


def _is_seed(override: str) -> bool:
    return override.lstrip("+").startswith("seed=")
