"""Searches from Python: the same trials, finals and refusals as ``optbench tune``."""

import html
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from optbench.runs import flat, look_anew
from optbench.sweeps import Report, report
from runner.errors import ConfigError, closest

if TYPE_CHECKING:
    import pandas as pd

    from runner.search.tune import Search


@dataclass(frozen=True, repr=False)
class Tuned:
    """What a search found."""

    folder: Path
    """``outputs/<name>``, which holds its runs."""
    text: str
    """The answer, as ``optbench tune`` prints it."""
    recommended: tuple[str, ...] | None
    """What ``optbench.train`` takes to train the setting that is to be used; None where there is none."""
    trials: "pd.DataFrame"
    """A row a trial, in the order in which they were proposed: what was drawn, its mean value, its runs' folders."""
    ended: str | None
    """Why there are no more trials; None where it was interrupted: the same call goes on."""

    def report(self, **asked: Any) -> Report:
        """Draw the answer; see ``optbench.report``."""
        return report(self.folder, **asked)

    def __str__(self) -> str:
        return self.text

    def __repr__(self) -> str:
        return f"Tuned: {len(self.trials)} trials in {self.folder}"

    def _repr_html_(self) -> str:
        return f"<pre>{html.escape(self.text)}</pre>{self.trials.to_html(max_rows=20, notebook=True)}"


def tune(
    *overrides: str | Sequence[str],
    trials: int | None = None,
    budget: str | None = None,
    sampler: str = "tpe",
    seed: int = 0,
    generation: int = 16,
    halving: str = "none",
    finalists: int = 5,
    metric: str | None = None,
    journal: str | Path | None = None,
    config_dir: str | None = None,
) -> Tuned:
    """Search a space for its best setting, as ``optbench tune OVERRIDES`` does; the same call goes on where it ended.

    On CUDA, beside Ray, and where nothing is forked, a script needs ``if __name__ == "__main__":`` around it.

    Args:
        overrides: as on the command line, such as ``"optim.lr=tag(log,interval(1e-4,1))"``, one by one or as lists.
            Without anything to search, the default space is searched.
        trials: how many settings to try.
        budget: a time such as ``"10m"``, that of earlier calls included; one of both is needed.
        sampler: ``tpe``, ``random``, ``qmc`` or ``gp``.
        seed: of the proposals.
        generation: settings that are proposed together.
        halving: ``3`` or ``4`` (as texts): of so many settings at a rung one goes on; ``none``: all are run to the end.
        finalists: so many of the best are run with new seeds at the end; 0: none.
        metric: what settings are judged by, such as ``val_loss``; None: the headline measure.
        journal: a file that the trials are written to as a journal of Optuna's too.
        config_dir: a folder of YAMLs of one's own.

    Raises:
        ConfigError: for what cannot be searched, before anything is written; for ``dry_run``.
        RecordError: if the runs' folder cannot be written.
    """
    from runner.cli.arguments import check_file
    from runner.config.compose import Composer
    from runner.search import conclusion
    from runner.search.answer import answer
    from runner.search.asked import HALVINGS, SAMPLERS, Limits, duration, refuse_numbers
    from runner.search.prepare import Asked, prepared
    from runner.shell import joined, key_of

    began, given = time.monotonic(), flat(overrides)
    if odd := [o for o in given if key_of(o) == "dry_run"]:
        raise ConfigError(f"{odd[0]} is for the command line: optbench.tune searches")
    for name, value, valid in (("sampler", sampler, SAMPLERS), ("halving", halving, HALVINGS)):
        if value not in valid:
            raise ConfigError(f"{name} must be one of {', '.join(valid)}, got {value!r}{closest(value, valid)}")
    refuse_numbers(trials, budget, generation, seed, finalists)
    check_file("journal", None if journal is None else str(journal))
    limits = Limits(trials, None if budget is None else duration(budget), finalists)
    look_anew()
    asked = Asked(given, sampler, seed, generation, metric, limits, joined(["tune", *given]), began, halving)
    search, _ = prepared(Composer.over(config_dir), asked)
    search.journal = None if journal is None else Path(journal)
    conclusion.run(search)
    return _tuned(search, answer(search, config_dir))


def _tuned(search: "Search", text: str) -> Tuned:
    from runner.search.answer import as_one_run, recommended

    chosen = tuple(as_one_run(search, best)) if (best := recommended(search)) is not None else None
    ended = None if search.interrupted else search.lost or search.ended
    return Tuned(search.study.folder, text, chosen, _trials(search), ended)


def _trials(search: "Search") -> "pd.DataFrame":
    import pandas as pd

    from runner.search.study import value_of

    ended = [trial for trial in search.trials() if search.study.summaries(trial) is not None]
    column = search.study.measure(ended)
    rows = []
    for trial in ended:
        active = search.space.active(trial.drawn)
        drawn = {p.name: " ".join(p.overrides(trial.drawn[p.name])).partition("=")[2] for p in active}
        value = value_of(search.study.summaries(trial) or (), column)
        rows.append({**drawn, (column or "value").removeprefix("final_"): value, "runs": " ".join(trial.folders)})
    return pd.DataFrame(rows)
