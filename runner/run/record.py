"""The records of runs: the only writer of a run's folder and of ``runs.csv``. Never imports torch."""

import contextlib
import csv
import io
import json
import math
import os
import time
import traceback
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from runner.config.identity import choices
from runner.config.options import groups, of_every_run
from runner.config.own_yamls import refuse_aliases
from runner.errors import ConfigError, RecordError
from runner.run.files import FINISHED, VALIDATION, read_csv, read_summary, status_of, whole_lines, written_at
from runner.run.job import Job
from runner.run.lock import exclusive, is_held

GROUPS = frozenset(groups())
WAITING = ".runs.jsonl"
"""Rows that are to come into a large ``runs.csv``."""
LARGE_BYTES = 2**20
"""From this size on, some 3,000 runs, ``runs.csv`` is not written anew for each run that begins or ends."""
BYTES_A_SECOND = 2e6
"""As ``runs.csv`` is read and written, about (``scripts/bench_many.py``)."""
SHARE_OF_TIME = 0.02
"""Writing a large ``runs.csv`` takes no more of the time than this."""


@contextlib.contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turn an operating system's refusal into a message that names the path."""
    try:
        yield
    except RecordError:
        raise
    except OSError as error:
        raise RecordError(f"cannot write {error.filename or path}: {error.strerror or error}") from error


def write_whole(path: Path, content: str | bytes) -> None:
    """Write a file by atomic rename: it is the old one or the new one, never half of either."""
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    with writing(path):
        try:
            if isinstance(content, str):
                beside.write_text(content, encoding="utf-8")
            else:
                beside.write_bytes(content)
            os.replace(beside, path)
        except OSError:
            beside.unlink(missing_ok=True)
            raise


class Recorder:
    """Writes one run's folder: config at once, rows as they come, the summary last."""

    def __init__(self, job: Job) -> None:
        self.job = job
        self.folder = job.folder
        self._tables: dict[str, io.TextIOWrapper] = {}

    @property
    def checkpoint(self) -> Path:
        """Where the resume checkpoint, and at the end the weights, lie."""
        return self.folder / "checkpoint.pt"

    def open(self, rows_kept: int) -> None:
        """Create the folder, or go on in it: rows after the first ``rows_kept`` are of no checkpoint and go."""
        from omegaconf import OmegaConf

        with writing(self.folder):
            (self.folder / ".hydra").mkdir(parents=True, exist_ok=True)
            for ended in (
                "summary.json",
                "traceback.txt",
                VALIDATION,
                *(() if self.job.config.get("diagnostics") else ("layers.csv",)),
            ):
                (self.folder / ended).unlink(missing_ok=True)
            config = _as_yaml(self.job.config)
            write_whole(self.folder / "config.yaml", config)
            write_whole(self.folder / ".hydra" / "config.yaml", config)
            write_whole(self.folder / ".hydra" / "overrides.yaml", _as_yaml(list(self.job.overrides)))
            write_whole(self.folder / ".hydra" / "hydra.yaml", _as_yaml(OmegaConf.to_container(self.job.hydra)))
            kept = whole_lines(self.folder / "metrics.csv")[: rows_kept + 1] if rows_kept else []
            self._tables["metrics.csv"] = self._append_to("metrics.csv", kept)
            if self.job.config.get("diagnostics"):
                steps = {line.partition(",")[0] for line in kept}  # "step", the header's first word, among them
                layers = whole_lines(self.folder / "layers.csv")
                kept = [line for line in layers if line.partition(",")[0] in steps]
                self._tables["layers.csv"] = self._append_to("layers.csv", kept)

    def _append_to(self, name: str, kept: list[str]) -> io.TextIOWrapper:
        write_whole(self.folder / name, "".join(kept))
        return (self.folder / name).open("a", encoding="utf-8", newline="")

    def row(self, row: Mapping[str, Any], layers: Sequence[Mapping[str, Any]] = ()) -> None:
        """Append one row, and the layers' rows first, so that a row's layers are there when it is; flush both."""
        for name, rows in (("layers.csv", layers), ("metrics.csv", [row])):
            if rows:
                with writing(self.folder / name):
                    table = self._tables[name]
                    writer = csv.DictWriter(table, rows[0].keys(), lineterminator="\n")
                    if table.tell() == 0:
                        writer.writeheader()
                    writer.writerows({k: cell(v) for k, v in one.items()} for one in rows)
                    table.flush()

    def validation(self, found: Mapping[str, Any] | None) -> None:
        """Write what the run got right and wrong on the validation set, if that is known."""
        if found is not None:
            write_whole(self.folder / VALIDATION, json.dumps(found) + "\n")

    def let_go(self) -> None:
        """Close the tables: another recorder goes on with them."""
        for name, table in self._tables.items():
            with writing(self.folder / name):
                table.close()

    def fail(self, error: BaseException) -> dict[str, Any]:
        """Write the traceback of what ended the run, and return the summary that names it."""
        place = self.folder / "traceback.txt"
        with writing(self.folder):
            self.folder.mkdir(parents=True, exist_ok=True)
        write_whole(place, "".join(traceback.format_exception(error)))
        said = str(error).strip().splitlines()
        reason = f"{type(error).__name__}: {said[0]}" if said else type(error).__name__
        return {"status": "failed", "stop_reason": reason, "traceback": str(place), "run_id": self.job.run_id}

    def close(self, summary: Mapping[str, Any]) -> None:
        """Write the summary."""
        self.let_go()
        write_whole(self.folder / "summary.json", json.dumps(finite(summary), indent=2, allow_nan=False) + "\n")


def _as_yaml(content: object) -> str:
    return str(yaml.dump(content, Dumper=yaml.CSafeDumper, sort_keys=False, allow_unicode=True))


def finite(summary: Mapping[str, Any]) -> dict[str, Any]:
    """Return a summary that JSON can hold: what is not finite is null."""
    return {k: None if isinstance(v, float) and not math.isfinite(v) else v for k, v in summary.items()}


def cell(value: object) -> object:
    """Return a value as a CSV cell: nothing for None, a float by its shortest exact form, a list as JSON."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        return repr(value)
    if isinstance(value, list | dict):
        return json.dumps(value)
    if isinstance(value, str) and value.startswith(("=", "+", "-", "@", "\t", "\r")):
        return f"'{value}"  # a spreadsheet would take it for a formula
    return value


def make_room(folder: Path, force: bool = False) -> None:
    """Move a finished run out of the way of one that takes its place; with ``force`` a paused one too."""
    earlier = status_of(folder)
    unreadable = earlier is None and (folder / "summary.json").exists()
    if unreadable or earlier in FINISHED:
        keep_aside(folder)
    elif force:
        keep_paused(folder)


def keep_paused(folder: Path) -> None:
    """Move a paused run out of the way of one that begins anew in its place."""
    if status_of(folder) == "paused":
        keep_aside(folder)


def keep_aside(folder: Path) -> Path:
    """Move a run's folder to ``.old/`` beside it, outside of ``runs.csv`` and reports; return where it is now."""
    stamp = time.strftime("%Y%m%d-%H%M%S")
    old = folder.parent / ".old"
    with writing(old):
        old.mkdir(exist_ok=True)
        places = (old / f"{folder.name}.{stamp}{suffix}" for suffix in ("", *(f"-{i}" for i in range(1, 1000))))
        place = next(p for p in places if not p.exists())
        os.rename(folder, place)
    return place


def update_runs_csv(runs: Sequence[tuple[Job, Mapping[str, Any]]]) -> None:
    """Write the rows of runs of one folder into ``runs.csv``: every choice, then every scalar of the summary."""
    if not runs:
        return
    path = runs[0][0].folder.parent / "runs.csv"
    with writing(path), exclusive(path.parent / ".locks", "runs.csv"):
        rows = {job.run_id: _columns(choices(job.config), job.run_id, summary) for job, summary in runs}
        if _is_to_wait(path):
            with (path.parent / WAITING).open("ab", buffering=0) as file:
                file.write("".join(json.dumps(row) + "\n" for row in rows.values()).encode())
        else:
            _fold(path, rows)


def _is_to_wait(path: Path) -> bool:
    """Say whether ``runs.csv`` is so large that writing it anew for each run would take most of the time."""
    try:
        size, written = path.stat().st_size, path.stat().st_mtime
    except FileNotFoundError:
        return False
    if size < LARGE_BYTES:
        return False
    waiting = path.parent / WAITING
    waiting.touch()  # by the file system's clock, as the other
    return 0 <= waiting.stat().st_mtime - written < size / BYTES_A_SECOND / SHARE_OF_TIME


def _fold(path: Path, rows: Mapping[str, Mapping[str, Any]]) -> None:
    """Write ``runs.csv`` anew with some rows, by run id, and those that wait; who calls has it for itself."""
    there: dict[str, Mapping[str, Any]] = {row["run_id"]: row for row in read_csv(path) if row.get("run_id")}
    _write_runs(path, list((there | waiting_rows(path.parent) | dict(rows)).values()))
    _forget_waiting(path.parent)


def _forget_waiting(folder: Path) -> None:
    """Remove the rows that waited, once they are in ``runs.csv``; a small one never has any."""
    if (folder / WAITING).exists():
        (folder / WAITING).unlink()


def waiting_rows(folder: Path) -> dict[str, Mapping[str, Any]]:
    """Return the rows, by run id, that are not in a folder's ``runs.csv`` yet: the last few seconds' of a large one."""
    found: dict[str, Mapping[str, Any]] = {}
    for line in whole_lines(folder / WAITING):
        with contextlib.suppress(ValueError, KeyError, TypeError):
            row = json.loads(line)
            found[row["run_id"]] = row
    return found


def rebuild_runs_csv(folder: Path) -> int:
    """Write ``runs.csv`` anew from the runs' own folders; return how many there are."""
    found = {place: (written_at(place), row_of(place)) for place in _places(folder)}
    with writing(folder), exclusive(folder / ".locks", "runs.csv"):
        for place in _places(folder):  # those that began or ended while the others were read
            if place not in found or found[place][0] != written_at(place):
                found[place] = (None, row_of(place))
        _write_runs(folder / "runs.csv", [row for _, (_, row) in sorted(found.items())])
        _forget_waiting(folder)
    return len(found)


def _places(folder: Path) -> list[Path]:
    return [path.parent for path in folder.glob("*/config.yaml")]


def settle_runs_csv(folder: Path) -> None:
    """Give rows that are out of date what the runs' folders say: a kill came between a summary and its row.

    Such a row says that the run is on its way.
    """
    path = folder / "runs.csv"
    if not path.exists():
        return
    with writing(path), exclusive(folder / ".locks", "runs.csv"):
        if (folder / WAITING).exists():
            _fold(path, {})
        rows, settled = read_csv(path), 0
        for i, row in enumerate(rows):
            place = next(iter(folder.glob(f"*-{row['run_id']}")), None) if row.get("status") == "running" else None
            if place is not None and read_summary(place) is not None:
                rows[i] = row_of(place)
                settled += 1
        if settled:
            _write_runs(path, rows)


def row_of(folder: Path) -> dict[str, Any]:
    """Return the row of ``runs.csv`` that a run's own folder makes.

    Raises:
        RecordError: if its config is none.
    """
    path = folder / "config.yaml"
    try:
        refuse_aliases(folder)
        chosen = choices(yaml.load(path.read_text(encoding="utf-8"), yaml.CSafeLoader))
    except (ConfigError, OSError, yaml.YAMLError, AttributeError, KeyError, TypeError, ValueError) as error:
        raise RecordError(f"{path} is no run's config: {error}") from error
    summary = read_summary(folder) or {"status": _status_without_summary(folder)}
    return _columns(chosen, folder.name.rpartition("-")[2], summary)


def _columns(chosen: Mapping[str, Any], run_id: str, summary: Mapping[str, Any]) -> dict[str, Any]:
    """Return a row: every choice, then every scalar of the summary, as ``actual_<key>`` where a choice has its name."""
    scalars = {k: v for k, v in finite(summary).items() if not isinstance(v, list | dict)}
    found = {f"actual_{k}" if k in chosen else k: v for k, v in scalars.items()}
    return {k: cell(v) for k, v in {**chosen, "run_id": run_id, **found}.items()}


def _status_without_summary(folder: Path) -> str:
    return "running" if is_held(folder.parent / ".locks" / folder.name.rpartition("-")[2]) else "interrupted"


def _write_runs(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    first = ["init", "optim", "optim.lr"]
    seen = dict.fromkeys(column for row in rows for column in row)
    chosen = [c for c in seen if c not in first and c not in ("run_id", "status") and _is_choice(c)]
    columns = list(dict.fromkeys([*(c for c in first if c in seen), *chosen, "run_id", "status", *seen]))
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_whole(path, text.getvalue())


def _is_choice(column: str) -> bool:
    return column in of_every_run().spec.settings or column.partition(".")[0] in GROUPS
