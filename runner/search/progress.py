"""What a search says meanwhile: how far it is, and how many runs there will be."""

import sys
from collections.abc import Sequence

from tqdm import tqdm

from runner.measures import title
from runner.search.study import Study, Trial, higher_is_better


def expected(
    trials_left: int | None, seconds_left: float | None, seconds: float, generation: int, runs_of_each: float
) -> int:
    """Return how many runs there will be yet, as far as the limits tell.

    Args:
        trials_left: up to the limit; None without one.
        seconds_left: of the budget; None without one.
        seconds: that a generation takes; 0 where that is not known.
        generation: settings of one.
        runs_of_each: how often a setting is handed out, with several seeds or rungs.
    """
    left = [] if trials_left is None else [float(trials_left)]
    if seconds_left is not None and seconds > 0:
        left.append(max(0.0, seconds_left) / seconds * generation)
    return max(0, round(min(left, default=0.0) * runs_of_each))


def say(study: Study, number: int, trials: Sequence[Trial]) -> None:
    """Say on stderr, a line a generation, how many trials were made and what the best of them came to."""
    ended = [trial for trial in trials if study.summaries(trial) is not None]
    measure = study.measure(ended)
    values = [tried.value for tried in study.tried(ended) if tried.value is not None]
    best = "none has a value yet"
    if measure and values:
        best = f"best {title(measure.removeprefix('final_'))} "
        best += f"{(max if higher_is_better(measure) else min)(values):.4g}"
    paused = f", {len(trials) - len(ended)} of them left at a rung" if len(ended) < len(trials) else ""
    tqdm.write(f"generation {number}: {len(trials)} trials{paused}, {best}", file=sys.stderr)
