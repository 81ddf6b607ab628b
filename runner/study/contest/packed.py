"""A contest's records, packed: a row a run, its curve of at most twelve evaluations in it, in one small file a shard.

What is packed in ``outputs/study-<name>/packed/`` and what came with the package are read alike. Of one part the newest
design counts, and a part that is packed is not run again.
"""

import gzip
import io
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from runner.errors import RecordError
from runner.run import files
from runner.run.job import OUTPUTS, Job
from runner.run.record import write_whole
from runner.study.contest.plan import Contest, Part, Run, design, parts
from runner.study.contest.workloads import EVALUATIONS

SHIPPED = Path(__file__).parent.parent / "records"
HEADLINES = SHIPPED / "headlines.json"
"""What the two headline claims came to on other seeds."""
CURVE = [f"loss_{place}" for place in range(EVALUATIONS + 1)]
"""The validation loss at each evaluation, the one before training first; empty after a run diverged."""
KEY = ["workload", "schedule", "optimizer"]
WORDS = (*KEY, "design", "role", "setting", "status")
COLUMNS = (
    *(*KEY, "design", "role", "trial", "setting", "seed", "steps", "status"),
    *("step_seconds", "state_bytes", "parameters", "val_accuracy", "test_loss", "test_accuracy", *CURVE),
)
DIGITS = 5
"""Numbers are kept to so many significant digits."""


def row(contest: Contest, run: Run, job: Job) -> dict[str, object]:
    """Return what is kept of a run that has ended.

    Raises:
        RecordError: if its records do not hold it.
    """
    summary = files.read_summary(job.folder)
    if summary is None:
        raise RecordError(f"{job.folder}: summary.json cannot be read")
    rows = files.read_csv(job.folder / "metrics.csv")
    losses = {int(r["step"]): _number(r["val_loss"]) for r in rows}
    every = run.steps // EVALUATIONS
    curve = [losses.get(every * place, math.nan) for place in range(EVALUATIONS + 1)]
    if summary["status"] != "diverged" and not np.isfinite(curve).all():
        raise RecordError(f"{job.folder}: metrics.csv has not all of {EVALUATIONS + 1} evaluations")
    return {
        **head(contest, run),
        "status": summary["status"],
        "state_bytes": _number(summary.get("optimizer_state_bytes")),
        "parameters": _number(summary.get("parameters")),
        **{name: _number(summary.get(name)) for name in ("test_loss", "test_accuracy")},
        "val_accuracy": _number(summary.get("final_val_accuracy")),
        **dict(zip(CURVE, curve, strict=True)),
    }


def head(contest: Contest, run: Run) -> dict[str, object]:
    """Return what a run is, of its row."""
    return {
        **dict(zip(KEY, run.part.key, strict=True)),
        "design": design(contest, run.part),
        "role": run.role,
        "trial": run.trial,
        "setting": " ".join(run.setting),
        "seed": run.seed,
        "steps": run.steps,
    }


def _number(value: object) -> float:
    return math.nan if value in (None, "") else float(str(value))


def pack(rows: Iterable[Mapping[str, object]], about: Mapping[str, Any]) -> bytes:
    """Return rows as a file's contents: the same rows give the same bytes.

    Args:
        rows: of runs.
        about: what is known of the shard as a whole: how long it took, by which versions.
    """
    frame = pd.DataFrame([dict(row) for row in rows], columns=list(COLUMNS))
    told = io.StringIO()
    told.write(f"# {json.dumps(dict(about), sort_keys=True)}\n")
    frame.to_csv(told, index=False, float_format=f"%.{DIGITS}g", lineterminator="\n")
    return gzip.compress(told.getvalue().encode(), 9, mtime=0)


def unpack(content: bytes) -> tuple[pd.DataFrame, dict[str, Any]]:
    """Return the rows that ``pack`` was given, and what is known of their shard.

    Raises:
        RecordError: if they are none.
    """
    try:
        head, _, table = gzip.decompress(content).decode().partition("\n")
        about = json.loads(head.removeprefix("# "))
        frame = pd.read_csv(io.StringIO(table), dtype=dict.fromkeys(WORDS, str), keep_default_na=False, na_values=[""])
        frame[list(WORDS)] = frame[list(WORDS)].fillna("")
        if list(frame) != list(COLUMNS):
            raise ValueError(f"its columns are {', '.join(map(str, frame))}")
    except (OSError, EOFError, ValueError) as error:
        raise RecordError(f"no packed records: {error}") from error
    return frame, about


def place(contest: Contest) -> Path:
    """Return where the shards of a contest are packed."""
    return OUTPUTS / f"study-{contest.name}" / "packed"


def shards(contest: Contest) -> list[Path]:
    """Return a contest's packed shards, those that came with the package first."""
    return [*sorted(SHIPPED.glob(f"{contest.name}-*of*.csv.gz")), *sorted(place(contest).glob("*.csv.gz"))]


def read(contest: Contest) -> tuple[pd.DataFrame, list[dict[str, Any]]]:
    """Return every packed run of a contest's present design, and what is known of the shards that hold some.

    A part that is in several shards counts once, as the last one has it.

    Raises:
        RecordError: naming a shard that cannot be read.
    """
    known = {part.key: design(contest, part) for part in parts(contest)}
    found: dict[tuple[str, str, str], pd.DataFrame] = {}
    told = []
    for path in shards(contest):
        try:
            frame, about = unpack(path.read_bytes())
        except RecordError as error:
            raise RecordError(f"{path}: {error}") from error
        every = {(str(w), str(s), str(o)): of_part for (w, s, o), of_part in frame.groupby(KEY, sort=False)}
        present = {key: of_part for key, of_part in every.items() if set(of_part["design"]) == {known.get(key)}}
        found |= present
        if present:
            told.append({"shard": path.name.removesuffix(".csv.gz"), **about})
    empty = pd.DataFrame(columns=list(COLUMNS))
    return (pd.concat(list(found.values()), ignore_index=True) if found else empty), told


def missing(among: Sequence[Part], frame: pd.DataFrame) -> list[Part]:
    """Return the parts that no shard holds."""
    held = set(map(tuple, frame[KEY].drop_duplicates().to_numpy()))
    return [part for part in among if part.key not in held]


def keep(contest: Contest, name: str, rows: Iterable[Mapping[str, object]], about: Mapping[str, Any]) -> Path:
    """Write a shard, whole or not at all; return where it lies.

    Parts that a shard of that name holds already, of optimizers that were options earlier, stay in it; its seconds and
    runs are of both.
    """
    path = place(contest) / f"{name}.csv.gz"
    frame, more = pd.DataFrame([dict(row) for row in rows], columns=list(COLUMNS)), dict(about)
    if path.is_file():
        before, told = unpack(path.read_bytes())
        of_others = [key not in set(map(tuple, frame[KEY].to_numpy())) for key in map(tuple, before[KEY].to_numpy())]
        frame = pd.concat([before[of_others], frame], ignore_index=True)
        more["seconds"] = round(told["seconds"] + more["seconds"], 1)
        for cell, (spent, runs) in told["processor"].items():
            here = more["processor"].get(cell, (0.0, 0))
            more["processor"] = {**more["processor"], cell: (round(spent + here[0], 1), runs + here[1])}
    more["runs"] = len(frame)
    path.parent.mkdir(parents=True, exist_ok=True)
    kept = [{str(name): value for name, value in one.items()} for one in frame.to_dict("records")]
    write_whole(path, pack(kept, more))
    return path
