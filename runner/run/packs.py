"""Packs of jobs that are trained together, on disk: who is in each, and where it left its checkpoint.

``outputs/<name>/.stacks/`` holds each pack's plan, which is the ids of its members, and the resume checkpoint of the
stack that they are. Never imports torch.
"""

import contextlib
import hashlib
import json
from collections.abc import Iterable, Sequence
from pathlib import Path

from runner.run import files, record
from runner.run.job import Job


def packs(folder: Path) -> list[tuple[Path, list[str]]]:
    """Return the plan of every pack of a folder of runs that has not ended, and its members' ids; small ones first."""
    found = []
    for path in sorted((folder / ".stacks").glob("*.json")):
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
            found.append((path, [str(run_id) for run_id in json.loads(path.read_text(encoding="utf-8"))["members"]]))
    return sorted(found, key=lambda pack: len(pack[1]))


def write(plan: Path, run_ids: Sequence[str]) -> None:
    """Write who is in a pack."""
    with record.writing(plan):
        plan.parent.mkdir(parents=True, exist_ok=True)
        record.write_whole(plan, json.dumps({"members": list(run_ids)}))


def plan_of(jobs: Sequence[Job]) -> Path:
    """Return where the plan of a pack of these jobs is kept."""
    return _place(jobs[0].folder.parent, [job.run_id for job in jobs])


def _place(folder: Path, run_ids: Iterable[str]) -> Path:
    ids = "".join(sorted(run_ids))
    return folder / ".stacks" / f"{hashlib.sha256(ids.encode()).hexdigest()[:8]}.json"


def keep(folder: Path, chosen: Iterable[Sequence[str]]) -> None:
    """Write packs of a folder's runs, given by their ids, but those that are in one already."""
    held = {frozenset(members) for _, members in packs(folder)}
    for ids in chosen:
        if len(ids) > 1 and not any(set(ids) <= other for other in held):
            write(_place(folder, ids), ids)


def place(jobs: Sequence[Job]) -> tuple[Path, Path]:
    """Return where to keep the plan of jobs that are trained together, and the plan of a pack that they were in.

    They are one, unless others of that pack wait to go on from it too.
    """
    ids = {job.run_id for job in jobs}
    folder = jobs[0].folder.parent
    holding = [(path, members) for path, members in packs(folder) if ids <= set(members)]
    holding.sort(key=lambda pack: not checkpoint_of(pack[0]).exists())  # the smallest that left one, if any did
    for path, members in holding[:1]:
        return (plan_of(jobs) if _unfinished(folder, set(members) - ids) else path), path
    return plan_of(jobs), plan_of(jobs)


def checkpoint_of(plan: Path) -> Path:
    """Return where a pack's stack leaves its checkpoint."""
    return plan.with_suffix(".pt")


def left_a_checkpoint(job: Job) -> bool:
    """Say whether a stack that was stopped holds a checkpoint of a job."""
    found = packs(job.folder.parent)
    return any(job.run_id in members and checkpoint_of(path).exists() for path, members in found)


def forget(plan: Path) -> None:
    """Remove a pack's plan and checkpoint: all of its members have ended."""
    from runner.engine import checkpoint

    checkpoint.remove(checkpoint_of(plan))
    with record.writing(plan):
        plan.unlink(missing_ok=True)
        with contextlib.suppress(OSError):  # others may be there
            plan.parent.rmdir()


def forget_ended(folder: Path) -> None:
    """Remove what is left of packs of which every member has ended, in whatever way."""
    for path, members in packs(folder):
        if not _unfinished(folder, members):
            forget(path)


def _unfinished(folder: Path, members: Iterable[str]) -> bool:
    places = (next(iter(folder.glob(f"*-{run_id}")), None) for run_id in members)
    summaries = (files.read_summary(place) if place else None for place in places)
    return any(summary is None or summary["status"] not in files.ENDED for summary in summaries)
