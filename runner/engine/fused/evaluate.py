"""What the members of a stack reach."""

import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from runner.engine.fused import batched
from runner.engine.fused.called import COUNTED, Called
from runner.engine.fused.members import Stack
from runner.engine.optimizers import evaluating
from runner.engine.run import Split
from runner.metrics import AnyLoss, Metric, value

EVALUATION_ROWS = 4096
"""Samples times runs of a forward pass in evaluation: large enough to be fast, small enough for the cache."""


@dataclass(frozen=True)
class Evaluated:
    """What the members make of a part of the data."""

    outputs: Tensor
    """``[runs, n, …]``."""
    measured: list[dict[str, float]]
    """Of each, its loss and metrics; nothing of an empty part."""


@torch.no_grad()
def evaluate(members: Stack, parts: Sequence[Split], metrics: Mapping[str, Metric]) -> list[Evaluated]:
    """Return what every member gives for each part of the data in evaluation mode, and its loss and metrics."""
    first, model = members.runs[0], members.states[0].model
    rows = max(1, EVALUATION_ROWS // len(members.runs))
    found: list[Evaluated] = []
    with contextlib.ExitStack() as switched:
        for optimizer in dict.fromkeys(state.optimizer for state in members.states):
            switched.enter_context(evaluating(optimizer))
        for act in members.on.evaluating:
            switched.enter_context(act(members))
        switched.enter_context(first.autocast())
        model.eval()
        switched.callback(model.train)
        for part in parts:
            if not len(part.y):
                found.append(Evaluated(part.y.expand(len(members.runs), *part.y.shape), [{} for _ in members.runs]))
                continue
            chunks = part.x.tensor_split(max(1, round(len(part.x) / rows)))
            outputs = [batched.forward(model, members.tensors, x, True)[0].transpose(1, -1) for x in chunks]
            together = torch.cat(outputs, -1).transpose(1, -1).to(first.dtype)
            measures: dict[str, AnyLoss | Metric] = {"loss": first.loss, **metrics}
            called = Called(together, part.y) if together.ndim == 3 else None
            values = [_measure(measure, together, part, called) for measure in measures.values()]
            measured = [dict(zip(measures, of_one, strict=True)) for of_one in zip(*values, strict=True)]
            found.append(Evaluated(together, measured))
    return found


def _measure(measure: AnyLoss | Metric, outputs: Tensor, part: Split, called: Called | None) -> list[float]:
    counted = next((counted for of_one, counted in COUNTED.items() if of_one is measure), None)
    if called is not None and counted is not None:
        return [float(v) for v in counted(called).tolist()]
    try:
        values = batched.each(measure, outputs, part.y, part.x, shared=True)
    except (RuntimeError, ValueError, TypeError):  # it has no batching rule
        return [float(value(measure, of_one, part.y, part.x)) for of_one in outputs]
    return [float(v) for v in values.tolist()]
