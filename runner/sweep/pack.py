"""Packs: which runs of a sweep are trained together. Decided once, at the first start, and kept beside the runs."""

from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING

from runner.run import packs
from runner.run.job import Job
from runner.run.outcome import begun_alone, finished
from runner.run.stackable import is_stackable, refusal, traits

if TYPE_CHECKING:
    from torch import nn

    from runner.engine.run import Run

Pack = tuple[int, ...]
"""Jobs of a sweep, by their number, that one worker trains at a time: a stack, or a single run."""

LARGEST_BYTES = 2**19
"""Of a run's weights, beyond which its matrix products are as fast by themselves (``scripts/bench_fused.py``)."""
BYTES_TOGETHER = 24 * 2**20
"""Of all that a stack on a CPU computes with: more leaves the caches that a core has for itself."""
SMALLEST = 4
"""Runs of a stack that is worth it on a CPU."""
PACKS, APIECE = 4, 8
"""Into how many packs a search divides its runs of a kind, and how many each has at least: of a generation, whoever
trains it. Few large packs take fewer steps in all, and several workers share them."""
MOST = 256
"""Each member of a stack holds a file open."""


def packed(jobs: Sequence[Job], count: int) -> list[Pack]:
    """Return every job once: those that were packed before as they were, the others in new packs.

    Args:
        jobs: of one sweep.
        count: how many packs of one kind there are to be at least, as a sweep's workers; see `pack`.
    """
    if not jobs or jobs[0].config["engine"] == "loop":
        return [(i,) for i in range(len(jobs))]
    again, waiting = _as_they_were(jobs)
    new = [tuple(waiting[i] for i in members) for members in pack([jobs[i] for i in waiting], count)]
    placed = {i for members in (*again, *new) for i in members}
    return [*again, *new, *((i,) for i in range(len(jobs)) if i not in placed)]


def pack(jobs: Sequence[Job], count: int, least: int = SMALLEST, apiece: int = SMALLEST) -> list[Pack]:
    """Return the packs of jobs that are better trained together: a function of the jobs and of ``count`` alone.

    Args:
        jobs: those that may be stacked.
        count: how many packs each kind of runs is divided into at least, where there are runs enough.
        least: runs of a stack that is worth it on a CPU.
        apiece: runs that each of these packs has at least.
    """
    kinds: dict[str, list[int]] = {}
    for i, job in enumerate(jobs):
        kinds.setdefault(traits(job).signature, []).append(i)
    return [members for kind in kinds.values() for members in _stacks(jobs, kind, count, least, apiece)]


def anew(jobs: Sequence[Job], least: int = SMALLEST) -> list[Pack]:
    """Return the packs of several of these jobs, whatever became of any of them: a function of the jobs alone."""
    if not jobs or jobs[0].config["engine"] == "loop":
        return []
    able = [i for i, job in enumerate(jobs) if is_stackable(job, jobs[0].config["engine"] == "fused")]
    return [
        tuple(able[i] for i in members)
        for members in pack([jobs[i] for i in able], PACKS, least, APIECE)
        if len(members) > 1
    ]


def keep(jobs: Sequence[Job], chosen: Sequence[Pack]) -> None:
    """Write who is in each pack, before any of them starts: who joins the sweep later finds them as they are."""
    packs.keep(jobs[0].folder.parent, (packs.of([jobs[i] for i in members], whole=False) for members in chosen))


def _as_they_were(jobs: Sequence[Job]) -> tuple[list[Pack], list[int]]:
    """Return the packs that are kept beside the runs, of these jobs, and the jobs that may be packed anew."""
    fused = jobs[0].config["engine"] == "fused"
    waiting = {job.run_id: i for i, job in enumerate(jobs) if _may_be_stacked(job, fused)}
    found: list[Pack] = []
    for _, members in packs.packs(jobs[0].folder.parent):
        again: dict[str, list[int]] = {}  # asked for in other ways now, they are of other kinds
        for run_id in members:
            if run_id in waiting and refusal(jobs[waiting[run_id]]) is None:
                i = waiting.pop(run_id)
                again.setdefault(traits(jobs[i]).signature, []).append(i)
        found += map(tuple, again.values())
    return found, list(waiting.values())


def _may_be_stacked(job: Job, asked: bool) -> bool:
    """Say whether nothing speaks against stacking a job: that it has ended, was begun alone, or runs one's own code."""
    return is_stackable(job, asked) and finished(job) is None and not begun_alone(job)


def _stacks(jobs: Sequence[Job], members: list[int], count: int, least: int, apiece: int) -> list[Pack]:
    """Return the stacks of runs of one kind; without those that are better off by themselves."""
    from runner.run.build import build

    first = build(jobs[members[0]])
    model = first.construct()
    most = largest(first, model)
    asked = jobs[0].config["engine"] == "fused"
    if not asked and not pays(
        first, model, min(most, len(members)), least
    ):  # before any is tried out, which takes memory
        return []
    able = [i for i in members if refusal(jobs[i]) is None]
    if not able or (not asked and not pays(first, model, min(most, len(able)), least)):
        return []
    able.sort(key=lambda i: (*traits(jobs[i]).order, i))
    number = max(-(-len(able) // most), min(count, len(able) // apiece), 1)
    if number > count and len(able) // number > SMALLEST:  # as many for each worker
        number = -(-number // count) * count
    bounds = [len(able) * k // number for k in range(number + 1)]
    return [tuple(able[a:b]) for a, b in pairwise(bounds)]


def pays(run: "Run", model: "nn.Module", together: int, least: int = SMALLEST) -> bool:
    """Say whether so many runs of a kind, of which this is one, are trained faster as a stack than one a worker.

    On an accelerator a small step costs its launch, whatever the model. On a CPU it pays where the stacked step is
    written out (fully connected networks) and its weights are few; large products and convolutions gain nothing.
    """
    from runner.engine.fused.batched import is_written_out

    if run.device.type == "cuda":
        return together > 1
    return is_written_out(model) and _bytes(model) <= LARGEST_BYTES and together >= least


def largest(run: "Run", model: "nn.Module") -> int:
    """Return how many runs a stack should have at most."""
    if run.device.type == "cuda":
        return MOST
    from runner.engine.memory import COPIES

    return max(1, min(MOST, BYTES_TOGETHER // (COPIES * _bytes(model))))


def _bytes(model: "nn.Module") -> int:
    return sum(p.numel() * p.element_size() for p in model.parameters())
