"""What a search found, as text: the best settings, what the finals say of them, and what to do next. Prints nothing."""

import math
from collections.abc import Sequence

import numpy as np

from runner.config.identity import OF_SWEEPS
from runner.measures import title
from runner.report.measure import Measure
from runner.search.finals import JUDGES, JUDGING, Finals
from runner.search.study import Trial, measure_of, value_of
from runner.search.tune import Search
from runner.shell import joined, key_of
from runner.statistics.scores import expected_best

SHOWN = 5


def answer(search: Search, config_dir: str | None = None) -> str:
    """Return the answer so far."""
    study = search.study
    trials = [trial for trial in search.trials() if study.summaries(trial) is not None]
    if not trials:
        return "no trial has ended yet: there is nothing to recommend\n"
    column, ranked = study.measure(trials), study.ranked(trials)
    if column is None or not ranked:
        said = f"all of {len(trials)} trials diverged or failed: there is nothing to recommend\n"
        return said + _report(search, config_dir)
    bad = f", of which {len(trials) - len(ranked)} diverged or failed" if len(ranked) < len(trials) else ""
    left = len(search.trials()) - len(trials) if search.halving else 0
    rest = f"; {left} more were left at a rung" if left else ""
    what = title(column.removeprefix("final_"))
    lines = [f"the best of {len(trials)} settings{bad}, by {what} {_judged_by(search)}{rest}:"]
    lines += [f"  {value:.4f}  {joined(trial.setting)}" for trial, value in ranked[:SHOWN]]
    lines += _history(search, trials, measure_of(column)) if not search.halving else []
    found = search.finals()
    lines += _of_finals(search, found, measure_of(column)) if found is not None else []
    if found is None or not found.judged:
        lines.append(f"The best of {len(ranked)} looks better than it is: new seeds tell how good.")
    if (best := recommended(search)) is not None:
        front = ["--config-dir", config_dir] if config_dir else []
        lines.append(f"use     {joined(['optbench', 'train', *front, *as_one_run(search, best)])}")
    return "\n".join(lines) + "\n" + _report(search, config_dir)


def as_one_run(search: Search, trial: Trial) -> list[str]:
    """Return the overrides that train a trial's setting as one run, without those of sweeps, such as ``workers``.

    Those of folds, if folds judged it, are left out too: one run has no folds.
    """
    of_folds = ["data.folds"] if any(key_of(o) == "data.fold" for o in search.space.replicates[0]) else []
    return [o for o in search.space.overrides(trial.drawn) if key_of(o) not in (*OF_SWEEPS, *of_folds)]


def recommended(search: Search) -> Trial | None:
    """Return the trial whose setting is to be used: whom the finals chose, or the best; None where there is none."""
    found = search.finals()
    if found is not None and (found.chosen is not None or found.over):
        return None if found.chosen is None else search.finalists()[found.chosen]
    ranked = search.study.ranked([trial for trial in search.trials() if search.study.summaries(trial) is not None])
    return ranked[0][0] if ranked else None


def _judged_by(search: Search) -> str:
    replicates = search.space.replicates
    if replicates == ((),):
        return "of one run each"
    return f"of {' '.join(replicates[0])}" if len(replicates) == 1 else f"as the mean of {len(replicates)} runs each"


def _history(search: Search, trials: Sequence[Trial], measure: Measure) -> list[str]:
    """Return the best after so many trials, and what a random search is expected to come to, if it was one."""
    values = [value_of(search.study.summaries(trial) or (), measure.column) for trial in trials]
    scores = [-math.inf if value is None else measure.sign * value for value in values]
    after = [2**power for power in range(2, 20) if 2**power < len(trials)]
    if not after:
        return []
    reached = [measure.sign * max(scores[:count]) for count in after]
    said = ", ".join("–" if math.isinf(best) else f"{best:.4f}" for best in reached)
    lines = [f"best after {', '.join(map(str, after))} trials: {said}"]
    if search.study.said["sampler"] == "random":
        worst = min(score for score in scores if math.isfinite(score))
        sound = np.array([max(score, worst) for score in scores])
        expected = ", ".join(f"{measure.sign * expected_best(sound, count):.4f}" for count in after)
        lines.append(f"expected of as many random trials: {expected}")
    return lines


def _of_finals(search: Search, found: Finals, measure: Measure) -> list[str]:
    """Return what the finals say."""
    lines = []
    finalists = search.finalists()
    if found.dropped:
        lines.append(f"{len(found.dropped)} of {len(finalists)} finalists diverged or failed with a new seed")
    if found.chosen is None:
        left = "no finalist is left: there is nothing to recommend" if found.over else "the finals have not ended"
        return [*lines, left]
    if (raced := found.raced(measure)) is not None:
        alike, regret = int(raced.inside.sum()), found.regret(measure)
        few, many = int(raced.n.min()), int(raced.n.max())
        seeds = f"{few} to {many}" if few < many else str(few)
        lines.append(f"the {len(raced.mean)} finalists with new seeds, {seeds} each:")
        places = found.raced_to_the_end  # of those alike the chosen one is named first
        for row in sorted(range(len(places)), key=lambda row: (-raced.mean[row], places[row] != found.chosen, row)):
            setting = joined(finalists[places[row]].setting)
            lines.append(f"  {measure.sign * float(raced.mean[row]):.4f}  {setting}")
        if alike > 1:
            lines.append(f"{alike} of them can be the best (95 %); the first is chosen.")
        else:
            lines.append("The first is the best of them (95 %).")
        if regret is not None:
            if measure.counted:  # there is no more than all of them right
                regret = min(regret, 1 - float(raced.mean[places.index(found.chosen)]))
            lines.append(f"The best of them is better than the chosen one by {measure.amount(regret)} at most (95 %).")
    if found.over and found.judged:
        lines.append(_fresh(search, found, measure))
    return lines


def _fresh(search: Search, found: Finals, measure: Measure) -> str:
    """Say what the chosen setting comes to on seeds that chose nothing."""
    assert found.chosen is not None
    low, high = measure.clip(interval := found.interval())
    said = f"On {JUDGES} further seeds, which had no part in the choice: {measure.title} {interval.mean:.4f}"
    said += f" ({low:.4f} to {high:.4f})" if interval.known else ""
    if len(found.judged) < JUDGES:
        return f"{said} where it did not diverge or fail, which it did {JUDGES - len(found.judged)} times."
    trial = search.finalists()[found.chosen]
    runs = [run for number in JUDGING for run in search.finals_runs(trial, number)]
    tested = [float(run[measure.test]) for run in runs if isinstance(run.get(measure.test), int | float)]
    test = f", {title(measure.test)} {sum(tested) / len(tested):.4f}" if tested else ""
    return f"{said}{test}."


def _report(search: Search, config_dir: str | None) -> str:
    own = ["--config-dir", config_dir] if config_dir else []
    return f"report  {joined(['optbench', 'report', str(search.study.folder), *own])}\n"
