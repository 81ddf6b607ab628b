"""What a search found, as text: the best settings, how many were tried, and what to do next. Prints nothing."""

from collections.abc import Sequence

from runner.measures import title
from runner.search.study import higher_is_better, value_of
from runner.search.tune import Search
from runner.shell import joined

SHOWN = 5


def answer(search: Search, config_dir: str | None = None) -> str:
    """Return the answer so far."""
    study = search.study
    trials = [trial for trial in search.trials() if study.summaries(trial) is not None]
    if not trials:
        return "no trial has ended yet: there is nothing to recommend\n"
    measure = study.measure(trials)
    values = [value_of(study.summaries(trial) or (), measure) for trial in trials]
    ranked = [i for i, value in enumerate(values) if value is not None]
    if measure is None or not ranked:
        said = f"all of {len(trials)} trials diverged or failed: there is nothing to recommend\n"
        return said + _report(search, config_dir)
    ranked.sort(key=lambda i: values[i] or 0.0, reverse=higher_is_better(measure))
    bad = f", of which {len(trials) - len(ranked)} diverged or failed" if len(ranked) < len(trials) else ""
    judged = _judged_by(search)
    lines = [f"the best of {len(trials)} settings{bad}, by {title(measure.removeprefix('final_'))} {judged}:"]
    lines += [f"  {values[i]:.4f}  {joined(trials[i].setting)}" for i in ranked[:SHOWN]]
    lines.append(f"The best of {len(ranked)} looks better than it is: new seeds tell how good.")
    best = trials[ranked[0]]
    front = ["--config-dir", config_dir] if config_dir else []
    setting = search.space.overrides(best.drawn)
    lines.append(f"use     {joined(['optbench', 'train', *front, *setting])}")
    lines.append(f"surer   {joined(['optbench', 'train', '-m', *front, *_without_name(setting), *_fresh(search)])}")
    return "\n".join(lines) + "\n" + _report(search, config_dir)


def _judged_by(search: Search) -> str:
    replicates = search.space.replicates
    if replicates == ((),):
        return "of one run each"
    return f"of {' '.join(replicates[0])}" if len(replicates) == 1 else f"as the mean of {len(replicates)} runs each"


def _without_name(setting: Sequence[str]) -> list[str]:
    return [override for override in setting if not override.startswith(("seed=", "name="))]


def _fresh(search: Search) -> list[str]:
    """Return seeds that had no part in the choice, in a folder of their own."""
    used = [int(o.partition("=")[2]) for part in search.space.replicates for o in part if o.startswith("seed=")]
    used += [int(o.partition("=")[2]) for o in search.space.fixed if o.startswith("seed=")]
    first = max(used, default=0) + 1
    name = str(search.probe[0].config["name"])
    return [f"name={name}_again", f"seed={','.join(str(first + i) for i in range(SHOWN))}"]


def _report(search: Search, config_dir: str | None) -> str:
    own = ["--config-dir", config_dir] if config_dir else []
    return f"report  {joined(['optbench', 'report', str(search.study.folder), *own])}\n"
