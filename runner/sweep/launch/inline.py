"""Packs one after another in this process: a breakpoint in a part of one's own opens, and its traceback is shown."""

import sys
from pathlib import Path

from tqdm import tqdm

from runner.run.outcome import Outcome
from runner.run.process import Interruption
from runner.run.progress import Bar
from runner.sweep.launch import Report, spread
from runner.sweep.queue import Queue


def launch(queue: Queue, report: Report, workers: int = 1) -> None:
    """Run every job of a queue, whatever the number of workers. See ``runner.sweep.launch.Launch``."""
    import torch

    interruption = Interruption()
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # as in worker processes: the same rows
    try:
        while (taken := queue.take()) is not None:
            chosen = [queue.jobs[i] for i in taken]
            for outcome in queue.over(taken, spread.train(chosen, interruption, Bar(), wait=True)):
                report(outcome)
                _show_traceback(outcome)
                failed = outcome.trained and outcome.summary["status"] == "failed"
                if failed and chosen[0].config["fail_fast"]:
                    queue.close()
            if interruption.requested:
                queue.close()
    finally:
        torch.set_num_threads(threads)


def _show_traceback(outcome: Outcome) -> None:
    if outcome.trained and (place := outcome.summary.get("traceback")):
        tqdm.write(Path(place).read_text(encoding="utf-8").rstrip(), file=sys.stderr)
