"""How long calls take, measured in turns: what else the machine does slows all of them alike."""

import time
from collections.abc import Callable, Mapping

import numpy as np


def in_turns(calls: Mapping[str, Callable[[], object]], rounds: int) -> dict[str, tuple[float, float]]:
    """Return the median and 95th percentile of each call's seconds; every round calls each once, after a warm-up."""
    for call in calls.values():
        for _ in range(3):
            call()
    seconds: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(rounds):
        for name, call in calls.items():
            began = time.perf_counter()
            call()
            seconds[name].append(time.perf_counter() - began)
    return {name: (float(np.median(taken)), float(np.quantile(taken, 0.95))) for name, taken in seconds.items()}
