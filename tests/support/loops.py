"""Runs of the loop: their states and rows."""

from typing import Any

import pytest
from torch import Tensor

from runner.engine import loop
from runner.engine.run import Run
from runner.engine.state import State, start
from runner.run.build import build
from runner.run.job import Job

MIXED = [("bf16", "cpu"), *(pytest.param(amp, "cuda", marks=pytest.mark.cuda) for amp in ("bf16", "fp16"))]


def never(state: State, loss: float) -> bool:
    return False


def trained(job: Job) -> tuple[State, list[dict[str, Any]]]:
    return alone(build(job))


def alone(run: Run) -> tuple[State, list[dict[str, Any]]]:
    state = start(run)
    return state, rows_from(state, never)


def rows_from(state: State, pulse: loop.Pulse) -> list[dict[str, Any]]:
    return [evaluation.row for evaluation in loop.train(state, pulse)]


def final_weights(job: Job, steps: int | None = None) -> list[Tensor]:
    state = start(build(job)) if steps == 0 else trained(job)[0]
    return [p.detach() for p in state.model.parameters()]


def untimed(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{k: v for k, v in row.items() if k != "train_seconds"} for row in rows]
