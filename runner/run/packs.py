"""Packs of jobs that are trained together, on disk: who is in each, and where it left its checkpoint.

``outputs/<name>/.stacks/`` holds each pack's plan, which is the ids of its members and what was asked for to get each,
and the resume checkpoint of the stack that they are. A member that is paused has its part of it in its own folder,
and may go on in another pack. Never imports torch.
"""

import contextlib
import hashlib
import json
import os
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
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


@dataclass(frozen=True)
class Plan:
    """Who is in a pack."""

    asked: Mapping[str, Sequence[str]]
    """The overrides of each member, by its id."""
    whole: bool = False
    """It is trained as it is, whoever of its members is asked for; otherwise, with those that have ended."""


def of(jobs: Sequence[Job], whole: bool) -> Plan:
    """Return the plan of a pack of these jobs."""
    return Plan({job.run_id: job.overrides for job in jobs}, whole)


def read(plan: Path) -> Plan:
    """Return a pack's plan; one without members where it cannot be read, or an older version wrote it."""
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
        found = json.loads(plan.read_text(encoding="utf-8"))
        return Plan(dict(zip(found["members"], found["overrides"], strict=True)), bool(found["whole"]))
    return Plan({})


def write(plan: Path, members: Plan) -> None:
    """Write who is in a pack."""
    content = {"members": list(members.asked), "overrides": list(members.asked.values()), "whole": members.whole}
    with record.writing(plan):
        plan.parent.mkdir(parents=True, exist_ok=True)
        record.write_whole(plan, json.dumps(content))


def plan_of(jobs: Sequence[Job]) -> Path:
    """Return where the plan of a pack of these jobs is kept."""
    return place_of(jobs[0].folder.parent, [job.run_id for job in jobs])


def lock_of(jobs: Sequence[Job]) -> Path:
    """Return the lock of a pack of these jobs."""
    return jobs[0].folder.parent / ".locks" / f"pack-{plan_of(jobs).stem}"


def place_of(folder: Path, run_ids: Iterable[str]) -> Path:
    """Return where the plan of a pack of runs with these ids is kept."""
    ids = "".join(sorted(run_ids))
    return folder / ".stacks" / f"{hashlib.sha256(ids.encode()).hexdigest()[:8]}.json"


def keep(folder: Path, chosen: Iterable[Plan]) -> None:
    """Write packs of a folder's runs, but those that are in one already."""
    held = {frozenset(members) for _, members in packs(folder)}
    for plan in chosen:
        ids = frozenset(plan.asked)
        if len(ids) > 1 and not any(ids <= other for other in held):
            write(place_of(folder, ids), plan)


def place(jobs: Sequence[Job]) -> tuple[Path, Path]:
    """Return where to keep the plan of jobs that are trained together, and the plan of a pack that they were in.

    They are one, unless others of that pack wait to go on from it too.
    """
    ids = {job.run_id for job in jobs}
    folder = jobs[0].folder.parent
    holding = [(path, members) for path, members in packs(folder) if ids <= set(members)]
    holding.sort(key=lambda pack: not checkpoint_of(pack[0]).exists())  # the smallest that left one, if any did
    for path, members in holding[:1]:
        others = set(members) - ids
        return (plan_of(jobs) if _unfinished(places_in(folder, others), others) else path), path
    return plan_of(jobs), plan_of(jobs)


def checkpoint_of(plan: Path) -> Path:
    """Return where a pack's stack leaves its checkpoint."""
    return plan.with_suffix(".pt")


def paused_of(folder: Path) -> Path:
    """Return where a run that is paused in a stack keeps its part of it."""
    return folder / "paused.pt"


def left_a_checkpoint(job: Job) -> bool:
    """Say whether a stack that was stopped or paused holds a checkpoint of a job."""
    if paused_of(job.folder).exists():
        return True
    found = packs(job.folder.parent)
    return any(job.run_id in members and checkpoint_of(path).exists() for path, members in found)


def holds(job: Job) -> bool:
    """Say whether a job is one of a pack."""
    return any(job.run_id in members for _, members in packs(job.folder.parent))


def has_ended(job: Job) -> bool:
    """Say whether a job has ended, in whatever way."""
    return files.status_of(job.folder) in files.ENDED


def forget(plan: Path) -> None:
    """Remove a pack's plan and checkpoint, and what members that have ended were paused with: none goes on from it."""
    from runner.engine import checkpoint

    for place in map(Path, places_in(plan.parent.parent, read(plan).asked).values()):
        if files.status_of(place) in files.ENDED:
            checkpoint.remove(paused_of(place))
    checkpoint.remove(checkpoint_of(plan))
    with record.writing(plan):
        plan.unlink(missing_ok=True)
        with contextlib.suppress(OSError):  # others may be there
            plan.parent.rmdir()


def forget_checkpoint(plan: Path) -> None:
    """Remove the checkpoint of a pack of which every member that goes on is paused."""
    from runner.engine import checkpoint

    checkpoint.remove(checkpoint_of(plan))


def forget_ended(folder: Path, paused: bool = False) -> None:
    """Remove what is left of packs of which every member has ended, in whatever way, or with ``paused`` is paused."""
    found = packs(folder)
    places = places_in(folder, {run_id for _, members in found for run_id in members})  # once: a folder may be large
    for path, members in found:
        if not _unfinished(places, members, paused):
            forget(path)


def _unfinished(places: Mapping[str, str], members: Iterable[str], paused: bool = False) -> bool:
    """Say whether one of some runs is not over; those behind the first one are not looked at."""
    over = (*files.ENDED, "paused") if paused else files.ENDED
    return any(run_id not in places or files.status_of(Path(places[run_id])) not in over for run_id in members)


def places_in(folder: Path, wanted: Collection[str]) -> dict[str, str]:
    """Return where runs lie, by their ids; without those that have no folder yet."""
    found: dict[str, str] = {}
    if wanted:
        with contextlib.suppress(FileNotFoundError), os.scandir(folder) as entries:
            for entry in entries:
                run_id = entry.name.rpartition("-")[2]
                if run_id in wanted:
                    found[run_id] = entry.path
    return found
