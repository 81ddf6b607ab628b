"""A search: generations of trials on the queue of sweeps. Trials are ordinary runs; nothing here trains.

The queue asks for more where nothing waits. A generation is proposed when all runs before it have ended, written, and
handed to the queue whole; which of its runs are trained together is written with it. So workers and interruptions
decide nothing but how long it takes.
"""

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from runner.errors import ConfigError
from runner.run import launches, packs, record
from runner.run.changed import refuse_runs_of_other_data
from runner.run.job import Job
from runner.search import journal, progress
from runner.search.asked import BudgetError, Limits
from runner.search.finals import JUDGING, WAITING, Finals, expected_runs, finals, last_seed, runs_with_new_seed
from runner.search.halving import Halving
from runner.search.proposals import Method
from runner.search.rungs import Rungs
from runner.search.space import Drawn, Space
from runner.search.study import Generation, Study, Trial, higher_is_better, measure_of, value_of
from runner.search.whole import Whole
from runner.sweep.check import Check
from runner.sweep.held import Held
from runner.sweep.launch.chosen import HERE, Launching
from runner.sweep.pack import PACKS, anew
from runner.sweep.plan import estimate_seconds
from runner.sweep.queue import Queue

ATTEMPTS = 2
"""How often a run is started whose worker dies."""
NO_MORE = "every setting of the space was tried"


@dataclass
class Search:
    """A search on its way."""

    space: Space
    study: Study
    limits: Limits
    check: Check
    probe: Sequence[Job]
    """The runs of one setting: what all have in common is theirs too."""
    command: str
    """What asks for it, as ``sweeps.jsonl`` records it."""
    launching: Launching = HERE
    journal: Path | None = field(default=None, kw_only=True)
    """Where its trials are written as a journal of Optuna's too."""
    began: float = field(default_factory=time.monotonic)
    """When the command did, from which on a budget counts."""
    halving: Halving | None = None
    """Where runs are paused, and who goes on."""
    ended: str | None = None
    """Why there are no more trials; None where it was interrupted."""
    lost: str | None = None
    """Why a run could not be trained."""
    refused: dict[str, str] = field(default_factory=dict)
    """Settings that were drawn and cannot be run, and why."""
    _at: int = -1
    _attempts: int = 0
    _trials_at_hand: float = 0.0
    _current: list[Job] = field(default_factory=list)
    _new_seeds: dict[tuple[tuple[str, ...], int], list[Job]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._course: Whole | Rungs = Whole(self.space, self.study, self._job_again, self.limits.trials)
        if self.halving is not None:
            self._course = Rungs(self.halving, self.space, self.study, self._job_again)

    def run(self) -> None:
        """Search until a limit is reached, the space is exhausted, or it is interrupted.

        Raises:
            ConfigError: if the budget is less than the first generation takes.
        """
        from runner.run import baselines

        self.launching.check()
        self._generation_began = time.monotonic()
        self._spent, self._last_seconds = self.study.spent()
        self._workers = self.launching.at_a_time(self.probe)
        self._first = self._checked_first()
        baselines.beside(self.probe)
        self._queue = Queue((), PACKS, self._source)
        self._queue.title = "search"
        self._queue.measure = self.study.measure([])
        self._expect()
        self.launching.launch(self._queue, lambda outcome: None, self._workers)
        self.study.spend(self._seconds(), self._last_seconds)
        if self.study.generations:
            record.settle_runs_csv(self.study.folder)
            self._write_journal()

    def _seconds(self) -> float:
        return self._spent + time.monotonic() - self.began

    def trials(self) -> list[Trial]:
        """Return the trials up to the limit."""
        return self.study.trials[: self.limits.trials]

    def failed(self) -> list[dict[str, Any]]:
        """Return the summaries of the runs that failed."""
        found = [summary for trial in self.trials() for summary in self.study.summaries(trial) or ()]
        return [summary for summary in found if summary["status"] == "failed"]

    def _write_journal(self) -> None:
        if self.journal is not None:
            journal.write(self.journal, self.study, self.space, self.trials())

    # ---- what is handed to the queue

    def _source(self, queue: Queue) -> None:
        """Add the next generation's runs, once those of the last have ended."""
        if len(queue.outcomes) < len(queue.jobs):
            return
        if self._current and not self._concluded(queue):
            return
        while not queue.closed:
            if self._at >= 0 and self.ended is None and self._add(queue):  # to its next rung
                return
            if self.ended is not None or not self._may_go_on():
                self._add_finals(queue)
                return
            self._at += 1
            if self._at == len(self.study.generations) and not self._propose(self._at):
                self.ended = NO_MORE
                continue
            if self._add(queue):
                return

    def _concluded(self, queue: Queue) -> bool:
        """Say whether the runs that were added last have ended; those that were lost are added again."""
        self.study.tried_again |= {job.folder.name for job in self._current}
        lost = [job for job in self._current if not self._has_reached(job)]
        if not lost:
            now = time.monotonic()
            if self.ended is None and self._course.settle(self._at):  # neither the finals, nor at a rung
                share = self._trials_at_hand / self.study.said["generation"]
                self._last_seconds = (now - self._generation_began) / share
                self._generation_began, self._trials_at_hand = now, 0.0
                self._say()
                self._write_journal()
            self.study.spend(self._seconds(), self._last_seconds)
            self._attempts, self._current = 0, []
            return True
        reasons = {o.job.run_id: str(o.summary.get("stop_reason")) for o in queue.outcomes.values()}
        self._attempts += 1
        if self._attempts >= ATTEMPTS:
            self.lost = f"{lost[0].folder.name}: {reasons.get(lost[0].run_id)}"
            queue.close()
            return False
        self._current = lost
        queue.add(lost)
        return False

    def _may_go_on(self) -> bool:
        """Say whether a limit leaves room for another generation."""
        before = sum(len(g.trials) for g in self.study.generations[: self._at + 1])
        if self.limits.trials is not None and before >= self.limits.trials:
            self.ended = f"{self.limits.trials} trials were asked for"
            return False
        recorded = self._at + 1 < len(self.study.generations)
        unfinished = recorded and not self._course.settle(self._at + 1)
        if recorded and not unfinished:
            return True
        if self.limits.seconds is not None and (self._at >= 0 or self.study.generations):
            needed = self._last_seconds
            if not unfinished and self._seconds() + needed + self._of_finals(needed) > self.limits.seconds:
                self.ended = f"the budget has no room for another generation, which takes about {needed:.0f} s"
                return False
        return True

    def _of_finals(self, generation_seconds: float) -> float:
        """Return about how many seconds the finals take, from those of a generation."""
        size: int = self.study.said["generation"]
        return generation_seconds / size * expected_runs(self.limits.finalists)

    def _add(self, queue: Queue) -> bool:
        """Hand the runs of a generation that have not ended to the queue; say whether there are any."""
        if self._course.settle(self._at):
            return False
        self._trials_at_hand = self._trials_at_hand or self._course.left(self._at)
        self._add_jobs(queue, *self._course.waiting(self._at))
        return True

    def _add_jobs(self, queue: Queue, jobs: Sequence[Job], plans: Sequence[packs.Plan]) -> None:
        """Hand those of some runs that have not ended to the queue, and write which of all are trained together."""
        self._current = [job for job in jobs if not self._has_reached(job)]
        ids = {job.run_id for job in self._current}
        launches.note(self.study.folder, self.command, [job.run_id for job in self._current])
        packs.keep(self.study.folder, [plan for plan in plans if ids & plan.asked.keys()])
        queue.add(self._current)
        self._expect()

    def _has_reached(self, job: Job) -> bool:
        return self.study.has_reached(job.folder.name, job.config["pause_at"])

    def _job_again(self, overrides: Sequence[str], name: str) -> Held:
        job = self._job(overrides)
        if isinstance(job, str):
            raise ConfigError(f"{' '.join(overrides)}: {job}")
        if job.folder.name != name:
            raise ConfigError(
                f"{' '.join(overrides)} is another run than when it was proposed ({name}): its data, YAMLs or parts "
                "have changed; put them back, or give the search a name=… of its own"
            )
        return job

    # ---- the finals

    def finalists(self) -> list[Trial]:
        """Return the best trials, the best first; none where none has a value, or no finals are asked for."""
        trials = [trial for trial in self.trials() if self.study.summaries(trial) is not None]
        return [trial for trial, _ in self.study.ranked(trials)][: self.limits.finalists]

    def finals(self) -> Finals | None:
        """Return how far the finals are; None where there are none, or they have not begun."""
        finalists, column = self.finalists(), self.study.measure(self.trials())
        if self.ended is None or not finalists or column is None:
            return None

        def result(place: int, number: int) -> float | None:
            names = [job.folder.name for job in self.with_new_seed(finalists[place], number)]
            found = [self.study.summary(name) for name in names]
            summaries = [summary for summary in found if summary is not None]
            return WAITING if len(summaries) < len(found) else value_of(summaries, column)

        return finals(len(finalists), measure_of(column), result)

    @property
    def interrupted(self) -> bool:
        """Whether trials or finals are left to run."""
        waiting = (job for job in self.defaults() if not self.study.has_ended(job.folder.name))
        found = self.finals()
        return self.ended is None or (found is not None and (not found.over or any(waiting)))

    def defaults(self) -> list[Job]:
        """Return the runs of the defaults with the seeds that judge the choice; none where they cannot be run."""
        fixed = replace(self.space, parameters=())
        runs = [run for number in JUDGING for run in runs_with_new_seed(fixed, {}, self._new_seed(number))]
        found = [self._job(overrides) for overrides in runs]
        return [] if any(isinstance(job, str) for job in found) else [job for job in found if not isinstance(job, str)]

    def finals_runs(self, trial: Trial, number: int) -> list[dict[str, Any]]:
        """Return the summaries of a trial's runs with a new seed, those that have ended."""
        found = (self.study.summary(job.folder.name) for job in self.with_new_seed(trial, number))
        return [summary for summary in found if summary is not None]

    def with_new_seed(self, trial: Trial, number: int) -> list[Job]:
        """Return a trial's runs with a seed that no trial had, by its number."""
        key = (tuple(trial.setting), number)
        if key not in self._new_seeds:
            runs = runs_with_new_seed(self.space, trial.drawn, self._new_seed(number))
            jobs = [self._job(overrides) for overrides in runs]
            if wrong := next((job for job in jobs if isinstance(job, str)), None):
                raise ConfigError(wrong)
            self._new_seeds[key] = [job for job in jobs if not isinstance(job, str)]
            _refuse_other_data(self._new_seeds[key])
        return self._new_seeds[key]

    def _new_seed(self, number: int) -> int:
        return last_seed(self.space, (job.config["seed"] for job in self.probe)) + 1 + number

    def _add_finals(self, queue: Queue) -> None:
        """Hand the next runs of the finals to the queue, if there are any; the last ones are those of the defaults."""
        found, finalists = self.finals(), self.finalists()
        if found is None or (found.over and found.chosen is None):
            return
        jobs = [job for place, number in found.wanted for job in self.with_new_seed(finalists[place], number)]
        jobs = jobs or self.defaults()
        if all(self.study.has_ended(job.folder.name) for job in jobs):
            return
        together = anew(jobs)
        self._add_jobs(queue, jobs, [packs.of([jobs[i] for i in members], whole=True) for members in together])

    # ---- what is proposed

    def _checked_first(self) -> Generation | None:
        """Return the first generation where it is to be proposed yet and a budget is to hold it.

        Raises:
            ConfigError: if it takes longer.
        """
        if self.limits.seconds is None or self.study.generations:
            return None
        found = self._proposal(0)
        if found is None:
            return None
        generation, jobs = found
        if self.limits.trials is not None:
            jobs = jobs[: self.limits.trials * len(self.space.replicates)]
        seconds = estimate_seconds([job for job in jobs if not job.is_own], self._workers)
        seconds *= self.halving.work(len(generation.trials)) / len(generation.trials) if self.halving else 1
        of_finals, before = self._of_finals(seconds), self._seconds()
        if (needed := before + seconds + of_finals) > self.limits.seconds:
            raise BudgetError(
                f"--budget: one generation, {len(jobs)} runs, takes about {math.ceil(seconds)} s with {self._workers} "
                f"workers, the finals {math.ceil(of_finals)} s, and it took {math.ceil(before)} s to begin: more than "
                f"{self.limits.seconds:g} s; give --budget {math.ceil(needed / 60)}m, or tune with a smaller "
                "--generation or --finalists",
                seconds / len(jobs),
                self.limits.seconds - before,
            )
        return generation

    def _propose(self, number: int) -> bool:
        """Propose a generation and write it; say whether there was anything to propose."""
        generation = self._first if number == 0 else None
        if generation is None:
            if (found := self._proposal(number)) is None:
                return False
            generation = found[0]
        self.study.add(generation)
        return True

    def _proposal(self, number: int) -> tuple[Generation, list[Job]] | None:
        """Return a generation and its runs, each checked; None where no setting is left."""
        said, before = self.study.said, self.study.generations[:number]
        trials = [trial for generation in before for trial in generation.trials]
        measure = self.study.measure(trials)
        better = higher_is_better(measure) if measure else True
        method = Method(self.space, said["sampler"], said["seed"], better)
        known = {name for trial in trials for name in trial.folders}
        proposed: list[Trial] = []
        jobs: list[Job] = []

        def take(drawn: Drawn) -> bool:
            found = self._new(drawn, known)
            if found is None:
                return False
            known.update(job.folder.name for job in found)
            proposed.append(Trial(self.space.chosen(drawn), drawn, [job.folder.name for job in found]))
            jobs.extend(found)
            return True

        history = self._course.tried(before, measure)
        asked = sum(generation.asked for generation in before)
        drawn = method.generation(number, history, asked, said["generation"], take)
        if not proposed:
            return None
        _refuse_other_data(jobs)
        together = [[jobs[i].run_id for i in members] for members in anew(jobs)]
        return Generation(drawn, proposed, together), jobs

    def _new(self, drawn: Drawn, known: set[str]) -> list[Job] | None:
        """Return the runs of a setting; None where it was tried, or cannot be run."""
        found: list[Job] = []
        for overrides in self.space.runs(drawn):
            job = self._job(overrides)
            if isinstance(job, str):
                self.refused[" ".join(overrides)] = job
                return None
            if job.folder.name in known:
                return None
            found.append(job)
        return found

    def _job(self, overrides: Sequence[str]) -> Held | str:
        found = self.check(overrides)
        if isinstance(found, str):
            return found
        return found.held(overrides, self.check.make)

    # ---- what is said meanwhile

    def _expect(self) -> None:
        """Tell the queue how many runs there will be in all, as far as the limits tell."""
        size, limits = self.study.said["generation"], self.limits
        runs = len(self.space.replicates) * (sum(self.halving.sizes(size)) / size if self.halving else 1)
        done = sum(len(g.trials) for g in self.study.generations[: max(0, self._at)])
        trials = None if limits.trials is None else limits.trials - done
        seconds = None if limits.seconds is None else limits.seconds - self._seconds()
        waiting = len(self._queue.jobs) - len(self._current)
        self._queue.expected = waiting + progress.expected(trials, seconds, self._last_seconds, size, runs)

    def _say(self) -> None:
        """Say on stderr how far the search is, a line a generation."""
        settled = self.study.generations[: self._at + 1]
        made = [trial for generation in settled for trial in generation.trials][: self.limits.trials]
        progress.say(self.study, self._at + 1, made)


def _refuse_other_data(jobs: Sequence[Job]) -> None:
    refuse_runs_of_other_data(jobs, {job.source.fingerprint for job in jobs})
