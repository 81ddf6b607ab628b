"""What simple baselines reach on the data that runs are trained on: ``outputs/<name>/baselines.csv``, once a split.

A report holds the runs against them. Nothing that goes wrong here stops a run: it is said on stderr and in the file.
"""

import contextlib
import csv
import io
import signal
import sys
import threading
import time
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from types import FrameType
from typing import Any

from threadpoolctl import threadpool_limits
from tqdm import tqdm

from runner.run.baselines.models import Baseline, Unfit, baselines
from runner.run.components.samples import real_data_of
from runner.run.files import read_csv
from runner.run.job import BASELINES, SPLIT_COLUMNS, SPLIT_KEYS, Job
from runner.run.lock import exclusive
from runner.run.record import cell, write_whole, writing

MOST_SECONDS = 30.0
"""That all baselines of a command may take together."""
AGAIN_SECONDS = 0.1
"""After which it is looked again whether a library that was being imported is there."""
MEASURES = (
    *("loss", "accuracy", "balanced_accuracy", "f1", "precision", "recall", "roc_auc", "perplexity"),
    *("predicted_classes", "mse", "mae", "r2"),
)
COLUMNS = (
    *(*SPLIT_COLUMNS, "baseline", "kind", "status"),
    *(f"val_{name}" for name in MEASURES),
    *("train_samples", "seconds", "note"),
)
Row = dict[str, Any]


def beside(jobs: Sequence[Job]) -> None:
    """Measure the baselines of jobs that lie in one folder, unless they are known; jobs must be known to be sound."""
    wanted: dict[tuple[str, ...], Job] = {}
    for job in jobs:
        if (split := job.remembered(split_of)) is not None:
            wanted.setdefault(split, job)
    if not wanted:
        return
    path = jobs[0].folder.parent / BASELINES
    try:
        if not _lacking(path, wanted):
            return
        with writing(path), exclusive(path.parent / ".locks", BASELINES):  # others that start at once wait here
            _complete(path, _lacking(path, wanted))
    except Exception as error:
        _say(f"{path} is not written: {error}")


def split_of(job: Job) -> tuple[str, ...] | None:
    """Return what tells a job's data split from others, see ``key_of``; None where no baselines are wanted of it."""
    if not job.config["baselines"] or job.is_own or job.config["data"]["targets"] is not None:  # of another problem
        return None
    return key_of(job)


def key_of(job: Job) -> tuple[str, ...]:
    """Return what tells a job's data split from others, as the cells of a CSV."""
    data = job.config["data"]
    values = [job.source.fingerprint, *(data.get(key) for key in (*SPLIT_KEYS, "test_fraction")), job.config["loss"]]
    return tuple(str(cell(value)) for value in values)


def _lacking(path: Path, wanted: Mapping[tuple[str, ...], Job]) -> dict[tuple[str, ...], Job]:
    """Return the splits that the file holds nothing of.

    Raises:
        ValueError: if it is another file, which is left alone.
    """
    rows = read_csv(path)
    if rows and not set(COLUMNS) <= rows[0].keys():
        raise ValueError("a file of other columns is there; move it away")
    known = {tuple(row[column] for column in SPLIT_COLUMNS) for row in rows}
    return {key: job for key, job in wanted.items() if key not in known}


def _complete(path: Path, lacking: Mapping[tuple[str, ...], Job]) -> None:
    """Measure what is lacking and add it to the file, a split at a time."""
    end = time.monotonic() + MOST_SECONDS
    tqdm.monitor_interval = 0  # no thread beside this one: workers are forked
    hidden = not sys.stderr.isatty()
    with tqdm(lacking.items(), "baselines", unit="split", leave=False, disable=hidden, dynamic_ncols=True) as splits:
        for key, job in splits:
            rows = [{**dict(zip(SPLIT_COLUMNS, key, strict=True)), **row} for row in _measured(job, end)]
            _append(path, rows)
            _name_troubles(rows)


def _measured(job: Job, end: float) -> Iterable[Row]:
    """Return a row a baseline, or one that says why there is none.

    One thread: the same numbers on any number of cores, and no threads of another library in workers that are forked.
    """
    try:
        with threadpool_limits(limits=1), warnings.catch_warnings(action="ignore"):
            data = real_data_of(job)
            models = list(baselines(job, data))
            return [_row(model, end, len(models) - number) for number, model in enumerate(models)]
    except Unfit as reason:
        return [{"baseline": "none", "kind": "none", "status": "skipped", "note": str(reason)}]


def _row(baseline: Baseline, end: float, left: int) -> Row:
    """Return what is written of a baseline, which may take its share of the time, of so many that are left."""
    began = time.monotonic()
    row: Row = {"baseline": baseline.name, "kind": baseline.kind, "status": "ok"}
    try:
        with _at_most((end - began) / left):
            measures, samples, note = baseline.measure()
        row |= {f"val_{name}": value for name, value in measures.items()}
        row |= {"train_samples": samples, "note": note}
    except Unfit as reason:
        row |= {"status": "skipped", "note": str(reason)}
    except Exception as error:
        row |= {"status": "failed", "note": f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"}
    return row | {"seconds": round(time.monotonic() - began, 3)}


@contextlib.contextmanager
def _at_most(seconds: float) -> Iterator[None]:
    """Raise Unfit in the block once so much time has passed; beside a main thread, which signals reach, only before it.

    scikit-learn's fits come back to Python after each iteration and each tree, where a signal is heard.
    """
    reason = Unfit(f"it was stopped, as all baselines together may take {MOST_SECONDS:g} s")
    if seconds <= 0:
        raise reason
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def over(number: int, frame: FrameType | None) -> None:
        if _is_importing(frame):  # half a library would be left behind
            signal.setitimer(signal.ITIMER_REAL, AGAIN_SECONDS)
        else:
            raise reason

    before = signal.signal(signal.SIGALRM, over)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def _is_importing(frame: FrameType | None) -> bool:
    while frame is not None and frame.f_globals.get("__name__") != "importlib._bootstrap":
        frame = frame.f_back
    return frame is not None


def _append(path: Path, rows: Sequence[Row]) -> None:
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, restval="", extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    writer.writerows([*read_csv(path), *({name: cell(value) for name, value in row.items()} for row in rows)])
    write_whole(path, text.getvalue())


def _name_troubles(rows: Sequence[Row]) -> None:
    for row in rows:
        if row["status"] != "ok" and row["baseline"] != "none":
            _say(f"{row['baseline']} {row['status']}: {row['note']}")


def _say(what: str) -> None:
    tqdm.write(f"optbench: baselines: {what}", file=sys.stderr)
