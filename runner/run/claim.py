"""Jobs are claimed: found finished, or trained while their locks are held."""

import contextlib
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from runner.errors import ConfigError
from runner.run import packs, record
from runner.run.changed import refuse_runs_of_other_data
from runner.run.devices import is_spread, refuse_spread
from runner.run.job import Job
from runner.run.life import Life
from runner.run.lock import holding, is_held
from runner.run.outcome import Outcome, begun_alone, finished
from runner.run.process import Interruption
from runner.run.progress import Bar, Progress
from runner.run.stackable import is_replayed, refusal, refuse

if TYPE_CHECKING:
    from runner.engine.run import Run
    from runner.run.trainee import Place

WAIT_SECONDS = 0.5


def run_job(
    job: Job,
    save: str = "last",
    interruption: Interruption | None = None,
    bar: bool = True,
    wait: bool = True,
    built: "Run | None" = None,
) -> Outcome | None:
    """Train a job to its end and record it, or return what a finished run found.

    Args:
        job: what to run.
        save: the weights kept where the config leaves it open: last, best or none.
        interruption: asks the run to stop after the step it is in, checkpointed.
        bar: show progress where stderr is a terminal.
        wait: where another process trains the run, wait for it; otherwise return None.
        built: what it was built to already; a run that is spread over processes always is.

    Raises:
        ConfigError: for what cannot be run, before anything is written.
        RecordError: if the folder cannot be written.
    """
    refuse_runs_of_other_data([job], {job.source.fingerprint})
    outcome = run_pack([job], save, interruption, Bar() if bar else None, wait, _with_baselines, built)[0]
    if outcome is not None and not outcome.trained:
        record.settle_runs_csv(job.folder.parent)
    return outcome


def run_pack(
    jobs: Sequence[Job],
    save: str,
    interruption: Interruption | None = None,
    progress: Progress | None = None,
    wait: bool = False,
    first: Callable[[Sequence[Job]], None] = lambda jobs: None,
    built: "Run | None" = None,
) -> list[Outcome | None]:
    """Train jobs as one to their end and record each, or return what finished runs found.

    Args:
        jobs: one, or a pack that ``runner.sweep.pack`` made.
        save: the weights kept where the config leaves it open: last, best or none.
        interruption: asks the runs to stop after the step they are in, checkpointed.
        progress: told how far they are.
        wait: where another process trains a run, wait for it; otherwise its outcome is None.
        first: what is done with jobs that are known to be sound before any of them is trained.
        built: what a single job was built to already.

    Raises:
        ConfigError: for what cannot be run, before anything is written.
        RecordError: if the folder of a single run cannot be written.
    """
    folder = jobs[0].folder.parent
    found = {job.run_id: _found(job, save) for job in jobs}
    if all(found.values()):
        first(jobs)
        if not (folder / "runs.csv").exists():
            record.rebuild_runs_csv(folder)
        return [found[job.run_id] for job in jobs]
    left = [job for job in jobs if found[job.run_id] is None]
    if not wait and all(is_held(job.lock) for job in left):  # which is asked often: nothing is built for it
        return [found[job.run_id] for job in jobs]
    runs = _built(left) if built is None else {jobs[0].run_id: built}
    first(jobs)
    interruption, progress = interruption or Interruption(), progress or Progress()
    while True:
        with contextlib.ExitStack() as locks:
            ours = []
            whole = len(jobs) == 1
            if not whole:  # a pack is one command's: two that began at once would take a part of it each
                with record.writing(packs.lock_of(jobs)):
                    whole = locks.enter_context(holding(packs.lock_of(jobs)))
            for job in (job for job in jobs if whole and found[job.run_id] is None):
                with record.writing(job.lock):
                    held = locks.enter_context(holding(job.lock))
                # Looked at again once it is held: another process may just have finished it.
                found[job.run_id] = _found(job, save)
                if held and found[job.run_id] is None:
                    ours.append(job)
            if ours:
                life = Life(runs, save, interruption, progress)
                _live(life, ours, runs, len(jobs) > 1)
                found |= {job.run_id: Outcome(job, life.summaries[job.run_id], trained=True) for job in ours}
                packs.forget_ended(folder)
        if not wait or all(found.values()):
            return [found[job.run_id] for job in jobs]
        time.sleep(WAIT_SECONDS)


def _with_baselines(jobs: Sequence[Job]) -> None:
    from runner.run import baselines

    baselines.beside(jobs)


def _found(job: Job, save: str) -> Outcome | None:
    summary = finished(job, save)
    return None if summary is None else Outcome(job, summary, trained=False)


def _built(jobs: Sequence[Job]) -> dict[str, "Run"]:
    from runner.run.build import build

    for job in jobs:
        refuse_spread(job)
    runs = {job.run_id: build(job) for job in jobs if not job.is_own}
    for job in (job for job in jobs if not job.is_own):
        if not begun_alone(job):
            refuse(job, runs[job.run_id])
    return runs


def _live(life: Life, jobs: Sequence[Job], runs: "dict[str, Run]", packed: bool) -> None:
    """Train jobs that are held: one by the loop, if it asks for that or was begun so; all others as a stack."""
    if jobs[0].is_own or is_spread(jobs[0]):
        life.alone(jobs[0])
        return
    if not packed and (begun_alone(jobs[0]) or not _is_of_a_stack(jobs[0], runs)):
        life.alone(jobs[0])
        return
    from runner.run.trainee import parts

    claimed = {job.run_id for job in jobs}
    for place, part in parts(jobs, runs, packs.place(jobs)[1]):
        plan, source = packs.place(part)
        along = {job.run_id: job for job in _along(part, source, claimed)}
        runs |= _built([job for job in along.values() if job.run_id not in runs])
        beside = [job for other, found in _parts_of(along, runs, source) if other.key == place.key for job in found]
        order = {run_id: i for i, run_id in enumerate(packs.read(source).asked)}
        members = sorted([*part, *beside], key=lambda job: order.get(job.run_id, len(order)))
        life.together(members, plan, source, {job.run_id for job in beside})


def _parts_of(jobs: Mapping[str, Job], runs: "Mapping[str, Run]", source: Path) -> "list[tuple[Place, list[Job]]]":
    from runner.run.trainee import parts

    return parts(list(jobs.values()), runs, source) if jobs else []


def _is_of_a_stack(job: Job, runs: "Mapping[str, Run]") -> bool:
    """Say whether a job that comes by itself is trained as a stack: it asks for that, is one of a pack, or gains."""
    asked, run = job.config["engine"], runs[job.run_id]
    if asked != "auto" or packs.left_a_checkpoint(job):
        return bool(asked != "loop")
    return refusal(job, run) is None if packs.holds(job) else is_replayed(job, run)


def _along(jobs: Sequence[Job], source: Path, claimed: Collection[str]) -> list[Job]:
    """Return the other members of a pack with which these jobs are to be trained to the rows that they have with them.

    They are those that ended already, before a kill; of a pack that is trained whole, all others. Left out are those
    that are ``claimed`` beside them, and those that cannot be had again: what they are made of has changed.
    """
    ours, plan = {job.run_id for job in jobs}, packs.read(source)
    named = frozenset[str]().union(*(job.allow for job in jobs))
    found = []
    for run_id, overrides in plan.asked.items():
        if run_id in claimed or not ours <= plan.asked.keys():
            continue
        with contextlib.suppress(ConfigError):
            job = jobs[0].sibling(overrides, named)
            if job is not None and job.run_id == run_id and (plan.whole or packs.has_ended(job)):
                found.append(job)
    return found
