"""The rungs of a search's generations: which runs are on their way to one, what they came to there, who goes on.

A generation's runs all come to a rung before any goes on from it, so that who does, and who is trained together from
there, is a function of the runs alone. Both are written into ``search.json``; what runs came to, their rows say.
"""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from runner.run import files, packs
from runner.search.halving import Halving
from runner.search.proposals import VALUE_DIGITS, Tried
from runner.search.space import Space
from runner.search.study import Generation, Stage, Study, Trial, higher_is_better, is_sound
from runner.search.whole import plans
from runner.sweep.held import Held
from runner.sweep.pack import anew

LEAST = 2
"""Runs that go on together from where their stacks were: more cannot be had where few go on."""


class Rungs:
    """How the generations of a study come from rung to rung."""

    def __init__(
        self,
        halving: Halving,
        space: Space,
        study: Study,
        made: Callable[[Sequence[str], str], Held],
    ) -> None:
        """Begin.

        Args:
            halving: where the rungs are.
            space: what is searched.
            study: what was proposed.
            made: makes a run of its overrides and its folder's name.
        """
        self._halving, self._space, self._study, self._made = halving, space, study, made
        self._jobs: dict[str, tuple[Held, int]] = {}

    def settle(self, number: int) -> bool:
        """Decide who goes on where all runs of a generation are at their rung; say whether it is over."""
        while not any(True for _ in self._on_their_way(number)):
            generation = self._study.generations[number]
            if len(generation.stages) == self._halving.rungs:
                return True
            self._study.promote(number, self._decided(generation))
        return False

    def waiting(self, number: int) -> tuple[list[Held], list[packs.Plan]]:
        """Return the runs of a generation that are to be trained to the next rung, and who of all is trained together.

        Who was together up to the rung before is forgotten: those who go on do so with others.
        """
        packs.forget_ended(self._study.folder, paused=True)
        generation = self._study.generations[number]
        together = generation.stages[-1].packs if generation.stages else generation.packs
        return list(self._on_their_way(number)), plans(self._space, generation, together)

    def left(self, number: int) -> float:
        """Return what is left of a generation, in settings of a whole one."""
        settings = len(self._study.generations[number].trials)
        rung = len(self._study.generations[number].stages)
        return settings * self._halving.work(settings, rung) / self._halving.work(settings)

    def tried(self, generations: Sequence[Generation], measure: str | None) -> list[Tried]:
        """Return what the settings of generations that are over came to, in order.

        Args:
            generations: those.
            measure: the column of the summaries that settings are judged by.
        """
        found: list[Tried] = []
        turned = measure is not None and higher_is_better(measure) != self._halving.higher_is_better
        for generation in generations:
            for place, trial in enumerate(generation.trials):
                if self._study.summaries(trial) is not None:
                    found += self._study.tried([trial], measure)
                    continue
                rung = sum(place in stage.went_on for stage in generation.stages)
                value = self._value(trial, None)
                found.append(Tried(trial.drawn, -value if turned and value is not None else value, rung))
        return found

    # ---- within a generation

    def _there(self, generation: Generation) -> list[Trial]:
        """Return the trials that have come to a generation's last rung so far, and go on."""
        stages = generation.stages
        return [generation.trials[place] for place in stages[-1].went_on] if stages else generation.trials

    def _on_their_way(self, number: int) -> Iterator[Held]:
        generation = self._study.generations[number]
        for trial in self._there(generation):
            for job, at in self._runs(trial, len(generation.stages)):
                if not self._study.has_reached(job.folder.name, at):
                    yield job

    def _runs(self, trial: Trial, rung: int) -> Iterator[tuple[Held, int | None]]:
        """Yield a trial's runs, with the step from which on they are paused at a rung."""
        from runner.run.build import build

        for overrides, name in zip(self._space.runs(trial.drawn), trial.folders, strict=True):
            if name not in self._jobs:
                job = self._made(overrides, name)
                self._jobs[name] = job, build(job).steps
            job, steps = self._jobs[name]
            at = self._halving.pause_at(rung, steps)
            yield job.paused(at), at

    def _decided(self, generation: Generation) -> Stage:
        """Return who goes on from a generation's present rung, and who of these is trained together."""
        rung, there = len(generation.stages), self._there(generation)
        values = [self._value(trial, [at for _, at in self._runs(trial, rung)]) for trial in there]
        going_on = [there[place] for place in self._halving.going_on(values)]
        jobs = [job for trial in going_on for job, _ in self._runs(trial, rung + 1)]
        together = [[jobs[i].run_id for i in members] for members in anew(jobs, LEAST)]
        names = {trial.folders[0]: place for place, trial in enumerate(generation.trials)}
        return Stage([names[trial.folders[0]] for trial in going_on], together)

    def _value(self, trial: Trial, at: Sequence[int | None] | None) -> float | None:
        """Return the mean over a trial's runs at a rung's steps, or where they are; None where one has no value."""
        steps = [None] * len(trial.folders) if at is None else at
        values = [self._at(name, step) for name, step in zip(trial.folders, steps, strict=True)]
        known = [value for value in values if value is not None]
        return sum(known) / len(known) if len(known) == len(values) else None

    def _at(self, name: str, step: int | None) -> float | None:
        """Return what a run came to at the first evaluation from a step on, or at its last one before.

        One that failed or diverged has no value, whatever it came to before.
        """
        summary = self._study.summary(name)
        if summary is not None and not is_sound(summary):
            return None
        rows = files.read_csv(self._study.folder / name / "metrics.csv")
        there = [row for row in rows if step is not None and int(row["step"]) >= step]
        return _number((there or rows[::-1] or [{}])[0], self._halving.measure)


def _number(row: Mapping[str, Any], column: str) -> float | None:
    """Return a row's value; None where it has none, or the run has diverged there."""
    try:
        value = float(row.get(column) or "nan")
    except ValueError:
        return None
    sound = math.isfinite(value) and row.get("status") != "diverged"
    return float(f"{value:.{VALUE_DIGITS}g}") if sound else None
