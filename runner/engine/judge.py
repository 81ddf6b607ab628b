"""What becomes of an evaluation: its row, the best so far, and whether the run is over."""

import math
from dataclasses import dataclass
from typing import Any

from runner.engine import diagnostics
from runner.engine.measure import Measured
from runner.engine.run import Run
from runner.engine.sharpness import sharpness
from runner.engine.state import State
from runner.measures import HIGHER_IS_BETTER

Row = dict[str, Any]


@dataclass(frozen=True)
class Evaluation:
    """A row of ``metrics.csv``, and with diagnostics the rows of ``layers.csv``."""

    row: Row
    layers: list[Row]


def note(
    run: Run,
    state: State,
    lr: float,
    batch_size: int,
    measured: Measured,
    train: dict[str, float] | None,
    val: dict[str, float] | None,
) -> Evaluation:
    """Take down an evaluation: keep the best, and decide whether the run is over.

    Args:
        run: the run.
        state: where it is; its losses since the last evaluation are taken from it.
        lr: of the step just made.
        batch_size: of the step just made.
        measured: of the step just made.
        train: measures on the fixed subset of train; None where the run has diverged.
        val: measures on the validation set, likewise.
    """
    names = ["loss", *run.metrics]
    batch_loss = state.loss_sum / state.loss_count if state.loss_count else None
    state.loss_sum, state.loss_count = 0.0, 0
    state.rows += 1
    if train is not None and val is not None:
        _judge(run, state, train["loss"], val, measured.grad_norm)
    layers = diagnostics.measure(run, state, measured.update_ratios) if run.diagnostics and val is not None else []
    row = {
        "step": state.step,
        "epoch": state.epoch + state.offset / len(run.train.y),
        "samples_seen": state.samples_seen,
        "train_seconds": state.train_seconds,
        "lr": lr,
        "batch_size": min(batch_size, len(run.train.y)),
        "batch_loss": batch_loss,
        **{f"train_{k}": v for k, v in (train or dict.fromkeys(names)).items()},
        **{f"val_{k}": v for k, v in (val or dict.fromkeys(names)).items()},
        "grad_norm": measured.grad_norm,
        "update_ratio": measured.update_ratio,
        **({"noise_scale": state.noise_scale} if run.adaptive else {}),
        **({"sharpness": sharpness(run, state) if val is not None else None} if run.sharpness else {}),
        "status": "ok" if state.first_nonfinite_step is None else "diverged",
    }
    return Evaluation(row, layers)


def _judge(run: Run, state: State, train_loss: float, val: dict[str, float], grad_norm: float | None) -> None:
    """Note a best evaluation and whether the run ends here, and why."""
    if not (math.isfinite(val["loss"]) and math.isfinite(train_loss)):
        state.first_nonfinite_step, state.stop_reason = state.step, "non-finite loss"
        return
    if run.keep_best and val["loss"] < state.best.get("loss", math.inf):
        state.best_weights = state.weights()
    for name, value in val.items():
        if name in HIGHER_IS_BETTER:  # of a user's own measure nobody knows which way is better
            better = max if HIGHER_IS_BETTER[name] else min
            state.best[name] = better(state.best.get(name, value), value)
    if (plateau := run.plateau) and state.rows > 1:  # step 0 is judged by nothing yet
        fell = val["loss"] < state.plateau_loss - plateau.min_delta
        state.plateau_loss = val["loss"] if fell else state.plateau_loss
        state.evaluations_on_plateau = 0 if fell else state.evaluations_on_plateau + 1
        if state.evaluations_on_plateau >= plateau.patience:
            state.lr_factor, state.evaluations_on_plateau = plateau.after(state.lr_factor), 0
    stopping = run.early_stopping
    if stopping:
        fell = val["loss"] < state.patience_loss - stopping.min_delta
        state.patience_loss = val["loss"] if fell else state.patience_loss
        state.evaluations_since_fall = 0 if fell else state.evaluations_since_fall + 1
    if patience := run.stop.plateau:
        fell = train_loss < state.stop_loss - patience.min_delta
        state.stop_loss = train_loss if fell else state.stop_loss
        state.evaluations_without_progress = 0 if fell else state.evaluations_without_progress + 1
    if run.target and state.steps_to_target is None and run.target.reached(val):
        state.steps_to_target, state.seconds_to_target = state.step, state.train_seconds
    state.stop_reason = _end(run, state, grad_norm)
    if state.stop_reason and stopping and stopping.restore_best and state.best_weights is not None:
        state.model.load_state_dict(state.best_weights)
        state.averages = None  # the best weights were averages, where those are judged


def _end(run: Run, state: State, grad_norm: float | None) -> str | None:
    """Return why the run ends at the evaluation just judged, or None."""
    stop, stopping = run.stop, run.early_stopping
    if stop.target and run.target and state.steps_to_target is not None:
        return f"target: val_{run.target.measure} reached {run.target.value:g}"
    if stop.plateau and state.evaluations_without_progress >= stop.plateau.patience:
        return f"plateau: no fall of train_loss in {stop.plateau.patience} evaluations"
    if stop.grad_norm is not None and grad_norm is not None and grad_norm < stop.grad_norm:
        return f"grad_norm: below {stop.grad_norm:g}"
    if stopping and state.evaluations_since_fall >= stopping.patience:
        return f"early_stopping: no fall of val_loss in {stopping.patience} evaluations"
    if run.planned_step(state.step, state.epoch, state.offset) >= run.steps:
        return "finished"
    if stop.steps is not None and state.step >= stop.steps:
        return f"steps: {stop.steps} made"
    if stop.seconds is not None and state.train_seconds >= stop.seconds:
        return f"time: {stop.seconds:g} seconds of training used"
    return None
