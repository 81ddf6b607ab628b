"""A training function of the user's own, called: what it records with, goes on from, and is stopped by.

def train(config, seed, run):
    state = run.resume() or {"step": 0}
    for step in range(state["step"] + 1, 101):
        ...
        run.row(step=step, val_accuracy=...)
        run.checkpoint({"step": step, ...})
    run.finish(test_accuracy=...)
"""

import collections
import contextlib
import copy
import functools
import math
import os
import random
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from numbers import Integral, Real
from pathlib import Path
from typing import Any

import numpy as np
import torch
from threadpoolctl import threadpool_limits
from torch import nn
from tqdm import tqdm

from runner import optim
from runner.data import Data
from runner.engine import checkpoint
from runner.errors import OptbenchError, RecordError
from runner.measures import HIGHER_IS_BETTER
from runner.run import files, record
from runner.run.components.samples import data_of
from runner.run.job import Job
from runner.run.process import Interruption, children_end
from runner.run.progress import Progress
from runner.run.record import Recorder
from runner.run.summary import peak_memory, reset_peak_memory, versions
from runner.run.training_function import training_function

LAYOUT = frozenset({"state", "rows", "train_seconds"})
"""What a checkpoint holds: the function's own state, how many rows it had written, and for how long it had run."""
WRITTEN_HERE = ("train_seconds", "status")
"""Columns of ``metrics.csv`` that no function gives."""
PLAIN = (bool, int, float, complex, str, bytes, type(None), torch.Size, torch.dtype, torch.device)
GROUPED = (list, tuple, set)
DICTIONARIES = (dict, collections.OrderedDict, collections.Counter)
"""Those that are read back with ``weights_only=True``."""


class Stopped(KeyboardInterrupt):
    """Ends a training function whose state has just been written, as Ctrl-C or ``pause_at`` asked for."""


class OwnRun:
    """One run of a training function of one's own."""

    def __init__(self, job: Job, recorder: Recorder, interruption: Interruption, saved: Mapping[str, Any] | None):
        """Begin, or go on from what was saved."""
        self.job, self._recorder, self._interruption, self._saved = job, recorder, interruption, saved
        self.rows: list[dict[str, Any]] = []
        self.resumed_from: int | None = None
        self.test: dict[str, float] | None = None
        self.seconds = 0.0
        """Spent in the function, not in writing its records."""
        self.told_to_stop = False
        self.unwritten: RecordError | None = None
        """A record that could not be written."""
        self.shown = Progress()
        self._resumed, self._keeps, self._since = False, False, time.monotonic()
        self._keeper = checkpoint.Keeper(recorder.checkpoint)
        self._owner = os.getpid()

    @property
    def folder(self) -> Path:
        """Where the run's files lie: a place for files of one's own, such as a model."""
        return self.job.folder.resolve()

    @functools.cached_property
    def data(self) -> Data:
        """The data set, split and normalized as every run on it: NumPy arrays ``train.x``, ``train.y``, ``val.x``, …

        They are this run's own copy: a function may change them.

        Raises:
            AttributeError: if the task does not use the group ``data``.
        """
        if "data" not in self.job.config:
            raise AttributeError("run.data: the task's YAML must say so: _spec_.facts.uses: [data]")
        return copy.deepcopy(data_of(self.job))

    def optimizer(self, model: nn.Module) -> torch.optim.Optimizer:
        """Return the optimizer of the group ``optim`` on a model's parameters; biases and norms are decayed as asked.

        Raises:
            AttributeError: if the task does not use the group.
        """
        if "optim" not in self.job.config:
            raise AttributeError("run.optimizer(…): the task's YAML must say so: _spec_.facts.uses: [optim]")
        option = self.job.config["optim"]
        function: Callable[..., torch.optim.Optimizer] = self.job.part(option, "decay_bias_and_norm", *optim.WRAP_KEYS)
        return function(optim.parameter_groups(model, option["decay_bias_and_norm"]))

    @property
    def last_step(self) -> int:
        """The step of the last row; 0 before the first."""
        return int(self.rows[-1]["step"]) if self.rows else 0

    @property
    def pauses(self) -> bool:
        """Whether ``pause_at`` is reached."""
        at = self.job.config["pause_at"]
        return at is not None and bool(self.rows) and self.last_step >= at

    @property
    def should_stop(self) -> bool:
        """Whether the function is to write a checkpoint and return: after Ctrl-C, or from ``pause_at`` on.

        A checkpoint that is written then ends the function by itself.
        """
        self.told_to_stop = self.told_to_stop or self._interruption.requested or self.pauses
        return self.told_to_stop

    def resume(self) -> Any:
        """Return the state of the last checkpoint, from which the function goes on; None where there is none."""
        if self.rows and not self._resumed:
            raise ValueError("run.resume() comes before the first run.row(…)")
        if self._saved is None or self._resumed:
            return None
        with self._aside():
            kept = files.read_csv(self._recorder.folder / "metrics.csv")[: self._saved["rows"]]
            self._recorder.let_go()
            self._recorder.open(rows_kept=len(kept))
            self.rows = [_read(row) for row in kept]
            self.resumed_from, self.seconds = self.last_step, self._saved["train_seconds"]
        self._resumed = self._keeps = True
        return self._saved["state"]

    def row(self, *, step: int, **measures: float) -> None:
        """Record an evaluation: one row of ``metrics.csv``, whose ``val_`` measures decide how good the run is.

        Args:
            step: a whole number that goes up from row to row.
            measures: numbers, the same in every row; one at least is a ``val_`` measure.

        Raises:
            TypeError: for what is no number.
            ValueError: for a step that goes back, and for other measures than before.
        """
        with self._aside():
            self._refuse_after_end()
            if self.pauses and not self._keeps:  # it was to return by itself
                self.told_to_stop = True
                raise Stopped
            given = self._checked(step, measures)
            diverged = any(not math.isfinite(v) for k, v in given.items() if k.startswith(("val_", "train_")))
            status = "diverged" if diverged else "ok"
            if not self.rows:
                self._recorder.let_go()
                self._recorder.open(rows_kept=0)
            row = {"step": given.pop("step"), "train_seconds": self.seconds, **given, "status": status}
            self._recorder.row(row)
            self.rows.append(row)
            self.shown.evaluated(row)
            if self._interruption.requested and not self._keeps:
                self.told_to_stop = True
                raise Stopped

    def checkpoint(self, state: Any) -> None:
        """Keep a state from which the function could go on; what was recorded after it goes with a kill.

        It is written at most once a second and takes no more than a fiftieth of the time. Once ``should_stop`` is
        true it is always written, and ends the function.

        Args:
            state: tensors, numbers, texts, None, and lists, tuples, sets and dictionaries of them.

        Raises:
            TypeError: for what cannot be read back; it is named.
            Stopped: where the run is to stop.
        """
        with self._aside():
            self._refuse_after_end()
            self._keeps = True
            stops = self.should_stop
            if stops or self._keeper.is_due():
                refuse_unreadable(state)
                content = {"state": state, "rows": len(self.rows), "train_seconds": self.seconds}
                self._keeper.keep(lambda: content)
            if stops:
                raise Stopped

    def finish(self, **measures: float) -> None:
        """Say what the function found on the test set, once, after the last row.

        Raises:
            TypeError: for what is no number.
            ValueError: for other measures than ``test_…``, and without a row before.
        """
        with self._aside():
            self._refuse_after_end()
            if not self.rows:
                raise ValueError("run.finish(…) comes after the last run.row(…), and there is none")
            for name in measures:
                if not name.startswith("test_"):
                    raise ValueError(f"run.finish({name}=…) takes test_ measures; others belong in run.row(…)")
            self.test = {name: _number(f"run.finish({name}=…)", value) for name, value in measures.items()}

    def _checked(self, step: int, measures: Mapping[str, float]) -> dict[str, Any]:
        """Return a row's numbers, or refuse them."""
        if isinstance(step, bool) or not isinstance(step, Integral) or step < 0:
            raise TypeError(f"run.row(step={step!r}): step must be a whole number ≥ 0")
        if self.rows and step <= self.last_step:
            raise ValueError(f"run.row(step={step}) after step={self.last_step}: steps go up from row to row")
        for name in measures:
            if not name.isidentifier():
                raise ValueError(f"run.row({name!r}: …): a measure's name is made of letters, digits and _")
            if name.startswith("test_"):
                raise ValueError(f"run.row({name}=…): the test set is read once, at the end: run.finish({name}=…)")
            if name in WRITTEN_HERE:
                raise ValueError(f"run.row({name}=…): optbench writes this column itself")
        if not any(name.startswith("val_") for name in measures):
            raise ValueError(f"run.row(step={step}) needs a val_ measure, such as val_accuracy, to be judged by")
        if self.rows and (before := set(self.rows[-1]) - {"step", *WRITTEN_HERE}) != measures.keys():
            odd = ", ".join(sorted(before ^ measures.keys()))
            raise ValueError(f"run.row(step={step}): every row has the same measures, and {odd} is in some only")
        order = [name for name in self.rows[-1] if name in measures] if self.rows else measures
        return {"step": int(step), **{name: _number(f"run.row({name}=…)", measures[name]) for name in order}}

    def _refuse_after_end(self) -> None:
        if self.test is not None:
            raise ValueError("run.finish(…) was called: nothing is recorded after it")

    @contextlib.contextmanager
    def _aside(self) -> Iterator[None]:
        """Leave the block out of the function's time."""
        if os.getpid() != self._owner:
            raise RuntimeError("this is a child process: what a run records comes from its own")
        self.seconds += time.monotonic() - self._since
        try:
            yield
        except RecordError as error:
            self.unwritten = error
            raise
        finally:
            self._since = time.monotonic()


def _number(where: str, value: object) -> int | float:
    if isinstance(value, bool) or not isinstance(value, Real):
        raise TypeError(f"{where} must be a number, got {type(value).__name__} {value!r:.80}")
    return int(value) if isinstance(value, Integral) else float(value)


def _read(row: Mapping[str, str]) -> dict[str, Any]:
    """Return a row of ``metrics.csv`` as it was recorded."""
    number = {key: float(value) for key, value in row.items() if key not in ("step", "status")}
    return {"step": int(row["step"]), **number, "status": row["status"]}


def refuse_unreadable(state: Any, where: str = "state") -> None:
    """Refuse what ``torch.load(…, weights_only=True)`` would not read.

    Raises:
        TypeError: naming its place in the state and its type.
    """
    if type(state) in DICTIONARIES:
        for key, value in state.items():
            refuse_unreadable(key, f"the key {key!r:.40} of {where}")
            refuse_unreadable(value, f"{where}[{key!r:.40}]")
    elif type(state) in GROUPED:
        for i, value in enumerate(state):
            refuse_unreadable(value, f"{where}[{i}]")
    elif not isinstance(state, torch.Tensor) and type(state) not in PLAIN:
        kind = f"{type(state).__module__}.{type(state).__qualname__}".removeprefix("builtins.")
        raise TypeError(
            f"run.checkpoint(state): {where} is a {kind}, which cannot be read back: "
            "tensors, numbers, texts, lists and dictionaries can (an array by torch.from_numpy)"
        )


def begin(job: Job, recorder: Recorder, interruption: Interruption) -> OwnRun:
    """Return a run at the newest whole checkpoint that its rows on disk reach; or at its start."""
    place, saved, there = recorder.checkpoint, None, []
    rows = max(0, len(files.whole_lines(recorder.folder / "metrics.csv")) - 1)
    for path in (place, checkpoint.previous(place)):
        if saved is None and path.exists():
            there.append(path)
            with contextlib.suppress(RecordError):  # a kill may have damaged it
                found = checkpoint.load(path)
                saved = found if found.keys() == LAYOUT and found["rows"] <= rows else None
    if there and saved is None:
        said = f"optbench: {there[0]} cannot be read, or its rows are not there: the run starts again"
        tqdm.write(said, file=sys.stderr)
    if saved is None:
        record.keep_paused(job.folder)
    recorder.open(rows_kept=saved["rows"] if saved else 0)
    return OwnRun(job, recorder, interruption, saved)


def call(run: OwnRun, shown: Progress) -> dict[str, Any]:
    """Call the function of a run, on as many threads as PyTorch is set to; return the run's summary.

    Raises:
        Exception: what the function raises, and where it recorded nothing.
    """
    job = run.job
    function, run.shown = training_function(job.config, job.allow), shown
    reset_peak_memory(torch.device("cpu"))
    ended = False
    try:
        with threadpool_limits(torch.get_num_threads()), _seeded(job.config["seed"]), children_end():
            function(copy.deepcopy(job.config), job.config["seed"], run)
        ended = not run.told_to_stop
    except Stopped:
        pass
    except OptbenchError as error:
        if error is run.unwritten:
            raise
        raise ValueError(str(error)) from error  # of what the function itself called: the command is sound
    if not ended and run.test is None:
        return _kept(run)
    if not run.rows:
        name = f"{function.__module__}.{function.__qualname__}"
        raise ValueError(f"{name} recorded nothing: it must call run.row(step=…, val_accuracy=…) at least once")
    return _summary(run)


@contextlib.contextmanager
def _seeded(seed: int) -> Iterator[None]:
    """Set the global generators for the block: what a function draws from them does not follow from earlier runs."""
    before = random.getstate(), np.random.get_state()
    with torch.random.fork_rng(devices=[]):
        random.seed(seed)
        np.random.seed(seed)
        torch.manual_seed(seed)
        try:
            yield
        finally:
            random.setstate(before[0])
            np.random.set_state(before[1])


def _kept(run: OwnRun) -> dict[str, Any]:
    """Return the summary of a run that was stopped where it is."""
    paused = run.pauses and not run._interruption.requested
    status = "paused" if paused else "interrupted"
    asked: dict[str, Any] = {"asked": []} if paused else {}
    return {"status": status, "stop_reason": status, "steps": run.last_step, **asked, **_made(run)}


def _summary(run: OwnRun) -> dict[str, Any]:
    """Return the summary of a run that has ended."""
    last, best = run.rows[-1], dict[str, float]()
    for name in (n for n in last if n.startswith("val_")):
        values = [row[name] for row in run.rows if math.isfinite(row[name])]
        if values and (measure := name.removeprefix("val_")) in HIGHER_IS_BETTER:
            best[f"best_{name}"] = max(values) if HIGHER_IS_BETTER[measure] else min(values)
    nonfinite = next((row["step"] for row in run.rows if row["status"] == "diverged"), None)
    return {
        "status": "diverged" if last["status"] == "diverged" else "completed",
        "stop_reason": "non-finite measure" if last["status"] == "diverged" else "finished",
        **{f"final_{k}": v for k, v in last.items() if k.startswith(("train_", "val_")) and k not in WRITTEN_HERE},
        **(run.test or {}),
        **best,
        "steps": run.last_step,
        "train_seconds": run.seconds,
        "first_nonfinite_step": nonfinite,
        "resumed_from_step": run.resumed_from,
        "peak_memory_bytes": peak_memory(torch.device("cpu")),
        **_made(run),
    }


def _made(run: OwnRun) -> dict[str, Any]:
    return {"engine": "own", **versions(run.job)}


def clear(run: OwnRun) -> None:
    """Remove what a finished run would have gone on from; whatever else it is to keep it writes to ``folder``."""
    checkpoint.remove(run._recorder.checkpoint)
