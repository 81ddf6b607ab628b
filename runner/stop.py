"""What ends a run before its length: each option's function returns a hook; any number may be combined."""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Self

from runner.engine.hooks import Events, Going, Hook, Judged, Tried, overrides
from runner.errors import ConfigError

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
    """The run ends after ``patience`` evaluations in which a loss fell by no more than ``min_delta``."""

    patience: int
    min_delta: float
    of: str = "train_loss"
    """The loss: ``train_loss`` or ``val_loss``."""
    loss: float = math.inf
    """At its last fall."""
    evaluations: int = 0
    """Since then."""
    place: ClassVar[int] = -2
    state: ClassVar[tuple[str, ...]] = ("loss", "evaluations")

    def judged(self, at: Going, found: Judged) -> str | None:
        """Count evaluations since the last fall."""
        loss = found.train_loss if self.of == "train_loss" else found.val["loss"]
        fell = loss < self.loss - self.min_delta
        self.loss = loss if fell else self.loss
        self.evaluations = 0 if fell else self.evaluations + 1
        if self.evaluations < self.patience:
            return None
        return f"plateau: no fall of {self.of} in {self.patience} evaluations"


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


class Together(Hook):
    """Several stops of which all must hold, by their names."""

    place: ClassVar[int] = -3

    def __init__(self, ends: Mapping[str, Hook]) -> None:
        self.ends = dict(ends)

    @property
    def alone(self) -> str | None:
        """Why a stack has none: what any of them says."""
        return next((reason for hook in self.ends.values() if (reason := hook.alone)), None)

    def check(self, tried: Tried) -> None:
        """Refuse what one of them refuses."""
        for hook in self.ends.values():
            hook.check(tried)

    def begin(self, at: Going) -> Self:
        """Begin each."""
        return type(self)({name: hook.begin(at) for name, hook in self.ends.items()})

    def state_dict(self) -> dict[str, Any]:
        """Return what each holds."""
        return {name: held for name, hook in self.ends.items() if (held := hook.state_dict())}

    def load_state_dict(self, saved: Mapping[str, Any]) -> None:
        """Go on from it."""
        for name, held in saved.items():
            self.ends[name].load_state_dict(held)


class AllAtEvaluation(Together):
    """The run ends at the first evaluation at which all hold."""

    def judged(self, at: Going, found: Judged) -> str | None:
        """Ask each: those that count evaluations count this one."""
        reasons = [hook.judged(at, found) or hook.limit(at.step, at.train_seconds) for hook in self.ends.values()]
        return _joined(reasons)


class AllLimits(Together):
    """The run ends with the first step at which all of its limits are reached, none of which looks at evaluations."""

    def limit(self, steps: int, seconds: float) -> str | None:
        """Ask each."""
        return _joined([hook.limit(steps, seconds) for hook in self.ends.values()])

    @property
    def alone(self) -> str | None:
        """Why a stack has none."""
        return super().alone or "stop.all=true of limits alone counts the steps of one run at a time"


def _joined(reasons: Sequence[str | None]) -> str | None:
    return f"all: {'; '.join(map(str, reasons))}" if None not in reasons else None


def all_of(ends: Mapping[str, Hook]) -> Hook:
    """Return what ends a run where all of several stops hold.

    Raises:
        ConfigError: if there are fewer than two, or one of a user's own does more than to say that a run is over.
    """
    if len(ends) < 2:
        given = ", ".join(name.removeprefix("stop.") for name in ends) or "none"
        raise ConfigError(
            f"stop.all=true needs several stops that must all hold, as in stop=[target,steps]; got {given}"
        )
    asked = ("judged", "limit")
    for name, hook in ends.items():
        events = [event.name for event in dataclasses.fields(Events) if overrides(type(hook), event.name)]
        if odd := [event for event in events if event not in asked]:
            raise ConfigError(
                f"stop.all=true beside {name.replace('.', '=')}, which acts on {odd[0]} too: leave one out"
            )
    at_evaluations = any(overrides(type(hook), "judged") for hook in ends.values())
    return AllAtEvaluation(ends) if at_evaluations else AllLimits(ends)


def target() -> Hook:
    """End at the first evaluation that reaches ``target.value`` (Coleman 2017, DAWNBench)."""
    return AtTarget()


def plateau(*, patience: int, min_delta: float, of: str) -> Hook:
    """End after ``patience`` evaluations in which a loss has not fallen by more than ``min_delta``.

    The rule of scikit-learn's ``MLPClassifier`` (``n_iter_no_change``, ``tol``), held against the last such fall.
    """
    return OnPlateau(patience, min_delta, of)


def grad_norm(*, below: float) -> Hook:
    """End where the Euclidean norm of the gradient is below a bound (Nocedal & Wright 2006, §2.1: ∇f = 0)."""
    return AtSmallGradient(below)


def steps(*, most: int) -> Hook:
    """End after so many optimizer steps; the schedule stays that of the whole run (Li, Yumer & Ramanan 2020)."""
    return AfterSteps(most)


def time(*, seconds: float) -> Hook:
    """End with the step in which the seconds of training are used up (Coleman 2017, DAWNBench)."""
    return AfterSeconds(seconds)
