"""A search as a journal of Optuna's, for optuna-dashboard. It follows from the runs' folders and is never read here."""

import json
import tempfile
import warnings
from datetime import datetime
from pathlib import Path
from typing import Any

from runner.run.record import write_whole
from runner.search.proposals import distribution, imported
from runner.search.space import Choice, Drawn, Space
from runner.search.study import Study, Trial, higher_is_better, value_of

WORKER = "optbench-0"
"""Who wrote it: the same each time, so that what is added to a search is added to its file."""


def write(path: Path, study: Study, space: Space, trials: list[Trial]) -> None:
    """Write the trials that have ended, the file whole and by one rename.

    With more trials the file is the same with lines added, so that a dashboard which shows it goes on.

    Args:
        path: of the journal.
        study: the search.
        space: what it searches.
        trials: up to its limit.
    """
    optuna = imported()
    column = study.measure(trials)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "journal"
        storage = optuna.storages.JournalStorage(optuna.storages.journal.JournalFileBackend(str(file)))
        direction = "maximize" if column is None or higher_is_better(column) else "minimize"
        made = optuna.create_study(storage=storage, study_name=study.folder.name, direction=direction)
        if column is not None:
            with warnings.catch_warnings():  # Optuna calls it experimental; it is a name on a dashboard
                warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
                made.set_metric_names([column.removeprefix("final_")])
        for trial in trials:
            if (found := _frozen(study, space, trial, column)) is not None:
                made.add_trial(found)
        lines = [json.loads(line) | {"worker_id": WORKER} for line in file.read_text(encoding="utf-8").splitlines()]
    write_whole(path, "".join(json.dumps(line, separators=(",", ":")) + "\n" for line in lines))


def _frozen(study: Study, space: Space, trial: Trial, column: str | None) -> Any:
    """Return a trial as Optuna's; None where it has not ended."""
    summaries = study.summaries(trial)
    if summaries is None:
        return None
    optuna = imported()
    value = value_of(summaries, column)
    there = [p for p in space.active(trial.drawn) if p.name in trial.drawn]
    found = optuna.trial.create_trial(
        state=optuna.trial.TrialState.FAIL if value is None else optuna.trial.TrialState.COMPLETE,
        value=value,
        params={p.name: _named(p, trial.drawn) if isinstance(p, Choice) else trial.drawn[p.name] for p in there},
        distributions={p.name: _distribution(p) for p in there},
        user_attrs={"setting": " ".join(trial.setting), "runs": " ".join(trial.folders)},
    )
    ended = [(study.folder / name / "summary.json").stat().st_mtime for name in trial.folders]
    seconds = sum(float(summary.get("train_seconds") or 0.0) for summary in summaries)
    found.datetime_start = datetime.fromtimestamp(max(ended) - seconds).replace(microsecond=1)
    found.datetime_complete = datetime.fromtimestamp(max(ended)).replace(microsecond=2)
    return found


def _distribution(parameter: Any) -> Any:
    """Return what a dashboard shows of a parameter: choices by their names."""
    if isinstance(parameter, Choice):
        return imported().distributions.CategoricalDistribution([str(_option(parameter, i)) for i in parameter.values])
    return distribution(parameter)


def _named(parameter: Choice, drawn: Drawn) -> str:
    return _option(parameter, int(drawn[parameter.name]))


def _option(parameter: Choice, place: int) -> str:
    return " ".join(parameter.options[place]) or "nothing"
