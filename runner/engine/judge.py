"""What becomes of an evaluation: its row, the best so far, and whether the run is over."""

import math
from dataclasses import dataclass
from typing import Any

from runner.engine.hooks import Judged
from runner.engine.measure import Measured
from runner.engine.state import State
from runner.measures import HIGHER_IS_BETTER

Row = dict[str, Any]


@dataclass(frozen=True)
class Evaluation:
    """A row of ``metrics.csv``, and with diagnostics the rows of ``layers.csv``."""

    row: Row
    layers: list[Row]


def note(
    state: State,
    lr: float,
    batch_size: int,
    measured: Measured,
    train: dict[str, float] | None,
    val: dict[str, float] | None,
) -> Evaluation:
    """Take down an evaluation: keep the best, and decide whether the run is over.

    Args:
        state: where the run is; its losses since the last evaluation are taken from it.
        lr: of the step just made.
        batch_size: of the step just made.
        measured: of the step just made.
        train: measures on the fixed subset of train; None where the run has diverged.
        val: measures on the validation set, likewise; empty where there is none.
    """
    run, on = state.run, state.on
    names = ["loss", *run.metrics]
    batch_loss = state.loss_sum / state.loss_count if state.loss_count else None
    state.loss_sum, state.loss_count = 0.0, 0
    state.rows += 1
    if train is not None and val is not None:
        _judge(state, Judged(train["loss"], val, measured.grad_norm))
    layers = [row for act in on.layers for row in act(state, measured.update_ratios)] if val is not None else []
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
    }
    for more in on.columns:
        row |= more(state, val is not None)
    row["status"] = "ok" if state.first_nonfinite_step is None else "diverged"
    return Evaluation(row, layers)


def _judge(state: State, found: Judged) -> None:
    """Note a best evaluation and whether the run ends here, and why."""
    run, val = state.run, found.val
    if not (math.isfinite(val.get("loss", 0.0)) and math.isfinite(found.train_loss)):
        state.first_nonfinite_step, state.stop_reason = state.step, "non-finite loss"
        return
    if run.keep_best and val and val["loss"] < state.best.get("loss", math.inf):
        state.best_weights = state.judged_weights()
    for name, value in val.items():
        if name in HIGHER_IS_BETTER:  # of a user's own measure nobody knows which way is better
            better = max if HIGHER_IS_BETTER[name] else min
            state.best[name] = better(state.best.get(name, value), value)
    if run.target and state.steps_to_target is None and run.target.reached(val):
        state.steps_to_target, state.seconds_to_target = state.step, state.train_seconds
    reasons = [act(state, found) for act in state.on.judged]
    if state.planned_step(state.step, state.epoch, state.offset) >= run.steps:
        reasons.append("finished")
    reasons += [over(state.step, state.train_seconds) for over in state.on.limit]
    state.stop_reason = next((reason for reason in reasons if reason is not None), None)
    if state.stop_reason is not None:
        for act in state.on.ended:
            act(state)
