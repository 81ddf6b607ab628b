"""The life of a run whose job is claimed: resumed, trained by an engine and recorded."""

import ctypes
import os
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

from tqdm import tqdm

from runner.errors import OptbenchError, RecordError
from runner.run import record
from runner.run.job import Job
from runner.run.progress import Bar
from runner.run.record import Recorder

if TYPE_CHECKING:
    from runner.engine.run import Run
    from runner.engine.state import State

WAIT_SECONDS = 0.5
CHECKPOINT_SECONDS = 1.0
"""A checkpoint is written at evaluations, at most this often."""
GLIBC_KEEPS = ((-3, 2**25), (-1, 2**28))
"""Its ``M_MMAP_THRESHOLD``, the most it takes, and ``M_TRIM_THRESHOLD`` (malloc.h), in bytes."""


@dataclass(frozen=True)
class Outcome:
    """What became of a job."""

    job: Job
    summary: dict[str, Any]
    trained: bool
    """False where a finished run was found in its place."""


class Interruption:
    """Set by the first Ctrl-C or SIGTERM; the second Ctrl-C ends the process at once."""

    def __init__(self) -> None:
        self.requested = False

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Take the signals while the block runs."""

        def note(number: int, frame: FrameType | None) -> None:
            if self.requested and number == signal.SIGINT:
                raise KeyboardInterrupt
            self.requested = True

        try:
            before = {number: signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM)}
        except ValueError:  # not in the main thread: whoever runs the threads takes the signals
            yield
            return
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


def begun_alone(job: Job) -> bool:
    """Say whether the reference engine was stopped in a run, which goes on with it whatever engine is asked for."""
    return (job.folder / "checkpoint.pt").exists()


def finished(job: Job, save: str = "none") -> dict[str, Any] | None:
    """Return the summary of a run that need not be trained again, or None.

    Args:
        job: the run.
        save: the weights wanted where the config leaves it open: last, best or none.
    """
    summary = record.read_summary(job.folder)
    if summary is None or summary["status"] not in record.ENDED or job.config["force"]:
        return None
    if summary["status"] == "failed":
        return summary if job.config["retry"] == "none" else None
    return summary if _holds_what_is_asked(job, job.config["save"] or save, summary) else None


def _holds_what_is_asked(job: Job, save: str, summary: dict[str, Any]) -> bool:
    config, diverged = job.config, summary["status"] == "diverged"
    if job.target is not None and summary.get("target") != job.target:
        return False
    # Where nobody said which weights, those of the best evaluation will do.
    enough = (save,) if config["save"] is not None else ("last", "best")
    if save != "none" and summary.get("saved") not in enough and not diverged:
        return False
    if config["diagnostics"] and not summary.get("diagnostics"):
        return False
    if config["sharpness"] and "final_sharpness" not in summary:
        return False
    if any(f"final_train_{path.rpartition('.')[2]}" not in summary for path in config["metrics"]) and not diverged:
        return False
    epoch = summary.get("steps_per_epoch")
    asked, held = (every or epoch for every in (config["eval_every"], summary.get("eval_every")))
    return isinstance(asked, int) and isinstance(held, int) and asked % held == 0


def run_held(job: Job, run: "Run", save: str, interruption: Interruption, bar: bool) -> dict[str, Any]:
    """Train a run whose lock is held, and return its summary, which is written."""
    make_room(job)
    recorder = Recorder(job)
    try:
        with interruption.listening(), torch_settings(job):
            summary = _train(job, run, recorder, job.config["save"] or save, interruption, bar)
    except OptbenchError:
        raise
    except (Exception, SystemExit) as error:  # a user's part may end in sys.exit
        summary = recorder.fail(error)
    recorder.close(summary)
    record.update_runs_csv([(job, summary)])
    clear_checkpoints(recorder, summary)
    return summary


def make_room(job: Job) -> None:
    """Move a finished run out of the way of one that takes its place."""
    earlier = record.read_summary(job.folder)
    unreadable = earlier is None and (job.folder / "summary.json").exists()
    if unreadable or (earlier is not None and earlier["status"] in record.FINISHED):
        record.keep_aside(job.folder)


def clear_checkpoints(recorder: Recorder, summary: dict[str, Any]) -> None:
    """Remove what a finished run went on from: only now, as a kill before its summary was written needs it."""
    if summary["status"] in record.FINISHED:
        from runner.engine import checkpoint

        checkpoint.remove(recorder.checkpoint, keep_newest=summary["saved"] != "none")


@contextmanager
def torch_settings(job: Job) -> Iterator[None]:
    """Set PyTorch's threads, determinism and smallest numbers for the block alone."""
    import torch

    if job.config["deterministic"]:
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # without it cuBLAS refuses to be deterministic
    threads, deterministic = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()
    torch.set_num_threads(job.config["threads"] or threads)
    torch.use_deterministic_algorithms(job.config["deterministic"])
    torch.set_flush_denormal(True)  # moments of weights without a gradient fade into numbers 100 times as slow
    _keep_freed_memory()
    try:
        yield
    finally:
        torch.set_flush_denormal(False)
        torch.set_num_threads(threads)
        torch.use_deterministic_algorithms(deterministic)


def _keep_freed_memory() -> None:
    """Let the C library keep what a step frees for the next one, where it is glibc.

    It would give tensors above 128 KiB back to the system, and every page of the next ones would cost a fault.
    """
    with suppress(AttributeError, OSError, TypeError):
        for parameter, value in GLIBC_KEEPS:
            ctypes.CDLL(None).mallopt(parameter, value)


def _train(
    job: Job, run: "Run", recorder: Recorder, save: str, interruption: Interruption, bar: bool
) -> dict[str, Any]:
    from runner.engine import checkpoint, loop
    from runner.run.summary import environment, reset_peak_memory

    reset_peak_memory(run.device)
    state, resumed_from = _resume(recorder, run)
    recorder.open(rows_kept=state.rows)
    record.update_runs_csv([(job, {"status": "running"})])
    row: dict[str, Any] = {}
    saved_at, read_back = -CHECKPOINT_SECONDS, False
    with Bar(run.steps, state.step, str(recorder.folder.name), enabled=bar) as shown:

        def pulse(state: "State", loss: float) -> bool:
            shown.advance(state.step, loss)
            return interruption.requested

        for evaluation in loop.train(state, pulse):
            row = evaluation.row
            recorder.row(row, evaluation.layers)
            shown.evaluated(row)
            if state.stop_reason is None and (
                interruption.requested or time.monotonic() - saved_at >= CHECKPOINT_SECONDS
            ):
                checkpoint.save(recorder.checkpoint, {**state.state_dict(), "asked": asked(job)})
                if not read_back:
                    checkpoint.load(recorder.checkpoint)
                    read_back = True
                saved_at = time.monotonic()
            if interruption.requested:
                break
    if state.stop_reason is None:
        checkpoint.save(recorder.checkpoint, {**state.state_dict(), "asked": asked(job)})
        return {"status": "interrupted", "stop_reason": "interrupted", "steps": state.step, **environment(job, run, 0)}
    return conclude(job, run, state, recorder, row, save, resumed_from)


def conclude(
    job: Job, run: "Run", state: "State", recorder: Recorder, row: dict[str, Any], save: str, resumed_from: int | None
) -> dict[str, Any]:
    """Test a run that has ended, keep the weights asked for, and return its summary."""
    from runner.engine.diagnostics import findings
    from runner.engine.measure import finish
    from runner.run.summary import summarize

    measured = finish(state)
    saved = _save_weights(recorder, run, state, save)
    summary = summarize(job, state, row, measured)
    summary |= {"resumed_from_step": resumed_from, "saved": saved, "steps_per_epoch": run.steps_per_epoch}
    summary |= {"eval_every": job.config["eval_every"], "diagnostics": job.config["diagnostics"]}
    if job.config["diagnostics"]:
        summary |= findings(record.read_csv(recorder.folder / "layers.csv"))
    if job.config["sharpness"]:
        summary["final_sharpness"] = row["sharpness"]
    return summary


def asked(job: Job) -> list[Any]:
    """Return what decides a run's rows, or what its summary counts, and is no part of its identity."""
    return [*(job.config[key] for key in ("metrics", "diagnostics", "sharpness", "eval_every")), job.target]


def _resume(recorder: Recorder, run: "Run") -> "tuple[State, int | None]":
    """Return a run as its newest whole checkpoint has it that the rows on disk reach, and its step; or at 0, and None.

    A run that is now asked for other rows, or for best weights that were not kept so far, begins anew; so does one
    whose checkpoint another version laid out, which is named.
    """
    from runner.engine import checkpoint
    from runner.engine.state import start

    state, lines = start(run), len(record.whole_lines(recorder.folder / "metrics.csv")) - 1
    layout, now, unknown = state.state_dict(), asked(recorder.job), []
    for path in (recorder.checkpoint, checkpoint.previous(recorder.checkpoint)):
        if not path.exists():
            continue
        try:
            saved = checkpoint.load(path)
        except RecordError:
            continue
        if saved.keys() >= checkpoint.INTERFACE:  # weights that a run was about to end with
            continue
        try:
            alike = saved.keys() == {*layout, "asked"} and _alike(saved, layout)
            if not alike or len(saved["asked"]) != len(now):
                raise ValueError("another layout")
            lacks_best = run.keep_best and saved["best_weights"] is None and saved["counters"]["best"]
            if saved["asked"] == now and saved["counters"]["rows"] <= lines and not lacks_best:
                state.load_state_dict(saved)
                return state, state.step
        except UNLIKE:
            state = start(run)
            unknown.append(path)
    for path in unknown[:1]:
        name_unknown(path, "the run starts")
    return state, None


def _alike(saved: dict[str, Any], layout: dict[str, Any]) -> bool:
    """Say whether counters and hooks of a checkpoint are those that a run has now."""
    return all(saved[part].keys() == layout[part].keys() for part in ("counters", "hooks"))


UNLIKE = (AttributeError, IndexError, KeyError, RuntimeError, TypeError, ValueError)
"""What a checkpoint of another layout can raise."""


def name_unknown(path: Path, who: str) -> None:
    """Say on stderr which checkpoint cannot be gone on from, and ``who`` therefore does so again."""
    tqdm.write(f"optbench: {path} is a checkpoint of another version: {who} again", file=sys.stderr)


def _save_weights(recorder: Recorder, run: "Run", state: "State", save: str) -> str:
    """Put the weights asked for in the checkpoint's place, the resume state kept beside; return what was saved."""
    from runner.engine import checkpoint

    if save == "none" or state.first_nonfinite_step is not None:
        return "none"
    weights = state.best_weights if save == "best" else state.judged_weights()
    checkpoint.save(recorder.checkpoint, {"model": weights, **run.interface})
    return save
