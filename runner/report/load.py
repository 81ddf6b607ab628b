"""Read what a sweep left: ``runs.csv`` and the runs' own CSVs. What cannot be read is named, never a traceback."""

import csv
import io
import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd

from runner.config.chosen import GROUPS
from runner.config.options import of_every_run, options
from runner.config.part_names import PART, name_of_part
from runner.errors import ConfigError, NothingYet, RecordError, closest
from runner.report.evaluations import LARGEST_BYTES, numbers, read_evaluations
from runner.run import files, record
from runner.run.launches import launches
from runner.run.lock import is_held

NAMED = 3
"""A caveat names so many of the runs that it is about."""


@dataclass
class Records:
    """A sweep as tables."""

    folder: Path
    runs: pd.DataFrame
    """A row a run: choices as text, then ``run_id, status``, then measures as text."""
    choices: list[str]
    """The columns that are choices."""
    places: dict[str, Path]
    """Each run's folder by its id, where it has one."""
    caveats: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    """What is said before the answer."""
    launches: list[frozenset[str]] = field(default_factory=list)
    """The ids of the runs that each command asked for, as far as it is recorded."""

    @property
    def all_own(self) -> bool:
        """Whether functions of one's own trained all of the runs."""
        return "task" in self.runs and bool((self.runs["task"] != "").all())

    @cached_property
    def curves(self) -> pd.DataFrame:
        """A row an evaluation: ``run_id``, then numbers; read where it is looked at, which adds to ``caveats``."""
        found = read_evaluations([i for i in self.runs["run_id"] if i in self.places], self.places)
        for text, names in found.caveats:
            self.caveat(text, names)
        if found.unread:
            self.caveats.append(f"{found.unread:,} rows of metrics.csv files cannot be read and are left out")
        return found.rows

    def number(self, column: str) -> "pd.Series[float]":
        """Return a column of ``runs`` as numbers, NaN where it holds none."""
        if column not in self.runs:
            return pd.Series(np.nan, index=self.runs.index, dtype=float)
        return numbers(self.runs[column])

    def caveat(self, text: str, names: Sequence[str]) -> None:
        """Note something that a reader must know of some runs, if any: ``text`` with ``{runs}``, and the first few."""
        if names:
            count = len(names)
            runs = "1 run" if count == 1 else f"{count:,} runs"
            self.caveats.append(f"{text.format(runs=runs)}: {_first_few(names)}")


def load(folder: Path) -> Records:
    """Read a sweep's folder, or a single run's.

    Raises:
        ConfigError: if it is neither; the message says what is there instead.
        RecordError: if it cannot be read.
    """
    if folder.name in ("", ".."):  # as "." has: the sweep and the run are known by their folders' names
        folder = folder.resolve()
    try:
        single, places = find(folder)
        rows, caveats = _rows(folder.parent if single else folder, places, single)
    except OSError as error:
        if isinstance(error, ConfigError | RecordError):
            raise
        raise RecordError(f"cannot read {error.filename or folder}: {error.strerror or error}") from error
    if not rows:
        raise NothingYet(f"{folder / 'runs.csv'} has no rows: nothing was run")
    runs = pd.DataFrame(rows, dtype=str).fillna("")
    _fill_added(runs)
    _tell_parts_apart(runs)
    columns = list(runs.columns)
    records = Records(folder, runs, columns[: columns.index("run_id")], places, caveats)
    records.launches = launches(folder.parent if single else folder)
    _settle_statuses(records, folder.parent if single else folder)
    return records


def _fill_added(runs: pd.DataFrame) -> None:
    """Write the defaults of settings that were added later into the rows of runs that older versions made.

    They are not in such a run's id while they have it: it is the same run.
    """
    for key, setting in of_every_run().spec.settings.items():
        if setting.in_id == "changed" and key in runs:
            runs.loc[runs[key] == "", key] = str(record.cell(setting.unchanged))
    for group in (group for group in GROUPS if group in runs):
        chosen = runs[group].str.split("+")
        for option in options(group):
            for key, setting in option.settings.items():
                column = f"{group}.{key}"
                if setting.in_id == "changed" and column in runs:
                    has_it = chosen.map(lambda names, name=option.name: name in names)
                    if option.name == PART and f"{group}.target" in runs:  # whose rows are called by the part's name
                        has_it |= runs[f"{group}.target"] != ""
                    runs.loc[(runs[column] == "") & has_it, column] = str(record.cell(setting.unchanged))


def _tell_parts_apart(runs: pd.DataFrame) -> None:
    """Call the user's own parts by their names where an older version did not, and those of one name by their paths."""
    for group in (group for group in GROUPS if group in runs and f"{group}.target" in runs):
        targets = runs[f"{group}.target"]
        for target in targets[(runs[group] == PART) & (targets != "")].unique():
            runs.loc[(runs[group] == PART) & (targets == target), group] = name_of_part(group, target)
        alike = targets.groupby(runs[group]).nunique() > 1
        for name in alike.index[alike]:
            for target in targets[(runs[group] == name) & (targets != "")].unique():
                plain = name == name_of_part(group, target)
                called = target if plain else f"{name} ({target})"
                runs.loc[(runs[group] == name) & (targets == target), group] = called


def find(folder: Path) -> tuple[bool, dict[str, Path]]:
    """Return whether a folder is a single run's, and the folders of runs by their ids.

    Raises:
        ConfigError: if it holds no runs; the message says what is there instead.
    """
    if not folder.is_dir():
        raise _nothing_in(folder)
    single = (folder / "config.yaml").is_file() and (folder / "metrics.csv").is_file()
    places = {folder.name.rpartition("-")[2]: folder} if single else dict(_run_folders(folder))
    if not single and not places and not (folder / "runs.csv").is_file():
        raise _nothing_in(folder)
    return single, places


def _run_folders(folder: Path) -> Iterator[tuple[str, Path]]:
    with os.scandir(folder) as entries:
        for entry in sorted(entries, key=lambda e: e.name):
            if "-" in entry.name and not entry.name.startswith(".") and entry.is_dir():
                path = Path(entry.path)
                if (path / "config.yaml").is_file() or (path / "metrics.csv").is_file():
                    yield entry.name.rpartition("-")[2], path


def _nothing_in(folder: Path) -> ConfigError:
    if not folder.is_dir():
        there = [p.name for p in folder.parent.iterdir() if p.is_dir()] if folder.parent.is_dir() else []
        hint = closest(folder.name, there)
        return ConfigError(f"there is no folder {folder}{hint}; give that of a sweep or a run, below outputs/")
    below = sorted(
        {p.parent for p in folder.glob("*/runs.csv")} | {p.parent for p in folder.glob("outputs/*/runs.csv")}
    )
    instead = f"; did you mean {', '.join(map(str, below[:5]))}?" if below else ""
    kind = ConfigError if below else NothingYet
    return kind(f"{folder} holds no runs{instead}\nvalid: the folder of a sweep or a run, such as outputs/default")


def _rows(sweep: Path, places: dict[str, Path], single: bool) -> tuple[list[dict[str, str]], list[str]]:
    path = sweep / "runs.csv"
    rows: dict[str, dict[str, str]] = {}
    caveats: list[str] = []
    torn, twice = [], []
    if path.is_file():
        lines = (line.replace("\0", "�").replace("\ufeff", "") for line in files.whole_lines(path))
        header, *body = list(csv.reader(lines)) or [[]]
        if "run_id" not in header or "status" not in header:
            if not places:
                raise ConfigError(f"{path} needs the columns run_id and status, and there are no folders of runs")
            caveats.append(f"{path.name} has no columns run_id and status, and is not read")
            header, body = ["run_id", "status"], []
        at = header.index("run_id")
        if len(set(header)) != len(header):
            caveats.append(f"{path.name} names a column twice: the last one is read")
        for number, cells in enumerate(body, 2):
            if len(cells) != len(header) or not cells[at]:
                torn.append(f"row {number}")
                continue
            identifier = cells[at]
            if identifier in rows:
                twice.append(identifier)
            rows[identifier] = dict(zip(header, map(_unguarded, cells), strict=True))
        if not _ends_whole(path):
            torn.append("the last row")
    rows |= {run: {k: str(v) for k, v in row.items()} for run, row in record.waiting_rows(sweep).items()}
    if torn:
        caveats.append(f"{path.name} is torn: {_first_few(torn)} left out; optbench runs {sweep} writes it anew")
    if twice:
        caveats.append(f"{path.name} has a run twice, the last row is read: {_first_few(twice)}")
    missing = {identifier: place for identifier, place in places.items() if identifier not in rows}
    lost = []
    for identifier, place in missing.items():
        try:
            rows[identifier] = {k: str(v) for k, v in record.row_of(place).items()}
        except RecordError:
            lost.append(place.name)
    if lost:
        n = len(lost)
        caveats.append(f"{n} folder{'s' * (n > 1)} without a config that can be read, left out: {_first_few(lost)}")
    if path.is_file() and (n := len(missing) - len(lost)):
        runs = "1 run that is" if n == 1 else f"{n} runs that are"
        caveats.append(
            f"{runs} not in {path.name}, read from the run's own folder; optbench runs {sweep} writes it anew"
        )
    if single:
        rows = {identifier: row for identifier, row in rows.items() if identifier in places}
        caveats = []
    return _same_columns(list(rows.values())), caveats


def _first_few(names: Sequence[str]) -> str:
    """Name the first few runs, and say how many more there are."""
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return ", ".join(names[:NAMED]) + more


def _same_columns(rows: list[dict[str, str]]) -> list[dict[str, str]]:
    """Give every row every column, choices first, then run_id and status, then the rest."""
    choices: dict[str, None] = {}
    rest: dict[str, None] = {}
    for row in rows:
        names = list(row)
        at = names.index("run_id")
        choices |= dict.fromkeys(names[:at])
        rest |= dict.fromkeys(names[at:])
    columns = [*choices, *(name for name in rest if name not in choices)]
    return [{column: row.get(column, "") for column in columns} for row in rows]


def _unguarded(cell: str) -> str:
    """Return a text as it was before a spreadsheet was kept from taking it for a formula."""
    return cell[1:] if cell[:1] == "'" and cell[1:2] in ("=", "+", "-", "@", "\t", "\r") else cell


def _ends_whole(path: Path) -> bool:
    """Say whether a file's last line is whole."""
    with path.open("rb") as file:
        if file.seek(0, os.SEEK_END) == 0:
            return True
        file.seek(-1, os.SEEK_END)
        return file.read() == b"\n"


def _settle_statuses(records: Records, sweep: Path) -> None:
    """Say of each run that has not ended whether it is on its way; name what is missing."""
    runs, places = records.runs, records.places
    running = runs[runs["status"] == "running"]
    for index, identifier in zip(running.index, running["run_id"], strict=True):
        if not re.fullmatch(r"\w+", identifier) or not is_held(sweep / ".locks" / identifier):
            runs.loc[index, "status"] = "interrupted"
    unknown = ~runs["status"].isin([*files.STATUSES, "running"])
    records.caveat("{runs} with an unknown status, counted as interrupted", _names(records, unknown))
    runs.loc[unknown, "status"] = "interrupted"
    for status, text in (
        ("running", "{runs} on the way, not counted yet"),
        ("interrupted", "{runs} interrupted, not counted: the command that started the sweep goes on with it"),
        ("paused", "{runs} paused, not counted: stopped by pause_at or at a rung of a search"),
        ("failed", "{runs} failed, not counted in means; retry=failed tries again"),
        ("diverged", "{runs} diverged, ranked last"),
    ):
        records.caveat(text, _names(records, runs["status"] == status))
    ended = runs["status"].isin(files.ENDED)
    gone = ended & ~runs["run_id"].isin(list(places))
    records.caveat("{runs} without a folder: their row counts, their curves are missing", _names(records, gone))
    with_folder = [places[i] for i in runs.loc[ended & ~gone, "run_id"]]
    silent = [place.name for place in with_folder if not (place / "summary.json").is_file()]
    records.caveat("{runs} without summary.json: their row of runs.csv counts", silent)
    for column, what in (
        ("actual_device", "devices"),
        ("torch_version", "versions of torch"),
        ("optbench_version", "versions of optbench"),
        ("engine", "engines"),
    ):
        found = sorted(set(runs.get(column, pd.Series(dtype=str))) - {""})
        if len(found) > 1:
            records.caveats.append(f"the runs were made on several {what}: {', '.join(found[:5])}")


def _names(records: Records, mask: "pd.Series[bool]") -> list[str]:
    """Return the names of the folders of some runs; of one without a folder its id."""
    return [records.places[i].name if i in records.places else i for i in records.runs.loc[mask, "run_id"]]


def read_layers(place: Path) -> pd.DataFrame | None:
    """Return a run's ``layers.csv``, or None where it has none that can be read."""
    path = place / "layers.csv"
    if not path.is_file() or path.stat().st_size > LARGEST_BYTES:
        return None
    try:
        return pd.read_csv(io.StringIO("".join(files.whole_lines(path))), on_bad_lines="skip")
    except (ValueError, OSError):
        return None


def data_root(place: Path | None) -> str | None:
    """Return where a run's data lay, which its row does not say; None where its config does not either."""
    if place is None:
        return None
    try:
        root = files.read_config(place)["data"].get("root")
    except (RecordError, ConfigError, KeyError, AttributeError, TypeError):
        return None
    return root if isinstance(root, str) else None
