"""Outcomes as text: the table that ends a run, the one that ends a sweep, and the next command. Prints nothing."""

import importlib.metadata
import math
import shlex
from collections.abc import Sequence
from typing import Any

from runner import __version__
from runner.measures import HEADLINES
from runner.run.life import Outcome


def measures(summary: dict[str, Any]) -> list[str]:
    """Return the summary's headline measures that are there: validation first, then test."""
    for measure in HEADLINES:
        names = [f"{part}_{measure}" for part in ("final_val", "test")]
        found = [n for n in names if isinstance(summary.get(n), int | float)]
        if found:
            return found
    return []


def result(outcome: Outcome, config_dir: str | None = None) -> str:
    """Return the table that ends a run: what was measured, where it lies, what to do next."""
    summary, job = outcome.summary, outcome.job
    lines = [f"{job.folder.name}: {summary['status']}"]
    if not outcome.trained and (made := _other_versions(summary)):
        lines[0] += f" with {made}"
    if not outcome.trained:
        lines[0] += " before, not trained again (force=true trains it again)"
    elif summary.get("stop_reason") not in (None, "finished", "interrupted"):
        lines[0] += f" ({summary['stop_reason']})"
    rows = []
    asked = [path.rpartition(".")[2] for path in job.config["metrics"]]
    for measure in dict.fromkeys(("loss", "accuracy", "r2", "mse", "mae", *asked)):
        values = [summary.get(f"{part}_{measure}") for part in ("final_train", "final_val", "test")]
        if any(v is not None for v in values):
            rows.append([measure, *(f"{v:.5g}" if v is not None else "–" for v in values)])
    if rows:
        lines.append(_aligned([["", "train", "val", "test"], *rows]).rstrip("\n"))
    for trouble in ("vanishing", "exploding", "dead"):
        if summary.get(f"{trouble}_layers"):
            lines.append(f"{trouble} layers: {summary[f'{trouble}_layers']}")
    if (seconds := summary.get("train_seconds")) and "steps" in summary:
        lines.append(
            f"{summary['steps']} steps in {seconds:.3g} s of training ({summary['steps'] / seconds:,.0f} a second)"
        )
    lines.append(f"folder  {job.folder}")
    lines.append(f"next    {_next_command(outcome, config_dir)}")
    return "\n".join(lines) + "\n"


def _other_versions(summary: dict[str, Any]) -> str:
    """Return the versions that a run was made with where they are not those at hand."""
    here = {"optbench": __version__, "torch": importlib.metadata.version("torch")}
    made = {name: str(summary.get(f"{name}_version", "")).partition("+")[0] for name in here}
    return ", ".join(f"{n} {v}" for n, v in made.items() if v and v != here[n].partition("+")[0])


def _next_command(outcome: Outcome, config_dir: str | None) -> str:
    job, lr = outcome.job, outcome.job.config["optim"]["lr"]
    folder = ["--config-dir", config_dir] if config_dir else []
    if outcome.summary["status"] == "interrupted":
        return shlex.join(["optbench", "train", *folder, *job.overrides])
    if outcome.summary["status"] == "failed":
        kept = [o for o in job.overrides if _key(o) != "retry"]
        return shlex.join(["optbench", "train", *folder, *kept, "retry=failed"])
    kept = [o for o in job.overrides if _key(o) not in ("optim.lr", "force", "save", "retry")]
    typed = [o.partition("=")[2] for o in job.overrides if _key(o) == "optim.lr"] or [repr(lr)]
    lower, higher = ([f"{rate:.2g}"] if 0 < rate < math.inf else [] for rate in (lr / 3, lr * 3))
    return shlex.join(["optbench", "train", "-m", *folder, *kept, f"optim.lr={','.join([*lower, *typed, *higher])}"])


def _key(override: str) -> str:
    return override.lstrip("+").partition("=")[0]


def grid_table(outcomes: Sequence[Outcome]) -> str:
    """Return a line for each run of a sweep: its choices, what became of it, where it lies."""
    names = list(dict.fromkeys(name for outcome in outcomes for name in measures(outcome.summary)))
    lines = [["init", "optim", "lr", "seed", "status", *names, "folder"]]
    for outcome in outcomes:
        summary, config = outcome.summary, outcome.job.config
        values = [summary.get(name) for name in names]
        lines.append(
            [
                config["init"]["_option_"],
                config["optim"]["_option_"],
                f"{config['optim']['lr']:g}",
                str(config["seed"]),
                summary["status"],
                *("–" if value is None else f"{value:.4f}" for value in values),
                str(outcome.job.folder),
            ]
        )
    return _aligned(lines)


def _aligned(lines: Sequence[Sequence[str]]) -> str:
    widths = [max(len(line[i]) for line in lines) for i in range(len(lines[0]))]
    return "".join("  ".join(c.ljust(w) for c, w in zip(line, widths, strict=True)).rstrip() + "\n" for line in lines)
