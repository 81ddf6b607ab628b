"""Which accelerator a worker trains on: each worker process sees one device, as many share it as there are workers."""

import contextlib
import os
from collections.abc import Iterator, Sequence

from runner.run.job import Job

VISIBLE = "CUDA_VISIBLE_DEVICES"
"""What CUDA reads, once, when a process first asks for it."""
PINNED = ("auto", "cuda")
"""Values of ``device`` that leave open which one it is."""


def may_use_an_accelerator(jobs: Sequence[Job]) -> bool:
    """Say whether a job may train on one: a function of one's own that can says that it uses ``device``."""
    return any(job.config.get("device", "cpu") != "cpu" for job in jobs)


def accelerator_is_there() -> bool:
    """Say whether this machine has one."""
    import torch

    return torch.cuda.is_available() or torch.backends.mps.is_available()


def devices(jobs: Sequence[Job]) -> list[str]:
    """Return the CUDA devices that jobs are spread over, as CUDA names them; none where they choose, or use none."""
    import torch

    if not jobs or not any(job.config.get("device") in PINNED for job in jobs) or not torch.cuda.is_available():
        return []
    given = [name for name in os.environ.get(VISIBLE, "").split(",") if name.strip()]
    return given or [str(i) for i in range(torch.cuda.device_count())]


@contextlib.contextmanager
def pinned(seen: Sequence[str], slot: int, each: int = 1) -> Iterator[None]:
    """Have the process that the block starts anew (``spawn``) see ``each`` of several devices, the slots in turn."""
    if len(seen) <= each:
        yield
        return
    before = os.environ.get(VISIBLE)
    os.environ[VISIBLE] = ",".join(seen[(slot * each + i) % len(seen)] for i in range(each))
    try:
        yield
    finally:
        if before is None:
            del os.environ[VISIBLE]
        else:
            os.environ[VISIBLE] = before
