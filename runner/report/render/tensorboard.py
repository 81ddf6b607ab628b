"""Runs as TensorBoard reads them: an event file for each, seeds of one setting side by side, choices as hparams.

``FOLDER/<setting>/seed=0`` holds every number of the run's ``metrics.csv`` over its steps, then what it ended with.
"""

import contextlib
import csv
import hashlib
import importlib.util
import os
import re
import shutil
import struct
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
from tqdm import tqdm

from runner.config.identity import REPLICATES
from runner.errors import ConfigError
from runner.report.evaluations import LARGEST_BYTES, numbers
from runner.report.load import Records
from runner.report.settings import GOOD, axes_of, number
from runner.run.files import whole_lines
from runner.run.record import write_whole, writing

EXTRA = ("tensorboard", "google_crc32c")
"""Packages of the extra; the second sums up bytes in C, where TensorBoard's own sums are most of the time."""
LISTED = ".optbench"
"""Lists what was written, so that a folder that holds nothing else may be replaced."""
LONGEST_NAME = 120
"""Bytes of a folder's name, of which most file systems take 255."""
RESULTS = ("final_", "test_")
"""Columns of ``runs.csv`` that are a run's results."""
LARGEST_STEP = 2**62


@dataclass(frozen=True)
class Run:
    """One run and its place."""

    setting: str
    replicate: str
    chosen: Mapping[str, str | float]
    """The choices that vary, replicates left out."""
    results: Mapping[str, float]
    status: str
    metrics: Path | None
    """Its ``metrics.csv``, if it has one that is read."""


def check_destination(folder: Path, sources: int = 1) -> None:
    """Refuse what cannot be written, before the work that it is for.

    Args:
        folder: where the events go.
        sources: of how many folders of runs.

    Raises:
        ConfigError: if the extra is not installed, or the folder holds what was not written by this.
    """
    if sources > 1:
        raise ConfigError(f"--tensorboard writes one folder's runs, got {sources} folders: give each its own")
    if any(importlib.util.find_spec(package) is None for package in EXTRA):
        raise ConfigError("--tensorboard needs TensorBoard: pip install 'optbench[tensorboard]'")
    if not folder.parent.is_dir():
        raise ConfigError(f"--tensorboard must be a folder in one that is there, got {str(folder)!r}")
    if folder.exists() and not folder.is_dir():
        raise ConfigError(f"--tensorboard must be a folder, got the file {str(folder)!r}")
    listed = {LISTED, *(line.rstrip("\n") for line in whole_lines(folder / LISTED))}
    foreign = next((name for name in _files_below(folder) if name not in listed), None)
    if foreign is not None:
        raise ConfigError(
            f"--tensorboard {folder}: the folder holds {foreign}, which was not written by this and would be lost; "
            "give a new folder, or one that holds event files of optbench alone"
        )


def _files_below(folder: Path) -> Iterator[str]:
    for place, _, files in os.walk(folder):
        yield from (os.path.relpath(os.path.join(place, file), folder) for file in sorted(files))


def write_events(records: Records, folder: Path) -> str:
    """Write every run's events; a folder that was written before is replaced when all is there.

    Raises:
        ConfigError: as ``check_destination``.
        RecordError: if it cannot be written.
    """
    check_destination(folder)
    folder = folder.resolve()
    beside, before = (folder.with_name(f".{folder.name}.{os.getpid()}{end}") for end in ("", ".old"))
    runs = _runs(records)
    with writing(folder):
        try:
            beside.mkdir()
            _write_all(runs, beside)
            write_whole(beside / LISTED, "".join(f"{name}\n" for name in _files_below(beside)))
            if folder.exists():
                os.rename(folder, before)
            os.rename(beside, folder)
        except BaseException:
            if before.exists() and not folder.exists():
                os.rename(before, folder)
            shutil.rmtree(beside, ignore_errors=True)
            raise
        shutil.rmtree(before, ignore_errors=True)
    return f"{len(runs):,} run{'s' * (len(runs) != 1)} for TensorBoard: tensorboard --logdir {folder}\n"


def _runs(records: Records) -> list[Run]:
    """Return every run with its place: the settings by what varies, the replicates below."""
    table = records.runs
    varying = [c for c in records.choices if table[c].nunique() > 1]
    axes = axes_of(table, records.choices)
    replicates = [c for c in REPLICATES if c in varying] or [c for c in ("seed",) if c in table]
    of_settings = [c for c in varying if c not in REPLICATES]  # seeds differ within a group, whose hparams are one
    chosen = _numbers_where_all_are(table[of_settings or [c for c in ("init", "optim", "optim.lr") if c in table]])
    results = {c: records.number(c) for c in map(str, table) if c.startswith(RESULTS) and c not in records.choices}
    found, taken = [], set[tuple[str, str]]()
    for i in table.index:
        row = table.loc[i]
        setting = name_of({a: str(row[a]) for a in axes}) or name_of({"": records.folder.resolve().name})
        replicate = name_of({c: str(row[c]) for c in replicates})
        if not replicate or (setting, replicate) in taken:
            replicate = name_of({**{c: str(row[c]) for c in replicates}, "run_id": str(row["run_id"])})
        taken.add((setting, replicate))
        place = records.places.get(str(row["run_id"]))
        found.append(
            Run(
                setting,
                replicate,
                {str(c): v for c, v in zip(chosen, chosen.loc[i], strict=True) if v not in ("", None) and v == v},
                {c: float(v[i]) for c, v in results.items() if pd.notna(v[i])},
                str(row["status"]),
                place / "metrics.csv" if place is not None and _is_read(place / "metrics.csv") else None,
            )
        )
    return found


def _numbers_where_all_are(choices: pd.DataFrame) -> pd.DataFrame:
    found = choices.astype(object)
    for column in choices:
        values = numbers(choices[column])
        if values[choices[column] != ""].notna().all():
            found[column] = values.astype(object)
    return found


def _is_read(path: Path) -> bool:
    try:
        return path.is_file() and path.stat().st_size <= LARGEST_BYTES
    except OSError:
        return False


def name_of(choices: Mapping[str, str]) -> str:
    """Return choices as the name of a folder on any file system; what had to be changed is told apart by a hash."""
    whole = ",".join(f"{key}={number(value)}" if key else value for key, value in choices.items())
    safe = re.sub(r"[^\w.=,+-]", "_", whole)
    short = safe.encode()[:LONGEST_NAME].decode(errors="ignore")
    changed = short != whole or short.startswith(".")
    digest = hashlib.sha256(whole.encode("utf-8", "replace")).hexdigest()[:8]
    return f"{short.lstrip('.')}-{digest}" if changed else short


def _write_all(runs: Sequence[Run], folder: Path) -> None:
    from tensorboard.compat.proto.event_pb2 import Event
    from tensorboard.plugins.hparams import summary_v2

    tags = list(dict.fromkeys(tag for run in runs for tag in run.results))
    values: dict[str, set[Any]] = {}
    for run in runs:
        for choice, value in run.chosen.items():
            values.setdefault(choice, set()).add(value)
    experiment = summary_v2.hparams_config_pb(
        [summary_v2.HParam(c, summary_v2.Discrete(_of_one_kind(found))) for c, found in values.items()],
        [summary_v2.Metric(tag, display_name=tag.replace("_", " ")) for tag in tags],
    )
    begun = []
    for run in tqdm(runs, desc="writing events", unit="run", disable=not sys.stderr.isatty(), leave=False):
        place = folder / run.setting / run.replicate
        place.mkdir(parents=True)
        rows = list(_rows(run.metrics)) if run.metrics is not None else []
        start, end = (rows[0][0], rows[-1][0]) if rows else (0.0, 0.0)
        begun.append(start)
        last = rows[-1][1] if rows else 0
        with _writer(place, start) as write:
            write(Event(wall_time=start, summary=summary_v2.hparams_pb(dict(run.chosen), run.setting, start)))
            _write_rows(rows, write)
            for tag, value in run.results.items():
                write(Event(wall_time=end, step=last, summary=_scalar(tag, value)))
            write(Event(wall_time=end, step=last, summary=_session_end(run.status, end)))
    earliest = min((time for time in begun if time), default=0.0)
    with _writer(folder, earliest) as write:
        write(Event(wall_time=earliest, summary=experiment))


def _session_end(status: str, time: float) -> Any:
    """Return how a run ended; TensorBoard's own function for it needs TensorFlow."""
    from tensorboard.compat.proto.summary_pb2 import Summary
    from tensorboard.plugins.hparams import api_pb2, metadata, plugin_data_pb2

    ended = api_pb2.STATUS_SUCCESS if status in GOOD else api_pb2.STATUS_FAILURE
    ended = api_pb2.STATUS_RUNNING if status == "running" else ended
    data = plugin_data_pb2.HParamsPluginData(
        session_end_info=plugin_data_pb2.SessionEndInfo(status=ended, end_time_secs=time)
    )
    of_plugin = metadata.create_summary_metadata(data)
    value = Summary.Value(tag=metadata.SESSION_END_INFO_TAG, metadata=of_plugin, tensor=metadata.NULL_TENSOR)
    return Summary(value=[value])


def _of_one_kind(values: set[Any]) -> list[Any]:
    return sorted(values) if len({type(v) for v in values}) == 1 else sorted(map(str, values))


def _scalar(tag: str, value: float) -> Any:
    from tensorboard.compat.proto.summary_pb2 import Summary

    return Summary(value=[Summary.Value(tag=tag, simple_value=value)])


def _rows(metrics: Path) -> Iterator[tuple[float, int, dict[str, float]]]:
    """Return each row's time, step and numbers. The last row was written when the file was; training tells the rest."""
    try:
        lines, end = whole_lines(metrics), metrics.stat().st_mtime
    except OSError:
        return
    rows = []
    header, *body = list(csv.reader(line.replace("\0", "�") for line in lines)) or [[]]
    for cells in body:
        found = {name: value for name, cell in zip(header, cells, strict=False) if (value := _value(cell)) is not None}
        step = found.pop("step", float("nan"))
        if len(cells) == len(header) and 0 <= step < LARGEST_STEP:
            rows.append((int(step), found))
    whole = rows[-1][1].get("train_seconds", 0.0) if rows else 0.0
    for step, found in rows:
        yield end - max(0.0, whole - found.get("train_seconds", whole)), step, found


def _value(cell: str) -> float | None:
    """Return a cell's number, which may be infinite or NaN as in a run that diverged; None where it holds none."""
    try:
        return float(cell)
    except ValueError:
        return None


def _write_rows(rows: Sequence[tuple[float, int, dict[str, float]]], write: Callable[[Any], None]) -> None:
    """Write a run's rows; an event is made once for rows with the same columns, and filled anew for each."""
    from tensorboard.compat.proto.event_pb2 import Event
    from tensorboard.compat.proto.summary_pb2 import Summary

    made: dict[tuple[str, ...], tuple[Any, list[Any]]] = {}
    for time, step, found in rows:
        tags = tuple(found)
        if tags not in made:
            event = Event(summary=Summary(value=[Summary.Value(tag=tag) for tag in tags]))
            made[tags] = event, list(event.summary.value)
        event, places = made[tags]
        event.wall_time, event.step = time, step
        for place, value in zip(places, found.values(), strict=True):
            place.simple_value = value
        write(event)


@contextlib.contextmanager
def _writer(folder: Path, time: float) -> Iterator[Callable[[Any], None]]:
    """Open an event file and return what appends an event to it, framed as a TFRecord."""
    from google_crc32c import value as crc32c
    from tensorboard.compat.proto.event_pb2 import Event

    def masked(data: bytes) -> bytes:
        crc = crc32c(data)
        return struct.pack("<I", ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF)

    with (folder / f"events.out.tfevents.{int(time):010d}.optbench").open("wb") as file:

        def write(event: Any) -> None:
            data = event.SerializeToString()
            length = struct.pack("<Q", len(data))
            file.write(length + masked(length) + data + masked(data))

        write(Event(wall_time=time, file_version="brain.Event:2"))
        yield write
