"""How the generations of a search come to their ends where each run is trained to its own: the others go by rungs."""

from collections.abc import Callable, Sequence

from runner.run.packs import Plan
from runner.search.proposals import Tried
from runner.search.space import Space
from runner.search.study import Generation, Study, Trial
from runner.sweep.held import Held


class Whole:
    """Generations of a study whose runs are trained whole. ``runner.search.rungs.Rungs`` has the same methods."""

    def __init__(
        self, space: Space, study: Study, made: Callable[[Sequence[str], str], Held], trials: int | None
    ) -> None:
        """Begin.

        Args:
            space: what is searched.
            study: what was proposed.
            made: makes a run of its overrides and its folder's name.
            trials: so many of all are trained at most.
        """
        self._space, self._study, self._made, self._trials = space, study, made, trials

    def settle(self, number: int) -> bool:
        """Say whether a generation is over."""
        return not self._missing(number)

    def waiting(self, number: int) -> tuple[list[Held], list[Plan]]:
        """Return the runs of a generation that are to be trained now, and who of all is trained together."""
        jobs = [
            self._made(overrides, name)
            for trial in self._missing(number)
            for overrides, name in zip(self._space.runs(trial.drawn), trial.folders, strict=True)
            if not self._study.has_ended(name)
        ]
        generation = self._study.generations[number]
        return jobs, plans(self._space, generation, generation.packs)

    def left(self, number: int) -> float:
        """Return what is left of a generation, in settings."""
        return len(self._missing(number))

    def tried(self, generations: Sequence[Generation], measure: str | None) -> list[Tried]:
        """Return what the settings of generations that are over came to, in order; see ``Study.measure``."""
        return self._study.tried([trial for generation in generations for trial in generation.trials], measure)

    def _missing(self, number: int) -> list[Trial]:
        before = sum(len(generation.trials) for generation in self._study.generations[:number])
        most = None if self._trials is None else max(0, self._trials - before)
        trials = self._study.generations[number].trials[:most]
        return [trial for trial in trials if self._study.summaries(trial) is None]


def plans(space: Space, generation: Generation, together: Sequence[Sequence[str]]) -> list[Plan]:
    """Return the packs of a generation's runs, given by their ids: each is trained as it is."""
    asked = {
        name.rpartition("-")[2]: overrides
        for trial in generation.trials
        for overrides, name in zip(space.runs(trial.drawn), trial.folders, strict=True)
    }
    return [Plan({run_id: asked[run_id] for run_id in members}, whole=True) for members in together]
