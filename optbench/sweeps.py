"""Sweeps from Python: run a grid, read what its runs recorded, and draw the answer."""

import html
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from optbench.runs import flat, load_runs, look_anew
from runner.errors import ConfigError, closest
from runner.shell import key_of

if TYPE_CHECKING:
    import pandas as pd
    import xarray as xr


@dataclass(frozen=True, repr=False)
class Sweep:
    """What became of a grid."""

    folder: Path
    """``outputs/<name>``, which may hold other runs too."""
    run_ids: tuple[str, ...]
    """Of the grid's runs, in its order."""

    @property
    def runs(self) -> "pd.DataFrame":
        """One row a run, in the grid's order: every choice, then every number of its summary."""
        found = load_runs(self.folder).set_index("run_id", drop=False)
        return found.loc[[i for i in self.run_ids if i in found.index]].reset_index(drop=True)

    @property
    def curves(self) -> "pd.DataFrame":
        """See ``optbench.curves``; of the grid's runs alone."""
        found = curves(self.folder)
        return found[found["run_id"].isin(self.run_ids)].reset_index(drop=True)

    def to_xarray(self) -> "xr.Dataset":
        """Return every evaluation of the grid's runs by axes, seed and step; see ``optbench.to_xarray``."""
        return to_xarray(self.curves)

    def report(self, **asked: Any) -> "Report":
        """Draw the answer; see ``optbench.report``. All runs of the folder have a part in it."""
        return report(self.folder, **asked)

    def __repr__(self) -> str:
        count = len(self.run_ids)
        return f"Sweep of {count:,} run{'s' * (count != 1)} in {self.folder}"

    def _repr_html_(self) -> str:
        return f"<p>{html.escape(repr(self))}</p>{self.runs.to_html(max_rows=20, notebook=True)}"


@dataclass(frozen=True, repr=False)
class Report:
    """The answer that the runs of a folder, or of several, give."""

    text: str
    """What ``optbench report`` prints."""
    commands: tuple[str, ...]
    """The recommended command line of each workload."""
    page: Path
    """The whole report, one file."""
    answers: tuple[dict[str, Any], ...]
    """Each data set's answer, as ``report/answer.json`` holds it."""

    def table(self, name: str) -> "pd.DataFrame":
        """Return a table of the report by the name of its CSV, such as ``settings`` or ``heatmap-init-optim``.

        Raises:
            ConfigError: if there is none of that name.
        """
        import pandas as pd

        tables = {path.stem: path for path in sorted((self.page.parent / "report").glob("*.csv"))}
        if name not in tables:
            raise ConfigError(f"{name!r} is no table{closest(name, tables)}\nvalid: {', '.join(tables)}")
        return pd.read_csv(tables[name])

    def __str__(self) -> str:
        return self.text

    def __repr__(self) -> str:
        return self.text

    def _repr_html_(self) -> str:
        shown = "".join(_answer_html(answer) for answer in self.answers)
        where = html.escape(str(self.page), quote=True)
        return f'<div>{shown}<p>The whole report: <a href="{where}">{where}</a></p></div>'


def _answer_html(answer: dict[str, Any]) -> str:
    """Return an answer in short, as a notebook shows it."""
    of = f" for {html.escape(answer['workload'])}" if answer["workload"] else ""
    if answer["command"] is None:
        return f"<p><b>No answer yet{of}.</b> {html.escape(answer['verdict'])}</p>"
    rows = []
    for title, found in answer["measures"].items():
        low, high = found["interval"]
        interval = "one run: no interval" if low is None or high is None else f"{low:.4g} to {high:.4g}"
        mean = "–" if found["mean"] is None else f"{found['mean']:.4g}"
        rows.append(f"<tr><td>{html.escape(title)}</td><td>{mean}</td><td>{interval}</td></tr>")
    warned = "".join(f"<p><b>{html.escape(line)}</b></p>" for line in answer["warnings"])
    said = " ".join(filter(None, (answer["doubt"], answer["verdict"], answer["rivals"])))
    heads = "<tr><th></th><th>mean</th><th>95 % interval</th></tr>"
    return (
        f"{warned}<p><b>Use{of}:</b> <code>{html.escape(answer['command'])}</code></p>"
        f"<table><thead>{heads}</thead><tbody>{''.join(rows)}</tbody></table><p>{html.escape(said)}</p>"
    )


def sweep(*overrides: str | Sequence[str], config_dir: str | None = None) -> Sweep:
    """Run a grid, as ``optbench train -m OVERRIDES`` does; finished runs are skipped.

    On CUDA, beside Ray, and where nothing is forked, a script needs ``if __name__ == "__main__":`` around it.

    Args:
        overrides: as on the command line, such as ``"optim=sgd,adamw"``, one by one or as lists.
        config_dir: a folder of YAMLs of one's own.

    Raises:
        ConfigError: for what cannot be run, before anything is written; for ``dry_run`` and other sweepers of Hydra's.
        RecordError: if the runs' folder cannot be written.
    """
    from runner.config.compose import start_hydra
    from runner.run.outcome import Outcome
    from runner.sweep.plan import launch

    asked = flat(overrides)
    if odd := [o for o in asked if key_of(o) in ("dry_run", "hydra/sweeper")]:
        raise ConfigError(f"{odd[0]} is for the command line: optbench.sweep runs the grid")
    look_anew()
    outcomes = launch(start_hydra(config_dir), asked)
    if not isinstance(outcomes, list) or not all(isinstance(outcome, Outcome) for outcome in outcomes):
        raise ConfigError("another sweeper of Hydra's is for the command line: optbench.sweep runs the grid")
    return Sweep(outcomes[0].job.folder.parent, tuple(outcome.job.run_id for outcome in outcomes))


def curves(folder: str | Path) -> "pd.DataFrame":
    """Return every evaluation of every run of a folder: the choices that vary, ``run_id``, then the row's numbers.

    Raises:
        ConfigError: if the folder holds no runs.
        RecordError: if it cannot be read.
    """
    import pandas as pd

    from runner.report.evaluations import numbers
    from runner.report.load import load

    records = load(Path(folder))
    varying = [choice for choice in records.choices if records.runs[choice].nunique() > 1]
    chosen = records.runs[[*varying, "run_id"]].copy()
    for choice in varying:
        found = numbers(chosen[choice])
        chosen[choice] = found if found.notna().all() else chosen[choice]
    rows = records.curves
    return pd.DataFrame(chosen.merge(rows, on="run_id", how="inner"))


def report(
    folder: str | Path | Sequence[str | Path],
    *,
    metric: str | None = None,
    better: str | None = None,
    target: float | None = None,
    axes: str | tuple[str, str] | None = None,
    within: float = 1.0,
    margin: float | None = None,
    config_dir: str | None = None,
    tensorboard: str | Path | None = None,
    into: str | None = None,
) -> Report:
    """Draw the answer from a folder's runs, or from several sweeps', and write its page, plots and tables.

    It does what ``optbench report`` does.

    Args:
        folder: of a sweep or a run; or several sweeps', each with an answer, and what holds across them.
        metric: what to judge by, such as ``val_loss``; None: accuracy, r2 or loss.
        better: of a measure of one's own, ``higher`` or ``lower``.
        target: time to this value of the metric is told.
        axes: of the heat map, as ``"init,optim"`` or a tuple.
        within: what counts as near the best, in percent.
        margin: settings within it of the best are as good, in the metric's units; None: 0.01 of an accuracy, else a
            twentieth of what the best gains over the trivial baseline.
        config_dir: a folder of YAMLs of one's own.
        tensorboard: a folder to write the runs to for TensorBoard too.
        into: where the page and its files go; None: into the folder, or into the one that several lie in.

    Raises:
        ConfigError: if a folder holds no runs, or what is asked for is not there.
        RecordError: if it cannot be read or written.
    """
    from runner.report.render.tensorboard import check_destination
    from runner.report.write import Asked
    from runner.report.write import report as drawn

    if tensorboard is not None:
        check_destination(Path(tensorboard), 1 if isinstance(folder, str | Path) else len(folder))
    both: Any = tuple(axes.split(",")) if isinstance(axes, str) else axes  # two, or they are refused
    found = drawn(folder, Asked(metric, better, target, both, within, config_dir, margin, into))
    found.write()
    if tensorboard is not None:
        found.write_events(Path(tensorboard))
    return Report(found.text, found.commands, found.page, found.answers)


def to_xarray(rows: "pd.DataFrame") -> "xr.Dataset":
    """Return the rows of ``load_runs`` or ``curves`` as a labelled array: a dimension a choice that varies, and step.

    A choice that follows from others, as one option's settings do, is no dimension. Combinations that were not run
    are NaN.

    Raises:
        ConfigError: if xarray is not installed, or two rows have the same choices.
    """
    try:
        import xarray as xr
    except ImportError as error:
        raise ConfigError("to_xarray needs xarray: pip install 'optbench[xarray]'") from error
    import pandas as pd

    from runner.config.identity import REPLICATES
    from runner.report.settings import axes_of

    choices = [str(column) for column in rows.columns[: list(rows.columns).index("run_id")]]
    rows = rows.assign(
        **{c: rows[c].map(lambda v: "" if pd.isna(v) else str(v)) for c in choices if rows[c].isna().any()}
    )
    replicates = [choice for choice in REPLICATES if choice in choices and rows[choice].nunique() > 1]
    dimensions = [*axes_of(rows, choices), *replicates, *(["step"] if "step" in rows else [])] or ["run_id"]
    if rows.duplicated(dimensions).any():
        raise ConfigError(f"several rows have the same {', '.join(dimensions)}: leave some runs out")
    kept = [c for c in rows if c not in dimensions and (rows[c].dtype.kind in "biuf" or c == "run_id")]
    found: xr.Dataset = rows.set_index(dimensions)[kept].to_xarray()
    return found
