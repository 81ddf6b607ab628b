"""Successive halving (Jamieson & Talwalkar 2016): of a generation, the better ones of each rung go on to the next.

A rung is an evaluation at a share of a run's length: ``1/by**k`` of it. A run that does not go on stays paused there.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from runner.errors import ConfigError
from runner.measures import HIGHER_IS_BETTER, chosen_by
from runner.run.job import Job

NONE = "none"


@dataclass(frozen=True)
class Halving:
    """Where runs are paused, and who goes on."""

    by: int
    """Of so many runs one goes on, to so many times the steps."""
    rungs: int
    measure: str
    """What decides at a rung, a column of a run's rows."""
    described: str

    def pause_at(self, rung: int, steps: int) -> int | None:
        """Return from which step on a run of so many steps is paused at a rung; None: it goes on to its end."""
        return -(-steps // self.by ** (self.rungs - rung)) if rung < self.rungs else None

    def sizes(self, settings: int) -> list[int]:
        """Return how many of so many settings are trained to each rung, and at last to their end."""
        found = [settings]
        for _ in range(self.rungs):
            found.append(max(1, found[-1] // self.by))
        return found

    def work(self, settings: int, rung: int = 0) -> float:
        """Return what training so many settings from a rung on takes, in trainings of one to its end."""
        shares = [0.0, *(1 / self.by ** (self.rungs - k) for k in range(self.rungs + 1))]
        parts = [n * (shares[k + 1] - shares[k]) for k, n in enumerate(self.sizes(settings))]
        return float(sum(parts[rung:]))

    def going_on(self, values: Sequence[float | None]) -> list[int]:
        """Return the places of those that go on, in order; none of those without a value does.

        Args:
            values: what each came to at a rung.
        """
        sign = -1 if self.higher_is_better else 1
        known = [(sign * value, place) for place, value in enumerate(values) if value is not None]
        return sorted(place for _, place in sorted(known)[: max(1, len(values) // self.by)])

    @property
    def higher_is_better(self) -> bool:
        """Which way the measure is better."""
        return HIGHER_IS_BETTER[self.measure.removeprefix("val_")]


def halving_of(by: str, job: Job, settings: int, metric: str | None) -> Halving | None:
    """Return how generations are halved; None where they are not.

    Args:
        by: ``NONE``, or a whole number from 2 on.
        job: one of the runs.
        settings: of a generation.
        metric: what settings are judged by; None: the headline measure.

    Raises:
        ConfigError: if a run, or a generation, is too short for a rung.
    """
    if by == NONE:
        return None
    if job.is_own:
        raise ConfigError(f"--halving {by}: how long a training function of your own is, is not known: leave it out")
    from runner.run.build import build
    from runner.run.summary import class_sizes

    run, reduction = build(job), int(by)
    every = run.eval_every or run.steps_per_epoch
    rungs = 0
    while run.steps >= every * reduction ** (rungs + 1) and settings >= reduction ** (rungs + 1):
        rungs += 1
    if rungs == 0 and settings < reduction:
        raise ConfigError(f"--halving {by} needs a --generation of {by} settings at least, got {settings}")
    if rungs == 0:
        raise ConfigError(
            f"--halving {by}: a run of {run.steps} steps that is evaluated every {every} has no evaluation before a "
            f"1/{by} of it: give longer runs, or eval_every={max(1, run.steps // reduction**2)}"
        )
    rows = {f"final_val_{name}": 0.0 for name in ("loss", *run.metrics)}
    of_parts = {"val_samples": len(run.val.y), **class_sizes(run)}
    wanted = f"final_{metric}" if metric else chosen_by({**rows, "final_val_balanced_accuracy": 0.0, **of_parts})
    decides = wanted if wanted in rows else "final_val_loss"
    at = " and ".join(str(-(-run.steps // reduction ** (rungs - k))) for k in range(rungs))
    described = f"{by} (of {run.steps} steps at {at}, evaluated every {every})"
    return Halving(reduction, rungs, decides.removeprefix("final_"), described)
