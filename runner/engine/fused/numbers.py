"""What the members of a stack set differently, as numbers ``[runs]``."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from runner.engine.run import Run


@dataclass(frozen=True)
class Numbers:
    """What the members' regularization sets, a number ``[runs]`` for each; None where none of them has it."""

    dropout: Tensor | None
    penalties: list[tuple[Callable[[Sequence[Tensor]], Tensor], Tensor]]
    """Kinds of penalties, and how strong each is."""
    smoothing: Tensor | None
    max_value: Tensor | None
    max_norm: Tensor | None
    decay: Tensor | None

    @staticmethod
    def of(runs: Sequence[Run]) -> "Numbers":
        """Collect them."""

        def each(values: Sequence[float], without: float) -> Tensor | None:
            there = any(value != without for value in values)
            return torch.tensor(values, dtype=torch.float64, device=runs[0].device) if there else None

        kinds = dict.fromkeys(penalty.of for run in runs for penalty in run.hooks.penalties)
        strengths = [[sum(p.strength for p in run.hooks.penalties if p.of is kind) for run in runs] for kind in kinds]
        return Numbers(
            each([float(run.hooks.dropout.p) for run in runs], 0.0),
            [
                (kind, torch.tensor(s, dtype=runs[0].dtype, device=runs[0].device))
                for kind, s in zip(kinds, strengths, strict=True)
            ],
            each([run.hooks.smoothing for run in runs], 0.0),
            each([run.hooks.clip.max_value if run.hooks.clip else torch.inf for run in runs], torch.inf),
            each([run.hooks.clip.max_norm if run.hooks.clip else torch.inf for run in runs], torch.inf),
            each([run.hooks.decay + own_decay(run) for run in runs], 0.0),
        )


def own_decay(run: Run) -> float:
    """Return the optimizer's own decay, which multiplies the weights before its step as ``Hooks.decay`` does."""
    return float(run.optimizer.keywords[run.own_decay]) if run.own_decay else 0.0


def along(values: Tensor, tensor: Tensor) -> Tensor:
    """Return ``[runs]`` in a shape that broadcasts over ``[runs, …]``."""
    return values.view(-1, *[1] * (tensor.ndim - 1))
