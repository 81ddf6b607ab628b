"""A stack of jobs: trained by the fused engine as one, recorded as so many runs.

``outputs/<name>/.stacks/`` holds each stack's plan, which is the ids of its members, and its resume checkpoint.
"""

import contextlib
import hashlib
import json
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tqdm import tqdm

from runner.errors import OptbenchError, RecordError
from runner.run import record
from runner.run.job import Job
from runner.run.life import (
    CHECKPOINT_SECONDS,
    UNLIKE,
    WAIT_SECONDS,
    Interruption,
    Outcome,
    asked,
    clear_checkpoints,
    conclude,
    finished,
    make_room,
    name_unknown,
    run_held,
    torch_settings,
)
from runner.run.lock import holding
from runner.run.record import Recorder

if TYPE_CHECKING:
    from runner.engine.fused.members import Stack
    from runner.engine.fused.watch import Events
    from runner.engine.run import Run
    from runner.engine.state import State

SHARE_OF_TIME = 0.02
"""Checkpoints of a stack take no more of the time than this."""

Progress = Callable[[float], None]
"""Called now and then with the share of a stack's steps that are made."""


def run_stack(
    jobs: Sequence[Job],
    save: str,
    interruption: Interruption,
    progress: Progress = lambda share: None,
    wait: bool = False,
) -> list[Outcome | None]:
    """Train jobs together to their end and record each, or return what finished runs found.

    Args:
        jobs: what to run; ``runner.sweep.stacking`` finds those that can be stacked.
        save: the weights kept where the config leaves it open: last, best or none.
        interruption: asks the stack to stop after the step it is in, checkpointed.
        progress: told how far the stack is.
        wait: where another process trains a run, wait for it; otherwise its outcome is None.
    """
    found: dict[str, Outcome | None] = {}
    while True:
        with contextlib.ExitStack() as locks:
            ours = []
            for job in (job for job in jobs if found.get(job.run_id) is None):
                with record.writing(job.lock):
                    held = locks.enter_context(holding(job.lock))
                # Looked at only once it is held: another process may just have finished it.
                summary = finished(job, save) if not (held and job.config["force"]) else None
                found[job.run_id] = Outcome(job, summary, trained=False) if summary is not None else None
                if held and summary is None:
                    ours.append(job)
            training = _Training(save, interruption, progress)
            for part in _parts(ours):
                training.run(part, *_place(part))
        found |= {job.run_id: Outcome(job, training.summaries[job.run_id], trained=True) for job in ours}
        forget_ended(jobs[0].folder.parent)
        if not wait or all(found.values()):
            return [found[job.run_id] for job in jobs]
        time.sleep(WAIT_SECONDS)


def _parts(jobs: Sequence[Job]) -> list[list[Job]]:
    """Return the jobs that go on from a checkpoint that their stack left, and those that begin anew."""
    from runner.run.build import build

    saved = _saved(_place(jobs)[1], jobs[0], named=True) if jobs else None
    goes_on = [saved is not None and _goes_on(job, build(job), saved) for job in jobs]
    parts = [[job for job, on in zip(jobs, goes_on, strict=True) if on == kind] for kind in (True, False)]
    return [part for part in parts if part]


class _Training:
    """What is asked of a stack, and what has become of its members, by their run ids."""

    def __init__(self, save: str, interruption: Interruption, progress: Progress) -> None:
        self._save, self._interruption, self._progress = save, interruption, progress
        self.summaries: dict[str, dict[str, Any]] = {}
        self._recorders: dict[str, Recorder] = {}

    def run(self, jobs: Sequence[Job], plan: Path, source: Path) -> None:
        """Train jobs that are held. Where memory does not suffice each half is tried; where something raises, each run.

        Args:
            jobs: the members.
            plan: where the stack's plan and checkpoint are kept.
            source: the plan of a stack that the members may go on from.
        """
        self._recorders |= {job.run_id: Recorder(job) for job in jobs}
        try:
            with self._interruption.listening(), torch_settings(jobs[0]):
                self._train(jobs, plan, source)
            return
        except OptbenchError as error:  # of what all of them need
            for job in jobs:
                self._lose(job, error)
            return
        except (Exception, SystemExit) as error:  # a user's part may end the process
            from runner.engine.memory import is_out_of_memory

            if len(jobs) == 1:
                self._end(jobs[0], self._recorders[jobs[0].run_id].fail(error))
                return
            halved = is_out_of_memory(error)
            said = "in two halves" if halved else "each by itself"
            reason = f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
            tqdm.write(f"optbench: a stack of {len(jobs)} runs raised {reason}; they go on {said}", file=sys.stderr)
        for job in jobs:
            self._recorders[job.run_id].let_go()
        left = [job for job in jobs if job.run_id not in self.summaries]
        for part in (left[: len(left) // 2], left[len(left) // 2 :]) if halved else ([job] for job in left):
            if halved or part[0].config["engine"] == "fused":
                self.run(part, _new_plan(part), source)
            else:
                from runner.run.build import build

                alone = run_held(part[0], build(part[0]), self._save, self._interruption, bar=False)
                self.summaries[part[0].run_id] = alone
        _forget(plan)

    def _train(self, jobs: Sequence[Job], plan: Path, source: Path) -> None:
        from runner.engine import fused
        from runner.run.build import build
        from runner.run.summary import reset_peak_memory

        for job in jobs:
            with self._costing(job):
                make_room(job)
        jobs = [job for job in jobs if job.run_id not in self.summaries]
        if not jobs:
            return
        runs = [build(job) for job in jobs]
        reset_peak_memory(runs[0].device)
        jobs, members = _resumed(jobs, runs, source)
        self._job_of = {id(state): job for state, job in zip(members.states, jobs, strict=True)}
        self._run_of = {id(state): run for state, run in zip(members.states, members.runs, strict=True)}
        self._resumed_from = members.step if members.states[0].rows else None
        with record.writing(plan):
            plan.parent.mkdir(parents=True, exist_ok=True)
            record.write_whole(plan, json.dumps({"members": [job.run_id for job in jobs]}))
        for state in members.states:
            state.stack_size = len(jobs)
            with self._costing(self._job_of[id(state)], state):
                self._recorders[self._job_of[id(state)].run_id].open(rows_kept=state.rows)
        members.leave_ended()
        record.update_runs_csv([(self._job_of[id(s)], {"status": "running"}) for s in members.states])
        saved_at, pause = time.monotonic() - CHECKPOINT_SECONDS, CHECKPOINT_SECONDS
        for found in fused.train(members, lambda step: self._interruption.requested):
            self._record(found)
            members.leave_ended()  # those whose records could not be written
            self._progress(found[0][0].step / runs[0].steps if found else 1.0)
            if self._interruption.requested:
                break
            if members.runs and time.monotonic() - saved_at >= pause:
                pause = max(CHECKPOINT_SECONDS, self._keep(members, plan) / SHARE_OF_TIME)
                saved_at = time.monotonic()
        if members.runs:
            self._keep(members, plan)
            self._interrupt(members)
        else:
            _forget(plan)

    def _record(self, found: "Events") -> None:
        """Write what an evaluation found of each member, and the summaries of those that have ended."""
        ended = []
        for state, evaluation in found:
            job = self._job_of[id(state)]
            recorder = self._recorders[job.run_id]
            with self._costing(job, state):
                recorder.row(evaluation.row)
                if state.stop_reason is not None:
                    run, save = self._run_of[id(state)], job.config["save"] or self._save
                    summary = conclude(job, run, state, recorder, evaluation.row, save, self._resumed_from)
                    recorder.close(summary)
                    clear_checkpoints(recorder, summary)
                    self.summaries[job.run_id] = summary
                    ended.append((job, summary))
        record.update_runs_csv(ended)

    def _keep(self, members: "Stack", plan: Path) -> float:
        """Write the stack's checkpoint; return how many seconds it took."""
        from runner.engine import checkpoint

        began = time.monotonic()
        jobs = [self._job_of[id(state)] for state in members.states]
        content = {"run_ids": [job.run_id for job in jobs], "asked": asked(jobs[0])}
        checkpoint.save(_checkpoint(plan), {**members.state_dict(), **content})
        return time.monotonic() - began

    def _interrupt(self, members: "Stack") -> None:
        from runner.run.summary import environment

        for state in members.states:
            job, run = self._job_of[id(state)], self._run_of[id(state)]
            summary = {"status": "interrupted", "stop_reason": "interrupted", "steps": state.step}
            with self._costing(job, state):
                self._end(job, summary | environment(job, run, state.stack_size))

    def _end(self, job: Job, summary: dict[str, Any]) -> None:
        self.summaries[job.run_id] = summary
        self._recorders[job.run_id].close(summary)
        record.update_runs_csv([(job, summary)])

    @contextlib.contextmanager
    def _costing(self, job: Job, state: "State | None" = None) -> Iterator[None]:
        """Let a record that cannot be written cost its own run alone: the state ends there."""
        try:
            yield
        except RecordError as error:
            self._lose(job, error)
            if state is not None:
                state.stop_reason = str(error)

    def _lose(self, job: Job, error: OptbenchError) -> None:
        lost = {"status": "failed", "stop_reason": str(error), "run_id": job.run_id}
        self.summaries.setdefault(job.run_id, lost)


def _saved(plan: Path, member: Job, named: bool = False) -> dict[str, Any] | None:
    """Return the newest whole checkpoint of a stack, or None; one of another layout is ``named`` on stderr."""
    from runner.engine import checkpoint

    unknown = []
    for path in (_checkpoint(plan), checkpoint.previous(_checkpoint(plan))):
        with contextlib.suppress(RecordError):
            found = checkpoint.load(path)
            if _known(found, member):
                return found
            unknown.append(path)
    for path in unknown[:1] if named else ():
        name_unknown(path, "its runs start")
    return None


def _known(saved: dict[str, Any], member: Job) -> bool:
    """Say whether the checkpoint of a stack, of which one member is given, is laid out as this version does it."""
    from runner.engine.state import COUNTERS

    if saved.keys() != {"run_ids", "asked", "members", "weights", "slices", "hooks"}:
        return False
    return len(saved["asked"]) == len(asked(member)) and all(
        held.keys() == {"counters", "best_weights", "hooks", "optimizer"} and held["counters"].keys() == set(COUNTERS)
        for held in saved["members"]
    )


def _resumed(jobs: Sequence[Job], runs: "Sequence[Run]", source: Path) -> "tuple[list[Job], Stack]":
    """Return the jobs in the order of their stack, and the stack: as it was saved, where all can go on from that."""
    from runner.engine.fused.members import resume, stack
    from runner.engine.fused.slices import in_order

    saved = _saved(source, jobs[0])
    if saved is not None and all(_goes_on(job, run, saved) for job, run in zip(jobs, runs, strict=True)):
        place_of = {run_id: i for i, run_id in enumerate(saved["run_ids"])}
        order = sorted(range(len(jobs)), key=lambda i: place_of[jobs[i].run_id])
        places = [place_of[jobs[i].run_id] for i in order]
        try:
            return [jobs[i] for i in order], resume([runs[i] for i in order], saved, places)
        except UNLIKE:
            name_unknown(_checkpoint(source), "its runs start")
    order = in_order(runs)
    return [jobs[i] for i in order], stack([runs[i] for i in order])


def _goes_on(job: Job, run: "Run", saved: dict[str, Any]) -> bool:
    """Say whether a checkpoint holds a job, as it is now asked for, and its rows on disk reach as far."""
    if job.run_id not in saved["run_ids"] or saved["asked"] != asked(job):
        return False
    member = saved["members"][saved["run_ids"].index(job.run_id)]
    lines = len(record.whole_lines(job.folder / "metrics.csv")) - 1
    lacks_best = run.keep_best and member["best_weights"] is None and bool(member["counters"]["best"])
    return bool(member["counters"]["rows"] <= lines and not lacks_best)


def in_a_stack(job: Job) -> bool:
    """Say whether a stack that was stopped holds a checkpoint of a job."""
    return any(job.run_id in members and _checkpoint(path).exists() for path, members in plans(job.folder.parent))


def forget_ended(folder: Path) -> None:
    """Remove what is left of stacks of which every member has ended, in whatever way."""
    for path, members in plans(folder):
        if not _unfinished(folder, members):
            _forget(path)


def _unfinished(folder: Path, members: Iterable[str]) -> bool:
    places = (next(iter(folder.glob(f"*-{run_id}")), None) for run_id in members)
    summaries = (record.read_summary(place) if place else None for place in places)
    return any(summary is None or summary["status"] not in record.ENDED for summary in summaries)


def plans(folder: Path) -> list[tuple[Path, list[str]]]:
    """Return the plan of every stack of a folder of runs that has not ended, and its members' ids; small ones first."""
    found = []
    for path in sorted((folder / ".stacks").glob("*.json")):
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
            found.append((path, [str(run_id) for run_id in json.loads(path.read_text(encoding="utf-8"))["members"]]))
    return sorted(found, key=lambda plan: len(plan[1]))


def _new_plan(jobs: Sequence[Job]) -> Path:
    ids = "".join(sorted(job.run_id for job in jobs))
    return jobs[0].folder.parent / ".stacks" / f"{hashlib.sha256(ids.encode()).hexdigest()[:8]}.json"


def _place(jobs: Sequence[Job]) -> tuple[Path, Path]:
    """Return where to keep a stack's plan, and the plan of a stack that its members were in.

    They are one, unless others of that stack wait to go on from it too.
    """
    ids = {job.run_id for job in jobs}
    folder = jobs[0].folder.parent
    for path, members in plans(folder):
        if ids <= set(members):
            return (_new_plan(jobs) if _unfinished(folder, set(members) - ids) else path), path
    return _new_plan(jobs), _new_plan(jobs)


def _checkpoint(plan: Path) -> Path:
    return plan.with_suffix(".pt")


def _forget(plan: Path) -> None:
    """Remove a stack's plan and checkpoint: all of its members have ended."""
    from runner.engine import checkpoint

    checkpoint.remove(_checkpoint(plan))
    with record.writing(plan):
        plan.unlink(missing_ok=True)
        with contextlib.suppress(OSError):  # others may be there
            plan.parent.rmdir()
