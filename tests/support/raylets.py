"""A Ray of this host alone, for tests: a head without cores, and raylets of one core each."""

import contextlib
import importlib.util
import os
from collections.abc import Iterator
from typing import Any

import pytest

STORE_BYTES = 80 * 2**20


def missing() -> str | None:
    """Return why there can be none here."""
    return None if importlib.util.find_spec("ray") else "ray is not installed"


def add(cluster: Any) -> Any:
    """Add a raylet of one core, and return it."""
    return cluster.add_node(num_cpus=1, object_store_memory=STORE_BYTES, include_dashboard=False)


@contextlib.contextmanager
def running(nodes: int) -> Iterator[Any]:
    """Yield a cluster that runs while the block does."""
    os.environ.setdefault("RAY_raylet_start_wait_time_s", "300")  # on a busy machine; read at the import
    os.environ.setdefault("RAY_worker_niceness", "0")  # Ray's own is 15: others on the machine would starve them
    import ray
    from ray.cluster_utils import Cluster

    cluster = Cluster()
    try:
        try:
            cluster.add_node(num_cpus=0, object_store_memory=STORE_BYTES, include_dashboard=False)
            for _ in range(nodes):
                add(cluster)
        except Exception as error:  # of many kinds: a machine that is too busy, or too small
            pytest.skip(f"no Ray: it does not start here: {error}")
        yield cluster
    finally:
        ray.shutdown()
        cluster.shutdown()
