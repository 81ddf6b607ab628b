"""The bar of a sweep, on a terminal."""

import sys
from typing import Any

from tqdm import tqdm

from runner.measures import HIGHER_IS_BETTER, chosen_by
from runner.run.outcome import Outcome
from runner.sweep.queue import Queue


class Board:
    """One progress bar for the sweep: done, running, the best so far, diverged, failed, time left."""

    def __init__(self, queue: Queue) -> None:
        tqdm.monitor_interval = 0  # no thread beside this one: workers are forked
        shown = sys.stderr.isatty()
        self._queue = queue
        self._bar: tqdm[Any] = tqdm(
            total=queue.total,
            unit="run",
            desc=queue.title,
            disable=not shown,
            dynamic_ncols=True,
        )
        self._counts = {"diverged": 0, "failed": 0}
        self._best: float | None = None

    def __enter__(self) -> "Board":
        return self

    def __exit__(self, *ignored: object) -> None:
        self._bar.close()

    def ended(self, outcome: Outcome) -> None:
        """Count one more run."""
        status = outcome.summary["status"]
        if status in self._counts:
            self._counts[status] += 1
        name = self._queue.measure or chosen_by(outcome.summary)
        if name and isinstance(outcome.summary.get(name), int | float):
            value, measure = float(outcome.summary[name]), name.removeprefix("final_val_")
            better = max if HIGHER_IS_BETTER[measure] else min
            self._best = value if self._best is None else better(self._best, value)

    def under_way(self, share: float, running: int | None = None) -> None:
        """Show how many runs are being trained, and how many runs' worth of that is done.

        Args:
            share: runs' worth.
            running: how many are trained; None: those that the queue has handed out.
        """
        running = self._queue.running if running is None else running
        best = {} if self._best is None else {"best": f"{self._best:.4g}"}
        self._bar.total = self._queue.total
        self._bar.set_postfix({"running": running, **best, **self._counts}, refresh=False)
        self._bar.update(round(len(self._queue.outcomes) + share, 1) - self._bar.n)
