"""Which runs of a sweep are trained together, and how many at a time."""

from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING

from runner.config.imports import named_by_user
from runner.run.job import Job
from runner.run.life import begun_alone, finished
from runner.run.stack import plans
from runner.run.stackable import refusal, signature, without_rate

if TYPE_CHECKING:
    from torch import nn

    from runner.engine.run import Run

Task = tuple[int, ...]
"""Jobs of a sweep, by their number, that one worker trains at a time: a stack, or a single run."""

LARGEST_BYTES = 2**19
"""Of a run's weights, beyond which its matrix products are as fast by themselves (``scripts/bench_fused.py``)."""
BYTES_TOGETHER = 24 * 2**20
"""Of all that a stack on a CPU computes with: more leaves the caches that a core has for itself."""
SMALLEST = 4
"""Runs of a stack that is worth it on a CPU."""
MOST = 256
"""Each member of a stack holds a file open."""


def tasks(jobs: Sequence[Job], workers: int) -> list[Task]:
    """Return every job once, in stacks where that pays; stacks of an interrupted sweep are those that they were."""
    engine = jobs[0].config["engine"]
    if engine == "loop":
        return [(i,) for i in range(len(jobs))]
    waiting = {job.run_id: i for i, job in enumerate(jobs) if _may_be_stacked(job, engine == "fused")}
    stacked: list[Task] = []
    for _, members in plans(jobs[0].folder.parent):
        again: dict[str, list[int]] = {}  # asked for in other ways now, they are of other kinds
        for run_id in members:
            if run_id in waiting:
                i = waiting.pop(run_id)
                again.setdefault(signature(jobs[i]), []).append(i)
        stacked += map(tuple, again.values())
    kinds: dict[str, list[int]] = {}
    for i in waiting.values():
        kinds.setdefault(signature(jobs[i]), []).append(i)
    for members_of_kind in kinds.values():
        stacked += _stacks(jobs, members_of_kind, workers)
    placed = {i for task in stacked for i in task}
    return [*stacked, *((i,) for i in range(len(jobs)) if i not in placed)]


def _may_be_stacked(job: Job, asked: bool) -> bool:
    """Say whether nothing speaks against stacking a job: that it is finished, was begun alone, or runs one's own code.

    The last speaks against it only where a stack is not ``asked`` for.
    """
    return (asked or not named_by_user(job.config)) and finished(job) is None and not begun_alone(job)


def _stacks(jobs: Sequence[Job], members: list[int], workers: int) -> list[Task]:
    """Return the stacks of runs of one kind; without those that are better off by themselves."""
    from runner.run.build import build

    first = build(jobs[members[0]])
    model = first.construct()
    most = largest(first, model)
    asked = jobs[0].config["engine"] == "fused"
    if not asked and not pays(first, model, min(most, len(members))):  # before any is tried out, which takes memory
        return []
    able = [i for i in members if refusal(jobs[i]) is None]
    if not able or (not asked and not pays(first, model, min(most, len(able)))):
        return []
    # Runs of one seed see the same batches, those of one optimizer step together.
    able.sort(key=lambda i: (jobs[i].config["seed"], str(without_rate(jobs[i].config["optim"])), i))
    count = max(-(-len(able) // most), min(workers, len(able) // SMALLEST), 1)
    if count > workers and len(able) // count > SMALLEST:  # as many for each worker
        count = -(-count // workers) * workers
    bounds = [len(able) * k // count for k in range(count + 1)]
    return [tuple(able[a:b]) for a, b in pairwise(bounds)]


def pays(run: "Run", model: "nn.Module", together: int) -> bool:
    """Say whether so many runs of a kind, of which this is one, are trained faster as a stack than one a worker.

    On an accelerator a small step costs its launch, whatever the model. On a CPU it pays where the stacked step is
    written out (fully connected networks) and its weights are few; large products and convolutions gain nothing.
    """
    from runner.engine.fused.batched import is_written_out

    if run.device.type == "cuda":
        return together > 1
    return is_written_out(model) and _bytes(model) <= LARGEST_BYTES and together >= SMALLEST


def largest(run: "Run", model: "nn.Module") -> int:
    """Return how many runs a stack should have at most."""
    if run.device.type == "cuda":
        return MOST
    from runner.engine.memory import COPIES

    return max(1, min(MOST, BYTES_TOGETHER // (COPIES * _bytes(model))))


def _bytes(model: "nn.Module") -> int:
    return sum(p.numel() * p.element_size() for p in model.parameters())
