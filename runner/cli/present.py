"""Outcomes as text: the table that ends a run, the one that ends a sweep, and the next command. Prints nothing."""

import importlib.metadata
import math
from collections.abc import Mapping, Sequence
from typing import Any

from runner import __version__
from runner.config.fields import show
from runner.config.identity import OUTSIDE, REPLICATES, choices
from runner.measures import BALANCED, HIGHER_IS_BETTER, chosen_by, headlines, is_skewed
from runner.run.outcome import Outcome
from runner.shell import joined, key_of
from runner.sweep.terminal import LINES_FOR_RUNS

SHOWN_BEST = 5
LARGE_TARGET = 10.0
"""Targets beyond it, in absolute value, are large beside the outputs of a new network."""


def result(outcome: Outcome, config_dir: str | None = None) -> str:
    """Return the table that ends a run: what was measured, where it lies, what to do next."""
    summary, job = outcome.summary, outcome.job
    lines = [f"{job.folder.name}: {summary['status']}"]
    if not outcome.trained and (made := _other_versions(summary)):
        lines[0] += f" with {made}"
    if not outcome.trained:
        lines[0] += (
            " before, not trained again (force=true trains it again)" if summary["status"] != "paused" else " before"
        )
    elif summary.get("stop_reason") not in (None, "finished", summary["status"]):
        lines[0] += f" ({summary['stop_reason']})"
    rows = []
    asked = [path.rpartition(".")[2] for path in job.config.get("metrics", ())]
    asked += [key.removeprefix("final_val_") for key in summary if key.startswith("final_val_")] if job.is_own else []
    balanced = (BALANCED,) if is_skewed(summary) else ()
    for measure in dict.fromkeys(("loss", "accuracy", *balanced, "r2", "mse", "mae", *asked)):
        values = [summary.get(f"{part}_{measure}") for part in ("final_train", "final_val", "test")]
        if any(v is not None for v in values):
            rows.append([measure, *(f"{v:.5g}" if v is not None else "–" for v in values)])
    if rows:
        lines.append(aligned([["", "train", "val", "test"], *rows]).rstrip("\n"))
    for trouble in ("vanishing", "exploding", "dead"):
        if summary.get(f"{trouble}_layers"):
            lines.append(f"{trouble} layers: {summary[f'{trouble}_layers']}")
    if (seconds := summary.get("train_seconds")) and "steps" in summary:
        lines.append(
            f"{summary['steps']} steps in {seconds:.3g} s of training ({summary['steps'] / seconds:,.0f} a second)"
        )
    lines.append(f"folder  {job.folder}")
    command, why = _next_command(outcome, config_dir)
    lines.append(f"next    {command}\n        {why}")
    return "\n".join(lines) + "\n"


def _other_versions(summary: dict[str, Any]) -> str:
    """Return the versions that a run was made with where they are not those at hand."""
    here = {"optbench": __version__, "torch": importlib.metadata.version("torch")}
    made = {name: str(summary.get(f"{name}_version", "")).partition("+")[0] for name in here}
    return ", ".join(f"{n} {v}" for n, v in made.items() if v and v != here[n].partition("+")[0])


def too_large(outcomes: Sequence[Outcome]) -> tuple[float, float] | None:
    """Return the least and the greatest target where they are so large that a run diverged, or that none learned."""
    found = [r2 for outcome in outcomes if (r2 := outcome.summary.get("final_val_r2")) is not None]
    none_learned = bool(found) and all(r2 < 0 for r2 in found)
    held = (o for o in outcomes if none_learned or o.summary["status"] == "diverged")
    return next((ends for outcome in held if (ends := _large_targets(outcome))), None)


def _large_targets(outcome: Outcome) -> tuple[float, float] | None:
    """Return the least and the greatest target where they are numbers of a large scale, trained on as they are."""
    job = outcome.job
    if job.is_own or job.source.classes is not None or job.config["data"]["normalize_target"] != "none":
        return None
    least, most = float(job.source.samples.y.min()), float(job.source.samples.y.max())
    return (least, most) if max(-least, most) > LARGE_TARGET else None


def _next_command(outcome: Outcome, config_dir: str | None) -> tuple[str, str]:
    """Return the command to give next, and what for."""
    job = outcome.job
    folder = ["--config-dir", config_dir] if config_dir else []
    if outcome.summary["status"] in ("interrupted", "paused"):
        at = ["pause_at", "force"] if outcome.summary["status"] == "paused" else []
        return joined(
            ["optbench", "train", *folder, *(o for o in job.overrides if key_of(o) not in at)]
        ), "to go on from here"
    if outcome.summary["status"] == "failed":
        kept = [o for o in job.overrides if key_of(o) != "retry"]
        return joined(["optbench", "train", *folder, *kept, "retry=failed"]), "to try it again"
    if job.is_own:
        kept = [o for o in job.overrides if key_of(o) not in ("seed", "force", "pause_at", "retry")]
        return joined(["optbench", "train", "-m", *folder, *kept, "seeds=5"]), "to see how much seeds differ"
    if too_large([outcome]):
        kept = [o for o in job.overrides if key_of(o) not in ("data.normalize_target", "force", "pause_at", "retry")]
        scaled = "data.normalize_target=standard"
        return joined(["optbench", "train", *folder, *kept, scaled]), "to train on the targets' standard scores"
    lr = job.config["optim"]["lr"]
    kept = [o for o in job.overrides if key_of(o) not in ("optim.lr", "force", "pause_at", "save", "retry")]
    kept = [o for o in kept if key_of(o).partition(".")[0] not in OUTSIDE]  # which sweeps do not take
    typed = [o.partition("=")[2] for o in job.overrides if key_of(o) == "optim.lr"] or [repr(lr)]
    lower, higher = ([f"{rate:.2g}"] if 0 < rate < math.inf else [] for rate in (lr / 3, lr * 3))
    axis = f"optim.lr={','.join([*lower, *typed, *higher])}"
    return joined(["optbench", "train", "-m", *folder, *kept, axis]), "to see whether another learning rate does better"


def sweep(outcomes: Sequence[Outcome], config_dir: str | None = None) -> str:
    """Return what ends a sweep: a line for each run where they are few, the best settings, the report's command."""
    configs = [choices(outcome.job.config) for outcome in outcomes]
    axes = _axes(outcomes, configs)
    parts = [_every_run(outcomes, configs, axes)] if len(outcomes) < LINES_FOR_RUNS else []
    parts += [_best(outcomes, configs, [axis for axis in axes if axis not in REPLICATES])]
    own = ["--config-dir", config_dir] if config_dir else []
    report = joined(["optbench", "report", str(outcomes[0].job.folder.parent), *own])
    return "".join(f"{part}\n" for part in parts if part) + f"report  {report}\n"


def _axes(outcomes: Sequence[Outcome], configs: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return the keys that a sweep gave several values, in the order in which they were given."""
    asked = dict.fromkeys(key_of(override) for outcome in outcomes for override in outcome.job.overrides)
    axes = [key for key in asked if len({_cell(_value(config, key)) for config in configs}) > 1]
    return list(dict.fromkeys(_name(key, configs) if key.endswith(".target") else key for key in axes))


def _value(config: Mapping[str, Any], key: str) -> Any:
    """Return a choice; of the arguments of a part of the user's own, which are one choice, the one that is named."""
    holder, _, names = key.partition(".args.")
    if key in config or not names:
        return config.get(key)
    found = config.get(f"{holder}.args")
    for name in names.split("."):
        found = found.get(name) if isinstance(found, Mapping) else None
    return found


def _name(key: str, configs: Sequence[Mapping[str, Any]]) -> str:
    """Return the group of a key that names parts of the user's own, where their names tell them apart."""
    group = key.partition(".")[0]
    several = {(config.get(group), config.get(key)) for config in configs}
    return group if len({name for name, _ in several}) == len(several) else key


def _every_run(outcomes: Sequence[Outcome], configs: Sequence[Mapping[str, Any]], axes: Sequence[str]) -> str:
    names = list(dict.fromkeys(name for outcome in outcomes for name in headlines(outcome.summary)))
    lines = [[*axes, "status", *names, "folder"]]
    for outcome, config in zip(outcomes, configs, strict=True):
        values = [outcome.summary.get(name) for name in names]
        measured = ["–" if value is None else f"{value:.4f}" for value in values]
        chosen = [_cell(_value(config, axis)) for axis in axes]
        lines.append([*chosen, outcome.summary["status"], *measured, str(outcome.job.folder)])
    return aligned(lines)


def _best(outcomes: Sequence[Outcome], configs: Sequence[Mapping[str, Any]], axes: Sequence[str]) -> str:
    """Return the best settings by the mean of the headline measure over their replicates; empty without two of them.

    No statistics: those are the report's.
    """
    measure = next((name for outcome in outcomes if (name := chosen_by(outcome.summary))), None)
    settings: dict[tuple[str, ...], list[float | None]] = {}
    for outcome, config in zip(outcomes, configs, strict=True):
        setting = tuple(_cell(_value(config, axis)) for axis in axes)
        settings.setdefault(setting, []).append(outcome.summary.get(measure) if measure else None)
    if measure is None or len(settings) < 2:
        return ""
    whole = {s: [v for v in values if v is not None] for s, values in settings.items()}
    means = {s: sum(values) / len(values) for s, values in whole.items() if len(values) == len(settings[s])}
    higher = HIGHER_IS_BETTER[measure.removeprefix("final_val_")]
    best = sorted(means, key=lambda setting: means[setting], reverse=higher)[:SHOWN_BEST]
    lines = [[*axes, measure, "runs"]]
    lines += [[*setting, f"{means[setting]:.4f}", str(len(settings[setting]))] for setting in best]
    left = f", {len(settings) - len(means)} of them without results" if len(means) < len(settings) else ""
    return f"the best of {len(settings)} settings{left}, by their mean over runs:\n{aligned(lines)}"


def _cell(value: object) -> str:
    if isinstance(value, float) and float(short := f"{value:g}") == value:
        return short
    return show(value).strip("'")


def aligned(lines: Sequence[Sequence[str]]) -> str:
    """Return lines of cells with their columns under one another."""
    widths = [max(len(line[i]) for line in lines) for i in range(len(lines[0]))]
    return "".join("  ".join(c.ljust(w) for c, w in zip(line, widths, strict=True)).rstrip() + "\n" for line in lines)
