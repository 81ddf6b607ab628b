"""Of which processor the runs of a folder are: its first worker's, whichever trains them."""

import contextlib
from pathlib import Path

from runner.config.imports import named_by_user
from runner.engine.layout import CONTIGUOUS, capability_here, layout_for
from runner.engine.state import State
from runner.errors import RecordError
from runner.run import record
from runner.run.job import Job
from runner.run.lock import exclusive

PLACE = ".processor"


def layout_of(job: Job, state: State) -> str:
    """Return the layout that a run which begins is trained in; what its folder's first worker would choose."""
    if job.config["deterministic"] or job.config["compile"] or named_by_user(job.config):
        return CONTIGUOUS

    def capability() -> str:
        return decided(job.folder.parent)

    return layout_for(state.model, state.optimizer, state.run.device, capability)


def decided(folder: Path) -> str:
    """Return what the processor was capable of that began a folder of runs; this one's where it is the first."""
    path = folder / PLACE
    with contextlib.suppress(OSError, RecordError), record.writing(path), exclusive(folder / ".locks", PLACE):
        if not path.exists():
            record.write_whole(path, capability_here() + "\n")
        return path.read_text(encoding="utf-8").strip()
    return capability_here()
