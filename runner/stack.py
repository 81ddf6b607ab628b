"""A stack of jobs: trained by the fused engine as one, recorded as so many runs.

``outputs/<name>/.stacks/`` holds each stack's plan, which is the ids of its members, and its resume checkpoint.
"""

import contextlib
import hashlib
import json
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from tqdm import tqdm

from runner import record
from runner.errors import OptbenchError, RecordError
from runner.job import Job
from runner.lock import holding
from runner.record import Recorder
from runner.train import (
    CHECKPOINT_SECONDS,
    WAIT_SECONDS,
    Interruption,
    Outcome,
    asked,
    clear_checkpoints,
    conclude,
    finished,
    make_room,
    run_held,
    torch_settings,
)

SHARE_OF_TIME = 0.05
"""Checkpoints of a stack take no more of the time than this."""

Summaries = dict[str, dict[str, Any]]
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

    Raises:
        RecordError: if a folder cannot be written.
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
            summaries: Summaries = {}
            if ours:
                _run(ours, save, interruption, progress, summaries, *_place(ours))
        found |= {job.run_id: Outcome(job, summaries[job.run_id], trained=True) for job in ours}
        if not wait or all(found.values()):
            return [found[job.run_id] for job in jobs]
        time.sleep(WAIT_SECONDS)


def _run(
    jobs: Sequence[Job],
    save: str,
    interruption: Interruption,
    progress: Progress,
    summaries: Summaries,
    plan: Path,
    source: Path,
) -> None:
    """Train jobs that are held, and put what became of each into ``summaries``.

    Where memory does not suffice each half is tried by itself; where something raises, each run.

    Args:
        jobs: the members.
        save: as of ``run_stack``.
        interruption: as of ``run_stack``.
        progress: as of ``run_stack``.
        summaries: by run id; filled.
        plan: where the stack's plan and checkpoint are kept.
        source: the plan of a stack that the members may go on from.
    """
    recorders = {job.run_id: Recorder(job) for job in jobs}
    try:
        with interruption.listening(), torch_settings(jobs[0]):
            _train(jobs, recorders, save, interruption, progress, summaries, plan, source)
        return
    except OptbenchError:
        raise
    except (Exception, SystemExit) as error:  # a user's part may end the process
        from runner.engine.fused import is_out_of_memory

        left = [job for job in jobs if job.run_id not in summaries]
        if len(jobs) == 1:
            summaries[jobs[0].run_id] = summary = recorders[jobs[0].run_id].fail(error)
            recorders[jobs[0].run_id].close(summary)
            record.update_runs_csv([(jobs[0], summary)])
            return
        halved = is_out_of_memory(error)
        said = "in two halves" if halved else "each by itself"
        reason = f"{type(error).__name__}: {str(error).strip().splitlines()[0] if str(error).strip() else ''}"
        tqdm.write(f"optbench: a stack of {len(jobs)} runs raised {reason}; they go on {said}")
    for recorder in recorders.values():
        recorder.let_go()
    for part in (left[: len(left) // 2], left[len(left) // 2 :]) if halved else ([job] for job in left):
        if halved or part[0].config["engine"] == "fused":
            _run(part, save, interruption, progress, summaries, _new_plan(part), source)
        else:
            from runner.build import build

            summaries[part[0].run_id] = run_held(part[0], build(part[0]), save, interruption, bar=False)
    _forget(plan)


def _train(
    jobs: Sequence[Job],
    recorders: dict[str, Recorder],
    save: str,
    interruption: Interruption,
    progress: Progress,
    summaries: Summaries,
    plan: Path,
    source: Path,
) -> None:
    from runner.build import build
    from runner.engine import checkpoint, fused
    from runner.summary import environment, reset_peak_memory

    runs = [build(job) for job in jobs]
    reset_peak_memory(runs[0].device)
    for job in jobs:
        make_room(job)
    jobs, members = _resumed(jobs, runs, source)
    job_of = {id(state): job for state, job in zip(members.states, jobs, strict=True)}
    run_of = {id(state): run for state, run in zip(members.states, members.runs, strict=True)}
    resumed_from = members.step if members.states[0].rows else None
    with record.writing(plan):
        plan.parent.mkdir(parents=True, exist_ok=True)
        record.write_whole(plan, json.dumps({"members": [job.run_id for job in jobs]}))
    for state in members.states:
        state.stack_size = len(jobs)
        recorder = recorders[job_of[id(state)].run_id]
        recorder.open(rows_kept=state.rows)
        checkpoint.remove(recorder.checkpoint)  # of another engine
    record.update_runs_csv([(job, {"status": "running"}) for job in jobs])

    def keep() -> float:
        began = time.monotonic()
        ids = [job_of[id(state)].run_id for state in members.states]
        checkpoint.save(_checkpoint(plan), {**members.state_dict(), "run_ids": ids, "asked": asked(jobs[0])})
        return time.monotonic() - began

    saved_at, pause = time.monotonic() - CHECKPOINT_SECONDS, CHECKPOINT_SECONDS
    for found in fused.train(members, lambda step: interruption.requested):
        ended = []
        for state, evaluation in found:
            job = job_of[id(state)]
            recorder = recorders[job.run_id]
            recorder.row(evaluation.row)
            if state.stop_reason is not None:
                kept = job.config["save"] or save
                summary = conclude(job, run_of[id(state)], state, recorder, evaluation.row, kept, resumed_from)
                recorder.close(summary)
                clear_checkpoints(recorder, summary)
                summaries[job.run_id] = summary
                ended.append((job, summary))
        record.update_runs_csv(ended)
        progress(found[0][0].step / runs[0].steps if found else 1.0)
        if members.runs and not interruption.requested and time.monotonic() - saved_at >= pause:
            pause = max(CHECKPOINT_SECONDS, keep() / SHARE_OF_TIME)
            saved_at = time.monotonic()
        if interruption.requested:
            break
    if members.runs:
        keep()
        waiting = [(job_of[id(s)], run_of[id(s)], s) for s in members.states]
        for job, run, state in waiting:
            summary = {"status": "interrupted", "stop_reason": "interrupted", "steps": state.step}
            summaries[job.run_id] = summary | environment(job, run, state.stack_size)
            recorders[job.run_id].close(summaries[job.run_id])
        record.update_runs_csv([(job, summaries[job.run_id]) for job, _, _ in waiting])
    else:
        _forget(plan)


def _resumed(jobs: Sequence[Job], runs: Sequence[Any], source: Path) -> tuple[list[Job], Any]:
    """Return the jobs in the order of their stack, and the stack: as it was saved, where that can be gone on from."""
    from runner.engine import checkpoint, fused

    saved = None
    for path in (_checkpoint(source), checkpoint.previous(_checkpoint(source))):
        with contextlib.suppress(RecordError):
            saved = saved or checkpoint.load(path)
    place_of = {run_id: i for i, run_id in enumerate(saved["run_ids"])} if saved else {}
    if saved and saved["asked"] == asked(jobs[0]) and all(job.run_id in place_of for job in jobs):
        order = sorted(range(len(jobs)), key=lambda i: place_of[jobs[i].run_id])
        places = [place_of[jobs[i].run_id] for i in order]
        if all(_goes_on(jobs[i], runs[i], saved["members"][place_of[jobs[i].run_id]]) for i in order):
            return [jobs[i] for i in order], fused.resume([runs[i] for i in order], saved, places)
    order = fused.in_order(runs)
    return [jobs[i] for i in order], fused.stack([runs[i] for i in order])


def _goes_on(job: Job, run: Any, member: dict[str, Any]) -> bool:
    """Say whether a member's rows on disk reach as far as its checkpoint, which holds what is now asked for."""
    lines = len(record.whole_lines(job.folder / "metrics.csv")) - 1
    lacks_best = run.keep_best and member["best_weights"] is None and bool(member["counters"]["best"])
    return bool(member["counters"]["rows"] <= lines and not lacks_best)


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
            others = (folder.glob(f"*-{run_id}") for run_id in set(members) - ids)
            summaries = [record.read_summary(run) for found in others for run in found]
            waiting = any(s is None or s["status"] not in record.ENDED for s in summaries)
            return (_new_plan(jobs) if waiting else path), path
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
