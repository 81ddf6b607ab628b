"""The end of a run whose validation loss no longer falls."""

import math
from dataclasses import dataclass
from typing import ClassVar

from runner.engine.hooks import Going, Hook, Judged


@dataclass
class EarlyStopping(Hook):
    """The run ends after ``patience`` evaluations without a fall of more than ``min_delta``."""

    patience: int
    min_delta: float
    restore_best: bool
    loss: float = math.inf
    """At its last fall."""
    evaluations: int = 0
    """Since then."""
    state: ClassVar[tuple[str, ...]] = ("loss", "evaluations")

    @property
    def keeps_best(self) -> bool:
        """Whether the best weights are put back at the end."""
        return self.restore_best

    def judged(self, at: Going, found: Judged) -> str | None:
        """Count evaluations since the last fall."""
        fell = found.val["loss"] < self.loss - self.min_delta
        self.loss = found.val["loss"] if fell else self.loss
        self.evaluations = 0 if fell else self.evaluations + 1
        if self.evaluations < self.patience:
            return None
        return f"early_stopping: no fall of val_loss in {self.patience} evaluations"

    def ended(self, at: Going) -> None:
        """Put the best weights back."""
        if self.restore_best:
            at.restore_best()


def early_stopping(*, patience: int, min_delta: float, restore_best: bool) -> Hook:
    """End after ``patience`` evaluations without a fall of more than ``min_delta`` (Prechelt 1998)."""
    return EarlyStopping(patience, min_delta, restore_best)
