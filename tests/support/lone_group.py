"""A group of one process: what is spread over several can be looked at in the process of the tests."""

import contextlib
import gc
from collections.abc import Iterator
from pathlib import Path

import torch.distributed as dist


@contextlib.contextmanager
def lone_group(folder: Path) -> Iterator[dist.ProcessGroup]:
    """Have this process be the only one of torch's default group, for the length of a block."""
    dist.init_process_group("gloo", init_method=f"file://{folder}/store", rank=0, world_size=1)
    try:
        assert dist.group.WORLD is not None
        yield dist.group.WORLD
    finally:
        dist.destroy_process_group()
        gc.collect()  # a process that is forked later would crash on collecting it: the group's threads are not there
