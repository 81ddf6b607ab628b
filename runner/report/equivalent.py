"""Which settings are as good as the leader, within a margin, and which of those costs least."""

from dataclasses import replace

import numpy as np

from runner.report.settings import Workload
from runner.statistics.best import equivalence, seeds_to_tell

POINTS = 0.01
"""The margin of a share, such as an accuracy: one point."""
SHARE_OF_GAIN = 0.05
"""The margin of another measure: this share of what the leader gains over the trivial baseline."""
CHEAPER = 0.9
"""A setting is cheaper from this share of another's training time on: less is the machine's mood."""
MOST_SEEDS = 1000
SECONDS, MEMORY = "train_seconds", "memory_bytes"


def default_margin(workload: Workload, trivial: float | None) -> float | None:
    """Return how far settings may be apart and still count as equally good; None where nothing says it.

    Args:
        workload: its settings.
        trivial: what the trivial baseline reaches, where it is known.
    """
    if workload.measure.counted:
        return POINTS
    if workload.best is None or trivial is None:
        return None
    gain = abs(workload.of(0, "mean") - trivial)
    return SHARE_OF_GAIN * gain or None


def with_margin(workload: Workload, margin: float | None) -> Workload:
    """Return the workload with those of its set marked that are equivalent to the leader (two one-sided tests)."""
    if margin is None or workload.best is None:
        return workload
    table = workload.table.copy()
    for setting in workload.rivals:
        if workload.of(setting, "n") > 1 and workload.of(0, "n") > 1:
            low, high = equivalence(workload.best_set, setting)
            if -margin < low and high < margin:
                table.loc[setting, "verdict"] = "equivalent"
    return replace(workload, table=table, margin=margin)


def equivalents(workload: Workload) -> list[int]:
    """Return the settings that are equivalent to the leader, best first."""
    return [int(i) for i in np.flatnonzero(workload.table["verdict"] == "equivalent")]


def cheapest(workload: Workload, among: list[int]) -> int:
    """Return the cheapest of the leader and some settings: by seconds of training, or by memory in no more time.

    A setting counts as cheaper if it saves a tenth; among those that cost the same, the better one.
    """
    seconds, memory = (workload.table[column].to_numpy(float) for column in (SECONDS, MEMORY))
    in_time = [s for s in among if seconds[s] <= seconds[0] / CHEAPER]
    for cost in (seconds, memory):
        cheaper = [s for s in in_time if cost[s] < CHEAPER * cost[0]]  # not where either is NaN
        if cheaper:
            least = min(cost[cheaper])
            return min(s for s in cheaper if cost[s] <= least / CHEAPER)
    return 0


def recommended(workload: Workload) -> int:
    """Return the setting that the answer recommends: the cheapest of the leader and what is as good.

    Of a search it is the one that its finals picked: that alone was judged on seeds which chose nothing.
    """
    return 0 if workload.is_picked else cheapest(workload, equivalents(workload))


def seeds_for(workload: Workload, setting: int) -> int | None:
    """Return how many seeds it is expected to take to tell whether a setting is as good as the leader, or worse."""
    if workload.of(setting, "n") < 2 or workload.of(0, "n") < 2:
        return None
    return seeds_to_tell(workload.best_set, setting, workload.margin or 0.0, MOST_SEEDS)
