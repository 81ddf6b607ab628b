"""What ends a run before its length: each option's function returns one limit; any number may be combined."""

from collections.abc import Sequence
from typing import Any

from runner.engine.rules import Patience, Stop


def together(limits: Sequence[Stop]) -> Stop:
    """Return limits as one: whichever comes first ends the run."""
    given: dict[str, Any] = {}
    for limit in limits:
        given |= {name: value for name, value in vars(limit).items() if value not in (None, False)}
    return Stop(**given)


def target() -> Stop:
    """End at the first evaluation that reaches ``target.value`` (Coleman 2017, DAWNBench)."""
    return Stop(target=True)


def plateau(*, patience: int, min_delta: float) -> Stop:
    """End after ``patience`` evaluations in which the training loss has not fallen by more than ``min_delta``.

    The rule of scikit-learn's ``MLPClassifier`` (``n_iter_no_change``, ``tol``), held against the last such fall.
    """
    return Stop(plateau=Patience(patience, min_delta))


def grad_norm(*, below: float) -> Stop:
    """End where the Euclidean norm of the gradient is below a bound (Nocedal & Wright 2006, §2.1: ∇f = 0)."""
    return Stop(grad_norm=below)


def steps(*, most: int) -> Stop:
    """End after so many optimizer steps; the schedule stays that of the whole run (Li, Yumer & Ramanan 2020)."""
    return Stop(steps=most)


def time(*, seconds: float) -> Stop:
    """End with the step in which the seconds of training are used up (Coleman 2017, DAWNBench)."""
    return Stop(seconds=seconds)
