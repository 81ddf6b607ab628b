"""The weights of a run at several places on its way: members of an ensemble for the price of one run."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Self

from torch import Tensor

from runner.engine.hooks import AtStep, Going, Hook, Tried
from runner.errors import ConfigError


@dataclass
class Snapshots(Hook):
    """The judged weights at the ends of equal parts of a run, but the last (Huang et al. 2017, §3.2)."""

    parts: int
    kept: list[dict[str, Tensor]] = field(default_factory=list)
    """In the order of their steps."""
    at_steps: tuple[int, ...] = ()
    _going: Going | None = field(default=None, repr=False)
    place: ClassVar[int] = 2
    """After averages have taken the step's weights in."""

    @property
    def alone(self) -> str:
        """Why a stack has none."""
        return "snapshots keeps the weights of one run on its way"

    def check(self, tried: Tried) -> None:
        """Refuse more parts than the run has steps: some would hold none."""
        if self.parts > tried.steps:
            raise ConfigError(f"snapshots={self.parts} needs as many steps, and the run has {tried.steps}")

    def begin(self, at: Going) -> Self:
        """Begin with none."""
        begun = super().begin(at)
        begun._going, begun.kept = at, []
        begun.at_steps = tuple(round(i * at.steps / self.parts) for i in range(1, self.parts))
        return begun

    def after_step(self, at: AtStep, epoch_ends: bool) -> None:
        """Keep the weights where a part ends."""
        if at.step not in self.at_steps or len(self.kept) > self.at_steps.index(at.step):
            return
        assert self._going is not None, "it has begun"
        with self._going.evaluating():
            self.kept.append({k: v.detach().clone() for k, v in self._going.model.state_dict().items()})

    def summary(self) -> dict[str, Any]:
        """Return how many parts were asked for."""
        return {"snapshots": self.parts}

    def state_dict(self) -> dict[str, Any]:
        """Return what is kept, and of which steps."""
        return {"kept": self.kept, "at_steps": list(self.at_steps)}

    def load_state_dict(self, saved: Mapping[str, Any]) -> None:
        """Go on.

        Raises:
            ValueError: if other parts were asked for then.
        """
        if tuple(saved["at_steps"]) != self.at_steps:
            raise ValueError("other snapshots were asked for")
        self.kept = list(saved["kept"])
