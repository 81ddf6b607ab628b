"""What ends a run before its length: each option's function returns a hook; any number may be combined."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Self

from runner.engine.hooks import Going, Hook, Judged

if TYPE_CHECKING:
    from torch import Tensor


class AtTarget(Hook):
    """The run ends at the first evaluation that reaches its target."""

    place: ClassVar[int] = -3
    """Of what ends a run at one evaluation, the first is its reason."""

    def judged(self, at: Going, found: Judged) -> str | None:
        """Say which measure was reached."""
        if at.target is None or at.steps_to_target is None:
            return None
        return f"target: val_{at.target.measure} reached {at.target.value:g}"


@dataclass
class OnPlateau(Hook):
    """The run ends after ``patience`` evaluations in which the training loss fell by no more than ``min_delta``."""

    patience: int
    min_delta: float
    loss: float = math.inf
    """At its last fall."""
    evaluations: int = 0
    """Since then."""
    place: ClassVar[int] = -2
    state: ClassVar[tuple[str, ...]] = ("loss", "evaluations")

    def judged(self, at: Going, found: Judged) -> str | None:
        """Count evaluations since the last fall."""
        fell = found.train_loss < self.loss - self.min_delta
        self.loss = found.train_loss if fell else self.loss
        self.evaluations = 0 if fell else self.evaluations + 1
        if self.evaluations < self.patience:
            return None
        return f"plateau: no fall of train_loss in {self.patience} evaluations"


@dataclass
class AtSmallGradient(Hook):
    """The run ends where the gradient's Euclidean norm is below a bound."""

    below: float
    place: ClassVar[int] = -1

    def judged(self, at: Going, found: Judged) -> str | None:
        """Look at the norm."""
        small = found.grad_norm is not None and found.grad_norm < self.below
        return f"grad_norm: below {self.below:g}" if small else None


@dataclass
class AfterSteps(Hook):
    """The run ends after so many steps."""

    most: int

    def limit(self, steps: int, seconds: float) -> str | None:
        """Count them."""
        return f"steps: {self.most} made" if steps >= self.most else None

    @classmethod
    def stacked(cls, members: "Sequence[Self | None]", like: "Tensor") -> Hook:
        """Leave it to each member, whose limits are the same."""
        return Hook()


@dataclass
class AfterSeconds(Hook):
    """The run ends with the step in which its seconds of training are used up."""

    seconds: float

    @property
    def alone(self) -> str:
        """Why a stack has none."""
        return "stop=time counts a run's own seconds, and the runs of a stack share theirs"

    def limit(self, steps: int, seconds: float) -> str | None:
        """Look at the clock."""
        return f"time: {self.seconds:g} seconds of training used" if seconds >= self.seconds else None


def target() -> Hook:
    """End at the first evaluation that reaches ``target.value`` (Coleman 2017, DAWNBench)."""
    return AtTarget()


def plateau(*, patience: int, min_delta: float) -> Hook:
    """End after ``patience`` evaluations in which the training loss has not fallen by more than ``min_delta``.

    The rule of scikit-learn's ``MLPClassifier`` (``n_iter_no_change``, ``tol``), held against the last such fall.
    """
    return OnPlateau(patience, min_delta)


def grad_norm(*, below: float) -> Hook:
    """End where the Euclidean norm of the gradient is below a bound (Nocedal & Wright 2006, §2.1: ∇f = 0)."""
    return AtSmallGradient(below)


def steps(*, most: int) -> Hook:
    """End after so many optimizer steps; the schedule stays that of the whole run (Li, Yumer & Ramanan 2020)."""
    return AfterSteps(most)


def time(*, seconds: float) -> Hook:
    """End with the step in which the seconds of training are used up (Coleman 2017, DAWNBench)."""
    return AfterSeconds(seconds)
